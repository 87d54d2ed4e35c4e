/* The arena's mapping: made on first use, at one address, in every process; and what is said where it
 * cannot be had. The allocator in it has its own test. */
#include "arena/arena.h"
#include "base/self.h"
#include "harness.h"
#include "park/park.h"
#include "port/memory.h"
#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* Where an arena may lie, in the order in which they are tried. */
static const uintptr_t places[] = {0x2000000000, 0x4000000000, 0x6000000000, 0x200000000000,
                                   0x300000000000};
enum { PLACES = sizeof places / sizeof places[0], CANNOT = 77 };

/* Each test runs in a child of its own, which has no arena yet. */
#define FRESH(fn)                                                                                  \
    {                                                                                              \
#fn, in_fresh_process, NULL, NULL, (void *)(uintptr_t)(fn)                                 \
    }

static void in_fresh_process(void **fn)
{
    assert_null(pl_arena);
    int status = t_in_fork((plait_function *)(uintptr_t)*fn, NULL);
    if (status == CANNOT)
        skip();
    assert_int_equal(status, 0);
}

static plait_arena_statistics stats(void)
{
    plait_arena_statistics s;
    CHECK_RC(plait_arena_stats(&s), 0);
    return s;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

/* A round of everything that needs the arena. */
static void expect_all_to_work(void)
{
    char *text = plait_strdup("text");
    CHECK(text != NULL && strcmp(text, "text") == 0);
    CHECK_RC(plait_free(text), 0);
    void *large = plait_alloc(3 * MIB);
    CHECK(large != NULL);
    memset(large, 1, 3 * MIB);
    CHECK_RC(plait_free(large), 0);
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, give_back, (void *)7)), 7);
}

/* Every call that needs the arena says `expected`, and says it again. errno is left alone. */
static void expect_all_to_say(int expected)
{
    for (int i = 0; i < 2; i++) {
        plait_worker w = {12, 34};
        plait_event event = {0};
        plait_arena_statistics s;
        errno = EXDEV;
        CHECK_RC(plait_init(NULL, NULL), expected);
        CHECK_RC(plait_arena_stats(&s), expected);
        CHECK(plait_alloc(10) == NULL);
        CHECK_RC(plait_last_error(), expected);
        CHECK(plait_strdup("x") == NULL);
        CHECK_RC(plait_last_error(), expected);
        FOR_EACH_KIND(kind)
        CHECK_RC(plait_start(&w, kind, give_back, NULL, NULL), expected);
        CHECK(w.slot == 12 && w.generation == 34);
        CHECK_RC(plait_event_wait(&event, plait_ms(1)), expected);
        CHECK_RC(plait_set_name("name"), expected);
        CHECK_RC(plait_children(NULL, 0), expected);
        CHECK_RC(plait_enumerate(NULL, 0), expected);
        CHECK_EQ(plait_self().slot, 0);
        CHECK_EQ(errno, EXDEV);
        CHECK(pl_arena == NULL);
        CHECK_EQ(pl_arena_descriptor(), -1);
    }
}

/* --- size and place --- */

static int made_on_first_use_where_and_as_large_as_said(void *unused)
{
    (void)unused;
    int local = 0;
    CHECK_EQ(plait_is_shared(&local), 0);
    CHECK_EQ(plait_is_shared(NULL), 0);
    CHECK_EQ(plait_is_shared((void *)places[0]), 0);
    CHECK(pl_arena == NULL);
    CHECK_EQ(pl_arena_descriptor(), -1);
    errno = EXDEV;
    CHECK_RC(plait_init(NULL, NULL), 0);
    CHECK_EQ(errno, EXDEV);
    plait_arena_statistics s = stats();
    CHECK_EQ(s.size, 64 * GIB);
    CHECK_EQ(s.address, (uintptr_t)pl_arena);
    bool known = false;
    for (int i = 0; i < PLACES; i++)
        known |= s.address == places[i];
    CHECK(known);
    if (!t_is_sanitized())
        CHECK_EQ(s.address, places[0]);
    CHECK(s.backed < MIB);
    return 0;
}

static int shared_is_what_lies_in_it(void *unused)
{
    (void)unused;
    int local;
    char *block = plait_alloc(100);
    plait_arena_statistics s = stats();
    CHECK_EQ(plait_is_shared(block), 1);
    CHECK_EQ(plait_is_shared(block + 99), 1);
    CHECK_EQ(plait_is_shared(&local), 0);
    CHECK_EQ(plait_is_shared(NULL), 0);
    CHECK_EQ(plait_is_shared((void *)(uintptr_t)s.address), 1);
    CHECK_EQ(plait_is_shared((void *)(uintptr_t)(s.address + s.size - 1)), 1);
    CHECK_EQ(plait_is_shared((void *)(uintptr_t)(s.address + s.size)), 0);
    CHECK_EQ(plait_is_shared((void *)(uintptr_t)(s.address - 1)), 0);
    return 0;
}

