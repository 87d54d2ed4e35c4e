/* The rwlock, in every order of the steps of those who read and write.
 *
 * The invariant: never a writer beside anybody; nobody is left asleep; who comes while a writer is
 * inside or the next gets in after it. */
#include "explore.h"

#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* As in src/sync/rwlock.c. */
#define PENDING UINT32_C(0x80000000)
#define RW_HUNGRY UINT32_C(0x20000000)

enum { READERS = 3 }; /* of a scenario that watches them: workers a to c */

struct world {
    plait_rwlock rw;
    int reading, writing; /* plain: never changed by two at once, or that is the failure */
    int passed, gave_up;
    int ended;                     /* turns of writers that are over, or about to be */
    int inside;                    /* times a writer has got in */
    bool leaving[EXPLORE_WORKERS]; /* is in release_write */
    int sleeps_till[READERS];      /* the number of the turn for whose end it sleeps; 0: none */
    bool heard;                    /* a request to stop */
};

static void name_rwlock(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->rw.word_);
    EXPLORE_NAME(w->rw.queue_.word_);
    EXPLORE_NAME(w->rw.inside_);
    EXPLORE_NAME(w->rw.overflow_);
    EXPLORE_NAME(w->rw.readers_);
}

/* All entries are taken by one who is no worker of the scenario and waits to read for good: the writer need
 * not wait for it, and readers have to use their records in the registry. */
static void has_no_entry(void *world)
{
    struct world *w = world;
    name_rwlock(world);
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++)
        w->rw.readers_[i].id_ = pl_self.id | PENDING;
}

/* The worker that the word names and that has not begun to leave; -1: none. */
static int writer_to_come(const struct world *w)
{
    uint32_t id = w->rw.word_ & PL_ID_MASK;
    for (int i = 0; i < EXPLORE_WORKERS - 2; i++)
        if (id && explore_worker_id(i) == id && !w->leaving[i])
            return i;
    return -1;
}

/* --- what workers do --- */

/* Whether a record of a worker that reads says that it waits, as the deadlock detector would believe. */
static bool is_said_to_wait(void)
{
    for (int i = 0; i < PL_READINGS; i++)
        if (pl_self.slot->reading[i].lock && (pl_self.slot->reading[i].word & PENDING))
            return true;
    return false;
}

static void be_reading(struct world *w)
{
    EXPLORE_EXPECT(w->writing == 0);
    EXPLORE_EXPECT(!is_said_to_wait());
    w->reading++;
    explore_step("read", &w->reading);
    EXPLORE_EXPECT(w->writing == 0);
    w->reading--;
    w->passed++;
}

static void be_writing(struct world *w)
{
    EXPLORE_EXPECT(w->reading == 0);
    EXPLORE_EXPECT(w->writing++ == 0);
    w->inside++;
    explore_step("write", &w->reading);
    EXPLORE_EXPECT(w->reading == 0);
    EXPLORE_EXPECT(--w->writing == 0);
    w->passed++;
}

static void end_writing(struct world *w)
{
    be_writing(w);
    w->ended++;
    w->leaving[explore_self()] = true;
    EXPLORE_EXPECT(plait_rwlock_release_write(&w->rw) == 0);
    w->leaving[explore_self()] = false;
}

static void end_reading(struct world *w)
{
    be_reading(w);
    EXPLORE_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
}

static void read_once(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER) == 0);
    end_reading(w);
}

static void read_twice(void *world)
{
    read_once(world);
    read_once(world);
}

/* A newcomer, who comes after the writer if there is one at the moment of its coming. */
static void read_as_newcomer(void *world)
{
    struct world *w = world;
    explore_step("load", &w->rw.word_);
    int ended = w->ended + (writer_to_come(w) >= 0);
    EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(w->ended >= ended);
    end_reading(w);
}

static void read_deeper(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_NOWAIT) == 0);
    end_reading(w);
    end_reading(w);
}

/* Takes the word for a moment, in which others may lie down. */
static void read_and_want_to_write(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER) == PLAIT_EDEADLK);
    end_reading(w);
}

static void write_once(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER) == 0);
    end_writing(w);
}

static void write_twice(void *world)
{
    write_once(world);
    write_once(world);
}

