/* The allocator under many workers: threads and processes hand blocks to each other through a
 * table, and every byte is checked.
 *
 * Invariant: at the end, when the table is emptied, exactly as much is in use as at the start, and
 * the heap is whole. Where processes are killed at random, what they had in hand may be left over
 * and nothing else. PLAIT_TEST_SCALE multiplies the time. */
#include "arena/alloc.h"
#include "arena/arena.h"
#include "arena/slab.h"
#include "base/atomic.h"
#include "base/sanitizers.h"
#include "base/self.h"
#include "registry/registry.h"

#include <plait/arena.h>
#include <plait/clock.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 600, CROWD = 4, BATCH = 40, LARGEST = 400 * 1024 };

/* What a block begins with; the rest is filled from `seed`. */
struct head {
    uint32_t size;
    uint32_t seed;
    uint64_t check;
};

static void **table;      /* of blocks; taken and put by exchange */
static uint64_t *done;    /* operations finished by all workers */
static int64_t per_phase; /* nanoseconds */
static bool stopped;      /* atomic: the threads of this process stop when it is set */

/* --- blocks that can be checked --- */

static uint32_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* Mostly small, now and then some chunks. */
static uint32_t random_size(uint64_t *random)
{
    uint32_t r = next_random(random) % 100, most = r < 60   ? 300
                                                   : r < 90 ? 5000
                                                   : r < 98 ? 40000
                                                            : LARGEST;
    return (uint32_t)sizeof(struct head) + next_random(random) % (most - sizeof(struct head));
}

static void broken(const char *what)
{
    fprintf(stderr, "alloc_stress: %s\n", what);
    abort();
}

static void fill(struct head *block, uint32_t size, uint32_t seed)
{
    block->size = size;
    block->seed = seed;
    block->check = (uint64_t)size << 32 ^ seed ^ 0x5eed;
    memset(block + 1, (int)(seed & 0xff), size - sizeof *block);
}

/* That a block is as fill left it, at least in its first `size` bytes. */
static void check(const struct head *block, uint32_t size)
{
    const unsigned char *bytes = (const unsigned char *)(block + 1);
    size_t n = size - sizeof *block;
    if (block->check != ((uint64_t)block->size << 32 ^ block->seed ^ 0x5eed))
        broken("a block's head was overwritten");
    if (n && (bytes[0] != (block->seed & 0xff) || memcmp(bytes, bytes + 1, n - 1) != 0))
        broken("a block was overwritten");
}

static struct head *make(uint64_t *random)
{
    uint32_t size = random_size(random);
    struct head *block = plait_alloc(size);
    if (!block)
        broken("no memory");
    const unsigned char *bytes = (const unsigned char *)block;
    if (bytes[0] || memcmp(bytes, bytes + 1, plait_alloc_size(block) - 1) != 0)
        broken("a new block is not zero");
    fill(block, size, next_random(random));
    return block;
}

static void drop(struct head *block)
{
    if (!block)
        return;
    check(block, block->size);
    if (plait_free(block) != 0)
        broken("a block could not be freed");
}

/* --- what a worker does --- */

static struct head *swap(uint64_t *random, struct head *block)
{
    return pl_exchange_acq_rel(&table[next_random(random) % SLOTS], (void *)block);
}

static void resize(uint64_t *random)
{
    struct head *block = swap(random, NULL);
    if (!block)
        return;
    uint32_t size = random_size(random), old = block->size;
    check(block, old);
    block = plait_realloc(block, size);
    if (!block)
        broken("no memory to resize");
    check(block, size < old ? size : old);
    fill(block, size, next_random(random));
    drop(swap(random, block));
}

static void batch(uint64_t *random)
{
    struct head *block[BATCH];
    for (int i = 0; i < BATCH; i++)
        block[i] = make(random);
    for (int i = 0; i < BATCH; i++)
        drop(i % 2 ? swap(random, block[i]) : block[i]);
}

static void work_once(uint64_t *random)
{
    switch (next_random(random) % 10) {
    case 0:
        resize(random);
        break;
    case 1:
    case 2:
    case 3:
        drop(swap(random, NULL));
        break;
    case 4:
        if (next_random(random) % 8 == 0)
            batch(random);
        break;
    default:
        drop(swap(random, make(random)));
    }
}

static void work_until(uint64_t seed, int64_t end)
{
    uint64_t random = seed * 0x9e3779b97f4a7c15 + 1, n = 0;
    while (!pl_load_relaxed(&stopped) && (n % 16 || plait_now() < end)) {
        work_once(&random);
        n++;
    }
    pl_fetch_add_relaxed(done, n);
}

struct errand {
    uint64_t seed;
    int64_t end;
};

static void *work_in_thread(void *argument)
{
    struct errand *errand = argument;
    work_until(errand->seed, errand->end);
    return NULL;
}

static void work_in_threads(uint64_t seed, int64_t end)
{
    pthread_t thread[CROWD];
    struct errand errand[CROWD];
    for (int i = 0; i < CROWD; i++) {
        errand[i] = (struct errand){seed * 100 + (uint64_t)i, end};
        if (pthread_create(&thread[i], NULL, work_in_thread, &errand[i]) != 0)
            broken("no thread");
    }
    for (int i = 0; i < CROWD; i++)
        pthread_join(thread[i], NULL);
}

/* --- the heap from outside --- */