struct wish {
    const char *text;
    uint64_t size; /* 0: refused */
};

static int have_size(void *wish)
{
    const struct wish *w = wish;
    setenv("PLAIT_ARENA_SIZE", w->text, 1);
    if (w->size == 0) {
        expect_all_to_say(PLAIT_EINVAL);
        unsetenv("PLAIT_ARENA_SIZE");
        CHECK_RC(plait_init(NULL, NULL), 0); /* the refusal is not for ever */
        return 0;
    }
    CHECK_RC(plait_init(NULL, NULL), 0);
    CHECK_EQ(stats().size, w->size);
    expect_all_to_work();
    return 0;
}

static int a_size_that_is_asked_for_is_had_exactly(void *unused)
{
    (void)unused;
    struct wish wishes[] = {
        {"64M", 64 * MIB},      {"512M", 512 * MIB},         {"8G", 8 * GIB},
        {"64G", 64 * GIB},      {"65536K", 64 * MIB},        {"67108864", 64 * MIB},
        {"1073741824", GIB},    {"0100M", 100 * MIB},        {"68719476736", 64 * GIB},
        {"67108865", 64 * MIB}, {"100000000", 1525 * 65536},
    };
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++)
        CHECK_EQ(t_in_fork(have_size, &wishes[i]), 0);
    return 0;
}

static int a_size_that_is_none_is_einval(void *unused)
{
    (void)unused;
    const char *texts[] = {
        "plenty",
        "0",
        "1",
        "63M",
        "67108863",
        "65G",
        "1T",
        "70000M",
        "-1",
        "-64M",
        "+64M",
        " 64M",
        "64M ",
        "64 M",
        "64MB",
        "64m",
        "64X",
        "M",
        "6.4G",
        "0x4000000",
        "64MM",
        "1e9",
        "9999999999999999999999",
        "18446744073709551615",
        "18446744073709551616G",
        "17592186044416M",
        "281474976710657G",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct wish wish = {texts[i], 0};
        CHECK_EQ(t_in_fork(have_size, &wish), 0);
    }
    return 0;
}

static int an_empty_wish_is_none(void *unused)
{
    (void)unused;
    setenv("PLAIT_ARENA_SIZE", "", 1);
    CHECK_EQ(stats().size, 64 * GIB);
    return 0;
}

/* --- limits --- */

static void limit(int which, uint64_t most)
{
    struct rlimit now;
    CHECK_EQ(getrlimit(which, &now), 0);
    now.rlim_cur = most;
    CHECK_EQ(setrlimit(which, &now), 0);
}

static int smaller_sizes_are_tried_where_address_space_is_short(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return CANNOT;
    limit(RLIMIT_AS, 3 * GIB);
    CHECK_EQ(stats().size, 2 * GIB);
    expect_all_to_work();
    return 0;
}

static int without_address_space_there_is_no_arena(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return CANNOT;
    limit(RLIMIT_AS, 60 * MIB);
    expect_all_to_say(PLAIT_EARENA);
    limit(RLIMIT_AS, RLIM_INFINITY);
    expect_all_to_work(); /* it was not for ever */
    return 0;
}

static int a_wish_is_not_replaced_by_less(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return CANNOT;
    setenv("PLAIT_ARENA_SIZE", "8G", 1);
    limit(RLIMIT_AS, 3 * GIB);
    expect_all_to_say(PLAIT_EARENA);
    return 0;
}

static int a_limit_on_file_sizes_raises_no_signal(void *unused)
{
    (void)unused;
    limit(RLIMIT_FSIZE, 100 * MIB);
    CHECK_EQ(stats().size, 64 * MIB);
    expect_all_to_work();
    return 0;
}

static int a_small_limit_on_file_sizes_is_earena(void *unused)
{
    (void)unused;
    limit(RLIMIT_FSIZE, MIB);
    expect_all_to_say(PLAIT_EARENA);
    return 0;
}

/* From now on this system call answers `error`. False: the kernel has no filters. */
static bool refuse(int call, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int refuse_memfd(void *error)
{
    if (!refuse(SYS_memfd_create, (int)(intptr_t)error))
        return CANNOT;
    expect_all_to_say(PLAIT_EARENA);
    return 0;
}

static int memfd_that_is_refused_is_earena(void *unused)
{
    (void)unused;
    const int errors[] = {EPERM, ENOSYS, EINVAL, ENOMEM, ENFILE};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        int status = t_in_fork(refuse_memfd, (void *)(intptr_t)errors[i]);
        if (status)
            return status;
    }
    return 0;
}

