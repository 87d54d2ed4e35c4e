/* The allocator's crash safety: a worker is killed at every step of every operation.
 *
 * Each scenario is run again and again. In round k a forked child prepares, then does the operation
 * and is killed right before its k-th step; the survivor recovers it and looks: nothing torn,
 * nothing lost but what was finished, all memory still to be had and to be given back.
 *
 * A step is an atomic operation. Loads in a row count as one: being killed before any of them
 * leaves the same memory behind.
 *
 * Built with PL_STEP_HOOKS. PLAIT_TEST_SCALE multiplies how many rounds kill the recoverer, too. */
#include "arena/alloc.h"
#include "arena/arena.h"
#include "arena/slab.h"
#include "base/sanitizers.h"
#include "port/memory.h"
#include "registry/registry.h"

#include <plait/arena.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CHUNK = PL_CHUNK_SIZE,
    SPARE = 40, /* chunks left beside the ballast, so that all memory is soon used up */
    MOST_KEPT = 300
};

/* What the child tells the survivor. Shared, written before the step that may kill. */
static struct {
    uint32_t id;
    uint64_t before; /* bytes in use when the operation began */
    bool finished;   /* the operation */
    bool finished_recovering;
    char *target; /* what the operation frees or resizes; NULL: it allocates */
    size_t target_size, target_keep;
    int n_kept;
    struct {
        char *block;
        size_t size;
    } kept[MOST_KEPT];
} * told;

struct scenario {
    const char *name;
    void (*parent)(void); /* what the survivor prepares; may be NULL */
    void (*setup)(void);  /* what the child prepares; may be NULL */
    void (*act)(void);
    int64_t done;      /* change of bytes in use once it is finished */
    int64_t half_way;  /* another that a death may leave, if it works on a target */
    bool tidy;         /* begin with chunks that have no pages */
    bool pretend_full; /* begin as if enough free chunks were kept */
};

/* TSan has nothing to find here, and makes every fork slow. */

static char *ballast;
static int64_t usual_difference; /* page_difference() when all was well */
static long scale = 1, pairs, recoverer_pairs;

/* --- dying at a step --- */

static long steps_left;
static bool in_loads;

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void count_down(const char *what, const void *word)
{
    (void)word;
    bool load = strcmp(what, "load") == 0;
    bool same = load && in_loads;
    in_loads = load;
    if (!same && --steps_left == 0)
        die();
}

static void arm(long k)
{
    steps_left = k;
    in_loads = false;
    pl_step_hook = count_down;
}

/* --- blocks with a content that can be checked --- */

static char stamp(const char *block)
{
    return (char)(((uintptr_t)block >> 4) * 7 % 255 + 1);
}

static bool is_all(const char *block, size_t size, char value)
{
    return size == 0 || (block[0] == value && memcmp(block, block + 1, size - 1) == 0);
}

static char *stamped(size_t size)
{
    char *block = plait_alloc(size);
    if (!block || !is_all(block, size, 0))
        _exit(1);
    return memset(block, stamp(block), size);
}

static void keep(size_t size)
{
    char *block = stamped(size);
    told->kept[told->n_kept].block = block;
    told->kept[told->n_kept++].size = size;
}

static void aim_at(size_t size, size_t still_good)
{
    told->target = stamped(size);
    told->target_size = size;
    told->target_keep = still_good;
}

/* Frees the blocks kept in [from, to), every `step`th, as if another worker did. */
static void stranger_frees(int from, int to, int step)
{
    uint32_t me = pl_self.id;
    pl_self.id = 0;
    for (int i = from; i < to; i += step) {
        if (plait_free(told->kept[i].block) != 0)
            _exit(2);
        told->kept[i].size = 0;
    }
    pl_self.id = me;
}

static uint64_t in_use(void)
{
    plait_arena_statistics s;
    return plait_arena_stats(&s) == 0 ? s.in_use : UINT64_MAX;
}

/* --- every block there is --- */