static plait_arena_statistics stats(void)
{
    plait_arena_statistics s;
    assert_int_equal(plait_arena_stats(&s), 0);
    return s;
}

static void empty_the_table(void)
{
    for (int i = 0; i < SLOTS; i++)
        drop(pl_exchange_acq_rel(&table[i], NULL));
}

static void assert_all_is_back(const plait_arena_statistics *before)
{
    plait_arena_statistics after = stats();
    assert_int_equal(after.in_use, before->in_use);
    assert_int_equal(after.blocks, before->blocks);
    assert_int_equal(pl_alloc_valid(), 1);
}

static pid_t spawn(void (*work)(uint64_t, int64_t), uint64_t seed, int64_t end)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        work(seed, end);
        if (pl_self.id)
            pl_slot_leave(PL_END_RETURNED, 0);
        _exit(0);
    }
    return pid;
}

/* --- the phases --- */

static void threads_exchange_blocks(void **state)
{
    (void)state;
    plait_arena_statistics before = stats();
    work_in_threads(1, plait_now() + per_phase);
    empty_the_table();
    assert_all_is_back(&before);
}

static void run_processes(void (*work)(uint64_t, int64_t))
{
    plait_arena_statistics before = stats();
    pid_t pid[CROWD];
    int status;
    int64_t end = plait_now() + per_phase;
    for (int i = 0; i < CROWD; i++)
        pid[i] = spawn(work, 10 + (uint64_t)i, end);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    empty_the_table();
    assert_all_is_back(&before);
}

static void processes_exchange_blocks(void **state)
{
    (void)state;
    run_processes(work_until);
}

/* TSan sees one process: a block that went from one of its threads to another by way of a second
 * process looks like a race to it. */

static void threads_of_processes_exchange_blocks(void **state)
{
    (void)state;
    if (PL_TSAN)
        skip();
    run_processes(work_in_threads);
}

/* Kills one after the other, puts another in its place, and recovers what was left. */
static int kill_at_random(pid_t *pid, int64_t end)
{
    uint64_t random = 99;
    int kills = 0;
    while (plait_now() < end) {
        int i = (int)(next_random(&random) % CROWD);
        usleep(next_random(&random) % 5000);
        kill(pid[i], SIGKILL);
        assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
        pl_sweep(0);
        pid[i] = spawn(work_until, 1000 + (uint64_t)++kills, INT64_MAX);
    }
    for (int i = 0; i < CROWD; i++) {
        kill(pid[i], SIGKILL);
        assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
        kills++;
    }
    pl_sweep(0);
    return kills;
}

/* Frees every block but the table and the counter. */
static void free_what_is_left_over(void)
{
    for (uint32_t c = 0; c < pl_chunks_ready(pl_arena); c++) {
        uint64_t chunk = pl_load_acquire(pl_state_at(c));
        unsigned class = pl_state_detail(chunk);
        if (pl_state_kind(chunk) == PL_CHUNK_LARGE)
            assert_int_equal(plait_free(pl_chunk_at(c)), 0);
        for (uint32_t b = 0; pl_state_kind(chunk) == PL_CHUNK_SLAB && b < pl_classes[class].blocks;
             b++) {
            char *block = pl_chunk_at(c) + b * pl_classes[class].size;
            bool live = pl_slab_live(pl_record_at(c), class, b / 64) >> b % 64 & 1;
            if (live && block != (char *)table && block != (char *)done)
                assert_int_equal(plait_free(block), 0);
        }
    }
}

static void killed_processes_leave_a_whole_heap(void **state)
{
    (void)state;
    plait_arena_statistics before = stats();
    struct errand errand = {7, INT64_MAX};
    pthread_t thread;
    pid_t pid[CROWD];
    for (int i = 0; i < CROWD; i++)
        pid[i] = spawn(work_until, 20 + (uint64_t)i, INT64_MAX);
    assert_int_equal(pthread_create(&thread, NULL, work_in_thread, &errand), 0);
    int kills = kill_at_random(pid, plait_now() + per_phase);
    pl_store_relaxed(&stopped, true);
    pthread_join(thread, NULL);
    pl_store_relaxed(&stopped, false);
    empty_the_table();
    assert_int_equal(pl_alloc_valid(), 1);
    uint64_t left = stats().blocks - before.blocks;
    assert_true(left <= (uint64_t)kills * (BATCH + 2));
    free_what_is_left_over();
    assert_all_is_back(&before);
    print_message("    %d killed, %llu blocks in their hands\n", kills, (unsigned long long)left);
}

static void say_how_much(void **state)
{
    (void)state;
    print_message("    %llu operations\n", (unsigned long long)pl_load_relaxed(done));
    assert_true(pl_load_relaxed(done) > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_exchange_blocks),
        cmocka_unit_test(processes_exchange_blocks),
        cmocka_unit_test(threads_of_processes_exchange_blocks),
        cmocka_unit_test(killed_processes_leave_a_whole_heap),
        cmocka_unit_test(say_how_much),
    };
    const char *times = getenv("PLAIT_TEST_SCALE");
    per_phase = plait_ms(600) * (times && atol(times) > 0 ? atol(times) : 1);
    setenv("PLAIT_ARENA_SIZE", "1G", 1);
    table = plait_calloc(SLOTS, sizeof *table);
    done = plait_alloc(sizeof *done);
    if (!table || !done)
        return 1;
    return cmocka_run_group_tests_name("allocator, many workers", tests, NULL, NULL);
}
