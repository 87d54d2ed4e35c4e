/* The arena's allocator: a test per sentence of include/plait/arena.h, and each misuse. */
#include "arena/alloc.h"
#include "arena/arena.h"
#include "arena/chunk.h"
#include "arena/class.h"
#include "base/self.h"
#include "port/memory.h"

#include <plait/arena.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = PL_CHUNK_SIZE };

/* --- helpers --- */

static plait_arena_statistics stats(void)
{
    plait_arena_statistics s;
    assert_int_equal(plait_arena_stats(&s), 0);
    return s;
}

/* All but the padding behind the last field. */
static void assert_same(const plait_arena_statistics *a, const plait_arena_statistics *b)
{
    assert_memory_equal(a, b, offsetof(plait_arena_statistics, deaths) + sizeof a->deaths);
}

static void *must(void *block)
{
    assert_non_null(block);
    return block;
}

static bool is_zero(const void *block, size_t size)
{
    const unsigned char *bytes = block;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static void assert_valid(void)
{
    assert_int_equal(pl_alloc_valid(), 1);
}

/* Nothing in use, and the heap whole: how each test begins and ends. */
static int all_is_given_back(void **state)
{
    (void)state;
    plait_arena_statistics s = stats();
    return s.in_use == 0 && s.blocks == 0 && s.chunks_in_use == 0 && pl_alloc_valid() ? 0 : -1;
}

/* Runs `call(argument)` in a thread of its own and waits for it. */
static void *in_thread(void *(*call)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, call, argument), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    return result;
}

static void *free_it(void *block)
{
    return (void *)(intptr_t)plait_free(block);
}

static int free_in_thread(void *block)
{
    return (int)(intptr_t)in_thread(free_it, block);
}

/* Runs `call` in a forked child; its exit status. */
static int in_child(int (*call)(void *), void *argument)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(call(argument));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* --- before there is an arena --- */

static int ask_for_a_bad_size(void *text)
{
    setenv("PLAIT_ARENA_SIZE", text, 1);
    void *block = plait_alloc(1);
    return block == NULL && plait_last_error() == PLAIT_EINVAL ? 0 : 1;
}

static void without_an_arena_nothing_is_a_block(void **state)
{
    (void)state;
    int local;
    assert_null(pl_arena);
    assert_int_equal(plait_free(&local), PLAIT_EFOREIGN);
    assert_int_equal(plait_free(NULL), 0);
    assert_int_equal(plait_alloc_size(&local), 0);
    assert_int_equal(plait_is_shared(&local), 0);
    assert_null(plait_realloc(&local, 10));
    assert_int_equal(plait_last_error(), PLAIT_EFOREIGN);
    assert_null(plait_strdup(NULL));
    assert_int_equal(plait_last_error(), PLAIT_EINVAL);
    assert_int_equal(pl_alloc_valid(), 1);
    pl_alloc_leave();
    pl_alloc_recover(1);
    assert_null(pl_arena);
}

static void a_size_that_is_none_is_refused(void **state)
{
    (void)state;
    assert_int_equal(in_child(ask_for_a_bad_size, "plenty"), 0);
    assert_int_equal(in_child(ask_for_a_bad_size, "1"), 0);
    assert_int_equal(in_child(ask_for_a_bad_size, "64MM"), 0);
}

/* --- classes --- */

static void classes_hold_what_is_asked_at_most_a_quarter_more(void **state)
{
    (void)state;
    for (size_t size = 0; size <= PL_MOST_SMALL; size++) {
        unsigned class = pl_class_for(size);
        assert_true(class < PL_CLASSES && pl_classes[class].size >= size);
        assert_true(class == 0 || pl_classes[class - 1].size < size);
        if (size > 128)
            assert_true(pl_classes[class].size <= size + size / 4);
    }
    assert_int_equal(pl_classes[PL_CLASSES - 1].size, PL_MOST_SMALL);
}