static void each_block(void (*look)(char *block, size_t size))
{
    for (uint32_t c = 0; c < pl_chunks_ready(pl_arena); c++) {
        uint64_t state = pl_load_acquire(pl_state_at(c));
        unsigned class = pl_state_detail(state);
        if (pl_state_kind(state) == PL_CHUNK_LARGE)
            look(pl_chunk_at(c), (size_t)pl_state_index(state) * CHUNK);
        if (pl_state_kind(state) != PL_CHUNK_SLAB)
            continue;
        for (uint32_t b = 0; b < pl_classes[class].blocks; b++)
            if (pl_slab_live(pl_record_at(c), class, b / 64) >> b % 64 & 1)
                look(pl_chunk_at(c) + b * pl_classes[class].size, pl_classes[class].size);
    }
}

static char *unknown;
static size_t unknown_size;
static int unknown_count;
static bool target_is_live;

static void look_for_unknown(char *block, size_t size)
{
    if (block == ballast)
        return;
    if (block == told->target) {
        target_is_live = true;
        return;
    }
    for (int i = 0; i < told->n_kept; i++)
        if (told->kept[i].size && told->kept[i].block == block)
            return;
    unknown = block;
    unknown_size = size;
    unknown_count++;
}

static void free_unless_ballast(char *block, size_t size)
{
    (void)size;
    if (block != ballast)
        assert_int_equal(plait_free(block), 0);
}

/* --- the survivor's look around --- */

static void assert_kept_unharmed(void)
{
    for (int i = 0; i < told->n_kept; i++)
        assert_true(is_all(told->kept[i].block, told->kept[i].size, stamp(told->kept[i].block)));
}

/* The one block that may be there besides: what the operation got, whole. */
static void assert_result_is_whole(void)
{
    unknown_count = 0;
    target_is_live = false;
    each_block(look_for_unknown);
    assert_true(unknown_count <= 1);
    if (target_is_live)
        assert_true(is_all(told->target, told->target_keep, stamp(told->target)));
    if (unknown_count == 0)
        return;
    if (!told->target)
        assert_true(is_all(unknown, unknown_size, 0));
    else
        assert_true(is_all(unknown, told->target_keep, stamp(told->target)));
}

/* A block that nobody was told of must not be in use; one that was, must be. */
static void assert_use_is_explained(const struct scenario *s)
{
    int64_t change = (int64_t)(in_use() - told->before);
    bool explained = change == s->done;
    if (!told->finished)
        explained = change == 0 || (told->target && (explained || change == s->half_way));
    if (!explained)
        fail_msg("%s: %lld bytes more in use", s->name, (long long)change);
}

/* By how much the kernel's count of pages differs from ours; tables are rounded, so not 0. */
static int64_t page_difference(void)
{
    struct stat st;
    plait_arena_statistics s;
    assert_int_equal(plait_arena_stats(&s), 0);
    assert_int_equal(fstat(pl_arena_descriptor(), &st), 0);
    return st.st_blocks * 512 - (int64_t)s.backed;
}

/* Uses up all memory in blocks of `size`, each new one zero and nobody else's. How many. */
static size_t exhaust(size_t size)
{
    static char *got[SPARE * CHUNK / 256 + 1];
    size_t n = 0;
    while ((got[n] = plait_alloc(size))) {
        assert_true(is_all(got[n], size, 0));
        memset(got[n], stamp(got[n]), size);
        n++;
    }
    assert_kept_unharmed();
    for (size_t i = 0; i < n; i++) {
        assert_true(is_all(got[i], size, stamp(got[i])));
        assert_int_equal(plait_free(got[i]), 0);
    }
    return n;
}

static void assert_whole(const struct scenario *s)
{
    assert_int_equal(pl_alloc_valid(), 1);
    assert_use_is_explained(s);
    assert_int_equal(page_difference(), usual_difference);
    assert_kept_unharmed();
    assert_result_is_whole();
    uint64_t use = in_use();
    exhaust(PL_TSAN ? 16384 : 1024);
    assert_int_equal(pl_alloc_valid(), 1);
    assert_int_equal(in_use(), use);
    assert_result_is_whole();
}

/* Gives everything back, and finds every chunk again. */
static void clean_up(void)
{
    told->n_kept = 0;
    each_block(free_unless_ballast);
    assert_int_equal(in_use(), plait_alloc_size(ballast));
    assert_int_equal(exhaust(CHUNK), SPARE);
    pl_alloc_leave();
    assert_int_equal(pl_alloc_valid(), 1);
    for (uint32_t c = 0; c < pl_arena->n_chunks; c++)
        assert_true(pl_state_is_spare(*pl_state_at(c)) || c < pl_arena->n_chunks - SPARE);
    pl_sweep(0);
}

