/* The registry: who is written down, that no name ever means another, and that entries come back. */
#include "registry/registry.h"

#include "arena/arena.h"
#include "base/atomic.h"
#include "harness.h"
#include "park/park.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

static int wait_for_event(void *event)
{
    return plait_event_wait(event, PLAIT_FOREVER);
}

/* Entries of the table that serve somebody: to come, living, or not joined yet. */
static uint32_t entries_in_use(void)
{
    uint32_t n = 0, ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        enum pl_life life = pl_life_of(pl_load_acquire(&pl_slot_at(i)->life));
        n += life != PL_FREE && life != PL_JOINED;
    }
    return n;
}

/* Runs fn(NULL) in a forked child: a family of its own while there is no arena here yet. */
#define FRESH(fn)                                                                                  \
    {                                                                                              \
#fn, in_fresh_process, NULL, NULL, (void *)(uintptr_t)(fn)                                 \
    }

static void in_fresh_process(void **fn)
{
    assert_null(pl_arena);
    assert_int_equal(t_in_fork((plait_function *)(uintptr_t)*fn, NULL), 0);
}

/* --- who is written down --- */

static int the_first_thread_is_a_process(void *unused)
{
    (void)unused;
    char name[PLAIT_NAME_SIZE];
    plait_worker self = plait_self(), nobody = {0, 0};
    CHECK(self.slot != 0);
    CHECK(plait_same(self, plait_self()));
    CHECK_EQ(plait_kind_of(self), PLAIT_PROCESS);
    CHECK_EQ(plait_pid(self), getpid());
    CHECK_EQ(plait_tid(self), gettid());
    CHECK_EQ(plait_state(self), PLAIT_STATE_RUNNING);
    CHECK_EQ(plait_is_alive(self), 1);
    CHECK(plait_same(plait_parent(self), nobody));
    CHECK_RC(plait_name(self, name, sizeof name), 0);
    CHECK(strcmp(name, "MainThread") == 0);
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    CHECK_EQ(plait_children(NULL, 0), 0);
    CHECK_EQ(entries_in_use(), 1);
    return 0;
}

static int look_at_a_foreign_thread(void *ret_self)
{
    plait_event never = {0};
    char name[PLAIT_NAME_SIZE];
    CHECK_EQ(pl_self.id, 0);
    CHECK_EQ(plait_enumerate(NULL, 0), 2); /* asking is a need, too */
    CHECK_RC(plait_event_wait(&never, 1), PLAIT_ETIMEDOUT);
    plait_worker self = plait_self();
    CHECK(self.slot != 0 && plait_same(self, plait_self()));
    CHECK_EQ(plait_kind_of(self), PLAIT_THREAD);
    CHECK_EQ(plait_pid(self), getpid());
    CHECK_EQ(plait_tid(self), gettid());
    CHECK_RC(plait_name(self, name, sizeof name), 0);
    CHECK(strncmp(name, "Dummy-", 6) == 0);
    CHECK_EQ(entries_in_use(), 2);
    *(plait_worker *)ret_self = self;
    return 0;
}

static int a_thread_that_needs_nothing_has_no_entry(void *unused)
{
    (void)unused;
    plait_lock lock = {0};
    CHECK_RC(plait_lock_release(&lock), PLAIT_EPERM);
    CHECK_EQ(plait_lock_locked(&lock), 0);
    CHECK_EQ(plait_cancelling(), 0);
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_EQ(pl_self.id, 0);
    return 0;
}