static void the_block_of_an_offset_is_exact(void **state)
{
    (void)state;
    for (unsigned class = 0; class < PL_CLASSES; class ++) {
        const struct pl_class *c = &pl_classes[class];
        uint32_t bits = 0;
        assert_int_equal(c->size % 16, 0);
        assert_int_equal(c->blocks, CHUNK / c->size);
        for (uint32_t offset = 0; offset < CHUNK; offset += 16)
            assert_int_equal(pl_class_block(c, offset), offset / c->size);
        for (uint32_t w = 0; w < c->words; w++)
            bits += (uint32_t)__builtin_popcountll(pl_class_mask(c, w));
        assert_int_equal(bits, c->blocks);
    }
}

/* --- allocating --- */

static void blocks_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    enum { N = 500 };
    static unsigned char *block[N];
    static size_t size[N];
    for (int i = 0; i < N; i++) {
        size[i] = i < 300 ? (size_t)i * 7 : (size_t)i * i - 89000;
        block[i] = must(plait_alloc(size[i]));
        assert_int_equal((uintptr_t)block[i] % 16, 0);
        assert_true(plait_is_shared(block[i]));
        assert_true(plait_alloc_size(block[i]) >= size[i]);
        assert_true(is_zero(block[i], plait_alloc_size(block[i])));
        memset(block[i], i % 255 + 1, plait_alloc_size(block[i]));
    }
    for (int i = 0; i < N; i++) {
        for (size_t b = 0; b < plait_alloc_size(block[i]); b++)
            assert_int_equal(block[i][b], i % 255 + 1);
        assert_int_equal(plait_free(block[i]), 0);
    }
}

static void each_class_is_zeroed_when_used_again(void **state)
{
    (void)state;
    for (unsigned class = 0; class < PL_CLASSES; class ++) {
        size_t size = pl_classes[class].size;
        enum { N = 100 };
        void *block[N];
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < N; i++) {
                block[i] = must(plait_alloc(size));
                assert_int_equal(plait_alloc_size(block[i]), size);
                assert_true(is_zero(block[i], size));
                memset(block[i], 0xff, size);
            }
            for (int i = 0; i < N; i++)
                assert_int_equal(plait_free(block[i]), 0);
        }
    }
}

static void large_blocks_are_zeroed_when_used_again(void **state)
{
    (void)state;
    const size_t sizes[] = {PL_MOST_SMALL + 1, CHUNK, CHUNK + 1, 3 * CHUNK, 4 * CHUNK, 9 * CHUNK};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            void *block = must(plait_alloc(sizes[i]));
            assert_int_equal(plait_alloc_size(block), (sizes[i] + CHUNK - 1) / CHUNK * CHUNK);
            assert_true(is_zero(block, plait_alloc_size(block)));
            memset(block, 0xff, plait_alloc_size(block));
            assert_int_equal(plait_free(block), 0);
        }
    }
}

static void size_0_gives_a_distinct_smallest_block(void **state)
{
    (void)state;
    void *a = must(plait_alloc(0)), *b = must(plait_alloc(0)), *c = must(plait_calloc(0, 8));
    assert_true(a != b && b != c && a != c);
    assert_int_equal(plait_alloc_size(a), 16);
    assert_int_equal(plait_free(a), 0);
    assert_int_equal(plait_free(b), 0);
    assert_int_equal(plait_free(c), 0);
}

static void absurd_sizes_are_no_memory(void **state)
{
    (void)state;
    const size_t sizes[] = {SIZE_MAX,     SIZE_MAX - 65535,
                            SIZE_MAX / 2, (size_t)1 << 40,
                            64 << 20,     pl_arena->n_chunks * (size_t)CHUNK + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_null(plait_alloc(sizes[i]));
        assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
    }
    assert_null(plait_calloc(SIZE_MAX / 2, 3));
    assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
    assert_null(plait_calloc((size_t)1 << 32, (size_t)1 << 32));
    assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
}

