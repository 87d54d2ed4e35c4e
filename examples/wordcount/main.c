/* wordcount - how often each word occurs, over files and folders, by a pool of workers.
 *
 * Two maps over one pool. The first turns each file into a block of words and counts in the arena
 * (count.c). The second merges the blocks: each of its items takes one part of all of them (merge.c).
 * What passes between workers and caller are pointers into the arena; nothing is copied. */
#include "count.h"
#include "merge.h"
#include "options.h"
#include "progress.h"
#include "report.h"
#include "walk.h"

#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A run, from the list of files to the merged parts. The arrays lie in the arena but for `work`. */
struct job {
    const struct options *options;
    plait_pool *pool;
    size_t n; /* files */
    struct item *items;
    struct result *results;
    struct merge_item *merge_items;
    struct merged *parts;
    uint64_t *work; /* see progress.h */
};

static int fail(const char *what, int code)
{
    fprintf(stderr, "wordcount: %s: %s\n", what, plait_strerror(code));
    return code;
}

/* --- before --- */

static int fill_items(struct job *job, const struct files *found)
{
    enum { OPENING = 16 * 1024 }; /* opening a file takes as long as reading so many bytes */
    for (size_t i = 0; i < job->n; i++) {
        job->items[i].path = plait_strdup(found->array[i].path);
        if (!job->items[i].path)
            return plait_last_error();
        job->work[i + 1] = job->work[i] + OPENING + found->array[i].size;
    }
    for (int part = 0; part < PARTS; part++)
        job->merge_items[part] = (struct merge_item){job->results, job->n, part};
    return 0;
}

static int prepare(struct job *job, const struct files *found)
{
    job->n = found->n;
    job->items = plait_calloc(job->n, sizeof *job->items);
    job->results = plait_calloc(job->n, sizeof *job->results);
    job->merge_items = plait_calloc(PARTS, sizeof *job->merge_items);
    job->parts = plait_calloc(PARTS, sizeof *job->parts);
    job->work = calloc(job->n + 1, sizeof *job->work);
    if (!job->items || !job->results || !job->merge_items || !job->parts)
        return plait_last_error();
    if (!job->work)
        return PLAIT_ENOMEM;
    return fill_items(job, found);
}

/* --- the two maps --- */

static void note_deaths(struct summary *summary, const plait_map_failure *failure)
{
    summary->deaths += failure->deaths;
    summary->retried += failure->retried;
    if (failure->deaths)
        summary->blame = failure->blame;
}

/* Files that fail are listed in the report; anything else that goes wrong is returned. */
static int count_files(struct job *job, struct summary *summary)
{
    plait_map_failure failure = {0};
    struct progress progress = {
        .work = job->work,
        .draw = isatty(STDOUT_FILENO) && isatty(STDERR_FILENO),
        .kill_one = job->options->kill_one,
    };
    plait_map_call call = {
        .fn = count_item,
        .in = job->items,
        .in_size = sizeof *job->items,
        .out = job->results,
        .out_size = sizeof *job->results,
        .n = job->n,
        .failure = &failure,
        .progress = progress_step,
        .progress_arg = &progress,
    };
    int rc = plait_map_items(job->pool, &call, PLAIT_FOREVER);
    progress_end(&progress);
    note_deaths(summary, &failure);
    return failure.code ? 0 : rc;
}

static int merge_parts(struct job *job, struct summary *summary)
{
    plait_map_failure failure = {0};
    plait_map_call call = {
        .fn = merge_part,
        .in = job->merge_items,
        .in_size = sizeof *job->merge_items,
        .out = job->parts,
        .out_size = sizeof *job->parts,
        .n = PARTS,
        .failure = &failure,
    };
    int rc = plait_map_items(job->pool, &call, PLAIT_FOREVER);
    note_deaths(summary, &failure);
    return rc;
}

/* --- after --- */

/* Sums up what came of each file, and frees its block: it is merged. */
static int collect(struct job *job, const struct files *found, struct summary *summary)
{
    for (size_t i = 0; i < job->n; i++) {
        const struct result *result = &job->results[i];
        const char *path = found->array[i].path;
        int rc = 0;
        if (!result->done)
            rc = files_add(&summary->failed, path, 0, result->error ? result->error : COUNT_DIED);
        else if (result->error)
            rc = files_add(&summary->unreadable, path, 0, result->error);
        else
            summary->files++;
        if (rc < 0)
            return rc;
        summary->bytes += result->bytes;
        plait_free(result->block);
    }
    return 0;
}

static int run_in_pool(struct job *job, const struct files *found, struct summary *summary)
{
    int rc = count_files(job, summary);
    if (rc < 0)
        return fail("counting", rc);
    rc = merge_parts(job, summary);
    if (rc < 0)
        return fail("merging", rc);
    return collect(job, found, summary);
}

static int run(struct job *job, const struct files *found, struct summary *summary)
{
    plait_pool_options pool = {.name = WORKER_NAME, .retries = job->options->retries};
    int rc = prepare(job, found);
    if (rc < 0)
        return fail("preparing", rc);
    rc = plait_pool_open(&job->pool, job->options->kind, job->options->workers, &pool);
    if (rc < 0)
        return fail("starting workers", rc);
    rc = run_in_pool(job, found, summary);
    int closed = plait_pool_close(job->pool, PLAIT_FOREVER);
    return rc < 0 ? rc : closed;
}

static void clean_up(struct job *job)
{
    for (size_t i = 0; job->items && i < job->n; i++)
        plait_free((char *)job->items[i].path);
    for (int part = 0; job->parts && part < PARTS; part++)
        plait_free(job->parts[part].block);
    plait_free(job->items);
    plait_free(job->results);
    plait_free(job->merge_items);
    plait_free(job->parts);
    free(job->work);
}

/* Everything after the options. 0, or negative if there is no result. */
static int count(const struct options *options, struct summary *summary)
{
    struct files found = {0};
    struct job job = {.options = options};
    int64_t start = plait_now();
    int rc = walk(options->names, options->n_names, &found, &summary->unreadable);
    if (rc < 0)
        fail("looking for files", rc);
    else
        rc = run(&job, &found, summary);
    summary->seconds = (double)(plait_now() - start) / 1e9;
    summary->parts = job.parts;
    if (rc == 0) {
        report_add_up(summary);
        rc = report_print(summary, options);
    }
    clean_up(&job);
    files_free(&found);
    return rc;
}

int main(int argc, char **argv)
{
    struct options options;
    struct summary summary = {0};
    int rc = plait_init(&argc, &argv);
    if (rc < 0)
        return fail("plait", rc), EXIT_FAILURE;
    int status = options_parse(&options, argc, argv);
    if (status != OPTIONS_GO_ON)
        return status;
    rc = count(&options, &summary);
    bool whole = rc == 0 && summary.failed.n == 0 && fflush(stdout) == 0 && !ferror(stdout);
    files_free(&summary.unreadable);
    files_free(&summary.failed);
    return whole ? EXIT_SUCCESS : EXIT_FAILURE;
}