static void write_thrice(void *world)
{
    write_twice(world);
    write_once(world);
}

static void read_within(struct world *w, int64_t timeout, int or_else)
{
    int rc = plait_rwlock_acquire_read(&w->rw, timeout);
    EXPLORE_EXPECT(rc == 0 || rc == or_else);
    if (rc == 0)
        end_reading(w);
    w->gave_up += rc < 0;
    w->heard = rc == PLAIT_ECANCELED;
}

static void write_within(struct world *w, int64_t timeout, int or_else)
{
    int rc = plait_rwlock_acquire_write(&w->rw, timeout);
    EXPLORE_EXPECT(rc == 0 || rc == or_else);
    if (rc == 0)
        end_writing(w);
    w->gave_up += rc < 0;
    w->heard = rc == PLAIT_ECANCELED;
}

static void read_in_time(void *world)
{
    read_within(world, plait_ms(5), PLAIT_ETIMEDOUT);
}

static void write_in_time(void *world)
{
    write_within(world, plait_ms(5), PLAIT_ETIMEDOUT);
}

static void write_in_long_time(void *world)
{
    write_within(world, 2 * (int64_t)PL_FIRST_NAP, PLAIT_ETIMEDOUT);
}

static void try_to_read(void *world)
{
    read_within(world, PLAIT_NOWAIT, PLAIT_ETIMEDOUT);
}

static void try_to_write(void *world)
{
    write_within(world, PLAIT_NOWAIT, PLAIT_ETIMEDOUT);
}

static void read_until_cancelled(void *world)
{
    read_within(world, PLAIT_FOREVER, PLAIT_ECANCELED);
}

static void write_until_cancelled(void *world)
{
    write_within(world, PLAIT_FOREVER, PLAIT_ECANCELED);
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

/* --- what must be at the end --- */

static void is_free(struct world *w)
{
    EXPLORE_EXPECT(!(w->rw.word_ & RW_HUNGRY));
    EXPLORE_EXPECT(plait_rwlock_readers(&w->rw) == 0);
    EXPLORE_EXPECT(plait_rwlock_acquire_write(&w->rw, PLAIT_NOWAIT) == 0);
    EXPLORE_EXPECT(plait_rwlock_release_write(&w->rw) == 0);
    EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_NOWAIT) == 0);
}

static void came_to(struct world *w, int n)
{
    EXPLORE_EXPECT(w->passed + w->gave_up == n);
    is_free(w);
}

static void two_were_in(void *world)
{
    came_to(world, 2);
}

static void three_were_in(void *world)
{
    came_to(world, 3);
}

static void four_were_in(void *world)
{
    came_to(world, 4);
}

static void five_were_in(void *world)
{
    came_to(world, 5);
}

static void three_passed_nobody_gave_up(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->passed == 3 && w->gave_up == 0);
    is_free(w);
}

static void three_passed(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->passed == 3);
}

static void was_heard_or_will_be(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->heard != explore_is_asked(0));
    two_were_in(world);
}

#define RWLOCK .world_size = sizeof(struct world), .setup = name_rwlock

static const struct explore_scenario read_write = {.name = "rwlock: one reads, one writes",
                                                   RWLOCK,
                                                   .preemptions = 4,
                                                   .run = {read_once, write_once},
                                                   .check = two_were_in};

static const struct explore_scenario read_write_again = {
    .name = "rwlock: one reads twice, one writes twice",
    RWLOCK,
    .preemptions = 3,
    .run = {read_twice, write_twice},
    .check = four_were_in};

static const struct explore_scenario two_write = {.name = "rwlock: two write",
                                                  RWLOCK,
                                                  .preemptions = 4,
                                                  .run = {write_once, write_once},
                                                  .check = two_were_in};

static const struct explore_scenario three_write = {.name = "rwlock: three write",
                                                    RWLOCK,
                                                    .memory = EXPLORE_PRIVATE,
                                                    .preemptions = 2,
                                                    .run = {write_once, write_once, write_once},
                                                    .check = three_passed_nobody_gave_up};

static const struct explore_scenario between = {
    .name = "rwlock: two read, one writes",
    RWLOCK,
    .preemptions = 2,
    .run = {read_as_newcomer, write_once, read_as_newcomer},
    .check = three_passed_nobody_gave_up};

