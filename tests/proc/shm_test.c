/* Programs that do not descend from each other, in one segment.
 *
 * A play has actors: programs of their own, started by exec, none of which knows more of the others than a name.
 * The director - the program of the test, which uses no arena - starts them all at once and looks how they end. */
#include "program.h"

#include "arena/arena.h"
#include "base/sanitizers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ACTORS_MOST = 16 };

/* What the segment of a play holds. */
struct stage {
    int here, through, step, owners, n, rc[ACTORS_MOST];
    plait_worker who[ACTORS_MOST];
    plait_lock lock;
    plait_rlock r1, r2;
    plait_event event, other;
    plait_semaphore ping, pong;
    plait_condition changed;
    plait_barrier barrier;
    plait_rwlock rw;
    plait_value value;
    plait_latch latch;
    char *text;
};

/* TSan has a thread of its own in every program, so none may leave its family. */
static bool is_threaded_by_sanitizer(void)
{
    return PL_TSAN;
}

typedef void actor(struct stage *s, int i);

static char play[100]; /* the name of the play's segment */

static const char *path_of(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "/dev/shm/plait-%s", name);
    return path;
}

static bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static bool is_private; /* /dev/shm is the test's own */

/* There are so many segments that are leftovers or have no name. */
static void check_dirt(int expected)
{
    static plait_shm_info all[100];
    int n = plait_shm_list(all, 100), dirty = 0;
    CHECK(n >= 0);
    for (int i = 0; i < n && i < 100; i++)
        dirty += all[i].leftover || !*all[i].name;
    if (is_private)
        CHECK_EQ(dirty, expected);
}

static void check_swept(int expected)
{
    int n = plait_shm_sweep();
    CHECK(is_private ? n == expected : n >= expected);
}

static _Noreturn void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* --- the plays --- */

static void all_count(struct stage *s, int i)
{
    (void)i;
    for (int k = 0; k < 1000; k++) {
        PLAIT_WITH(&s->lock)
            s->n++;
        CHECK_RC(plait_value_add(&s->value, 1, NULL), 0);
    }
}

static void one_dies_with_the_lock(struct stage *s, int i)
{
    if (i == 0) {
        CHECK_RC(plait_lock_acquire(&s->lock, PLAIT_FOREVER), 0);
        TELL(s->step, 1);
        UNTIL_WAITS(s->who[1], 0);
        die();
    }
    plait_blame blame;
    UNTIL(SEEN(s->step) == 1);
    CHECK_RC(plait_lock_acquire(&s->lock, plait_seconds(20)), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_blame(&s->lock, &blame), 0);
    CHECK_EQ(blame.worker.slot, s->who[0].slot);
    CHECK_RC(plait_lock_release(&s->lock), 0);
    CHECK(!plait_is_alive(s->who[0]));
}

static void one_waits_for_the_event(struct stage *s, int i)
{
    if (i == 0) {
        CHECK_RC(plait_event_wait(&s->event, PLAIT_FOREVER), 0);
        CHECK_RC(plait_event_set(&s->other), 0);
    } else {
        UNTIL_WAITS(s->who[0], 0);
        CHECK_RC(plait_event_set(&s->event), 0);
        CHECK_RC(plait_event_wait(&s->other, PLAIT_FOREVER), 0);
    }
}

static void two_play_ping_pong(struct stage *s, int i)
{
    for (int k = 0; k < 300; k++) {
        CHECK_RC(plait_semaphore_acquire(i ? &s->pong : &s->ping, PLAIT_FOREVER), 0);
        CHECK_EQ(s->n++, 2 * k + i);
        CHECK_RC(plait_semaphore_release(i ? &s->ping : &s->pong, 1), 0);
    }
}

static void two_take_turns_by_a_condition(struct stage *s, int i)
{
    for (int k = 0; k < 300; k++) {
        CHECK_RC(plait_condition_acquire(&s->changed, PLAIT_FOREVER), 0);
        while (s->n % 2 != i)
            CHECK_RC(plait_condition_wait(&s->changed, PLAIT_FOREVER), 0);
        s->n++;
        CHECK(plait_condition_notify(&s->changed, 1) >= 0);
        CHECK_RC(plait_condition_release(&s->changed), 0);
    }
}