static void calloc_and_strdup_fill(void **state)
{
    (void)state;
    int *numbers = must(plait_calloc(1000, sizeof *numbers));
    assert_true(is_zero(numbers, 1000 * sizeof *numbers));
    char *copy = must(plait_strdup("three strands"));
    assert_string_equal(copy, "three strands");
    assert_true(plait_is_shared(copy));
    char *empty = must(plait_strdup(""));
    assert_string_equal(empty, "");
    assert_int_equal(plait_free(numbers), 0);
    assert_int_equal(plait_free(copy), 0);
    assert_int_equal(plait_free(empty), 0);
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    errno = 12345;
    void *block = must(plait_alloc(300 * 1024));
    assert_null(plait_alloc(SIZE_MAX));
    block = must(plait_realloc(block, 100));
    plait_free(&block);
    plait_free(block);
    plait_free(block);
    assert_int_equal(errno, 12345);
}

/* --- freeing, and its misuse --- */

static void freeing_twice_is_told_wherever_it_happens(void **state)
{
    (void)state;
    void *keep = must(plait_alloc(64)); /* so that the chunk stays a slab */
    void *local = must(plait_alloc(64)), *remote = must(plait_alloc(64)),
         *mixed = must(plait_alloc(64));
    assert_int_equal(plait_free(local), 0);
    assert_int_equal(plait_free(local), PLAIT_EFREED);
    assert_int_equal(free_in_thread(local), PLAIT_EFREED);
    assert_int_equal(free_in_thread(remote), 0);
    assert_int_equal(free_in_thread(remote), PLAIT_EFREED);
    assert_int_equal(plait_free(remote), PLAIT_EFREED);
    assert_int_equal(free_in_thread(mixed), 0);
    assert_int_equal(plait_free(mixed), PLAIT_EFREED);
    assert_int_equal(stats().blocks, 1);
    assert_int_equal(plait_free(keep), 0);
    assert_int_equal(plait_free(keep), PLAIT_EFREED);
}

static void freeing_a_large_block_twice_is_told(void **state)
{
    (void)state;
    for (size_t chunks = 1; chunks < 8; chunks++) {
        void *block = must(plait_alloc(chunks * CHUNK));
        assert_int_equal(plait_free(block), 0);
        assert_int_equal(plait_free(block), PLAIT_EFREED);
        assert_int_equal(free_in_thread(block), PLAIT_EFREED);
    }
}

static void freeing_a_block_whose_chunk_is_gone_is_told(void **state)
{
    (void)state;
    enum { N = CHUNK / 1024 * 3 };
    void *block[N];
    for (int i = 0; i < N; i++)
        block[i] = must(plait_alloc(1024));
    for (int i = 0; i < N; i++)
        assert_int_equal(plait_free(block[i]), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(plait_free(block[i]), PLAIT_EFREED);
}

static void one_of_many_racing_frees_counts(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    void *result;
    const size_t sizes[] = {64, 2 * CHUNK, 6 * CHUNK};
    for (int round = 0; round < 300; round++) {
        void *block = must(plait_alloc(sizes[round % 3]));
        int freed = 0, told = 0;
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, free_it, block), 0);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(thread[i], &result);
            freed += (intptr_t)result == 0;
            told += (intptr_t)result == PLAIT_EFREED;
        }
        assert_int_equal(freed, 1);
        assert_int_equal(told, THREADS - 1);
    }
}

static void assert_foreign(const void *address)
{
    plait_arena_statistics before = stats(), after;
    assert_int_equal(plait_free((void *)address), PLAIT_EFOREIGN);
    assert_int_equal(plait_alloc_size(address), 0);
    assert_null(plait_realloc((void *)address, 100));
    assert_int_equal(plait_last_error(), PLAIT_EFOREIGN);
    after = stats();
    assert_same(&before, &after);
}

static void foreign_addresses_are_told(void **state)
{
    (void)state;
    static int in_data;
    int on_stack;
    void *on_heap = malloc(100);
    assert_foreign(&in_data);
    assert_foreign(&on_stack);
    assert_foreign(on_heap);
    assert_foreign((void *)(uintptr_t)foreign_addresses_are_told);
    assert_foreign((void *)1);
    assert_foreign((void *)UINTPTR_MAX);
    free(on_heap);
}