static int a_file_that_cannot_grow_is_earena(void *unused)
{
    (void)unused;
    if (!refuse(SYS_ftruncate, EFBIG))
        return CANNOT;
    int files = t_open_files();
    expect_all_to_say(PLAIT_EARENA);
    CHECK_EQ(t_open_files(), files);
    return 0;
}

/* --- places that are taken --- */

/* Makes one page at `place + offset` the program's own. */
static void take(uintptr_t place, uint64_t offset)
{
    void *at = (void *)(place + offset);
    void *got = mmap(at, 4096, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(got == at);
}

static int a_taken_place_is_left_for_the_next(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return CANNOT;
    take(places[0], 0);
    take(places[1], 64 * GIB - 4096);
    take(places[2], 10 * GIB);
    CHECK_EQ(stats().address, places[3]);
    CHECK_EQ(stats().size, 64 * GIB);
    expect_all_to_work();
    return 0;
}

static int a_place_that_is_taken_half_way_serves_a_smaller_arena(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return CANNOT;
    for (int i = 0; i < PLACES; i++)
        take(places[i], 3 * GIB + (uint64_t)i * MIB);
    CHECK_EQ(stats().size, 2 * GIB);
    CHECK_EQ(stats().address, places[0]);
    expect_all_to_work();
    return 0;
}

static int without_any_place_there_is_no_arena(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return CANNOT;
    for (int i = 0; i < PLACES; i++)
        take(places[i], 0);
    int files = t_open_files();
    expect_all_to_say(PLAIT_EARENA);
    CHECK_EQ(t_open_files(), files);
    CHECK_EQ(munmap((void *)places[4], 4096), 0);
    CHECK_EQ(stats().address, places[4]);
    expect_all_to_work();
    return 0;
}

/* --- its descriptor --- */

static int the_descriptor_is_closed_by_execution(void *unused)
{
    (void)unused;
    stats();
    int fd = pl_arena_descriptor();
    CHECK(fd > 2);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    return 0;
}

static int it_grows_with_all_descriptors_closed(void *unused)
{
    (void)unused;
    char *early = plait_strdup("early");
    CHECK_EQ(close_range(3, ~0u, 0), 0);
    CHECK_EQ(pl_arena_descriptor(), -1);
    char *late = plait_alloc(50 * MIB);
    CHECK(late != NULL);
    memset(late, 1, 50 * MIB);
    CHECK(strcmp(early, "early") == 0);
    for (int i = 0; i < 200; i++) /* the worker table grows, too */
        CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, give_back, (void *)7)), 7);
    expect_all_to_work();
    return 0;
}

static int it_grows_on_a_kernel_that_cannot_populate(void *unused)
{
    (void)unused;
    pl_memory_forget_populate();
    expect_all_to_work();
    plait_arena_statistics before = stats();
    char *late = plait_alloc(50 * MIB);
    CHECK(late != NULL);
    CHECK(stats().backed >= before.backed + 50 * MIB);
    struct stat file;
    CHECK_EQ(fstat(pl_arena_descriptor(), &file), 0);
    CHECK(file.st_blocks * 512 >= 50 * (int64_t)MIB); /* the pages are there before the touch */
    memset(late, 1, 50 * MIB);
    return 0;
}

static int a_kernel_that_cannot_populate_is_found_out(void *unused)
{
    (void)unused;
    if (!refuse(SYS_madvise, EINVAL))
        return CANNOT;
    expect_all_to_work();
    return 0;
}

/* Then there is no way to reserve pages, and that is said. */
static int without_descriptor_and_populate_growing_is_enomem(void *unused)
{
    (void)unused;
    char *early = plait_strdup("early");
    pl_memory_forget_populate();
    CHECK_EQ(close_range(3, ~0u, 0), 0);
    errno = EXDEV;
    CHECK(plait_alloc(10 * MIB) == NULL);
    CHECK_RC(plait_last_error(), PLAIT_ENOMEM);
    CHECK_EQ(errno, EXDEV);
    CHECK(strcmp(early, "early") == 0);
    CHECK_RC(plait_free(early), 0);
    return 0;
}