static const struct explore_scenario newcomers = {
    .name = "rwlock: newcomers wait for the writer that waits",
    RWLOCK,
    .preemptions = 1,
    .run = {read_once, write_once, read_as_newcomer, read_as_newcomer},
    .check = four_were_in};

static const struct explore_scenario two_writers = {
    .name = "rwlock: one reads, two write",
    RWLOCK,
    .memory = EXPLORE_PRIVATE,
    .preemptions = 2,
    .run = {read_as_newcomer, write_once, write_once},
    .check = three_passed_nobody_gave_up};

/* The same writer comes again while a reader that it has let in has not looked yet. */
static const struct explore_scenario writer_again = {.name = "rwlock: two read, one writes twice",
                                                     RWLOCK,
                                                     .preemptions = 2,
                                                     .run = {read_once, write_twice, read_once},
                                                     .check = four_were_in};

static const struct explore_scenario deeper = {.name = "rwlock: two deep while a writer waits",
                                               RWLOCK,
                                               .preemptions = 2,
                                               .run = {read_deeper, write_once, read_once},
                                               .check = four_were_in};

static const struct explore_scenario refused = {
    .name = "rwlock: a reader that wants to write is refused, others come",
    RWLOCK,
    .memory = EXPLORE_PRIVATE,
    .preemptions = 2,
    .run = {read_and_want_to_write, write_once, read_once},
    .check = three_passed_nobody_gave_up};

static const struct explore_scenario reader_in_time = {
    .name = "rwlock: a reader's timeout against the writer's leaving",
    RWLOCK,
    .preemptions = 3,
    .run = {read_in_time, write_twice},
    .check = three_were_in};

static const struct explore_scenario writer_in_time = {
    .name = "rwlock: a writer's timeout against the reader's leaving",
    RWLOCK,
    .preemptions = 3,
    .run = {write_in_time, read_once},
    .check = two_were_in};

static const struct explore_scenario let_in_again = {
    .name = "rwlock: a writer that gives up lets in those that waited for it",
    RWLOCK,
    .memory = EXPLORE_PRIVATE,
    .preemptions = 2,
    .run = {write_in_time, read_once, read_once},
    .check = three_were_in};

static const struct explore_scenario next_in_time = {
    .name = "rwlock: the next writer gives up, another waits behind it",
    RWLOCK,
    .memory = EXPLORE_PRIVATE,
    .preemptions = 2,
    .run = {write_in_time, write_once, write_once},
    .check = three_were_in};

static const struct explore_scenario hungry_gives_up = {
    .name = "rwlock: a hungry writer gives up, one tries",
    RWLOCK,
    .memory = EXPLORE_ARENA,
    .preemptions = 2,
    .longest_nap = PL_FIRST_NAP,
    .run = {write_in_long_time, write_once, try_to_write},
    .check = three_were_in};

static const struct explore_scenario both_in_time = {
    .name = "rwlock: reader and writer both with a timeout, one writes",
    RWLOCK,
    .memory = EXPLORE_ARENA,
    .preemptions = 2,
    .run = {write_in_time, read_in_time, write_once},
    .check = three_were_in};

static const struct explore_scenario tried = {.name = "rwlock: one tries each, one writes",
                                              RWLOCK,
                                              .preemptions = 2,
                                              .run = {try_to_read, write_once, try_to_write},
                                              .check = three_were_in};

static const struct explore_scenario reader_cancelled = {
    .name = "rwlock: a reader is asked to stop, one writes",
    RWLOCK,
    .preemptions = 2,
    .run = {read_until_cancelled, write_once, cancel_a},
    .check = was_heard_or_will_be};

static const struct explore_scenario writer_cancelled = {
    .name = "rwlock: a writer is asked to stop, one reads",
    RWLOCK,
    .preemptions = 2,
    .run = {write_until_cancelled, read_once, cancel_a},
    .check = was_heard_or_will_be};

static const struct explore_scenario next_cancelled = {
    .name = "rwlock: a writer is asked to stop, one writes",
    RWLOCK,
    .preemptions = 2,
    .run = {write_until_cancelled, write_once, cancel_a},
    .check = was_heard_or_will_be};