static void addresses_inside_the_arena_that_are_no_blocks_are_told(void **state)
{
    (void)state;
    char *base = (char *)pl_arena, *end = base + pl_arena->size;
    char *small = must(plait_alloc(100)), *large = must(plait_alloc(5 * CHUNK));
    char *slab = pl_chunk_at(0) + (small - pl_chunk_at(0)) / CHUNK * CHUNK;
    assert_foreign(base);
    assert_foreign(base + pl_arena->slots);
    assert_foreign(base + pl_arena->states);
    assert_foreign(base + pl_arena->records);
    assert_foreign(pl_chunk_at(0) - 1);
    assert_foreign(end - CHUNK);
    assert_foreign(end - 16);
    assert_foreign(end);
    assert_foreign(small + 1);
    assert_foreign(small + 16);
    assert_foreign(slab + CHUNK - 16); /* behind the last block: 65536 is no multiple of 112 */
    assert_foreign(large + 1);
    assert_foreign(large + 16);
    assert_foreign(large + CHUNK);
    assert_foreign(large + 5 * CHUNK - 16);
    assert_int_equal(plait_free(small), 0);
    assert_int_equal(plait_free(large), 0);
}

static void wild_addresses_never_fault(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252;
    plait_arena_statistics before = stats(), after;
    for (int i = 0; i < 1000000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uintptr_t wild = i % 2 ? x : (uintptr_t)pl_arena + x % (pl_arena->size + 4096);
        assert_true(plait_free((void *)(i % 4 ? wild : wild & ~(uintptr_t)0xfff)) < 0);
    }
    after = stats();
    assert_same(&before, &after);
}

/* --- resizing --- */

static void fill(unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        block[i] = (unsigned char)(i * 37 + i / 251 + 1);
}

static void assert_filled(const unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != (unsigned char)(i * 37 + i / 251 + 1))
            fail_msg("byte %zu of %zu is lost", i, size);
}

static unsigned char *resize_and_look(unsigned char *block, size_t both, size_t to)
{
    block = must(plait_realloc(block, to));
    size_t holds = plait_alloc_size(block);
    assert_true(holds >= to);
    assert_filled(block, both);
    assert_true(is_zero(block + both, holds - both));
    return block;
}

/* From one size to another, back, and there again: what both have is kept, what is new is zero. */
static void to_and_fro(size_t from, size_t to)
{
    size_t both = from < to ? from : to;
    unsigned char *block = must(plait_alloc(from));
    fill(block, from);
    block = resize_and_look(block, both, to);
    fill(block, to);
    block = resize_and_look(block, both, from);
    block = resize_and_look(block, both, to);
    assert_int_equal(stats().blocks, 1);
    assert_int_equal(plait_free(block), 0);
    assert_valid();
}

static void realloc_keeps_the_old_and_zeroes_the_new(void **state)
{
    (void)state;
    const size_t sizes[] = {0,         1,
                            15,        16,
                            17,        100,
                            105,       112,
                            113,       1000,
                            5000,      PL_MOST_SMALL,
                            CHUNK - 1, PL_MOST_SMALL + 1,
                            CHUNK,     CHUNK + 1,
                            3 * CHUNK, 3 * CHUNK - 5,
                            4 * CHUNK, 7 * CHUNK - 1};
    enum { N = sizeof sizes / sizeof sizes[0] };
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            to_and_fro(sizes[i], sizes[j]);
}

static void realloc_stays_in_place_where_it_fits(void **state)
{
    (void)state;
    void *small = must(plait_alloc(97));
    assert_ptr_equal(plait_realloc(small, 112), small);
    assert_ptr_equal(plait_realloc(small, 98), small);
    void *large = must(plait_alloc(8 * CHUNK));
    assert_ptr_equal(plait_realloc(large, 8 * CHUNK - 100), large);
    assert_ptr_equal(plait_realloc(large, 2 * CHUNK), large); /* gives the rest back */
    assert_int_equal(stats().in_use, 112 + 2 * CHUNK);
    assert_ptr_equal(plait_realloc(large, 6 * CHUNK), large); /* what follows is free again */
    assert_int_equal(plait_free(small), 0);
    assert_int_equal(plait_free(large), 0);
}