static void a_waiter_dies_in_the_barrier(struct stage *s, int i)
{
    if (i == 0) {
        TELL(s->step, 1);
        plait_barrier_wait(&s->barrier, PLAIT_FOREVER);
        CHECK(!"killed by the other");
    }
    UNTIL_WAITS(s->who[0], 0);
    if (i == 1) {
        CHECK_RC(plait_barrier_wait(&s->barrier, plait_seconds(20)), PLAIT_EBROKEN);
    } else {
        UNTIL_WAITS(s->who[1], 0);
        CHECK(plait_pid(s->who[0]) > 1);
        CHECK(kill(plait_pid(s->who[0]), SIGKILL) == 0);
        UNTIL(plait_barrier_broken(&s->barrier));
    }
}

static void a_ring_of_waits_is_found(struct stage *s, int i)
{
    plait_rlock *mine = i ? &s->r2 : &s->r1, *others = i ? &s->r1 : &s->r2;
    CHECK_RC(plait_rlock_acquire(mine, PLAIT_FOREVER), 0);
    CHECK_RC(plait_latch_count_down(&s->latch, 1), 0);
    CHECK_RC(plait_latch_wait(&s->latch, PLAIT_FOREVER), 0);
    int rc = plait_rlock_acquire(others, PLAIT_FOREVER);
    TELL(s->rc[i], rc == PLAIT_EDEADLK ? 1 : 2);
    CHECK(rc == 0 || rc == PLAIT_EDEADLK);
    if (rc == 0)
        CHECK_RC(plait_rlock_release(others), 0);
    CHECK_RC(plait_rlock_release(mine), 0);
    UNTIL(SEEN(s->rc[0]) && SEEN(s->rc[1]));
    CHECK_EQ(SEEN(s->rc[0]) + SEEN(s->rc[1]), 3); /* one of the two had to give way */
}

static void pointers_mean_the_same(struct stage *s, int i)
{
    if (i == 0) {
        s->text = plait_strdup("from another program");
        CHECK(s->text != NULL);
        CHECK_RC(plait_event_set(&s->event), 0);
        CHECK_RC(plait_event_wait(&s->other, PLAIT_FOREVER), 0);
        CHECK_RC(plait_free(s->text), PLAIT_EFREED);
    } else {
        CHECK_RC(plait_event_wait(&s->event, PLAIT_FOREVER), 0);
        CHECK(strcmp(s->text, "from another program") == 0);
        CHECK_RC(plait_free(s->text), 0);
        CHECK_RC(plait_event_set(&s->other), 0);
    }
}

static void one_asks_the_other_to_stop(struct stage *s, int i)
{
    if (i == 0) {
        CHECK_RC(plait_event_wait(&s->event, PLAIT_FOREVER), PLAIT_ECANCELED);
    } else {
        UNTIL_WAITS(s->who[0], 0);
        CHECK_RC(plait_cancel(s->who[0]), 0);
        UNTIL(!plait_is_alive(s->who[0]));
    }
}

static void the_reader_dies_and_the_writer_goes_on(struct stage *s, int i)
{
    if (i == 0) {
        CHECK_RC(plait_rwlock_acquire_read(&s->rw, PLAIT_FOREVER), 0);
        TELL(s->step, 1);
        UNTIL_WAITS(s->who[1], 0);
        die();
    }
    UNTIL(SEEN(s->step) == 1);
    CHECK(plait_rwlock_acquire_write(&s->rw, plait_seconds(20)) >= 0);
    CHECK_RC(plait_rwlock_release_write(&s->rw), 0);
}

static int add_ten(void *arg)
{
    struct stage *s = arg;
    for (int k = 0; k < 10; k++)
        PLAIT_WITH(&s->lock)
            s->n++;
    return 0;
}

static void each_has_workers_of_its_own(struct stage *s, int i)
{
    (void)i;
    struct t_team team;
    t_start(&team, &t_processes, 3, add_ten, s);
    t_join(&team);
    t_start(&team, &t_threads, 3, add_ten, s);
    t_join(&team);
    t_start(&team, &t_tasks, 3, add_ten, s);
    t_join(&team);
}