/* The number of its descriptor is something else's by now: hands off. */
static int another_file_with_its_number_is_left_alone(void *unused)
{
    (void)unused;
    stats();
    int fd = pl_arena_descriptor();
    char path[] = "/tmp/plait-arena-XXXXXX";
    int file = mkstemp(path);
    unlink(path);
    CHECK_EQ(dup2(file, fd), fd);
    CHECK_EQ(pl_arena_descriptor(), -1);
    pl_memory_forget_populate();
    CHECK(plait_alloc(10 * MIB) == NULL);
    struct stat st;
    CHECK_EQ(fstat(file, &st), 0);
    CHECK_EQ(st.st_size, 0);
    return 0;
}

static int other_arenas_descriptors_are_told_apart(void *unused)
{
    (void)unused;
    stats();
    int fd = pl_arena_descriptor();
    int other = pl_memory_file(64 * MIB);
    CHECK(other >= 0);
    CHECK_EQ(dup2(other, fd), fd);
    CHECK_EQ(pl_arena_descriptor(), -1);
    return 0;
}

/* --- other processes --- */

static int write_into(void *text)
{
    CHECK(strcmp(text, "from the parent") == 0);
    strcpy(text, "from the child");
    return 0;
}

static int forked_children_have_it_at_the_same_place(void *unused)
{
    (void)unused;
    char *text = plait_strdup("from the parent");
    CHECK_EQ(t_in_fork(write_into, text), 0);
    CHECK(strcmp(text, "from the child") == 0);
    return 0;
}

struct letter {
    plait_event read, written;
    plait_worker parent, child;
    char text[40];
    struct letter *self;
};

/* The program, executed anew by a process that has an arena. */
static int attach(int fd, struct letter *letter)
{
    CHECK_RC(pl_arena_attach(fd), 0);
    CHECK(letter->self == letter);
    CHECK(strcmp(letter->text, "from the parent") == 0);
    CHECK_EQ(pl_arena_descriptor(), fd);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_RC(pl_arena_attach(fd), PLAIT_EARENA); /* one is enough */
    letter->child = plait_self();
    CHECK(!plait_same(letter->child, letter->parent));
    CHECK_EQ(plait_is_alive(letter->parent), 1);
    CHECK_EQ(plait_pid(letter->parent), getppid());
    strcpy(letter->text, "from the child");
    CHECK_RC(plait_event_set(&letter->written), 0);
    CHECK_RC(plait_event_wait(&letter->read, plait_seconds(20)), 0);
    char *more = plait_strdup("more");
    CHECK(more != NULL);
    CHECK_RC(plait_free(more), 0);
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, give_back, (void *)7)), 7);
    return 0;
}

static int execute_self(void *letter)
{
    char fd_text[12], address[20];
    int fd = pl_arena_descriptor();
    snprintf(fd_text, sizeof fd_text, "%d", fd);
    snprintf(address, sizeof address, "%p", letter);
    fcntl(fd, F_SETFD, 0);
    execl("/proc/self/exe", "arena_test", "attach", fd_text, address, NULL);
    return 1;
}

static int a_process_executed_anew_attaches(void *unused)
{
    (void)unused;
    struct letter *letter = plait_alloc(sizeof *letter);
    letter->self = letter;
    letter->parent = plait_self();
    strcpy(letter->text, "from the parent");
    pid_t child = t_fork(execute_self, letter);
    CHECK_RC(plait_event_wait(&letter->written, plait_seconds(20)), 0);
    CHECK(strcmp(letter->text, "from the child") == 0);
    CHECK_EQ(plait_pid(letter->child), child);
    CHECK_EQ(plait_is_alive(letter->child), 1);
    plait_event_set(&letter->read);
    CHECK_EQ(t_reap(child), 0);
    return 0;
}

static int what_is_no_arena_is_not_attached(void *unused)
{
    (void)unused;
    char path[] = "/tmp/plait-arena-XXXXXX";
    int file = mkstemp(path), empty = pl_memory_file(64 * MIB);
    unlink(path);
    CHECK_RC(pl_arena_attach(-1), PLAIT_EARENA);
    CHECK_RC(pl_arena_attach(9999), PLAIT_EARENA);
    CHECK_RC(pl_arena_attach(file), PLAIT_EARENA);
    CHECK_RC(pl_arena_attach(empty), PLAIT_EARENA);
    CHECK_EQ(ftruncate(file, 100 * (off_t)MIB), 0);
    CHECK_RC(pl_arena_attach(file), PLAIT_EARENA);
    CHECK(pl_arena == NULL);
    expect_all_to_work(); /* an arena of one's own is still to be had */
    return 0;
}