static int foreign_threads_come_on_first_need_and_go_with_their_end(void *unused)
{
    (void)unused;
    plait_worker was;
    plait_self();
    CHECK_EQ(t_in_pthread(a_thread_that_needs_nothing_has_no_entry, NULL), 0);
    CHECK_EQ(entries_in_use(), 1);
    CHECK_EQ(t_in_pthread(look_at_a_foreign_thread, &was), 0);
    UNTIL(entries_in_use() == 1);
    CHECK_RC(plait_state(was), PLAIT_ESTALE);
    CHECK_RC(plait_join(was, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    return 0;
}

/* A destructor of the program's own, which runs after plait's and needs it again. */
static void use_plait_late(void *unused)
{
    (void)unused;
    CHECK(plait_self().slot != 0);
    CHECK_RC(plait_free(plait_alloc(10)), 0);
}

static int leave_with_destructor(void *key)
{
    pthread_setspecific(*(pthread_key_t *)key, key);
    CHECK(plait_self().slot != 0);
    return 0;
}

static int destructors_of_the_program_may_use_plait(void *unused)
{
    (void)unused;
    plait_event never = {0};
    pthread_key_t key;
    plait_self();
    CHECK_EQ(pthread_key_create(&key, use_plait_late), 0);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(t_in_pthread(leave_with_destructor, &key), 0);
        CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, leave_with_destructor, &key)), 0);
    }
    UNTIL(plait_event_wait(&never, plait_ms(1)) < 0 && entries_in_use() == 1);
    return 0;
}

/* --- names of the dead --- */