static void realloc_moves_when_its_place_is_taken(void **state)
{
    (void)state;
    unsigned char *a = must(plait_alloc(2 * CHUNK)), *b = must(plait_alloc(2 * CHUNK));
    fill(a, 2 * CHUNK);
    unsigned char *moved = must(plait_realloc(a, 3 * CHUNK));
    assert_ptr_not_equal(moved, a);
    assert_filled(moved, 2 * CHUNK);
    assert_int_equal(plait_free(a), PLAIT_EFREED);
    assert_int_equal(plait_free(b), 0);
    assert_int_equal(plait_free(moved), 0);
}

static void realloc_of_null_and_to_0(void **state)
{
    (void)state;
    void *block = must(plait_realloc(NULL, 50));
    assert_int_equal(plait_alloc_size(block), 64);
    block = must(plait_realloc(block, 0));
    assert_int_equal(plait_alloc_size(block), 16);
    void *smallest = must(plait_realloc(NULL, 0));
    assert_int_equal(plait_free(block), 0);
    assert_int_equal(plait_free(smallest), 0);
}

static void a_refused_realloc_changes_nothing(void **state)
{
    (void)state;
    const size_t sizes[] = {100, 3 * CHUNK};
    for (int i = 0; i < 2; i++) {
        unsigned char *block = must(plait_alloc(sizes[i]));
        fill(block, sizes[i]);
        assert_null(plait_realloc(block, (size_t)1 << 40));
        assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
        assert_null(plait_realloc(block, SIZE_MAX));
        assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
        assert_filled(block, sizes[i]);
        assert_int_equal(plait_free(block), 0);
        assert_null(plait_realloc(block, 10));
        assert_int_equal(plait_last_error(), PLAIT_EFREED);
    }
}

/* --- the end of memory --- */

/* Allocates `size` until there is no more, chaining the blocks. How many. */
static size_t exhaust(size_t size, void **chain)
{
    size_t n = 0;
    void **block;
    while ((block = plait_alloc(size))) {
        assert_true(is_zero(block, size));
        *block = *chain;
        *chain = block;
        n++;
    }
    assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
    return n;
}

static void free_chain(void *chain)
{
    while (chain) {
        void *next = *(void **)chain;
        assert_int_equal(plait_free(chain), 0);
        chain = next;
    }
}

static void a_full_arena_is_no_memory_and_usable_after(void **state)
{
    (void)state;
    const size_t sizes[] = {16, 64, 1024, PL_MOST_SMALL, CHUNK, 5 * CHUNK};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *chain = NULL;
        size_t n = exhaust(sizes[i], &chain), per_chunk = CHUNK / sizes[i];
        size_t chunks = pl_arena->n_chunks;
        assert_int_equal(n, per_chunk ? chunks * per_chunk : chunks / (sizes[i] / CHUNK));
        assert_int_equal(stats().blocks, n);
        assert_valid();
        assert_null(plait_alloc(PL_MOST_SMALL + 1 + (sizes[i] > CHUNK ? 4 * CHUNK : 0)));
        free_chain(chain);
        assert_int_equal(stats().in_use, 0);
    }
}

static void one_freed_block_is_enough_for_one_more(void **state)
{
    (void)state;
    void *chain = NULL;
    exhaust(CHUNK, &chain);
    void *last = chain;
    chain = *(void **)chain;
    assert_int_equal(plait_free(last), 0);
    assert_ptr_equal(plait_alloc(CHUNK), last);
    assert_null(plait_alloc(1));
    assert_int_equal(plait_free(last), 0);
    free_chain(chain);
}

static void *exhaust_in_thread(void *chain)
{
    return (void *)(exhaust(512, chain));
}