/* --- one round --- */

static void reap_killed(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("the child ended with %#x instead of being killed", (unsigned)status);
}

static void prepare(const struct scenario *s)
{
    memset(told, 0, sizeof *told);
    if (s->tidy)
        pl_chunks_trim();
    if (s->parent)
        s->parent();
    if (s->pretend_full)
        pl_fetch_add_relaxed(&pl_arena->chunks_free, 100000u);
}

/* fork, and in the child a new worker whose failures are not taken for the parent's. */
static pid_t fork_worker(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    if (pl_self_enter() < 0)
        _exit(3);
    told->id = pl_self.id;
    return 0;
}

/* A child dies at step `k` of the operation, or at its end. False: at its end. */
static bool kill_one(const struct scenario *s, long k)
{
    prepare(s);
    pid_t pid = fork_worker();
    if (pid == 0) {
        if (s->setup)
            s->setup();
        told->before = in_use();
        arm(k);
        s->act();
        pl_step_hook = NULL;
        told->finished = true;
        die();
    }
    reap_killed(pid);
    if (s->pretend_full)
        pl_fetch_add_relaxed(&pl_arena->chunks_free, -100000u);
    return !told->finished;
}

/* A recoverer dies at step `j`. False: it finished first. Its id in *ret_id. */
static bool kill_recoverer(uint32_t dead, long j, uint32_t *ret_id)
{
    told->finished_recovering = false;
    pid_t pid = fork_worker();
    if (pid == 0) {
        arm(j);
        pl_alloc_recover(dead);
        pl_step_hook = NULL;
        told->finished_recovering = true;
        die();
    }
    reap_killed(pid);
    *ret_id = told->id;
    return !told->finished_recovering;
}

/* --- the ways a death is met --- */

static bool meet_and_recover_twice(const struct scenario *s, long k)
{
    bool killed = kill_one(s, k);
    pl_alloc_recover(told->id);
    pl_alloc_recover(told->id);
    assert_whole(s);
    pl_alloc_recover(told->id);
    assert_whole(s);
    clean_up();
    return killed;
}

static void meet_and_die_recovering(const struct scenario *s, long k)
{
    bool killed = true;
    for (long j = 1; killed; j += j < 20 || scale > 5 ? 1 : 7) {
        uint32_t recoverer;
        kill_one(s, k);
        uint32_t dead = told->id;
        killed = kill_recoverer(dead, j, &recoverer);
        pl_alloc_recover(j % 2 ? dead : recoverer);
        pl_alloc_recover(j % 2 ? recoverer : dead);
        assert_whole(s);
        clean_up();
        recoverer_pairs++;
    }
}

/* Several notice the death at the same moment. */
static void meet_by_three_at_once(const struct scenario *s, long k)
{
    pid_t pid[2];
    kill_one(s, k);
    uint32_t dead = told->id;
    for (int i = 0; i < 2; i++) {
        pid[i] = fork_worker();
        if (pid[i] == 0) {
            pl_alloc_recover(dead);
            die();
        }
    }
    pl_alloc_recover(dead);
    reap_killed(pid[0]);
    reap_killed(pid[1]);
    assert_whole(s);
    clean_up();
}

/* A survivor that does not know of the death yet frees the block the dead one was working on. */
static void meet_by_freeing_first(const struct scenario *s, long k)
{
    kill_one(s, k);
    int rc = plait_free(told->target);
    assert_true(rc == 0 || rc == PLAIT_EFREED || rc == PLAIT_EFOREIGN);
    assert_true(plait_free(told->target) < 0);
    pl_alloc_recover(told->id);
    pl_alloc_recover(told->id);
    assert_true(plait_free(told->target) < 0);
    assert_int_equal(pl_alloc_valid(), 1);
    assert_kept_unharmed();
    clean_up();
}

static void die_at_every_step(void **state)
{
    const struct scenario *s = *state;
    long k = 1, stride = PL_TSAN ? LONG_MAX : 10 / scale + 1;
    for (bool killed = true; killed; k++, pairs++) {
        killed = meet_and_recover_twice(s, k);
        meet_by_three_at_once(s, k);
        if (told->target)
            meet_by_freeing_first(s, k);
        if (k % stride == 0 || !killed)
            meet_and_die_recovering(s, k);
    }
    print_message("    %ld steps\n", k - 2);
}