static void expect_stale(plait_worker w)
{
    plait_worker nobody = {0, 0};
    plait_blame blame;
    char name[PLAIT_NAME_SIZE];
    CHECK_RC(plait_join(w, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    CHECK_RC(plait_detach(w), PLAIT_ESTALE);
    CHECK_RC(plait_cancel(w), PLAIT_ESTALE);
    CHECK_RC(plait_terminate(w), PLAIT_ESTALE);
    CHECK_RC(plait_kill(w), PLAIT_ESTALE);
    CHECK_RC(plait_state(w), PLAIT_ESTALE);
    CHECK_RC(plait_exit_status(w, &blame), PLAIT_ESTALE);
    CHECK_RC(plait_name(w, name, sizeof name), PLAIT_ESTALE);
    CHECK_RC(plait_kind_of(w), PLAIT_ESTALE);
    CHECK_RC(plait_pid(w), PLAIT_ESTALE);
    CHECK_RC(plait_tid(w), PLAIT_ESTALE);
    CHECK_EQ(plait_is_alive(w), 0);
    CHECK(plait_same(plait_parent(w), nobody));
}

static void expect_nobody(plait_worker w)
{
    plait_worker nobody = {0, 0};
    plait_blame blame;
    char name[PLAIT_NAME_SIZE];
    CHECK_RC(plait_join(w, NULL, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_RC(plait_detach(w), PLAIT_EINVAL);
    CHECK_RC(plait_cancel(w), PLAIT_EINVAL);
    CHECK_RC(plait_terminate(w), PLAIT_EINVAL);
    CHECK_RC(plait_kill(w), PLAIT_EINVAL);
    CHECK_RC(plait_state(w), PLAIT_EINVAL);
    CHECK_RC(plait_exit_status(w, &blame), PLAIT_EINVAL);
    CHECK_RC(plait_name(w, name, sizeof name), PLAIT_EINVAL);
    CHECK_RC(plait_kind_of(w), PLAIT_EINVAL);
    CHECK_RC(plait_pid(w), PLAIT_EINVAL);
    CHECK_RC(plait_tid(w), PLAIT_EINVAL);
    CHECK_EQ(plait_is_alive(w), 0);
    CHECK(plait_same(plait_parent(w), nobody));
}

static const plait_worker made_up[] = {
    {1, 0},     {1, 99},      {2, 1},          {65535, 1},
    {65536, 1}, {1 << 20, 0}, {UINT32_MAX, 0}, {UINT32_MAX, UINT32_MAX}};
enum { MADE_UP = sizeof made_up / sizeof made_up[0] };

static int names_that_were_made_up_are_refused(void *unused)
{
    (void)unused;
    expect_nobody((plait_worker){0, 0});
    expect_nobody((plait_worker){0, 7});
    for (int i = 0; i < MADE_UP; i++)
        expect_stale(made_up[i]); /* without an arena */
    plait_self();
    expect_nobody((plait_worker){0, 0});
    expect_nobody((plait_worker){0, UINT32_MAX});
    for (int i = 0; i < MADE_UP; i++)
        expect_stale(made_up[i]);
    return 0;
}

static int compare_workers(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(plait_worker));
}

/* Each name is given once. */
static void expect_all_different(plait_worker *all, long n)
{
    qsort(all, (size_t)n, sizeof *all, compare_workers);
    for (long i = 1; i < n; i++)
        CHECK(!plait_same(all[i - 1], all[i]));
}

static int no_name_is_given_twice(void *unused)
{
    (void)unused;
    long n = t_scaled(t_is_sanitized() ? 6000 : 30000);
    plait_worker *all = calloc((size_t)n, sizeof *all);
    for (long i = 0; i < n; i++) {
        CHECK_RC(plait_start(&all[i], PLAIT_THREAD, give_back, (void *)(intptr_t)i, NULL), 0);
        CHECK_EQ(t_join_one(all[i]), (int)i);
        CHECK_RC(plait_state(all[i]), PLAIT_ESTALE);
        CHECK_RC(plait_kind_of(all[i / 2]), PLAIT_ESTALE);
    }
    for (long i = 0; i < n; i += 101)
        expect_stale(all[i]);
    UNTIL(entries_in_use() == 1);
    CHECK(__atomic_load_n(&pl_arena->slots_ready, __ATOMIC_SEQ_CST) <= 2048); /* they are reused */
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    expect_all_different(all, n);
    free(all);
    return 0;
}

static int start_and_collect(void *all)
{
    plait_worker *mine = all;
    for (int i = 0; i < 2000; i++) {
        mine[i] = t_start_one(PLAIT_THREAD, give_back, (void *)(intptr_t)i);
        CHECK_EQ(t_join_one(mine[i]), i);
    }
    return 0;
}

static int no_name_is_given_twice_by_several_at_once(void *unused)
{
    (void)unused;
    plait_worker *all = plait_calloc(4 * 2000, sizeof *all);
    struct t_team team;
    const struct t_setting *kinds = t_may_fork_beside_threads() ? &t_mixed : &t_threads;
    t_start_each(&team, kinds, 4, start_and_collect, all, 2000 * sizeof *all);
    t_join(&team);
    expect_all_different(all, 4 * 2000);
    CHECK_RC(plait_free(all), 0);
    UNTIL(plait_children(NULL, 0) == 0 && entries_in_use() == 1);
    return 0;
}

/* A lock word names its holder in 29 bits: a later worker in the same place has another name there. */
static int the_next_in_a_place_is_not_taken_for_the_last(void *unused)
{
    (void)unused;
    plait_event event = {0};
    plait_worker first = t_start_one(PLAIT_THREAD, give_back, NULL);
    uint32_t first_id = pl_slot_at(first.slot)->id;
    CHECK_EQ(t_join_one(first), 0);
    for (int i = 0; i < 50; i++) {
        __atomic_store_n(&pl_arena->slot_cursor, first.slot, __ATOMIC_SEQ_CST);
        plait_worker next = t_start_one(PLAIT_THREAD, wait_for_event, &event);
        if (next.slot == first.slot) {
            CHECK(next.generation != first.generation);
            CHECK(pl_slot_at(next.slot)->id != first_id);
            CHECK(pl_is_dead(first_id));
            CHECK(!pl_is_dead(pl_slot_at(next.slot)->id));
            expect_stale(first);
        }
        plait_event_set(&event);
        CHECK_EQ(t_join_one(next), 0);
        plait_event_clear(&event);
    }
    return 0;
}

/* --- hearts --- */

static int hearts_beat_until_the_end(void *unused)
{
    (void)unused;
    FOR_EACH_KIND(kind)
    {
        plait_event *event = plait_alloc(sizeof *event);
        uint32_t beat;
        plait_worker w = t_start_one(kind, wait_for_event, event);
        UNTIL_WAITS(w, PL_WAIT_EVENT);
        struct pl_slot *slot = pl_slot_find(w);
        CHECK(!pl_heart_is_stopped(slot));
        CHECK(pl_heart_watch(slot, &beat));
        CHECK(beat & FUTEX_WAITERS);
        CHECK(!pl_is_dead(slot->id));
        plait_event_set(event);
        UNTIL(pl_heart_is_stopped(slot));
        CHECK(!pl_heart_watch(slot, &beat));
        CHECK(pl_is_dead(slot->id));
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(plait_free(event), 0);
    }
    return 0;
}

static int a_heart_that_does_not_beat_yet_is_neither_watched_nor_dead(void *unused)
{
    (void)unused;
    struct pl_slot *slot;
    uint32_t beat;
    plait_self();
    CHECK_RC(pl_slot_claim(&slot), 0);
    CHECK(!pl_heart_watch(slot, &beat));
    CHECK(!pl_heart_is_stopped(slot));
    CHECK(!pl_is_dead(slot->id));
    CHECK_EQ(plait_state(pl_worker_of(slot)), PLAIT_STATE_NEW);
    pl_slot_abandon(slot);
    CHECK(pl_slot_find((plait_worker){PL_ID_SLOT(slot->id), 0}) == NULL);
    return 0;
}

/* --- the sweep --- */

static int claim_and_die(void *n)
{
    struct pl_slot *slot;
    plait_self();
    for (intptr_t i = 0; i < (intptr_t)n; i++)
        CHECK_RC(pl_slot_claim(&slot), 0);
    raise(SIGKILL);
    return 0;
}

static int a_claimer_that_dies_leaves_nothing(void *unused)
{
    (void)unused;
    plait_self();
    CHECK_EQ(t_in_fork(claim_and_die, (void *)5), 1000 + SIGKILL);
    CHECK_EQ(entries_in_use(), 1 + 1 + 5);
    pl_sweep(0);
    CHECK_EQ(entries_in_use(), 1);
    return 0;
}

static int a_living_claimer_keeps_what_it_claimed(void *unused)
{
    (void)unused;
    struct pl_slot *slot;
    plait_self();
    CHECK_RC(pl_slot_claim(&slot), 0);
    plait_worker w = pl_worker_of(slot);
    for (int i = 0; i < 3; i++)
        pl_sweep(0);
    CHECK_EQ(plait_state(w), PLAIT_STATE_NEW);
    CHECK_EQ(entries_in_use(), 2);
    pl_slot_abandon(slot);
    CHECK_EQ(entries_in_use(), 1);
    return 0;
}

/* A thread that dies while it writes itself down: its entry names a thread that is gone. */
static int one_that_died_entering_leaves_nothing(void *unused)
{
    (void)unused;
    struct pl_slot *slot;
    plait_self();
    pid_t gone = t_fork(give_back, NULL);
    CHECK_EQ(t_reap(gone), 0);
    CHECK_RC(pl_slot_claim(&slot), 0);
    uint64_t generation = __atomic_load_n(&slot->life, __ATOMIC_SEQ_CST) >> 32;
    uint64_t entering = generation << 32 | (uint32_t)PL_ENTERING << PL_ID_BITS;
    pl_store_release(&slot->life, entering | (uint32_t)gettid());
    pl_sweep(0);
    CHECK_EQ(entries_in_use(), 2);
    pl_store_release(&slot->life, entering | (uint32_t)gone);
    pl_sweep(0);
    CHECK_EQ(entries_in_use(), 1);
    return 0;
}

static int forked_and_killed(void *unused)
{
    (void)unused;
    plait_self();
    raise(SIGKILL);
    return 0;
}

static int deaths_are_counted_once(void *unused)
{
    (void)unused;
    plait_arena_statistics before, after;
    plait_self();
    CHECK_RC(plait_arena_stats(&before), 0);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(t_in_fork(forked_and_killed, NULL), 1000 + SIGKILL);
    for (int i = 0; i < 3; i++)
        pl_sweep(0);
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(after.deaths, before.deaths + 20);
    CHECK_EQ(entries_in_use(), 1);
    return 0;
}

static int sweep_again(void *go)
{
    UNTIL(SEEN(*(int *)go));
    for (int i = 0; i < 200; i++)
        pl_sweep(0);
    return 0;
}

static int many_may_recover_the_same_at_once(void *unused)
{
    (void)unused;
    int *go = plait_alloc(sizeof *go);
    struct t_team team;
    plait_arena_statistics before, after;
    t_start(&team, &t_mixed, 4, sweep_again, go);
    CHECK_RC(plait_arena_stats(&before), 0);
    for (int i = 0; i < 30; i++)
        CHECK_EQ(t_in_fork(claim_and_die, (void *)2), 1000 + SIGKILL);
    TELL(*go, 1);
    t_join(&team);
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(after.deaths - before.deaths, 30);
    CHECK_RC(plait_free(go), 0);
    UNTIL(entries_in_use() == 1);
    return 0;
}

static int a_sweep_may_be_limited_to_once_in_a_while(void *unused)
{
    (void)unused;
    plait_self();
    pl_sweep(0);
    pl_sweep(plait_seconds(3600)); /* the first of that kind */
    CHECK_EQ(t_in_fork(claim_and_die, (void *)1), 1000 + SIGKILL);
    pl_sweep(plait_seconds(3600));
    CHECK_EQ(entries_in_use(), 3);
    pl_sweep(1);
    CHECK_EQ(entries_in_use(), 1);
    return 0;
}

/* --- one joins --- */

struct race {
    struct pl_slot *slot;
    uint32_t generation;
    int go, winners;
};

static int join_slot(void *race)
{
    struct race *r = race;
    UNTIL(SEEN(r->go));
    if (pl_slot_join(r->slot, r->generation))
        COUNT(r->winners);
    return 0;
}

static int an_entry_is_given_back_once(void *unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++) {
        struct race *r = plait_alloc(sizeof *r);
        struct t_team team;
        plait_worker w = t_start_one(PLAIT_THREAD, give_back, NULL);
        *r = (struct race){pl_slot_find(w), w.generation, 0, 0};
        t_start(&team, &t_threads, 4, join_slot, r);
        UNTIL(plait_state(w) == PLAIT_STATE_ENDED);
        TELL(r->go, 1);
        t_join(&team);
        CHECK_EQ(r->winners, 1);
        CHECK_RC(plait_join(w, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
        CHECK(!pl_slot_join(pl_slot_at(w.slot), w.generation));
        CHECK_RC(plait_free(r), 0);
    }
    return 0;
}

/* --- names --- */

static int names_are_cut_and_whole(void *unused)
{
    (void)unused;
    char name[PLAIT_NAME_SIZE], small[5];
    const char *const long_name = "0123456789012345678901234567890123456789";
    plait_worker self = plait_self();
    CHECK_RC(plait_set_name(long_name), 0);
    CHECK_RC(plait_name(self, name, sizeof name), 0);
    CHECK_EQ(strlen(name), PLAIT_NAME_SIZE - 1);
    CHECK(strncmp(name, long_name, PLAIT_NAME_SIZE - 1) == 0);
    CHECK_RC(plait_name(self, small, sizeof small), 0);
    CHECK(strcmp(small, "0123") == 0);
    CHECK_RC(plait_name(self, small, 1), 0);
    CHECK(strcmp(small, "") == 0);
    CHECK_RC(plait_set_name("x"), 0);
    CHECK_RC(plait_name(self, name, sizeof name), 0);
    CHECK(strcmp(name, "x") == 0);
    CHECK_RC(plait_set_name(""), 0);
    CHECK_RC(plait_name(self, name, sizeof name), 0);
    CHECK(strcmp(name, "") == 0);
    return 0;
}

/* --- a full table --- */

static plait_worker *fill_table(int *ret_n)
{
    plait_worker *all = calloc(PL_MOST_SLOTS, sizeof *all);
    int n = 0, rc;
    while ((rc = plait_start(&all[n], PLAIT_THREAD, give_back, (void *)(intptr_t)n, NULL)) == 0)
        n++;
    CHECK_RC(rc, PLAIT_EWORKERS);
    CHECK(all[n].slot == 0 && all[n].generation == 0);
    *ret_n = n;
    return all;
}

static int all_is_refused(void *unused)
{
    (void)unused;
    plait_event event = {0};
    plait_lock lock = {0};
    errno = EXDEV;
    CHECK_EQ(plait_self().slot, 0);
    CHECK_RC(plait_event_wait(&event, plait_ms(1)), PLAIT_EWORKERS);
    CHECK_RC(plait_lock_acquire(&lock, plait_ms(1)), PLAIT_EWORKERS);
    CHECK_RC(plait_set_name("name"), PLAIT_EWORKERS);
    CHECK_RC(plait_children(NULL, 0), PLAIT_EWORKERS);
    CHECK_RC(plait_enumerate(NULL, 0), PLAIT_EWORKERS);
    CHECK(plait_alloc(10) == NULL);
    CHECK_RC(plait_last_error(), PLAIT_EWORKERS);
    CHECK_EQ(errno, EXDEV);
    return 0;
}

/* Ended workers that nobody has joined keep their entries. */
static int a_full_table_is_told_and_empties_again(void *unused)
{
    (void)unused;
    setenv("PLAIT_ARENA_SIZE", "64M", 1);
    int first_n = 0;
    for (int round = 0; round < 2; round++) {
        int n;
        plait_arena_statistics s;
        plait_worker *all = fill_table(&n);
        CHECK_RC(plait_arena_stats(&s), 0);
        CHECK(s.workers <= s.workers_most);
        CHECK_EQ(entries_in_use(), s.workers_most - 1); /* place 0 is nobody's */
        CHECK_EQ(n, s.workers_most - 2);
        CHECK(round == 0 || n == first_n);
        first_n = n;
        CHECK_EQ(t_in_pthread(all_is_refused, NULL), 0);
        plait_worker w = {12, 34};
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, NULL), PLAIT_EWORKERS);
        CHECK(w.slot == 12 && w.generation == 34);
        CHECK_EQ(plait_children(NULL, 0), n);
        CHECK_EQ(t_join_one(all[n / 2]), n / 2); /* one entry is free again, and can be had */
        UNTIL(plait_start(&all[n / 2], PLAIT_PROCESS, give_back, NULL, NULL) == 0);
        CHECK_EQ(t_join_one(all[n / 2]), 0);
        for (int i = 0; i < n; i++)
            if (i != n / 2)
                CHECK_EQ(t_join_one(all[i]), i);
        UNTIL(entries_in_use() == 1);
        free(all);
    }
    return 0;
}

static int fill_by_claiming_and_die(void *unused)
{
    (void)unused;
    struct pl_slot *slot;
    plait_self();
    while (pl_slot_claim(&slot) == 0)
        ;
    raise(SIGKILL);
    return 0;
}

/* The entries of the dead are found when they are needed, without anyone having swept. */
static int a_table_full_of_the_dead_is_not_full(void *unused)
{
    (void)unused;
    setenv("PLAIT_ARENA_SIZE", "64M", 1);
    plait_self();
    CHECK_EQ(t_in_fork(fill_by_claiming_and_die, NULL), 1000 + SIGKILL);
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, give_back, (void *)7)), 7);
    CHECK(entries_in_use() <= 3);
    return 0;
}