static void what_an_ended_thread_held_serves_others(void **state)
{
    (void)state;
    void *chain = NULL;
    size_t n = (size_t)in_thread(exhaust_in_thread, &chain);
    assert_int_equal(stats().chunks_owned, 0);
    assert_int_equal(n, pl_arena->n_chunks * (size_t)(CHUNK / 512));
    /* Every other block: no chunk is empty, so only adoption can help the same class. */
    void *keep = NULL;
    for (size_t i = 0; chain; i++) {
        void *next = *(void **)chain;
        if (i % 2) {
            assert_int_equal(plait_free(chain), 0);
        } else {
            *(void **)chain = keep;
            keep = chain;
        }
        chain = next;
    }
    assert_null(plait_alloc(CHUNK));
    assert_int_equal(exhaust(512, &keep), n / 2);
    assert_valid();
    free_chain(keep);
}

static void what_others_emptied_is_found_at_the_end(void **state)
{
    (void)state;
    void *chain = NULL;
    exhaust(256, &chain);
    while (chain) { /* all by a stranger: the owner has not heard of it */
        void *next = *(void **)chain;
        uint32_t me = pl_self.id;
        pl_self.id = 0;
        int rc = plait_free(chain);
        pl_self.id = me;
        assert_int_equal(rc, 0);
        chain = next;
    }
    assert_int_equal(stats().in_use, 0);
    void *all = must(plait_alloc(((size_t)pl_arena->n_chunks - 1) * CHUNK));
    assert_int_equal(plait_free(all), 0);
}

/* No page can be had when the kernel must use the descriptor and the program has closed it. */
static void without_pages_it_is_no_memory_and_nothing_changes(void **state)
{
    (void)state;
    void *warm = must(plait_alloc(CHUNK));
    assert_int_equal(plait_free(warm), 0); /* this chunk keeps its pages */
    int fd = pl_arena_descriptor(), kept = dup(fd);
    pl_memory_forget_populate();
    close(fd);
    plait_arena_statistics before = stats();
    void *small = must(plait_alloc(100));
    assert_null(plait_alloc(20 * CHUNK));
    assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
    assert_null(plait_alloc(4000));
    assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
    assert_valid();
    assert_int_equal(stats().in_use, before.in_use + 112);
    assert_int_equal(dup2(kept, fd), fd);
    close(kept);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    void *large = must(plait_alloc(20 * CHUNK));
    assert_true(is_zero(large, 20 * CHUNK));
    assert_int_equal(plait_free(large), 0);
    assert_int_equal(plait_free(small), 0);
}

/* --- pages, statistics --- */