/* --- the operations --- */

static void alloc_256(void)
{
    plait_alloc(256);
}

static void alloc_4096(void)
{
    plait_alloc(4096);
}

static void alloc_1_chunk(void)
{
    plait_alloc(CHUNK);
}

static void alloc_5_chunks(void)
{
    plait_alloc(5 * CHUNK);
}

static void alloc_all(void)
{
    plait_alloc((size_t)SPARE * CHUNK);
}

static void free_target(void)
{
    plait_free(told->target);
}

static void realloc_to_300(void)
{
    plait_realloc(told->target, 300);
}

static void realloc_to_2_chunks(void)
{
    plait_realloc(told->target, 2 * CHUNK);
}

static void realloc_to_6_chunks(void)
{
    plait_realloc(told->target, 6 * CHUNK);
}

static void keep_one_256(void)
{
    keep(256);
}

static void keep_a_word(void)
{
    for (int i = 0; i < 64; i++)
        keep(256);
}

static void keep_a_full_chunk_that_others_freed_from(void)
{
    for (int i = 0; i < 256; i++)
        keep(256);
    stranger_frees(3, 200, 50); /* in several words */
}

static void keep_a_ring(void)
{
    for (int i = 0; i < 16 * 4; i++)
        keep(4096);
    stranger_frees(0, 4, 2);   /* the first chunk has room */
    stranger_frees(16, 32, 1); /* the second is empty */
}

static void keep_without_owner(void)
{
    keep(256);
    keep(256);
    pl_alloc_leave();
}

/* A chunk without owner as a dead one left it: a block pending, another half collected. */
static void keep_without_repair(void)
{
    for (int i = 0; i < 4; i++)
        keep(256);
    struct pl_chunk *record = pl_record_at(pl_self.heap[pl_class_for(256)] - 1);
    stranger_frees(3, 4, 1);
    pl_alloc_leave();
    /* Leaving has collected block 3; it is marked freed as if the clearing had not come. */
    record->freed[0] = 1 << 3;
    record->pending = 5 + 1;
    record->avail[0] &= ~(UINT64_C(1) << 5);
}

static void target_256(void)
{
    aim_at(256, 256);
}

static void target_256_beside_others(void)
{
    keep(256);
    aim_at(256, 256);
}

static void target_last_of_a_chunk(void)
{
    aim_at(4096, 4096);
    for (int i = 0; i < 16; i++)
        keep(4096);
    uint32_t first = (uint32_t)((told->target - pl_chunk_at(0)) / CHUNK);
    for (int i = 0; i < 16; i++) {
        uint32_t chunk = (uint32_t)((told->kept[i].block - pl_chunk_at(0)) / CHUNK);
        if (chunk == first && plait_free(told->kept[i].block) == 0)
            told->kept[i].size = 0;
    }
}

static void target_1_chunk(void)
{
    aim_at(CHUNK, CHUNK);
}

static void target_2_chunks(void)
{
    aim_at(2 * CHUNK, 2 * CHUNK);
}

static void target_2_chunks_walled_in(void)
{
    aim_at(2 * CHUNK, 2 * CHUNK);
    keep(CHUNK);
}

static void target_3_chunks(void)
{
    aim_at(3 * CHUNK, 2 * CHUNK);
}

static void target_6_chunks(void)
{
    aim_at(6 * CHUNK, 2 * CHUNK);
}

static void target_6_chunks_to_cut_to_300(void)
{
    aim_at(6 * CHUNK, 300);
}

/* Leaves chunks without pages, then some with, then without. */
static void mix_pages(void)
{
    char *a = plait_alloc(4 * CHUNK), *b = plait_alloc(2 * CHUNK);
    memset(b, 0xee, 2 * CHUNK);
    plait_free(a);
    pl_chunks_trim();
    plait_free(b);
}

/* The kernel has no page from here on. */
static void end_of_pages(void)
{
    pl_memory_forget_populate();
    close(pl_arena_descriptor());
}

static void mix_pages_then_end_of_pages(void)
{
    mix_pages();
    end_of_pages();
}

static void target_2_chunks_then_end_of_pages(void)
{
    target_2_chunks();
    end_of_pages();
}