/* The second comes by way of the first, the third by way of the second, which has no other. */
static void the_chain_goes_on(struct stage *s, int i)
{
    if (i == 0)
        t_sleep_for_ever(); /* killed when the second is there */
    if (i == 1)
        CHECK_RC(plait_event_wait(&s->event, PLAIT_FOREVER), 0);
    if (i == 2) {
        CHECK(!plait_is_alive(s->who[0]));
        CHECK_RC(plait_event_set(&s->event), 0);
    }
}

static const struct {
    const char *name;
    actor *fn;
    int actors;
    int killed;      /* actor that dies; -1: none */
    int sum;         /* what n comes to */
    bool one_by_one; /* actor i starts when the one before is on stage, or dead */
} plays[] = {
    {"all_count", all_count, 3, -1, 3000, false},
    {"one_dies_with_the_lock", one_dies_with_the_lock, 2, 0, 0, false},
    {"one_waits_for_the_event", one_waits_for_the_event, 2, -1, 0, false},
    {"two_play_ping_pong", two_play_ping_pong, 2, -1, 600, false},
    {"two_take_turns_by_a_condition", two_take_turns_by_a_condition, 2, -1, 600, false},
    {"a_waiter_dies_in_the_barrier", a_waiter_dies_in_the_barrier, 3, 0, 0, false},
    {"a_ring_of_waits_is_found", a_ring_of_waits_is_found, 2, -1, 0, false},
    {"pointers_mean_the_same", pointers_mean_the_same, 2, -1, 0, false},
    {"one_asks_the_other_to_stop", one_asks_the_other_to_stop, 2, -1, 0, false},
    {"the_reader_dies_and_the_writer_goes_on", the_reader_dies_and_the_writer_goes_on, 2, 0, 0,
     false},
    {"each_has_workers_of_its_own", each_has_workers_of_its_own, 2, -1, 180, false},
    {"the_chain_goes_on", the_chain_goes_on, 3, 0, 0, true},
};
enum { PLAYS = sizeof plays / sizeof plays[0] };

/* --- actors --- */