/* --- readers without an entry --- */

#define NO_ENTRY .world_size = sizeof(struct world), .setup = has_no_entry

static const struct explore_scenario in_records = {
    .name = "rwlock: two read without an entry, one writes",
    NO_ENTRY,
    .preemptions = 1,
    .run = {read_once, write_once, read_once},
    .check = three_passed};

static const struct explore_scenario records_again = {
    .name = "rwlock: one reads twice without an entry, one writes",
    NO_ENTRY,
    .preemptions = 2,
    .run = {read_twice, write_once},
    .check = three_passed};

/* --- how long a reader waits (in the arena, where who sleeps sleeps at the gate) --- */

/* Who lies at its gate waits for the writer in the word, whose turn has this number. */
static int turn_of_writer(const struct world *w)
{
    uint32_t writer = w->rw.word_ & PL_ID_MASK;
    bool has_been_in = writer_to_come(w) < 0 || w->rw.inside_ == writer;
    return w->inside + !has_been_in;
}

static void note_who_sleeps(void *world)
{
    struct world *w = world;
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++) {
        const struct plait_reader_ *e = &w->rw.readers_[i];
        for (int k = 0; k < READERS; k++)
            if (e->id_ == (explore_worker_id(k) | PENDING) && explore_sleeps(k)) {
                EXPLORE_EXPECT((w->rw.word_ & PL_ID_MASK) == e->gate_);
                w->sleeps_till[k] = turn_of_writer(w);
            }
    }
}

static void read_soon(void *world)
{
    struct world *w = world;
    int *till = &w->sleeps_till[explore_self()];
    *till = 0;
    EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(*till == 0 || w->inside == *till);
    end_reading(w);
}

static const struct explore_scenario soon = {
    .name = "rwlock: a sleeping reader is before the next writer",
    RWLOCK,
    .preemptions = 3,
    .memory = EXPLORE_ARENA,
    .always = note_who_sleeps,
    .run = {read_soon, write_thrice},
    .check = four_were_in};

static const struct explore_scenario soon_with_two = {
    .name = "rwlock: a sleeping reader is before the next of two writers",
    RWLOCK,
    .preemptions = 2,
    .memory = EXPLORE_ARENA,
    .always = note_who_sleeps,
    .run = {read_soon, write_once, write_twice},
    .check = four_were_in};

static const struct explore_scenario two_soon = {
    .name = "rwlock: two sleeping readers are before the next writer",
    RWLOCK,
    .preemptions = 2,
    .memory = EXPLORE_ARENA,
    .always = note_who_sleeps,
    .run = {read_soon, read_soon, write_twice},
    .check = four_were_in};

static const struct explore_scenario crowd = {
    .name = "rwlock: five at random",
    RWLOCK,
    .random = 5000,
    .changes = 5,
    .longest_nap = PL_HUNGER,
    .run = {read_once, write_in_time, read_in_time, write_once, try_to_write},
    .check = five_were_in};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(read_write),
        EXPLORE_TEST(read_write_again),
        EXPLORE_TEST(two_write),
        EXPLORE_TEST(three_write),
        EXPLORE_TEST(between),
        EXPLORE_TEST(newcomers),
        EXPLORE_TEST(two_writers),
        EXPLORE_TEST(writer_again),
        EXPLORE_TEST(deeper),
        EXPLORE_TEST(refused),
        EXPLORE_TEST(reader_in_time),
        EXPLORE_TEST(writer_in_time),
        EXPLORE_TEST(let_in_again),
        EXPLORE_TEST(next_in_time),
        EXPLORE_TEST(hungry_gives_up),
        EXPLORE_TEST(both_in_time),
        EXPLORE_TEST(tried),
        EXPLORE_TEST(reader_cancelled),
        EXPLORE_TEST(writer_cancelled),
        EXPLORE_TEST(next_cancelled),
        EXPLORE_TEST(in_records),
        EXPLORE_TEST(records_again),
        EXPLORE_TEST(soon),
        EXPLORE_TEST(soon_with_two),
        EXPLORE_TEST(two_soon),
        EXPLORE_TEST(crowd),
    };
    int rc = cmocka_run_group_tests_name("rwlock", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