static uint64_t pages_of_the_arena(void)
{
    struct stat st;
    assert_int_equal(fstat(pl_arena_descriptor(), &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void a_large_block_gives_its_pages_back(void **state)
{
    (void)state;
    pl_alloc_leave();
    pl_chunks_trim();
    uint64_t backed = stats().backed, pages = pages_of_the_arena(), size = 16 << 20;
    void *block = must(plait_alloc(size));
    assert_int_equal(stats().backed, backed + size);
    assert_true(pages_of_the_arena() >= pages + size);
    assert_int_equal(plait_free(block), 0);
    assert_int_equal(stats().backed, backed);
    assert_true(pages_of_the_arena() < pages + size / 4);
}

static void what_is_backed_is_what_the_kernel_counts(void **state)
{
    (void)state;
    void *block[20];
    for (int i = 0; i < 20; i++)
        block[i] = must(plait_alloc((size_t)1 << i));
    uint64_t pages = pages_of_the_arena(), backed = stats().backed;
    assert_true(pages <= backed + 16 * 4096 && backed <= pages + 16 * 4096);
    for (int i = 0; i < 20; i++)
        assert_int_equal(plait_free(block[i]), 0);
}

static void many_empty_chunks_are_not_kept(void **state)
{
    (void)state;
    void *chain = NULL;
    exhaust(4096, &chain);
    uint64_t full = stats().backed;
    free_chain(chain);
    assert_true(stats().backed + full / 3 < full);
}

static void a_worker_keeps_one_empty_chunk_of_a_class(void **state)
{
    (void)state;
    enum { N = 10 * CHUNK / 1024 };
    void *block[N];
    for (int i = 0; i < N; i++)
        block[i] = must(plait_alloc(1024));
    assert_int_equal(stats().chunks_in_use, 10);
    assert_int_equal(stats().chunks_owned, 10);
    for (int i = 0; i < N; i++)
        assert_int_equal(plait_free(block[i]), 0);
    int slabs = 0;
    for (uint32_t i = 0; i < pl_arena->chunks_ready; i++)
        slabs += *pl_state_at(i) == pl_state(PL_CHUNK_SLAB, pl_class_for(1024), 0, pl_self.id);
    assert_int_equal(slabs, 1);
}

static void statistics_are_exact(void **state)
{
    (void)state;
    assert_int_equal(plait_arena_stats(NULL), PLAIT_EINVAL);
    plait_arena_statistics s = stats();
    assert_int_equal(s.address, (uintptr_t)pl_arena);
    assert_int_equal(s.size, 64 << 20);
    assert_int_equal(s.workers_most, pl_arena->n_slots);
    void *a = must(plait_alloc(100)), *b = must(plait_alloc(100)),
         *c = must(plait_alloc(3 * CHUNK));
    s = stats();
    assert_int_equal(s.in_use, 112 + 112 + 3 * CHUNK);
    assert_int_equal(s.blocks, 3);
    assert_int_equal(s.chunks_in_use, 4);
    assert_int_equal(s.chunks_owned, 1);
    assert_int_equal(free_in_thread(a), 0);
    s = stats();
    assert_int_equal(s.in_use, 112 + 3 * CHUNK);
    assert_int_equal(s.blocks, 2);
    assert_int_equal(plait_free(b), 0);
    assert_int_equal(plait_free(c), 0);
    void *most = must(plait_alloc(stats().largest_free));
    assert_true(stats().largest_free < PL_MOST_SMALL + CHUNK * (size_t)pl_arena->n_chunks / 2);
    assert_int_equal(plait_free(most), 0);
}

static void is_shared_tells_the_arena(void **state)
{
    (void)state;
    char *base = (char *)pl_arena;
    int local;
    assert_int_equal(plait_is_shared(base), 1);
    assert_int_equal(plait_is_shared(base + pl_arena->size - 1), 1);
    assert_int_equal(plait_is_shared(base + pl_arena->size), 0);
    assert_int_equal(plait_is_shared(base - 1), 0);
    assert_int_equal(plait_is_shared(&local), 0);
    assert_int_equal(plait_is_shared(NULL), 0);
}

/* --- processes --- */

static int write_and_allocate(void *shared)
{
    void **slot = shared;
    memset(slot[0], 7, 100);
    slot[1] = plait_alloc(100);
    if (!slot[1])
        return 1;
    memset(slot[1], 8, 100);
    return plait_free(slot[2]) == 0 ? 0 : 2;
}

static void processes_share_blocks_both_ways(void **state)
{
    (void)state;
    unsigned char **slot = must(plait_calloc(3, sizeof *slot));
    slot[0] = must(plait_alloc(100));
    slot[2] = must(plait_alloc(100));
    assert_int_equal(in_child(write_and_allocate, slot), 0);
    for (int i = 0; i < 100; i++)
        assert_true(slot[0][i] == 7 && slot[1][i] == 8);
    assert_int_equal(plait_free(slot[2]), PLAIT_EFREED);
    assert_int_equal(plait_free(slot[0]), 0);
    assert_int_equal(plait_free(slot[1]), 0);
    assert_int_equal(plait_free(slot), 0);
}

static int allocate_and_die(void *shared)
{
    uint32_t *id = shared;
    for (int i = 0; i < 100; i++)
        if (!plait_alloc(1000))
            return 1;
    *id = pl_self.id;
    kill(getpid(), SIGKILL);
    return 2;
}

static void what_a_dead_process_held_serves_others(void **state)
{
    (void)state;
    pl_alloc_leave(); /* no chunk of its own to prefer */
    uint32_t *id = must(plait_alloc(sizeof *id));
    assert_int_equal(in_child(allocate_and_die, id), 1000 + SIGKILL);
    pl_alloc_recover(*id);
    pl_alloc_recover(*id);
    assert_valid();
    plait_arena_statistics s = stats();
    assert_int_equal(s.blocks, 101); /* its blocks stay: others may know them */
    assert_int_equal(s.chunks_owned, 1);
    uint32_t adopted = stats().chunks_in_use;
    void *mine = must(plait_alloc(1000));
    assert_int_equal(stats().chunks_in_use, adopted); /* from a chunk of the dead one */
    assert_int_equal(stats().chunks_owned, 2);
    assert_int_equal(plait_free(mine), 0);
    for (uint32_t c = 0; c < pl_arena->chunks_ready; c++)
        if (pl_state_kind(*pl_state_at(c)) == PL_CHUNK_SLAB &&
            pl_state_detail(*pl_state_at(c)) == pl_class_for(1000))
            for (uint32_t b = 0; b < 64; b++)
                plait_free(pl_chunk_at(c) + b * pl_classes[pl_class_for(1000)].size);
    assert_int_equal(plait_free(id), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, all_is_given_back, all_is_given_back)

int main(void)
{
    const struct CMUnitTest before[] = {
        cmocka_unit_test(without_an_arena_nothing_is_a_block),
        cmocka_unit_test(a_size_that_is_none_is_refused),
        cmocka_unit_test(classes_hold_what_is_asked_at_most_a_quarter_more),
        cmocka_unit_test(the_block_of_an_offset_is_exact),
    };
    const struct CMUnitTest tests[] = {
        TEST(blocks_are_zeroed_aligned_and_apart),
        TEST(each_class_is_zeroed_when_used_again),
        TEST(large_blocks_are_zeroed_when_used_again),
        TEST(size_0_gives_a_distinct_smallest_block),
        TEST(absurd_sizes_are_no_memory),
        TEST(calloc_and_strdup_fill),
        TEST(errno_is_left_alone),
        TEST(freeing_twice_is_told_wherever_it_happens),
        TEST(freeing_a_large_block_twice_is_told),
        TEST(freeing_a_block_whose_chunk_is_gone_is_told),
        TEST(one_of_many_racing_frees_counts),
        TEST(foreign_addresses_are_told),
        TEST(addresses_inside_the_arena_that_are_no_blocks_are_told),
        TEST(wild_addresses_never_fault),
        TEST(realloc_keeps_the_old_and_zeroes_the_new),
        TEST(realloc_stays_in_place_where_it_fits),
        TEST(realloc_moves_when_its_place_is_taken),
        TEST(realloc_of_null_and_to_0),
        TEST(a_refused_realloc_changes_nothing),
        TEST(a_full_arena_is_no_memory_and_usable_after),
        TEST(one_freed_block_is_enough_for_one_more),
        TEST(what_an_ended_thread_held_serves_others),
        TEST(what_others_emptied_is_found_at_the_end),
        TEST(a_large_block_gives_its_pages_back),
        TEST(what_is_backed_is_what_the_kernel_counts),
        TEST(many_empty_chunks_are_not_kept),
        TEST(a_worker_keeps_one_empty_chunk_of_a_class),
        TEST(statistics_are_exact),
        TEST(is_shared_tells_the_arena),
        TEST(processes_share_blocks_both_ways),
        TEST(what_a_dead_process_held_serves_others),
        TEST(without_pages_it_is_no_memory_and_nothing_changes),
    };
    int failed = cmocka_run_group_tests_name("before the arena", before, NULL, NULL);
    setenv("PLAIT_ARENA_SIZE", "64M", 1);
    return failed + cmocka_run_group_tests_name("allocator", tests, NULL, NULL);
}