/* Chunks that only a search at the end of memory finds. */
static void hide_empty_chunks(void)
{
    for (int i = 0; i < 20; i++)
        keep(4096);
    pl_alloc_leave();
    stranger_frees(0, 20, 1); /* without owner, empty */
    for (int i = 20; i < 60; i++)
        keep(4096);
    stranger_frees(20, 60, 1); /* the child's own, emptied by others */
    for (int i = 60; i < 64; i++)
        keep(256);
    stranger_frees(60, 64, 1);
}

static void use_up(void)
{
    for (int i = 0; i < SPARE; i++)
        keep(CHUNK);
}

static void own_many_chunks(void)
{
    for (int i = 0; i < 40; i++)
        keep(4096);
    keep(64);
    keep(256);
    keep(CHUNK);
    stranger_frees(0, 32, 1);
    stranger_frees(40, 41, 1);
}

static const struct scenario scenarios[] = {
    {.name = "small, new chunk without pages", .act = alloc_256, .done = 256, .tidy = true},
    {.name = "small, new chunk with old content", .act = alloc_256, .done = 256},
    {.name = "small, current chunk", .setup = keep_one_256, .act = alloc_256, .done = 256},
    {.name = "small, next word of the current chunk",
     .setup = keep_a_word,
     .act = alloc_256,
     .done = 256},
    {.name = "small, collecting what others freed",
     .setup = keep_a_full_chunk_that_others_freed_from,
     .act = alloc_256,
     .done = 256},
    {.name = "small, from the ring, giving up an empty chunk",
     .setup = keep_a_ring,
     .act = alloc_4096,
     .done = 4096},
    {.name = "small, adopting", .setup = keep_without_owner, .act = alloc_256, .done = 256},
    {.name = "small, adopting and repairing",
     .setup = keep_without_repair,
     .act = alloc_256,
     .done = 256},
    {.name = "small, no memory", .setup = use_up, .act = alloc_256},
    {.name = "small, no pages", .setup = end_of_pages, .act = alloc_256, .tidy = true},
    {.name = "small, no pages but those that were kept",
     .setup = mix_pages_then_end_of_pages,
     .act = alloc_256,
     .done = 256,
     .tidy = true},
    {.name = "large, one chunk without pages", .act = alloc_1_chunk, .done = CHUNK, .tidy = true},
    {.name = "large, one chunk with old content", .act = alloc_1_chunk, .done = CHUNK},
    {.name = "large, five chunks without pages",
     .act = alloc_5_chunks,
     .done = 5 * CHUNK,
     .tidy = true},
    {.name = "large, five chunks, one with pages",
     .setup = mix_pages,
     .act = alloc_5_chunks,
     .done = 5 * CHUNK,
     .tidy = true},
    {.name = "large, no pages", .setup = end_of_pages, .act = alloc_5_chunks, .tidy = true},
    {.name = "large, after a search for empty chunks",
     .setup = hide_empty_chunks,
     .act = alloc_all,
     .done = SPARE * CHUNK},
    {.name = "free, own", .setup = target_256_beside_others, .act = free_target, .done = -256},
    {.name = "free, another's", .parent = target_256, .act = free_target, .done = -256},
    {.name = "free, last of a chunk",
     .setup = target_last_of_a_chunk,
     .act = free_target,
     .done = -4096},
    {.name = "free, last of a chunk, enough kept",
     .setup = target_last_of_a_chunk,
     .act = free_target,
     .done = -4096,
     .pretend_full = true},
    {.name = "free, one chunk", .setup = target_1_chunk, .act = free_target, .done = -CHUNK},
    {.name = "free, three chunks",
     .setup = target_3_chunks,
     .act = free_target,
     .done = -3 * CHUNK},
    {.name = "free, six chunks", .setup = target_6_chunks, .act = free_target, .done = -6 * CHUNK},
    {.name = "free, six chunks, enough kept",
     .setup = target_6_chunks,
     .act = free_target,
     .done = -6 * CHUNK,
     .pretend_full = true},
    {.name = "free, six chunks, another's",
     .parent = target_6_chunks,
     .act = free_target,
     .done = -6 * CHUNK},
    {.name = "resize, small to small",
     .setup = target_256_beside_others,
     .act = realloc_to_300,
     .done = 320 - 256,
     .half_way = 320},
    {.name = "resize, small to large",
     .setup = target_256_beside_others,
     .act = realloc_to_2_chunks,
     .done = 2 * CHUNK - 256,
     .half_way = 2 * CHUNK},
    {.name = "resize, large to small",
     .setup = target_6_chunks_to_cut_to_300,
     .act = realloc_to_300,
     .done = 320 - 6 * CHUNK,
     .half_way = 320},
    {.name = "resize, growing in place",
     .setup = target_2_chunks,
     .act = realloc_to_6_chunks,
     .done = 4 * CHUNK,
     .tidy = true},
    {.name = "resize, growing in place over old content",
     .setup = target_2_chunks,
     .act = realloc_to_6_chunks,
     .done = 4 * CHUNK},
    {.name = "resize, growing by moving",
     .setup = target_2_chunks_walled_in,
     .act = realloc_to_6_chunks,
     .done = 4 * CHUNK,
     .half_way = 6 * CHUNK},
    {.name = "resize, growing without pages",
     .setup = target_2_chunks_then_end_of_pages,
     .act = realloc_to_6_chunks,
     .tidy = true},
    {.name = "resize, cutting off one chunk",
     .setup = target_3_chunks,
     .act = realloc_to_2_chunks,
     .done = -CHUNK},
    {.name = "resize, cutting off four chunks",
     .setup = target_6_chunks,
     .act = realloc_to_2_chunks,
     .done = -4 * CHUNK},
    {.name = "resize, cutting off four chunks, enough kept",
     .setup = target_6_chunks,
     .act = realloc_to_2_chunks,
     .done = -4 * CHUNK,
     .pretend_full = true},
    {.name = "leaving", .setup = own_many_chunks, .act = pl_alloc_leave}};

enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

/* --- the tables grow: before the ballast, as it can happen only a few times --- */

static void alloc_past_the_tables(void)
{
    plait_alloc(((size_t)pl_chunks_ready(pl_arena) + 1) * CHUNK);
}

static const struct scenario growing = {.name = "growing", .act = alloc_past_the_tables};

static void die_while_the_tables_grow(void **state)
{
    (void)state;
    assert_int_equal(pl_self_enter(), 0);
    for (long k = 1; k <= 10; k++, pairs++) {
        kill_one(&growing, k);
        pl_alloc_recover(told->id);
        pl_alloc_recover(told->id);
        assert_int_equal(pl_alloc_valid(), 1);
        each_block(free_unless_ballast);
        assert_int_equal(in_use(), 0);
    }
}

static void put_ballast(void **state)
{
    (void)state;
    pl_alloc_leave();
    ballast = plait_alloc((size_t)(pl_arena->n_chunks - SPARE) * CHUNK);
    assert_ptr_equal(ballast, pl_chunk_at(0));
    char *rest = plait_alloc(SPARE * CHUNK); /* the tables cover everything from now on */
    assert_int_equal(plait_free(rest), 0);
    usual_difference = page_difference();
}

static void take_ballast_away(void **state)
{
    (void)state;
    assert_int_equal(plait_free(ballast), 0);
    assert_int_equal(in_use(), 0);
    print_message("    %ld (operation, step) pairs, %ld with the recoverer's death\n", pairs,
                  recoverer_pairs);
}

int main(void)
{
    struct CMUnitTest tests[SCENARIOS + 3];
    const char *times = getenv("PLAIT_TEST_SCALE");
    scale = times && atol(times) > 0 ? atol(times) : 1;
    setenv("PLAIT_ARENA_SIZE", "64M", 1);
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED)
        return 1;
    tests[0] = (struct CMUnitTest)cmocka_unit_test(die_while_the_tables_grow);
    tests[1] = (struct CMUnitTest)cmocka_unit_test(put_ballast);
    for (int i = 0; i < SCENARIOS; i++)
        tests[i + 2] = (struct CMUnitTest){.name = scenarios[i].name,
                                           .test_func = die_at_every_step,
                                           .initial_state = (void *)&scenarios[i]};
    tests[SCENARIOS + 2] = (struct CMUnitTest)cmocka_unit_test(take_ballast_away);
    return cmocka_run_group_tests_name("allocator, killed at every step", tests, NULL, NULL);
}