int main(void)
{
    unsetenv("PLAIT_ARENA_SIZE");
    const struct CMUnitTest tests[] = {
        FRESH(the_first_thread_is_a_process),
        FRESH(a_thread_that_needs_nothing_has_no_entry),
        FRESH(foreign_threads_come_on_first_need_and_go_with_their_end),
        FRESH(destructors_of_the_program_may_use_plait),
        FRESH(names_that_were_made_up_are_refused),
        FRESH(no_name_is_given_twice),
        FRESH(no_name_is_given_twice_by_several_at_once),
        FRESH(the_next_in_a_place_is_not_taken_for_the_last),
        FRESH(hearts_beat_until_the_end),
        FRESH(a_heart_that_does_not_beat_yet_is_neither_watched_nor_dead),
        FRESH(a_claimer_that_dies_leaves_nothing),
        FRESH(a_living_claimer_keeps_what_it_claimed),
        FRESH(one_that_died_entering_leaves_nothing),
        FRESH(deaths_are_counted_once),
        FRESH(many_may_recover_the_same_at_once),
        FRESH(a_sweep_may_be_limited_to_once_in_a_while),
        FRESH(an_entry_is_given_back_once),
        FRESH(names_are_cut_and_whole),
        FRESH(a_full_table_is_told_and_empties_again),
        FRESH(a_table_full_of_the_dead_is_not_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