static int act(int which, int i)
{
    static plait_shm shm;
    int n = plays[which].actors;
    CHECK_RC(plait_shm_create(&shm, play, sizeof(struct stage),
                              &(plait_shm_options){.unlink_with_last = 1}),
             0);
    struct stage *s = plait_shm_address(&shm);
    CHECK(plait_is_shared(s));
    s->who[i] = plait_self();
    if (plait_shm_is_owner(&shm)) {
        COUNT(s->owners);
        CHECK_RC(plait_semaphore_init(&s->ping, 1, 0), 0);
        CHECK_RC(plait_barrier_init(&s->barrier, 3, NULL), 0);
        CHECK_RC(plait_latch_init(&s->latch, 2), 0);
        TELL(s->step, -1);
    }
    COUNT(s->here);
    if (plays[which].one_by_one) {
        printf("here\n");
        fflush(stdout);
    } else {
        UNTIL(SEEN(s->here) == n);
        int set = -1;
        __atomic_compare_exchange_n(&s->step, &set, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        CHECK_EQ(SEEN(s->owners), 1);
    }
    plays[which].fn(s, i);
    /* The last one looks. */
    int living = n - (plays[which].killed >= 0);
    if (!plays[which].one_by_one && COUNT(s->through) == living)
        CHECK_EQ(SEEN(s->n), plays[which].sum);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

/* --- the director --- */

static pid_t start(const char *role, int which, int i, int out)
{
    char a[16], b[16];
    snprintf(a, sizeof a, "%d", which);
    snprintf(b, sizeof b, "%d", i);
    pid_t pid = fork();
    if (pid == 0) {
        if (out >= 0)
            dup2(out, 1);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "shm_test", role, play, a, b, (char *)NULL);
        _exit(126);
    }
    CHECK(pid > 0); /* it will be killed by this number */
    return pid;
}

/* An actor that has said that it is here, or is dead. */
static pid_t start_and_hear(const char *role, int which, int i)
{
    int fds[2];
    char byte;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid_t pid = start(role, which, i, fds[1]);
    close(fds[1]);
    CHECK(read(fds[0], &byte, 1) >= 0);
    close(fds[0]);
    return pid;
}

/* Each by way of the one before, of which the first is killed when the second is there. */
static void start_one_by_one(int which, pid_t *pids)
{
    for (int i = 0; i < plays[which].actors; i++) {
        pids[i] = start_and_hear("--act", which, i);
        if (i == 1)
            kill(pids[0], SIGKILL);
        while (i == 1 && !has_ended(pids[0]))
            t_sleep(plait_ms(1));
    }
}

static int the_play(int which)
{
    pid_t pids[ACTORS_MOST];
    if (plays[which].one_by_one)
        start_one_by_one(which, pids);
    for (int i = 0; i < plays[which].actors && !plays[which].one_by_one; i++)
        pids[i] = start("--act", which, i, -1);
    for (int i = 0; i < plays[which].actors; i++)
        CHECK_EQ(t_reap(pids[i]), i == plays[which].killed ? 1000 + SIGKILL : 0);
    if (plays[which].killed >= 0) /* it may not have been gone wholly when the last one detached */
        CHECK(plait_shm_sweep() <= 1);
    CHECK(!is_there(play));
    check_dirt(0);
    return 0;
}

static void name_the_play(const char *what)
{
    snprintf(play, sizeof play, "test-%d-%s", (int)getpid(), what);
}

static int which_play;

static int play_it(void *unused)
{
    (void)unused;
    name_the_play("play");
    return the_play(which_play);
}

static void in_unrelated_programs(void **state)
{
    for (which_play = 0; which_play < PLAYS; which_play++) {
        void *fn = (void *)(uintptr_t)play_it;
        printf("[   PLAY   ] %s\n", plays[which_play].name);
        fflush(stdout);
        program_run(&fn);
    }
    (void)state;
}

/* --- scenes of other kinds: what an actor does all alone --- */

/* Lives in a family of its own already. */
static int lodger(void)
{
    plait_shm shm = {0};
    plait_shm_options data = {.data_only = 1};
    void *block = plait_alloc(10);
    CHECK(block != NULL);
    CHECK_RC(plait_shm_attach(&shm, play, NULL), PLAIT_EFAMILY);
    CHECK_RC(plait_shm_create(&shm, play, 10, NULL), PLAIT_EFAMILY);
    CHECK_RC(plait_shm_holders(play, NULL, 0), 1);
    CHECK_RC(plait_shm_attach(&shm, play, &data), 0);
    CHECK_RC(plait_shm_holders(play, NULL, 0), 2);
    CHECK(!plait_is_shared(plait_shm_address(&shm)));
    char *text = plait_shm_address(&shm);
    CHECK(strcmp(text, "for all") == 0);
    strcpy(text, "seen");
    CHECK_RC(plait_shm_detach(&shm), 0);
    CHECK_RC(plait_shm_holders(play, NULL, 0), 1);
    plait_free(block);
    return 0;
}

/* Keeps a family's segment from outside the family while that goes on without it. */
static int guest(void)
{
    plait_shm shm = {0};
    plait_shm_options data = {.data_only = 1};
    CHECK_RC(plait_shm_attach(&shm, play, &data), 0);
    CHECK(!plait_is_shared(plait_shm_address(&shm)));
    printf("here\n");
    fflush(stdout);
    char *text = plait_shm_address(&shm);
    UNTIL(SEEN(*text) == '!');
    CHECK(strcmp(text, "!still") == 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

static int come_late(void)
{
    plait_shm shm = {0};
    return plait_shm_attach(&shm, play, NULL) == PLAIT_EBADF ? 0 : 1;
}

static _Noreturn int holder(bool with_last)
{
    static plait_shm shm;
    CHECK_RC(plait_shm_create(&shm, play, 100, &(plait_shm_options){.unlink_with_last = with_last}),
             0);
    strcpy(plait_shm_address(&shm), "old");
    printf("here\n");
    fflush(stdout);
    for (;;)
        pause();
}

static int take_part(int rounds)
{
    for (int k = 0; k < rounds; k++) {
        plait_shm shm = {0};
        plait_shm_options o = {.data_only = 1, .unlink_with_last = 1};
        CHECK_RC(plait_shm_create(&shm, play, 100, &o), 0);
        unsigned *n = plait_shm_address(&shm);
        CHECK(__atomic_fetch_add(&n[0], 1, __ATOMIC_SEQ_CST) < 8);
        CHECK_EQ(n[1], 0);
        sched_yield();
        CHECK(__atomic_sub_fetch(&n[0], 1, __ATOMIC_SEQ_CST) < 8);
        CHECK_RC(plait_shm_detach(&shm), 0);
    }
    return 0;
}

/* Comes and goes as a program of a family: once each. */
static int pass_by(void)
{
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, play, sizeof(plait_value),
                              &(plait_shm_options){.unlink_with_last = 1}),
             0);
    plait_value *v = plait_shm_address(&shm);
    CHECK_RC(plait_value_add(v, 1, NULL), 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

/* A program that has nothing yet but what plait_init made may join; it is no stranger after. */
static int come_by_name(void *unused)
{
    plait_shm shm = {0};
    (void)unused;
    CHECK_RC(plait_shm_attach(&shm, play, NULL), 0);
    CHECK(plait_is_shared(plait_shm_address(&shm)));
    CHECK_EQ(add_ten(plait_shm_address(&shm)), 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

static int newcomer(bool with_init)
{
    plait_shm shm = {0};
    static plait_rlock mine;
    int files = t_open_files();
    if (with_init)
        CHECK_RC(plait_init(NULL, NULL), 0);
    CHECK_RC(plait_rlock_acquire(&mine, PLAIT_FOREVER),
             0); /* held across: as by a forking parent */
    CHECK_RC(plait_shm_attach(&shm, "test-nobody's", NULL), PLAIT_ENOENT);
    CHECK_RC(plait_shm_attach(&shm, play, NULL), 0);
    CHECK_EQ(t_open_files(), files + 1); /* the arena */
    struct robust_list_head *list;
    size_t size;
    CHECK(syscall(SYS_get_robust_list, 0, &list, &size) == 0);
    CHECK(list->list.next->next == &list->list); /* the new heart, and not the old one */
    plait_worker self = plait_self();
    CHECK(self.slot > 1 && plait_is_alive(self));
    CHECK_RC(plait_rlock_release(&mine), PLAIT_EPERM);
    CHECK_RC(plait_rlock_acquire(&mine, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_rlock_release(&mine), 0);
    int sum = t_join_one(t_start_one(PLAIT_THREAD, add_ten, plait_shm_address(&shm)));
    sum += t_join_one(t_start_one(PLAIT_PROCESS, add_ten, plait_shm_address(&shm)));
    for (int method = PLAIT_FORK; method <= PLAIT_SPAWN; method++) {
        CHECK_RC(plait_set_start_method(with_init ? method : PLAIT_FORK), 0);
        sum += t_join_one(t_start_one(PLAIT_PROCESS, come_by_name, NULL));
    }
    CHECK_EQ(sum, 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

static int ask_in_vain(void *unused)
{
    plait_shm shm = {0};
    (void)unused;
    return plait_shm_attach(&shm, play, NULL);
}

static int idle(void *unused)
{
    (void)unused;
    return 0;
}

static void *sit(void *unused)
{
    for (;;)
        pause();
    return unused;
}

/* Each of these makes a family that cannot be left. */
static int settler(int how)
{
    plait_shm shm = {0};
    CHECK_RC(plait_init(NULL, NULL), 0);
    if (how == 0)
        CHECK(plait_alloc(1) != NULL);
    if (how == 1)
        CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, idle, NULL)), 0);
    if (how == 2)
        CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, idle, NULL)), 0);
    if (how == 3)
        return t_in_pthread(ask_in_vain, NULL) == PLAIT_EFAMILY ? 0 : 1;
    if (how == 4)
        return t_join_one(t_start_one(PLAIT_TASK, ask_in_vain, NULL)) == PLAIT_EFAMILY ? 0 : 1;
    pthread_t thread;
    if (how == 5)
        CHECK(pthread_create(&thread, NULL, sit, NULL) == 0);
    CHECK_RC(plait_shm_attach(&shm, play, NULL), PLAIT_EFAMILY);
    CHECK(plait_is_alive(plait_self())); /* and nothing has happened to it */
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, idle, NULL)), 0);
    return 0;
}

