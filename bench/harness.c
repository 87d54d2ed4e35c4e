/* See harness.h. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_WORKERS = 64 };

void bench_fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    _exit(1);
}

/* --- time --- */

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int64_t bench_now(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

int64_t bench_worked(void)
{
    return nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t bench_budget(void)
{
    const char *ms = getenv("BENCH_MS");
    return (ms ? atol(ms) : 200) * INT64_C(1000000);
}

/* A long time may be the scheduler's doing; the shorter of two is less likely so. */
static int64_t measure_twice(int64_t (*measure)(void *arg, long n), void *arg, long n)
{
    int64_t first = measure(arg, n), second = measure(arg, n);
    return first < second ? first : second;
}

double bench_per_operation(int64_t (*measure)(void *arg, long n), void *arg)
{
    int64_t budget = bench_budget(), took = 0;
    long n = 1;
    for (; n < INT64_C(1) << 40; n *= 4) {
        took = measure_twice(measure, arg, n);
        if (took > budget / 16)
            break;
    }
    long wanted = (long)((double)n * (double)budget / (double)(took > 0 ? took : 1));
    return wanted <= n ? (double)took / (double)n : (double)measure(arg, wanted) / (double)wanted;
}

/* --- memory --- */

void *bench_shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench_check(p != MAP_FAILED, "no shared memory");
    return p;
}

void *bench_private(size_t size)
{
    size_t rounded = (size + 127) / 128 * 128;
    void *p = aligned_alloc(128, rounded);
    bench_check(p, "no memory");
    return memset(p, 0, rounded);
}

long bench_resident(int pid)
{
    char path[64] = "/proc/self/statm";
    long pages = 0;
    if (pid != 0)
        snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    bench_check(file && fscanf(file, "%*d %ld", &pages) == 1, "no statm");
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* --- workers that start together --- */

struct crew {
    void (*body)(void *arg, int which);
    void *arg;
    int size;
    int ready; /* atomic: each adds itself, then waits for all */
    int64_t began;
    int64_t ended[MOST_WORKERS];
};

struct member {
    struct crew *crew;
    int which;
};

static void wait_for_all(struct crew *crew)
{
    __atomic_fetch_add(&crew->ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&crew->ready, __ATOMIC_ACQUIRE) < crew->size)
        sched_yield();
}

static void *serve(void *member)
{
    struct member *m = member;
    struct crew *crew = m->crew;
    wait_for_all(crew);
    if (m->which == 0)
        crew->began = bench_now();
    crew->body(crew->arg, m->which);
    crew->ended[m->which] = bench_now();
    return NULL;
}

static void together_in_threads(struct member *members, int n)
{
    pthread_t threads[MOST_WORKERS];
    for (int i = 1; i < n; i++)
        bench_check(pthread_create(&threads[i], NULL, serve, &members[i]) == 0, "no thread");
    serve(&members[0]);
    for (int i = 1; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void together_in_processes(struct member *members, int n)
{
    for (int i = 1; i < n; i++) {
        pid_t pid = fork();
        bench_check(pid >= 0, "no process");
        if (pid == 0) {
            serve(&members[i]);
            _exit(0);
        }
    }
    serve(&members[0]);
    for (int i = 1, status; i < n; i++)
        bench_check(wait(&status) > 0 && status == 0, "a process failed");
}

int64_t bench_together(int n, bool processes, void (*body)(void *arg, int which), void *arg)
{
    struct member members[MOST_WORKERS];
    struct crew *crew = bench_shared(sizeof *crew);
    bench_check(n <= MOST_WORKERS, "too many workers");
    crew->body = body;
    crew->arg = arg;
    crew->size = n;
    for (int i = 0; i < n; i++)
        members[i] = (struct member){crew, i};
    if (processes)
        together_in_processes(members, n);
    else
        together_in_threads(members, n);
    int64_t last = 0;
    for (int i = 0; i < n; i++)
        last = crew->ended[i] > last ? crew->ended[i] : last;
    int64_t took = last - crew->began;
    munmap(crew, sizeof *crew);
    return took;
}

static void *sleep_forever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

void bench_be_threaded(void)
{
    pthread_t thread;
    bench_check(pthread_create(&thread, NULL, sleep_forever, NULL) == 0, "no thread");
    pthread_detach(thread);
}

/* --- the command line --- */

static struct figure {
    const char *suffix, *unit;
    double value;
} others[4];

static int n_others;

void bench_also(const char *suffix, double value, const char *unit)
{
    bench_check(n_others < 4, "too many figures");
    others[n_others++] = (struct figure){suffix, unit, value};
}

static void print_others(const struct bench_subject *s)
{
    size_t stem = strcspn(s->name, "/");
    for (int i = 0; i < n_others; i++)
        printf("%.*s_%s%s\t%s\t%.2f\t%s\n", (int)stem, s->name, others[i].suffix, s->name + stem,
               s->subject, others[i].value, others[i].unit);
}

static void list(const struct bench_subject *table)
{
    for (const struct bench_subject *s = table; s->name; s++)
        printf("%s\t%s\t%s\n", s->name, s->subject,
               strncmp(s->subject, "plait", 5) == 0 ? "plait"
               : s->info                            ? "info"
                                                    : "peer");
}

int bench_main(int argc, char **argv, const struct bench_subject *table)
{
    if (argc != 3) {
        list(table);
        return argc == 1 ? 0 : 2;
    }
    for (const struct bench_subject *s = table; s->name; s++) {
        if (strcmp(s->name, argv[1]) != 0 || strcmp(s->subject, argv[2]) != 0)
            continue;
        printf("%s\t%s\t%.2f\n", s->name, s->subject, s->run(s));
        print_others(s);
        fflush(stdout);
        return 0;
    }
    fprintf(stderr, "%s: no case %s with subject %s\n", argv[0], argv[1], argv[2]);
    return 2;
}
