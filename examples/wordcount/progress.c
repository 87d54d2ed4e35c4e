#include "progress.h"

#include <plait/plait.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 40, MOST_WORKERS = 4096 };

static void draw(const struct progress *progress, size_t done, size_t n)
{
    static const char full[] = "########################################";
    double part = progress->work[n] ? (double)progress->work[done] / (double)progress->work[n] : 1;
    fprintf(stderr, "\r[%-*.*s] %3.0f %%  %zu of %zu files", WIDTH, (int)(part * WIDTH), full,
            part * 100, done, n);
    fflush(stderr);
}

static bool is_of_the_pool(plait_worker worker)
{
    char name[PLAIT_NAME_SIZE];
    return plait_kind_of(worker) == PLAIT_PROCESS && plait_name(worker, name, sizeof name) == 0 &&
           strncmp(name, WORKER_NAME "-", strlen(WORKER_NAME "-")) == 0;
}

/* kill -9 for the first of the workers that is there to be killed. */
static void kill_one(void)
{
    static plait_worker worker[MOST_WORKERS];
    int n = plait_children(worker, MOST_WORKERS);
    for (int i = 0; i < n && i < MOST_WORKERS; i++)
        if (is_of_the_pool(worker[i]) && plait_kill(worker[i]) == 0)
            return;
}

void progress_step(size_t done, size_t n, void *arg)
{
    struct progress *progress = arg;
    if (progress->draw)
        draw(progress, done, n);
    if (progress->kill_one && done < n && progress->work[done] >= progress->work[n] / 2) {
        progress->kill_one = false;
        kill_one();
    }
}

void progress_end(const struct progress *progress)
{
    if (progress->draw)
        fputs("\r\033[K", stderr);
}
