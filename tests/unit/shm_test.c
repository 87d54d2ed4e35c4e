/* Segments as one family sees them; tests/proc/shm_test.c has the programs that are not related. */
#include "harness.h"

#include "arena/alloc.h"
#include "shm/record.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name that only this test has. */
static const char *name_of(const char *what)
{
    static char name[100];
    snprintf(name, sizeof name, "test-%d-%s", (int)getpid(), what);
    return name;
}

static const char *path_of(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "/dev/shm/plait-%s", name);
    return path;
}

static bool is_private; /* /dev/shm is the test's own */

/* Nothing is there that nobody can want any more; in a private /dev/shm. */
static void check_clean(void)
{
    int n = plait_shm_sweep();
    CHECK(is_private ? n == 0 : n >= 0);
}

static bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static uint64_t blocks(void)
{
    plait_arena_statistics s;
    CHECK_RC(plait_arena_stats(&s), 0);
    return s.blocks;
}

/* --- making and attaching --- */

static void a_new_segment_is_zeroed_aligned_and_in_the_arena(void **state)
{
    (void)state;
    const char *name = name_of("new");
    plait_shm shm = {0};
    errno = 77;
    CHECK_RC(plait_shm_create(&shm, name, 100000, NULL), 0);
    CHECK_EQ(errno, 77);
    unsigned char *bytes = plait_shm_address(&shm);
    CHECK((uintptr_t)bytes % 64 == 0);
    CHECK(plait_is_shared(bytes) && plait_is_shared(bytes + 99999));
    for (int i = 0; i < 100000; i++)
        CHECK_EQ(bytes[i], 0);
    CHECK_EQ(plait_shm_size(&shm), 100000);
    CHECK(strcmp(plait_shm_name(&shm), name) == 0);
    CHECK(plait_shm_is_owner(&shm));
    CHECK_RC(plait_free(bytes), PLAIT_EFOREIGN);
    CHECK_RC(plait_shm_unlink(name), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
}

static void attaching_finds_the_same_memory_as_a_borrower(void **state)
{
    (void)state;
    const char *name = name_of("same");
    plait_shm mine = {0}, other = {0};
    plait_shm_holder holder;
    CHECK_RC(plait_shm_create(&mine, name, 8, NULL), 0);
    CHECK_RC(plait_shm_attach(&other, name, NULL), 0);
    CHECK(plait_shm_address(&mine) == plait_shm_address(&other));
    CHECK_EQ(plait_shm_size(&other), 8);
    CHECK(!plait_shm_is_owner(&other));
    CHECK_RC(plait_shm_holders(name, &holder, 1), 1);
    CHECK(holder.pid == getpid() && holder.owns == 1 && holder.borrows == 1);
    CHECK_RC(plait_shm_detach(&mine), 0);
    CHECK_RC(plait_shm_holders(name, &holder, 1), 1);
    CHECK(holder.owns == 0 && holder.borrows == 1);
    CHECK_RC(plait_shm_detach(&other), 0);
    CHECK_RC(plait_shm_holders(name, NULL, 0), 0);
    CHECK_RC(plait_shm_unlink(name), 0);
    CHECK_RC(plait_shm_holders(name, NULL, 0), PLAIT_ENOENT);
}

static void creating_what_is_there_attaches_unless_exclusive(void **state)
{
    (void)state;
    const char *name = name_of("twice");
    plait_shm first = {0}, second = {0};
    CHECK_RC(plait_shm_create(&first, name, 100, NULL), 0);
    CHECK_RC(plait_shm_create(&second, name, 100, &(plait_shm_options){.exclusive = 1}),
             PLAIT_EEXIST);
    CHECK(!plait_shm_address(&second));
    CHECK_RC(plait_shm_create(&second, name, 101, NULL), PLAIT_EMSGSIZE);
    CHECK_RC(plait_shm_create(&second, name, 50, NULL), 0);
    CHECK(!plait_shm_is_owner(&second));
    CHECK_EQ(plait_shm_size(&second), 100);
    CHECK_RC(plait_shm_unlink(name), 1);
    CHECK_RC(plait_shm_detach(&first), 0);
    CHECK_RC(plait_shm_detach(&second), 0);
}

static void a_segment_of_another_version_or_too_small_is_refused(void **state)
{
    (void)state;
    const char *name = name_of("version");
    plait_shm mine = {0}, other = {0};
    CHECK_RC(plait_shm_create(&mine, name, 100, &(plait_shm_options){.version = 3}), 0);
    CHECK_RC(plait_shm_attach(&other, name, &(plait_shm_options){.version = 4}), PLAIT_ESEGMENT);
    CHECK_RC(plait_shm_attach(&other, name, &(plait_shm_options){.least = 101}), PLAIT_EMSGSIZE);
    CHECK_RC(plait_shm_holders(name, NULL, 0), 1);
    CHECK_RC(plait_shm_attach(&other, name, &(plait_shm_options){.version = 3, .least = 100}), 0);
    CHECK_RC(plait_shm_detach(&other), 0);
    CHECK_RC(plait_shm_attach(&other, name, NULL), 0);
    CHECK_RC(plait_shm_detach(&other), 0);
    CHECK_RC(plait_shm_detach(&mine), 0);
    CHECK_RC(plait_shm_unlink(name), 0);
}

static void without_a_name_it_gets_one(void **state)
{
    (void)state;
    plait_shm a = {0}, b = {0}, again = {0};
    CHECK_RC(plait_shm_create(&a, NULL, 10, NULL), 0);
    CHECK_RC(plait_shm_create(&b, NULL, 10, NULL), 0);
    CHECK(strcmp(plait_shm_name(&a), plait_shm_name(&b)) != 0);
    CHECK_RC(plait_shm_attach(&again, plait_shm_name(&a), NULL), 0);
    CHECK(plait_shm_address(&again) == plait_shm_address(&a));
    CHECK_RC(plait_shm_unlink(plait_shm_name(&a)), 1);
    CHECK_RC(plait_shm_unlink(plait_shm_name(&b)), 1);
    CHECK_RC(plait_shm_detach(&a), 0);
    CHECK_RC(plait_shm_detach(&b), 0);
    CHECK_RC(plait_shm_detach(&again), 0);
}

static void names_follow_rules(void **state)
{
    (void)state;
    plait_shm shm = {0};
    char most[PLAIT_SHM_NAME_SIZE + 10];
    const char *const bad[] = {"", "/", "a/b", "//a", ".", "..", ".hidden", "/.hidden", "a/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_RC(plait_shm_create(&shm, bad[i], 10, NULL), PLAIT_EINVAL);
        CHECK_RC(plait_shm_attach(&shm, bad[i], NULL), PLAIT_EINVAL);
        CHECK_RC(plait_shm_unlink(bad[i]), PLAIT_EINVAL);
        CHECK_RC(plait_shm_holders(bad[i], NULL, 0), PLAIT_EINVAL);
    }
    memset(most, 'x', sizeof most);
    most[201] = 0;
    CHECK_RC(plait_shm_create(&shm, most, 10, NULL), PLAIT_ENAMETOOLONG);
    CHECK_RC(plait_shm_attach(&shm, most, NULL), PLAIT_ENAMETOOLONG);
    most[200] = 0;
    memcpy(most, name_of("long"), strlen(name_of("long")));
    CHECK_RC(plait_shm_create(&shm, most, 10, NULL), 0);
    CHECK(strcmp(plait_shm_name(&shm), most) == 0);
    CHECK_RC(plait_shm_unlink(most), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);

    char slash[120];
    snprintf(slash, sizeof slash, "/%s", name_of("slash"));
    CHECK_RC(plait_shm_create(&shm, slash, 10, NULL), 0);
    CHECK(strcmp(plait_shm_name(&shm), slash + 1) == 0);
    CHECK_RC(plait_shm_unlink(slash + 1), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
}

static void misuse_is_refused(void **state)
{
    (void)state;
    const char *name = name_of("misuse");
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(NULL, name, 10, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_shm_create(&shm, name, 0, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_shm_create(&shm, name, SIZE_MAX, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_shm_create(&shm, name, 10, &(plait_shm_options){.mode = 01000}), PLAIT_EINVAL);
    CHECK_RC(plait_shm_create(&shm, name, (size_t)1 << 46, NULL), PLAIT_ENOMEM);
    CHECK_RC(plait_shm_attach(NULL, name, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_shm_attach(&shm, NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_shm_attach(&shm, name, NULL), PLAIT_ENOENT);
    CHECK_RC(plait_shm_detach(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_shm_detach(&shm), PLAIT_EPERM);
    CHECK_RC(plait_shm_unlink(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_shm_unlink(name), PLAIT_ENOENT);
    CHECK_RC(plait_shm_holders(name, NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_shm_list(NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_shm_list(NULL, -1), PLAIT_EINVAL);
    CHECK_RC(plait_shm_space(NULL), PLAIT_EINVAL);
    CHECK(!plait_shm_address(NULL) && !plait_shm_address(&shm));
    CHECK(plait_shm_size(NULL) == 0 && !*plait_shm_name(NULL) && !plait_shm_is_owner(NULL));
    CHECK(!is_there(name));
    CHECK_RC(plait_shm_create(&shm, name, 10, NULL), 0);
    CHECK_RC(plait_shm_create(&shm, name, 10, NULL), PLAIT_EBUSY);
    CHECK_RC(plait_shm_attach(&shm, name, NULL), PLAIT_EBUSY);
    CHECK_RC(plait_shm_unlink(name), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
    CHECK_RC(plait_shm_detach(&shm), PLAIT_EPERM);
}

static void permissions_are_what_was_asked_for(void **state)
{
    (void)state;
    const char *name = name_of("mode");
    plait_shm shm = {0};
    struct stat st;
    mode_t mask = umask(0077);
    for (int i = 0; i < 2; i++) {
        plait_shm_options o = {.data_only = 1, .mode = i ? 0664 : 0};
        CHECK_RC(plait_shm_create(&shm, name, 10, &o), 0);
        CHECK(stat(path_of(name), &st) == 0);
        CHECK_EQ(st.st_mode & 0777, i ? 0664 : 0600);
        CHECK_RC(plait_shm_unlink(name), 1);
        CHECK_RC(plait_shm_detach(&shm), 0);
    }
    umask(mask);
}

/* --- its life --- */

static void it_stays_until_it_is_unlinked(void **state)
{
    (void)state;
    const char *name = name_of("stays");
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, name, 10, NULL), 0);
    strcpy(plait_shm_address(&shm), "here");
    CHECK_RC(plait_shm_detach(&shm), 0);
    check_clean();
    CHECK_RC(plait_shm_attach(&shm, name, NULL), 0);
    CHECK(strcmp(plait_shm_address(&shm), "here") == 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
    uint64_t before = blocks();
    CHECK_RC(plait_shm_unlink(name), 0);
    CHECK_EQ(blocks(), before - 1);
    CHECK(!is_there(name));
}

static void it_goes_with_the_last_if_asked_to(void **state)
{
    (void)state;
    const char *name = name_of("last");
    for (int data_only = 0; data_only < 2; data_only++) {
        plait_shm_options o = {.data_only = data_only, .unlink_with_last = 1};
        plait_shm a = {0}, b = {0};
        uint64_t before = blocks();
        CHECK_RC(plait_shm_create(&a, name, 10, &o), 0);
        CHECK_RC(plait_shm_attach(&b, name, &o), 0);
        CHECK_RC(plait_shm_detach(&a), 0);
        strcpy(plait_shm_address(&b), "mine");
        CHECK(is_there(name));
        CHECK_RC(plait_shm_detach(&b), 0);
        CHECK(!is_there(name));
        CHECK_EQ(blocks(), before);
        CHECK_RC(plait_shm_attach(&b, name, &o), PLAIT_ENOENT);
    }
}

static void unlinking_takes_the_name_and_leaves_the_memory(void **state)
{
    (void)state;
    const char *name = name_of("unlinked");
    for (int data_only = 0; data_only < 2; data_only++) {
        plait_shm_options o = {.data_only = data_only};
        plait_shm a = {0}, b = {0}, other = {0};
        uint64_t before = blocks();
        CHECK_RC(plait_shm_create(&a, name, 10, &o), 0);
        CHECK_RC(plait_shm_attach(&b, name, &o), 0);
        CHECK_RC(plait_shm_unlink(name), 1);
        CHECK_RC(plait_shm_unlink(name), PLAIT_ENOENT);
        CHECK_RC(plait_shm_attach(&other, name, &o), PLAIT_ENOENT);
        CHECK_RC(plait_shm_create(&other, name, 10, &o), 0);
        CHECK(plait_shm_is_owner(&other));
        strcpy(plait_shm_address(&a), "old");
        strcpy(plait_shm_address(&other), "new");
        CHECK_RC(plait_shm_detach(&a), 0);
        check_clean();
        CHECK(strcmp(plait_shm_address(&b), "old") == 0);
        CHECK_RC(plait_shm_detach(&b), 0);
        CHECK(strcmp(plait_shm_address(&other), "new") == 0);
        CHECK_RC(plait_shm_unlink(name), 1);
        CHECK_RC(plait_shm_detach(&other), 0);
        CHECK_EQ(blocks(), before);
        check_clean();
    }
}

static void many_come_and_go_without_leaving_anything(void **state)
{
    (void)state;
    const char *name = name_of("many");
    plait_shm shm = {0};
    uint64_t before = blocks();
    int files = t_open_files();
    for (int i = 0; i < 200; i++) {
        plait_shm_options o = {.data_only = i & 1, .unlink_with_last = i & 2};
        CHECK_RC(plait_shm_create(&shm, name, 1000, &o), 0);
        CHECK_EQ(*(char *)plait_shm_address(&shm), 0);
        memset(plait_shm_address(&shm), 1, 1000);
        if (!(i & 2))
            CHECK_RC(plait_shm_unlink(name), 1);
        CHECK_RC(plait_shm_detach(&shm), 0);
    }
    CHECK_EQ(blocks(), before);
    CHECK_EQ(t_open_files(), files);
    CHECK(!is_there(name));
    CHECK(pl_alloc_valid());
}

/* --- data only --- */

static void data_alone_is_mapped_anywhere(void **state)
{
    (void)state;
    const char *name = name_of("data");
    plait_shm_options o = {.data_only = 1};
    plait_shm a = {0}, b = {0};
    CHECK_RC(plait_shm_create(&a, name, 50000, &o), 0);
    CHECK_RC(plait_shm_attach(&b, name, NULL), PLAIT_EFAMILY);
    CHECK_RC(plait_shm_create(&b, name, 50000, NULL), PLAIT_EFAMILY);
    CHECK_RC(plait_shm_attach(&b, name, &o), 0);
    CHECK(plait_shm_address(&a) != plait_shm_address(&b));
    CHECK(!plait_is_shared(plait_shm_address(&a)));
    CHECK((uintptr_t)plait_shm_address(&a) % 64 == 0);
    strcpy((char *)plait_shm_address(&a) + 49990, "seen");
    CHECK(strcmp((char *)plait_shm_address(&b) + 49990, "seen") == 0);
    CHECK_RC(plait_shm_unlink(name), 1);
    CHECK_RC(plait_shm_detach(&a), 0);
    CHECK(strcmp((char *)plait_shm_address(&b) + 49990, "seen") == 0);
    CHECK_RC(plait_shm_detach(&b), 0);
}

static void a_family_may_ask_for_data_of_its_own_segment(void **state)
{
    (void)state;
    const char *name = name_of("own");
    plait_shm a = {0}, b = {0};
    CHECK_RC(plait_shm_create(&a, name, 10, NULL), 0);
    CHECK_RC(plait_shm_attach(&b, name, &(plait_shm_options){.data_only = 1}), 0);
    strcpy(plait_shm_address(&a), "seen");
    CHECK(strcmp(plait_shm_address(&b), "seen") == 0);
    CHECK_RC(plait_shm_unlink(name), 1);
    CHECK_RC(plait_shm_detach(&a), 0);
    CHECK_RC(plait_shm_detach(&b), 0);
}

static void what_is_no_segment_is_refused_and_left(void **state)
{
    (void)state;
    const char *name = name_of("stranger");
    plait_shm shm = {0};
    const char text[9000] = "somebody's notes";
    for (int size = 0; size <= 9000; size += 4500) {
        int fd = open(path_of(name), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        CHECK(fd >= 0 && write(fd, text, (size_t)size) == size);
        close(fd);
        CHECK_RC(plait_shm_create(&shm, name, 10, NULL), PLAIT_ESEGMENT);
        CHECK_RC(plait_shm_create(&shm, name, 10, &(plait_shm_options){.exclusive = 1}),
                 PLAIT_EEXIST);
        CHECK_RC(plait_shm_attach(&shm, name, NULL), PLAIT_ESEGMENT);
        CHECK_RC(plait_shm_unlink(name), PLAIT_ESEGMENT);
        CHECK_RC(plait_shm_holders(name, NULL, 0), PLAIT_ESEGMENT);
        check_clean();
        CHECK(is_there(name));
        CHECK(unlink(path_of(name)) == 0);
    }
    CHECK(symlink("/etc/passwd", path_of(name)) == 0);
    CHECK_RC(plait_shm_attach(&shm, name, NULL), PLAIT_ESEGMENT);
    CHECK_RC(plait_shm_create(&shm, name, 10, NULL), PLAIT_ESEGMENT);
    CHECK(unlink(path_of(name)) == 0);
    CHECK(mkdir(path_of(name), 0700) == 0);
    CHECK_RC(plait_shm_attach(&shm, name, NULL), PLAIT_ESEGMENT);
    CHECK(rmdir(path_of(name)) == 0);
}

static void a_segment_cut_short_is_refused(void **state)
{
    (void)state;
    const char *name = name_of("cut");
    plait_shm_options o = {.data_only = 1};
    plait_shm a = {0}, b = {0};
    CHECK_RC(plait_shm_create(&a, name, 100000, &o), 0);
    CHECK(truncate(path_of(name), 50000) == 0);
    CHECK_RC(plait_shm_attach(&b, name, &o), PLAIT_ESEGMENT);
    CHECK_RC(plait_shm_create(&b, name, 10, &o), PLAIT_ESEGMENT);
    CHECK(truncate(path_of(name), 100) == 0);
    CHECK_RC(plait_shm_attach(&b, name, &o), PLAIT_ESEGMENT);
    CHECK_RC(plait_shm_detach(&a), 0);
    CHECK(unlink(path_of(name)) == 0);

    CHECK_RC(plait_shm_create(&a, name, 100, NULL),
             0); /* the record alone: the memory is elsewhere */
    CHECK(truncate(path_of(name), 0) == 0);
    strcpy(plait_shm_address(&a), "safe");
    CHECK_RC(plait_shm_attach(&b, name, NULL), PLAIT_ESEGMENT);
    CHECK_RC(plait_shm_detach(&a), 0);
    CHECK(unlink(path_of(name)) == 0);
}

/* --- workers --- */

struct visit {
    const char *name;
    plait_shm *parents;
    int n;
};

static int come_and_go(void *arg)
{
    struct visit *v = arg;
    plait_shm shm = {0};
    CHECK_RC(plait_shm_attach(&shm, v->name, NULL), 0);
    plait_value *value = plait_shm_address(&shm);
    for (int i = 0; i < 50; i++)
        CHECK_RC(plait_value_add(value, 1, NULL), 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

static void workers_of_every_kind_attach_by_name(void **state)
{
    (void)state;
    const char *name = name_of("workers");
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, name, sizeof(plait_value), NULL), 0);
    plait_value *value = plait_shm_address(&shm);
    int64_t expected = 0, got;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct visit v = {.name = name};
        t_start(&team, s, 6, come_and_go, &v);
        t_join(&team);
        expected += 300;
        CHECK_RC(plait_value_get(value, &got), 0);
        CHECK_EQ(got, expected);
    }
    CHECK_RC(plait_shm_holders(name, NULL, 0), 1);
    CHECK_RC(plait_shm_unlink(name), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
}

static int in_a_child(void *arg)
{
    struct visit *v = arg;
    plait_shm own = {0}, copy = *v->parents;
    plait_shm_holder holders[3];
    copy.mapping_ = NULL; /* not to be unmapped twice */
    *(char *)plait_shm_address(v->parents) = 'c';
    CHECK_RC(plait_shm_detach(v->parents), 0);
    CHECK_RC(plait_shm_detach(v->parents), PLAIT_EPERM);
    CHECK_RC(plait_shm_holders(v->name, holders, 3), 1);
    CHECK(holders[0].pid == getppid());
    CHECK_RC(plait_shm_attach(&own, v->name, &(plait_shm_options){.data_only = v->n}), 0);
    CHECK_EQ(*(char *)plait_shm_address(&own), 'c');
    CHECK_RC(plait_shm_holders(v->name, holders, 3), 2);
    CHECK_RC(plait_shm_holders(v->name, holders, 1), 2);
    CHECK_RC(plait_shm_detach(&copy), 0); /* its own hold is another one */
    CHECK_RC(plait_shm_holders(v->name, holders, 3), 2);
    return 0; /* without detaching */
}

static void a_forked_child_has_no_hold_of_its_own(void **state)
{
    (void)state;
    const char *name = name_of("forked");
    for (int data_only = 0; data_only < 2; data_only++) {
        plait_shm shm = {0}, second = {0};
        struct visit v = {name, &second, data_only};
        CHECK_RC(plait_shm_create(&shm, name, 10, &(plait_shm_options){.data_only = data_only}), 0);
        CHECK_RC(plait_shm_attach(&second, name, &(plait_shm_options){.data_only = data_only}), 0);
        CHECK_EQ(t_in_fork(in_a_child, &v), 0);
        CHECK_EQ(*(char *)plait_shm_address(&shm), 'c');
        CHECK_RC(plait_shm_holders(name, NULL, 0), 1);
        CHECK_RC(plait_shm_unlink(name), 1);
        CHECK_RC(plait_shm_detach(&second), 0);
        CHECK_RC(plait_shm_detach(&shm), 0);
    }
}

/* Writes a process into a segment's record. */
static void forge(const char *name, int place, struct pl_segment_holder h)
{
    int fd = open(path_of(name), O_RDWR | O_CLOEXEC);
    off_t at = (off_t)(sizeof(struct pl_segment_head) + (size_t)place * sizeof h);
    CHECK(fd >= 0 && pwrite(fd, &h, sizeof h, at) == sizeof h);
    close(fd);
}

static void a_pid_given_again_deceives_nobody(void **state)
{
    (void)state;
    const char *name = name_of("pids");
    plait_shm shm = {0};
    plait_shm_options o = {.data_only = 1, .unlink_with_last = 1};
    struct stat st;
    plait_shm_holder who[3];
    CHECK(stat("/proc/self/ns/pid", &st) == 0);
    CHECK_RC(plait_shm_create(&shm, name, 10, &o), 0);
    struct pl_segment_holder past = {
        .pid = getpid(), .birth = 1, .space = (uint64_t)st.st_ino, .borrows = 1, .number = -1};
    forge(name, 1, past);
    past.pid = getppid();
    forge(name, 2, past);
    CHECK_RC(plait_shm_holders(name, who, 3), 1);
    past.space++; /* another pid namespace: whether it lives cannot be told from here */
    forge(name, 3, past);
    CHECK_RC(plait_shm_holders(name, who, 3), 2);
    CHECK_RC(plait_shm_detach(&shm), 0);
    CHECK(is_there(name));
    CHECK(unlink(path_of(name)) == 0);
}

static int fork_often(void *arg)
{
    while (!SEEN(*(int *)arg)) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(plait_shm_unlink("test-nobody's") == PLAIT_ENOENT ? 0 : 1);
        CHECK_EQ(t_reap(pid), 0);
    }
    return 0;
}

static void a_fork_beside_such_a_call_hangs_nobody(void **state)
{
    (void)state;
    if (!t_may_fork_beside_threads())
        skip();
    int *stop = plait_alloc(sizeof *stop);
    plait_worker w = t_start_one(PLAIT_THREAD, fork_often, stop);
    const char *name = name_of("beside");
    for (int i = 0; i < 300; i++) {
        plait_shm shm = {0};
        CHECK_RC(plait_shm_create(&shm, name, 10, &(plait_shm_options){.unlink_with_last = 1}), 0);
        CHECK_RC(plait_shm_detach(&shm), 0);
    }
    TELL(*stop, 1);
    CHECK_EQ(t_join_one(w), 0);
    plait_free(stop);
}

/* --- waiting for a name --- */

/* Holds the lock of a record, as a program that stands still within a call does. */
static pid_t hold_lock(const char *name)
{
    int told[2];
    CHECK(pipe(told) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open(path_of(name), O_RDWR | O_CLOEXEC);
        bool got = fd >= 0 && fcntl(fd, F_SETLK, &all) == 0;
        if (write(told[1], &got, 1) != 1 || !got)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK(pid > 0);
    char byte = 0;
    CHECK(read(told[0], &byte, 1) == 1 && byte == 1);
    close(told[0]);
    close(told[1]);
    return pid;
}

static int attach_once(void *name, int64_t timeout)
{
    plait_shm shm = {0};
    int rc = PLAIT_EINVAL;
    PLAIT_TIMEOUT(timeout)
        rc = plait_shm_attach(&shm, name, NULL);
    return rc;
}

static void who_waits_for_a_name_can_be_asked_to_stop(void **state)
{
    (void)state;
    char name[100];
    snprintf(name, sizeof name, "%s", name_of("held"));
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, name, 10, NULL), 0);
    pid_t holder = hold_lock(name);
    int64_t began = plait_now();
    CHECK_RC(attach_once(name, plait_ms(20)), PLAIT_ECANCELED);
    CHECK(plait_now() - began >= plait_ms(20));
    FOR_EVERY_KIND(kind)
    {
        struct t_waiter *w = plait_alloc(sizeof *w);
        char *copy = plait_strdup(name);
        *w = (struct t_waiter){.call = attach_once, .object = copy, .timeout = plait_seconds(100)};
        plait_worker waiter = t_start_one(kind, t_wait_once, w);
        UNTIL(SEEN(w->step) == 1);
        t_sleep(plait_ms(2)); /* asleep and awake in turns now; both are heard */
        CHECK_RC(plait_cancel(waiter), 0);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        plait_free(copy);
        plait_free(w);
    }
    kill(holder, SIGKILL);
    CHECK_EQ(t_reap(holder), 1000 + SIGKILL); /* the kernel takes the lock back */
    CHECK_RC(plait_shm_unlink(name), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
}

/* --- looking --- */

static const plait_shm_info *find(const plait_shm_info *all, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}

static void all_segments_can_be_listed(void **state)
{
    (void)state;
    enum { MOST = 200 };
    static plait_shm_info all[MOST];
    plait_shm a = {0}, b = {0};
    char first[100];
    snprintf(first, sizeof first, "%s", name_of("list-a"));
    const char *second = name_of("list-b");
    CHECK_RC(plait_shm_create(&a, first, 10, &(plait_shm_options){.version = 7}), 0);
    CHECK_RC(
        plait_shm_create(&b, second, 20,
                         &(plait_shm_options){.data_only = 1, .unlink_with_last = 1, .mode = 0640}),
        0);
    int n = plait_shm_list(all, MOST);
    CHECK(n >= 2 && n <= MOST);
    CHECK(plait_shm_list(NULL, 0) >= 2);
    const plait_shm_info *one = find(all, n, first), *two = find(all, n, second);
    CHECK(one && one->size == 10 && one->version == 7 && !one->data_only && one->holders == 1);
    CHECK(one->mode == 0600 && one->user == geteuid() && !one->leftover && !one->unlink_with_last);
    CHECK(two && two->size == 20 && two->data_only && two->unlink_with_last && two->mode == 0640);
    CHECK_RC(plait_shm_unlink(first), 1);
    n = plait_shm_list(all, MOST);
    CHECK(!find(all, n, first));
    CHECK_RC(plait_shm_detach(&a), 0);
    CHECK_RC(plait_shm_detach(&b), 0);
    n = plait_shm_list(all, MOST);
    CHECK(!find(all, n, second));
}

static void the_room_is_told(void **state)
{
    (void)state;
    plait_shm_room room;
    CHECK_RC(plait_shm_space(&room), 0);
    CHECK(room.total > 0 && room.free <= room.total && room.asked == 0);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    is_private = t_private_shm();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_segment_is_zeroed_aligned_and_in_the_arena),
        cmocka_unit_test(attaching_finds_the_same_memory_as_a_borrower),
        cmocka_unit_test(creating_what_is_there_attaches_unless_exclusive),
        cmocka_unit_test(a_segment_of_another_version_or_too_small_is_refused),
        cmocka_unit_test(without_a_name_it_gets_one),
        cmocka_unit_test(names_follow_rules),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(permissions_are_what_was_asked_for),
        cmocka_unit_test(it_stays_until_it_is_unlinked),
        cmocka_unit_test(it_goes_with_the_last_if_asked_to),
        cmocka_unit_test(unlinking_takes_the_name_and_leaves_the_memory),
        cmocka_unit_test(many_come_and_go_without_leaving_anything),
        cmocka_unit_test(data_alone_is_mapped_anywhere),
        cmocka_unit_test(a_family_may_ask_for_data_of_its_own_segment),
        cmocka_unit_test(what_is_no_segment_is_refused_and_left),
        cmocka_unit_test(a_segment_cut_short_is_refused),
        cmocka_unit_test(workers_of_every_kind_attach_by_name),
        cmocka_unit_test(a_forked_child_has_no_hold_of_its_own),
        cmocka_unit_test(a_pid_given_again_deceives_nobody),
        cmocka_unit_test(a_fork_beside_such_a_call_hangs_nobody),
        cmocka_unit_test(who_waits_for_a_name_can_be_asked_to_stop),
        cmocka_unit_test(all_segments_can_be_listed),
        cmocka_unit_test(the_room_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