static int scene(int which)
{
    if (which >= 20)
        return settler(which - 20);
    switch (which) {
    case 10:
        return newcomer(false);
    case 11:
        return newcomer(true);
    case 0:
        return lodger();
    case 1:
        return holder(true);
    case 2:
        return holder(false);
    case 3:
        return take_part(100);
    case 4:
        return pass_by();
    case 5:
        return guest();
    case 6:
        return come_late();
    case 7:
        return come_by_name(NULL);
    default:
        return 1;
    }
}

static int run_scene(int which)
{
    return t_reap(start("--scene", which, 0, -1));
}

static int a_program_of_another_family_gets_data_only(void *unused)
{
    (void)unused;
    name_the_play("families");
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, play, 100, NULL), 0);
    strcpy(plait_shm_address(&shm), "for all");
    CHECK_EQ(run_scene(0), 0);
    CHECK(strcmp(plait_shm_address(&shm), "seen") == 0);
    CHECK_RC(plait_shm_unlink(play), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
    check_dirt(0);
    return 0;
}

static int a_family_can_be_left_while_it_is_empty(void *unused)
{
    (void)unused;
    name_the_play("newcomers");
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, play, sizeof(struct stage), NULL), 0);
    struct stage *s = plait_shm_address(&shm);
    if (!is_threaded_by_sanitizer()) {
        CHECK_EQ(run_scene(10), 0);
        CHECK_EQ(run_scene(11), 0);
        CHECK_EQ(s->n, 2 * 50);
    }
    for (int how = 0; how < 6; how++)
        CHECK_EQ(run_scene(20 + how), 0);
    CHECK_RC(plait_shm_unlink(play), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

static int who_has_detached_or_moved_its_descriptor_shows_the_way(void *unused)
{
    (void)unused;
    name_the_play("way");
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, play, sizeof(struct stage), NULL), 0);
    struct stage *s = plait_shm_address(&shm);
    CHECK_EQ(run_scene(7), 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
    CHECK_RC(plait_shm_holders(play, NULL, 0), 0);
    CHECK_EQ(run_scene(7), 0);
    CHECK_RC(pl_arena_lift_descriptor(200), 0);
    CHECK_EQ(run_scene(7), 0);
    CHECK_EQ(s->n, 30);
    CHECK_RC(plait_shm_unlink(play), 0);
    check_dirt(0);
    return 0;
}

