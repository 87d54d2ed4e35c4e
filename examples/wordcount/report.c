#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- adding up --- */

/* FNV-1a. What is in the records is sorted, so equal tables have equal fingerprints. */
static uint64_t add_fingerprint(uint64_t sum, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

void report_add_up(struct summary *summary)
{
    summary->fingerprint = UINT64_C(0xcbf29ce484222325);
    for (int part = 0; part < PARTS; part++) {
        const struct block *block = summary->parts[part].block;
        summary->words += block->total;
        summary->distinct += block->distinct;
        summary->fingerprint =
            add_fingerprint(summary->fingerprint, block->records, block->start[PARTS]);
    }
}

/* --- the most frequent words --- */

/* The first `most` words of each part: the most frequent of all are among them. Returns how many. */
static size_t candidates(const struct summary *summary, size_t most, struct entry *to)
{
    struct entry *first = to;
    for (int part = 0; part < PARTS; part++) {
        const struct block *block = summary->parts[part].block;
        const unsigned char *at = block->records;
        for (size_t i = 0; i < most && i < block->distinct; i++)
            block_read(&at, to++);
    }
    return (size_t)(to - first);
}

/* The `most` most frequent words, to be freed; how many there are in *n. NULL: no memory. */
static struct entry *find_top(const struct summary *summary, size_t most, size_t *n)
{
    size_t room = most < summary->distinct ? most * PARTS : summary->distinct;
    struct entry *entries = calloc(room + 1, sizeof *entries);
    if (!entries)
        return NULL;
    *n = candidates(summary, most, entries);
    qsort(entries, *n, sizeof *entries, entry_compare);
    *n = *n < most ? *n : most;
    return entries;
}

/* --- for people --- */

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void print_list(const struct files *files, const char *what)
{
    if (files->n)
        fprintf(stderr, "%zu %s:\n", files->n, what);
    for (size_t i = 0; i < files->n; i++)
        fprintf(stderr, "  %s: %s\n", files->array[i].path, count_why(files->array[i].error));
}

static void print_deaths(const struct summary *s)
{
    if (s->deaths == 0)
        return;
    printf("%zu worker%s died, %zu file%s counted again; ", s->deaths, plural(s->deaths),
           s->retried, s->retried == 1 ? " was" : "s were");
    if (s->blame.signal)
        printf("%s (process %d) was killed by signal %d (%s)\n", s->blame.name, s->blame.pid,
               s->blame.signal, strsignal(s->blame.signal));
    else
        printf("%s (process %d) exited with status %d\n", s->blame.name, s->blame.pid,
               s->blame.status);
}

static void print_text(const struct summary *s, const struct options *o, const struct entry *top,
                       size_t n)
{
    const char *kind = o->kind == PLAIT_THREAD ? "thread" : "process";
    const char *kinds = o->kind == PLAIT_THREAD ? "threads" : "processes";
    for (size_t i = 0; i < n; i++)
        printf("%12" PRIu64 "  %.*s\n", top[i].count, top[i].length, top[i].word);
    printf("%" PRIu64 " word%s, %" PRIu64 " of them distinct, in %zu file%s of %.1f MB; "
           "%.2f s with %d %s\n",
           s->words, plural(s->words), s->distinct, s->files, plural(s->files),
           (double)s->bytes / 1e6, s->seconds, o->workers, o->workers == 1 ? kind : kinds);
    print_deaths(s);
}

/* --- for programs --- */

/* Words and workers' names need no escapes: there is no quote, backslash or control in them. */
static void print_json(const struct summary *s, const struct options *o, const struct entry *top,
                       size_t n)
{
    printf("{\n  \"kind\": \"%s\",\n  \"workers\": %d,\n  \"seconds\": %.3f,\n",
           o->kind == PLAIT_THREAD ? "thread" : "process", o->workers, s->seconds);
    printf("  \"files\": %zu,\n  \"bytes\": %" PRIu64 ",\n", s->files, s->bytes);
    printf("  \"words\": %" PRIu64 ",\n  \"distinct\": %" PRIu64 ",\n", s->words, s->distinct);
    printf("  \"fingerprint\": \"%016" PRIx64 "\",\n", s->fingerprint);
    printf("  \"unreadable\": %zu,\n  \"failed\": %zu,\n", s->unreadable.n, s->failed.n);
    printf("  \"deaths\": %zu,\n  \"retried\": %zu,\n  \"blame\": ", s->deaths, s->retried);
    if (s->deaths)
        printf("{ \"name\": \"%s\", \"pid\": %d, \"signal\": %d, \"status\": %d },\n",
               s->blame.name, s->blame.pid, s->blame.signal, s->blame.status);
    else
        printf("null,\n");
    printf("  \"top\": [");
    for (size_t i = 0; i < n; i++)
        printf("%s\n    { \"word\": \"%.*s\", \"count\": %" PRIu64 " }", i ? "," : "",
               top[i].length, top[i].word, top[i].count);
    printf("]\n}\n");
}

int report_print(const struct summary *summary, const struct options *options)
{
    size_t n;
    struct entry *top = find_top(summary, (size_t)options->top, &n);
    if (!top)
        return PLAIT_ENOMEM;
    if (options->json)
        print_json(summary, options, top, n);
    else
        print_text(summary, options, top, n);
    free(top);
    fflush(stdout);
    print_list(&summary->unreadable, "could not be read");
    print_list(&summary->failed, "could not be counted");
    return 0;
}