/* A file that says where it belongs, and the place is taken here. */
static int a_taken_place_cannot_be_attached_to(void *unused)
{
    (void)unused;
    struct pl_arena head;
    int file = pl_memory_file(64 * MIB);
    setenv("PLAIT_ARENA_SIZE", "64M", 1);
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        stats();
        _exit(write(ends[1], pl_arena, sizeof *pl_arena) == sizeof *pl_arena ? 0 : 1);
    }
    CHECK_EQ(t_reap(child), 0);
    CHECK_EQ(read(ends[0], &head, sizeof head), (long)sizeof head);
    CHECK_EQ(pwrite(file, &head, sizeof head, 0), (long)sizeof head);
    take((uintptr_t)head.base, 4096);
    CHECK_RC(pl_arena_attach(file), PLAIT_EARENA);
    CHECK(pl_arena == NULL);
    return 0;
}

/* --- many at once --- */

struct race {
    pthread_barrier_t start;
    void *blocks[8];
    int n;
};

static void *need(void *race)
{
    struct race *r = race;
    pthread_barrier_wait(&r->start);
    void *block = plait_alloc(100);
    CHECK(plait_is_shared(block));
    r->blocks[COUNT(r->n) - 1] = block;
    return NULL;
}

static int race_once(void *unused)
{
    (void)unused;
    struct race r = {.n = 0};
    pthread_t threads[8];
    int files = t_open_files();
    pthread_barrier_init(&r.start, NULL, 8);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, need, &r), 0);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 8; i++)
        CHECK_RC(plait_free(r.blocks[i]), 0);
    CHECK_EQ(t_open_files(), files + 1);
    return 0;
}

static int threads_that_need_it_at_once_get_the_same(void *unused)
{
    (void)unused;
    for (long i = 0; i < t_scaled(50); i++)
        CHECK_EQ(t_in_fork(race_once, NULL), 0);
    return 0;
}

/* --- crashes --- */

static bool mapping_is_dumped(const void *address)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long start, end;
    bool here = false, dumped = true;
    if (!maps)
        return false;
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-') < strchr(line, ' '))
            here = (uintptr_t)address >= start && (uintptr_t)address < end;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            dumped = strstr(line, " dd") == NULL;
    }
    fclose(maps);
    return dumped;
}

/* 64 GiB, mostly holes, which the kernel would fill to write them. */
static int a_core_dump_does_not_write_the_holes(void *unused)
{
    (void)unused;
    stats();
    const char *last = (char *)pl_arena + pl_arena->size - 1;
    if (access("/proc/self/smaps", R_OK) != 0)
        return CANNOT;
    CHECK(!mapping_is_dumped(last));
    return 0;
}

int main(int argc, char **argv)
{
    void *letter;
    if (argc == 4 && strcmp(argv[1], "attach") == 0 && sscanf(argv[3], "%p", &letter) == 1)
        return attach(atoi(argv[2]), letter);
    unsetenv("PLAIT_ARENA_SIZE");
    const struct CMUnitTest tests[] = {
        FRESH(made_on_first_use_where_and_as_large_as_said),
        FRESH(shared_is_what_lies_in_it),
        FRESH(a_size_that_is_asked_for_is_had_exactly),
        FRESH(a_size_that_is_none_is_einval),
        FRESH(an_empty_wish_is_none),
        FRESH(smaller_sizes_are_tried_where_address_space_is_short),
        FRESH(without_address_space_there_is_no_arena),
        FRESH(a_wish_is_not_replaced_by_less),
        FRESH(a_limit_on_file_sizes_raises_no_signal),
        FRESH(a_small_limit_on_file_sizes_is_earena),
        FRESH(memfd_that_is_refused_is_earena),
        FRESH(a_file_that_cannot_grow_is_earena),
        FRESH(a_taken_place_is_left_for_the_next),
        FRESH(a_place_that_is_taken_half_way_serves_a_smaller_arena),
        FRESH(without_any_place_there_is_no_arena),
        FRESH(the_descriptor_is_closed_by_execution),
        FRESH(it_grows_with_all_descriptors_closed),
        FRESH(it_grows_on_a_kernel_that_cannot_populate),
        FRESH(a_kernel_that_cannot_populate_is_found_out),
        FRESH(without_descriptor_and_populate_growing_is_enomem),
        FRESH(another_file_with_its_number_is_left_alone),
        FRESH(other_arenas_descriptors_are_told_apart),
        FRESH(forked_children_have_it_at_the_same_place),
        FRESH(a_process_executed_anew_attaches),
        FRESH(what_is_no_arena_is_not_attached),
        FRESH(a_taken_place_cannot_be_attached_to),
        FRESH(threads_that_need_it_at_once_get_the_same),
        FRESH(a_core_dump_does_not_write_the_holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