static uint64_t blocks(void)
{
    plait_arena_statistics s;
    CHECK_RC(plait_arena_stats(&s), 0);
    return s.blocks;
}

static int a_guest_of_another_family_keeps_it(void *unused)
{
    (void)unused;
    name_the_play("guest");
    plait_shm shm = {0}, first = {0};
    CHECK_RC(plait_shm_create(&first, NULL, 100, &(plait_shm_options){.unlink_with_last = 1}), 0);
    uint64_t before = blocks();
    CHECK_RC(plait_shm_create(&shm, play, 100, &(plait_shm_options){.unlink_with_last = 1}), 0);
    char *text = plait_shm_address(&shm);
    pid_t pid = start_and_hear("--scene", 5, 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
    CHECK_EQ(blocks(), before + 1); /* never freed under a user */
    strcpy(text + 1, "still");
    TELL(*text, '!');
    CHECK_EQ(t_reap(pid), 0);
    CHECK(!is_there(play));
    CHECK_EQ(blocks(), before + 1); /* only the family can give it back: whoever of it looks next */
    check_swept(1);
    CHECK_EQ(blocks(), before);
    CHECK_RC(plait_shm_detach(&first), 0);
    check_dirt(0);
    return 0;
}

static int who_closed_all_descriptors_cannot_be_reached(void *unused)
{
    (void)unused;
    name_the_play("closed");
    plait_shm shm = {0}, second = {0};
    CHECK_RC(plait_shm_create(&shm, play, 100, NULL), 0);
    for (int fd = 3; fd < 100; fd++)
        close(fd);
    CHECK_EQ(run_scene(6), 0);
    CHECK_RC(plait_shm_attach(&second, play, NULL), 0); /* here nothing is missing */
    CHECK_RC(plait_shm_detach(&second), 0);
    CHECK_RC(plait_shm_unlink(play), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

/* All who held it are killed: the next one who looks finds a leftover, and no one has to. */
static int the_killed_leave_nothing_for_long(void *unused)
{
    (void)unused;
    name_the_play("killed");
    for (int which = 1; which <= 2; which++)
        for (int way = 0; way < 3; way++) {
            plait_shm shm = {0};
            plait_shm_holder who[3];
            pid_t a = start_and_hear("--scene", which, 0), b = start_and_hear("--scene", which, 0);
            CHECK_RC(plait_shm_holders(play, who, 3), 2);
            CHECK(who[0].pid == a && who[0].owns == 1 && who[1].pid == b && who[1].borrows == 1);
            check_dirt(0);
            kill(a, SIGKILL);
            CHECK_EQ(t_reap(a), 1000 + SIGKILL);
            CHECK_RC(plait_shm_holders(play, who, 3), 1);
            check_dirt(0);
            kill(b, SIGKILL);
            CHECK_EQ(t_reap(b), 1000 + SIGKILL);
            check_dirt(1);
            if (way == 0)
                check_swept(1);
            else
                CHECK_RC(plait_shm_attach(&shm, play, NULL), PLAIT_ENOENT);
            check_dirt(0);
            CHECK(!is_there(play));
        }
    return 0;
}

static int a_leftover_makes_way_for_a_new_one(void *unused)
{
    (void)unused;
    name_the_play("anew");
    pid_t a = start_and_hear("--scene", 2, 0);
    kill(a, SIGKILL);
    CHECK_EQ(t_reap(a), 1000 + SIGKILL);
    CHECK(is_there(play));
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, play, 100, &(plait_shm_options){.exclusive = 1}), 0);
    CHECK(plait_shm_is_owner(&shm));
    CHECK_EQ(*(char *)plait_shm_address(&shm), 0);
    CHECK_RC(plait_shm_unlink(play), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

static int attaching_races_with_the_last_detach(void *unused)
{
    (void)unused;
    name_the_play("race");
    pid_t pids[5];
    for (int i = 0; i < 5; i++)
        pids[i] = start("--scene", 3, 0, -1);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(t_reap(pids[i]), 0);
    CHECK(!is_there(play));
    for (int round = 0; round < 5; round++) { /* the same with families that end and begin */
        for (int i = 0; i < 5; i++)
            pids[i] = start("--scene", 4, 0, -1);
        for (int i = 0; i < 5; i++)
            CHECK_EQ(t_reap(pids[i]), 0);
        CHECK(!is_there(play));
    }
    check_dirt(0);
    return 0;
}

static int programs_killed_at_random_leave_nothing_for_long(void *unused)
{
    (void)unused;
    name_the_play("random");
    uint64_t random = t_seed();
    for (int k = 0; k < 20; k++) {
        pid_t pids[4];
        int end;
        for (int i = 0; i < 4; i++)
            pids[i] = start("--scene", k & 1 ? 3 : 4, 0, -1);
        t_sleep(plait_us(t_below(&random, 15000)));
        for (int i = 0; i < 4; i++)
            kill(pids[i], SIGKILL);
        for (int i = 0; i < 4; i++)
            if ((end = t_reap(pids[i])) != 0)
                CHECK_EQ(end, 1000 + SIGKILL);
        CHECK(plait_shm_sweep() <= 2);
        CHECK(!is_there(play));
        check_dirt(0);
    }
    return 0;
}

/* --- limits --- */

static int hold_and_wait(void *arg)
{
    int *go = arg;
    plait_shm shm = {0};
    int rc = plait_shm_attach(&shm, play, &(plait_shm_options){.data_only = 1});
    COUNT(go[1]);
    if (rc == PLAIT_EUSERS)
        COUNT(go[2]);
    while (!SEEN(go[0]))
        t_sleep(plait_ms(5));
    return 0;
}

static int so_many_processes_and_no_more(void *unused)
{
    (void)unused;
    name_the_play("crowd");
    int *go = board_new(3 * sizeof *go);
    static pid_t pids[PLAIT_SHM_HOLDERS_MOST + 3];
    plait_shm shm = {0};
    plait_shm_options o = {.data_only = 1, .unlink_with_last = 1};
    CHECK_RC(plait_shm_create(&shm, play, 100, &o), 0);
    for (int i = 0; i < PLAIT_SHM_HOLDERS_MOST + 3; i++)
        pids[i] = t_fork(hold_and_wait, go);
    UNTIL(SEEN(go[1]) == PLAIT_SHM_HOLDERS_MOST + 3);
    CHECK_EQ(go[2], 4);
    CHECK_RC(plait_shm_holders(play, NULL, 0), PLAIT_SHM_HOLDERS_MOST);
    TELL(go[0], 1);
    for (int i = 0; i < PLAIT_SHM_HOLDERS_MOST + 3; i++)
        CHECK_EQ(t_reap(pids[i]), 0);
    CHECK_RC(plait_shm_holders(play, NULL, 0), 1);
    CHECK_EQ(t_reap(t_fork(hold_and_wait, go)), 0); /* a dead one's place is taken */
    CHECK_EQ(go[2], 4);
    CHECK_RC(plait_shm_detach(&shm), 0);
    CHECK(!is_there(play));
    return 0;
}

static int a_full_file_system_is_told_with_numbers(void *unused)
{
    (void)unused;
    name_the_play("full");
    if (!is_private || mount("none", "/dev/shm", "tmpfs", MS_REMOUNT, "size=64k") < 0)
        return PROGRAM_SKIPPED;
    plait_shm small = {0}, large = {0}, own = {0};
    plait_shm_options o = {.data_only = 1};
    plait_shm_room room;
    CHECK_RC(plait_shm_create(&large, play, 100000, &o), PLAIT_ENOSPC);
    CHECK(!is_there(play));
    CHECK_RC(plait_shm_space(&room), 0);
    CHECK(room.asked >= 100000 && room.free == 65536 && room.total == 65536);
    CHECK_RC(plait_shm_create(&small, play, 65536 - 8192, &o), 0);
    memset(plait_shm_address(&small), 1, 65536 - 8192); /* no SIGBUS: it is all there */
    CHECK_RC(plait_shm_space(&room), 0);
    CHECK_EQ(room.free, 0);
    CHECK_RC(plait_shm_create(&own, "own", 100, NULL), PLAIT_ENOSPC);
    CHECK_RC(plait_shm_unlink(play), 1);
    CHECK_RC(plait_shm_detach(&small), 0);
    CHECK_RC(plait_shm_create(&own, "own", 1000000, NULL), 0); /* a family's lies elsewhere */
    CHECK_RC(plait_shm_unlink("own"), 1);
    CHECK_RC(plait_shm_detach(&own), 0);
    CHECK_RC(plait_shm_space(&room), 0);
    CHECK_EQ(room.free, 65536);
    CHECK(mount("none", "/dev/shm", "tmpfs", MS_REMOUNT, "size=1g") == 0);
    return 0;
}

static int descriptors_may_be_used_up(void *unused)
{
    (void)unused;
    name_the_play("files");
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, play, 100, NULL), 0);
    int first = fill_descriptors(64);
    plait_shm second = {0};
    CHECK_RC(plait_shm_attach(&second, play, NULL), PLAIT_EMFILE);
    CHECK_RC(plait_shm_create(&second, "other", 10, NULL), PLAIT_EMFILE);
    CHECK_RC(plait_shm_detach(&shm), PLAIT_EMFILE);
    CHECK(plait_shm_address(&shm) != NULL);
    close(first);
    CHECK_RC(plait_shm_unlink(play), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5) {
        snprintf(play, sizeof play, "%s", argv[2]);
        if (strcmp(argv[1], "--act") == 0)
            return act(atoi(argv[3]), atoi(argv[4]));
        if (strcmp(argv[1], "--scene") == 0)
            return scene(atoi(argv[3]));
    }
    t_arguments(argc, argv);
    is_private = t_private_shm();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_unrelated_programs),
        PROGRAM(a_program_of_another_family_gets_data_only),
        PROGRAM(a_family_can_be_left_while_it_is_empty),
        PROGRAM(who_has_detached_or_moved_its_descriptor_shows_the_way),
        PROGRAM(a_guest_of_another_family_keeps_it),
        PROGRAM(who_closed_all_descriptors_cannot_be_reached),
        PROGRAM(the_killed_leave_nothing_for_long),
        PROGRAM(a_leftover_makes_way_for_a_new_one),
        PROGRAM(attaching_races_with_the_last_detach),
        PROGRAM(programs_killed_at_random_leave_nothing_for_long),
        PROGRAM(so_many_processes_and_no_more),
        PROGRAM(a_full_file_system_is_told_with_numbers),
        PROGRAM(descriptors_may_be_used_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
