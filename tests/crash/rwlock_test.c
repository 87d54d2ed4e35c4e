/* The rwlock when a worker is killed at every step: of reading and writing, waiting for either, giving
 * up, leaving; with readers and writers before it and behind it.
 *
 * The invariant: everybody else gets in, writers alone; a dead reader is no notice; after the death of a
 * writer all are told, until one writer has been, exactly if it died inside. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <unistd.h>

struct world {
    plait_rwlock rw;
    uint32_t writing, reading; /* survivors inside */
    uint32_t passes;           /* of survivors */
    uint32_t told;             /* writers that were told of a death */
    uint32_t died_inside;      /* writers among the victims that died there */
    bool victim_told;          /* the victim was told, and had left again */
    plait_worker holder;       /* holds it before the victim comes, and dies */
    uint32_t holds;
    long left, right; /* equal while no writer is inside; under the rwlock */
};

/* --- survivors --- */

static uint32_t add(uint32_t *word, uint32_t n)
{
    return __atomic_fetch_add(word, n, __ATOMIC_SEQ_CST);
}

static uint32_t value(uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void note_the_death(struct world *w)
{
    plait_blame blame;
    add(&w->told, 1);
    w->right = w->left;
    STEPS_EXPECT(plait_rwlock_blame(&w->rw, &blame) == 0);
    STEPS_EXPECT(blame.signal == SIGKILL);
}

static void pass_write(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED, "(%d)", rc);
    STEPS_EXPECT(add(&w->writing, 1) == 0 && value(&w->reading) == 0);
    if (rc == PLAIT_OWNER_DIED)
        note_the_death(w);
    STEPS_EXPECT(w->left == w->right);
    w->left++;
    w->right++;
    add(&w->passes, 1);
    STEPS_EXPECT(add(&w->writing, UINT32_MAX) == 1 && value(&w->reading) == 0);
    STEPS_EXPECT(plait_rwlock_release_write(&w->rw) == 0);
}

static void pass_read(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED, "(%d)", rc);
    add(&w->reading, 1);
    STEPS_EXPECT(value(&w->writing) == 0);
    STEPS_EXPECT(rc != 0 || w->left == w->right);
    STEPS_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_NOWAIT) == 0, "(deeper)");
    STEPS_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
    add(&w->passes, 1);
    add(&w->reading, UINT32_MAX);
    STEPS_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
}

static void pass_either(void *world, int who)
{
    who % 2 ? pass_write(world, who) : pass_read(world, who);
}

/* --- what must be --- */

/* Free for all; who died inside may not have been told of yet. */
static void expect_free(struct world *w)
{
    STEPS_EXPECT(plait_rwlock_readers(&w->rw) == 0);
    int rc = plait_rwlock_acquire_write(&w->rw, PLAIT_NOWAIT);
    STEPS_EXPECT(rc >= 0, "(nobody holds or wants it)");
    w->told += rc == PLAIT_OWNER_DIED;
    STEPS_EXPECT(plait_rwlock_release_write(&w->rw) == 0);
    STEPS_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_NOWAIT) == 0, "(after a writer)");
    STEPS_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
}

static void told_exactly_if_inside(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->passes == (uint32_t)steps_through());
    expect_free(w);
    STEPS_EXPECT(w->told == w->died_inside, "(%u told of %u)", w->told, w->died_inside);
}

/* The holder's death is told to a survivor or to the victim, the victim's to a survivor. */
static void told_of_both(void *world)
{
    struct world *w = world;
    plait_join(w->holder, NULL, plait_seconds(5));
    STEPS_EXPECT(w->passes == (uint32_t)steps_through());
    expect_free(w);
    if (w->died_inside)
        STEPS_EXPECT(w->told == 1 || (w->told == 2 && !w->victim_told));
    else
        STEPS_EXPECT(w->told == (w->victim_told ? 0 : 1));
}

/* --- the victim --- */

static void read_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER) >= 0);
}

static void end_reading(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
}

static void read_and_end(void *world, int who)
{
    read_it(world, who);
    end_reading(world, who);
}

static void read_twice(void *world, int who)
{
    read_it(world, who);
    read_it(world, who);
}

static void end_reading_twice(void *world, int who)
{
    end_reading(world, who);
    end_reading(world, who);
}

static void write_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER) >= 0);
}

static void end_writing(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_rwlock_release_write(&w->rw) == 0);
}

static void write_and_end(void *world, int who)
{
    struct world *w = world;
    int rc = plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER);
    STEPS_EXPECT(rc >= 0);
    end_writing(world, who);
    w->victim_told = rc == PLAIT_OWNER_DIED;
}

static void read_within_2_ms(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rwlock_acquire_read(&w->rw, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT || rc == 0);
}

static void write_within_2_ms(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rwlock_acquire_write(&w->rw, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT || rc == 0);
}

static void read_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER);
    STEPS_EXPECT(rc == PLAIT_ECANCELED || rc == 0);
}

static void write_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER);
    STEPS_EXPECT(rc == PLAIT_ECANCELED || rc == 0);
}

/* At the moment of death. A victim that has left since it was told counts as told. */
static void note_if_inside(void *world, int who)
{
    struct world *w = world;
    if (w->rw.inside_ == steps_victim_id(who) && (w->rw.word_ & PL_ID_MASK) == w->rw.inside_)
        add(&w->died_inside, 1);
}

/* The same for one that inherits: it was told if it has taken the mark away. */
static void note_if_inside_or_told(void *world, int who)
{
    struct world *w = world;
    note_if_inside(world, who);
    w->victim_told |= w->rw.inside_ == 0 && value(&w->told) == 0;
}

/* --- the root --- */

static void root_reads(void *world)
{
    read_it(world, 0);
}

static void root_writes(void *world)
{
    write_it(world, 0);
}

static void root_ends_reading(void *world)
{
    steps_deed();
    end_reading(world, 0);
}

static void root_ends_writing(void *world)
{
    steps_deed();
    end_writing(world, 0);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

static void root_ends_writing_after_2_ms(void *world)
{
    usleep(2000);
    root_ends_writing(world);
}

static void root_ends_reading_after_2_ms(void *world)
{
    usleep(2000);
    root_ends_reading(world);
}

static void root_cancels_and_ends_writing(void *world)
{
    root_cancels(world);
    root_ends_writing(world);
}

static void root_cancels_and_ends_reading(void *world)
{
    root_cancels(world);
    root_ends_reading(world);
}

/* Takes all entries, as so many other readers would: the others have to use the registry. */
static void root_fills_the_entries(void *world)
{
    struct world *w = world;
    root_reads(w);
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++)
        w->rw.readers_[i].id_ = pl_self.id;
}

static void root_empties_the_entries(void *world)
{
    struct world *w = world;
    steps_deed();
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++)
        STEPS_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
}

/* --- dying holders --- */

static void be_there(struct world *w)
{
    __atomic_store_n(&w->holds, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

static int hold_to_write(void *world)
{
    write_it(world, 0);
    be_there(world);
    return 0;
}

static int hold_to_read(void *world)
{
    read_it(world, 0);
    be_there(world);
    return 0;
}

static bool is_held(void *world)
{
    return value(&((struct world *)world)->holds);
}

static void let_another_write(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_start(&w->holder, PLAIT_PROCESS, hold_to_write, w, NULL) == 0);
    STEPS_EXPECT(steps_await(is_held, w));
}

static void let_another_read(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_start(&w->holder, PLAIT_PROCESS, hold_to_read, w, NULL) == 0);
    STEPS_EXPECT(steps_await(is_held, w));
}

static void kill_the_holder(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_kill(w->holder) == 0);
}

static void let_another_write_and_die(void *world)
{
    struct world *w = world;
    let_another_write(w);
    kill_the_holder(w);
    STEPS_EXPECT(plait_join(w->holder, NULL, plait_seconds(5)) == PLAIT_DIED);
}

static void let_another_read_and_die(void *world)
{
    struct world *w = world;
    let_another_read(w);
    kill_the_holder(w);
    STEPS_EXPECT(plait_join(w->holder, NULL, plait_seconds(5)) == PLAIT_DIED);
}

static void told_of_the_victim_only(void *world)
{
    struct world *w = world;
    plait_join(w->holder, NULL, plait_seconds(5));
    told_exactly_if_inside(w);
}

/* --- many at once --- */

enum { PASSES = 40 };

static void pass_often(void *world, int who)
{
    for (int i = 0; i < PASSES; i++)
        pass_either(world, who + i);
}

static void change_often(void *world, int who)
{
    struct world *w = world;
    for (int i = 0; i < 25; i++) {
        int64_t timeout = i % 3 ? PLAIT_FOREVER : plait_us(300);
        if ((i + who) % 2) {
            if (plait_rwlock_acquire_read(&w->rw, timeout) >= 0)
                end_reading(w, who);
        } else if (plait_rwlock_acquire_write(&w->rw, timeout) >= 0) {
            w->left = w->right;
            w->left++;
            steps_here("half changed", &w->left);
            w->right++;
            end_writing(w, who);
        }
    }
}

/* A victim may itself be told of another's death: then nobody else is. */
static void told_no_more_than_inside(void *world)
{
    struct world *w = world;
    expect_free(w);
    STEPS_EXPECT(w->passes == PASSES * 4 + 2);
    STEPS_EXPECT(w->told <= w->died_inside);
}

/* --- scenarios --- */

#define RWLOCK .world_size = sizeof(struct world), .last_look = note_if_inside
#define TOLD .check = told_exactly_if_inside
#define CREW(kind, fn)                                                                             \
    {                                                                                              \
        .threads = 1, .processes = 1, .sleep_in = kind, .run = fn                                  \
    }
#define READERS CREW(PL_WAIT_READ, pass_read)
#define WRITERS CREW(PL_WAIT_WRITE, pass_write)
#define NEWCOMERS CREW(PL_WAIT_NONE, pass_either)
#define SCENARIO(id) static const struct steps_scenario id

SCENARIO(read_free) = {
    .name = "rwlock: read, free", RWLOCK, .act = read_it, .late = NEWCOMERS, TOLD};

SCENARIO(read_behind_writer) = {.name = "rwlock: read, a writer inside",
                                RWLOCK,
                                .setup = root_writes,
                                .act = read_it,
                                .sleeps = true,
                                .direct = root_ends_writing,
                                .late = NEWCOMERS,
                                TOLD};

SCENARIO(read_with_others) = {.name = "rwlock: read, a writer inside, others wait",
                              RWLOCK,
                              .setup = root_writes,
                              .first = WRITERS,
                              .ahead = READERS,
                              .act = read_it,
                              .sleeps = true,
                              .behind = WRITERS,
                              .direct = root_ends_writing,
                              .late = NEWCOMERS,
                              TOLD};

SCENARIO(read_old_kernel) = {.name = "rwlock: read, a writer inside, others wait, no futex_waitv",
                             .stride = 5,
                             RWLOCK,
                             .setup = root_writes,
                             .first = WRITERS,
                             .ahead = READERS,
                             .act = read_it,
                             .sleeps = true,
                             .old_kernel = true,
                             .direct = root_ends_writing,
                             .late = NEWCOMERS,
                             TOLD};

SCENARIO(read_behind_waiting) = {.name = "rwlock: read, a writer waits for a reader",
                                 RWLOCK,
                                 .setup = root_reads,
                                 .ahead = WRITERS,
                                 .act = read_it,
                                 .sleeps = true,
                                 .behind = READERS,
                                 .direct = root_ends_reading,
                                 .late = NEWCOMERS,
                                 TOLD};

SCENARIO(read_deeper) = {.name = "rwlock: read deeper, writers wait",
                         RWLOCK,
                         .prepare = read_it,
                         .ahead = WRITERS,
                         .act = read_twice,
                         .behind = READERS,
                         .late = NEWCOMERS,
                         TOLD};

SCENARIO(end_reading_alone) = {.name = "rwlock: end reading, nobody waits",
                               RWLOCK,
                               .prepare = read_it,
                               .act = end_reading,
                               .late = NEWCOMERS,
                               TOLD};

SCENARIO(end_reading_others) = {.name = "rwlock: end reading, writers wait",
                                RWLOCK,
                                .prepare = read_twice,
                                .ahead = WRITERS,
                                .act = end_reading_twice,
                                .behind = READERS,
                                .late = NEWCOMERS,
                                TOLD};

SCENARIO(end_reading_joined) = {.name = "rwlock: end reading, writers wait, the parent joins",
                                RWLOCK,
                                .prepare = read_it,
                                .ahead = WRITERS,
                                .act = end_reading,
                                .join = true,
                                TOLD};

SCENARIO(end_reading_old_kernel) = {.name = "rwlock: end reading, writers wait, no futex_waitv",
                                    RWLOCK,
                                    .prepare = read_it,
                                    .ahead = WRITERS,
                                    .act = end_reading,
                                    .old_kernel = true,
                                    TOLD};

SCENARIO(write_free) = {
    .name = "rwlock: write, free", RWLOCK, .act = write_it, .late = NEWCOMERS, TOLD};

SCENARIO(write_behind_writer) = {.name = "rwlock: write, a writer inside, others wait",
                                 RWLOCK,
                                 .setup = root_writes,
                                 .first = READERS,
                                 .ahead = WRITERS,
                                 .act = write_it,
                                 .sleeps = true,
                                 .behind = READERS,
                                 .direct = root_ends_writing,
                                 .late = NEWCOMERS,
                                 TOLD};

SCENARIO(write_next) = {.name = "rwlock: write, a writer inside, others behind",
                        RWLOCK,
                        .setup = root_writes,
                        .first = READERS,
                        .act = write_it,
                        .sleeps = true,
                        .behind = WRITERS,
                        .direct = root_ends_writing,
                        .late = NEWCOMERS,
                        TOLD};

SCENARIO(write_behind_reader) = {.name = "rwlock: write, a reader inside, others behind",
                                 RWLOCK,
                                 .setup = root_reads,
                                 .act = write_it,
                                 .sleeps = true,
                                 .behind = READERS,
                                 .direct = root_ends_reading,
                                 .late = NEWCOMERS,
                                 TOLD};

SCENARIO(write_behind_both) = {.name = "rwlock: write, a reader inside, others wait",
                               RWLOCK,
                               .setup = root_reads,
                               .first = WRITERS,
                               .ahead = READERS,
                               .act = write_it,
                               .sleeps = true,
                               .behind = WRITERS,
                               .direct = root_ends_reading,
                               .late = NEWCOMERS,
                               TOLD};

SCENARIO(write_old_kernel) = {.name = "rwlock: write, a reader inside, others, no futex_waitv",
                              RWLOCK,
                              .setup = root_reads,
                              .act = write_it,
                              .sleeps = true,
                              .old_kernel = true,
                              .behind = READERS,
                              .direct = root_ends_reading,
                              .late = NEWCOMERS,
                              TOLD};

SCENARIO(end_writing_alone) = {.name = "rwlock: end writing, nobody waits",
                               RWLOCK,
                               .prepare = write_it,
                               .act = end_writing,
                               .late = NEWCOMERS,
                               TOLD};

SCENARIO(end_writing_readers) = {.name = "rwlock: end writing, readers wait",
                                 RWLOCK,
                                 .prepare = write_it,
                                 .ahead = READERS,
                                 .act = end_writing,
                                 .behind = WRITERS,
                                 TOLD};

SCENARIO(end_writing_writers) = {.name = "rwlock: end writing, writers wait",
                                 RWLOCK,
                                 .prepare = write_it,
                                 .ahead = WRITERS,
                                 .act = end_writing,
                                 .behind = READERS,
                                 TOLD};

SCENARIO(end_writing_joined) = {.name = "rwlock: end writing, readers wait, the parent joins",
                                RWLOCK,
                                .prepare = write_it,
                                .ahead = READERS,
                                .act = end_writing,
                                .join = true,
                                TOLD};

SCENARIO(end_writing_old_kernel) = {.name = "rwlock: end writing, readers wait, no futex_waitv",
                                    RWLOCK,
                                    .prepare = write_it,
                                    .ahead = READERS,
                                    .act = end_writing,
                                    .old_kernel = true,
                                    TOLD};

SCENARIO(time_out_reading) = {.name = "rwlock: time out, to read",
                              .stride = 3,
                              RWLOCK,
                              .setup = root_writes,
                              .ahead = READERS,
                              .act = read_within_2_ms,
                              .sleeps = true,
                              .behind = WRITERS,
                              .aftermath = root_ends_writing,
                              .late = NEWCOMERS,
                              TOLD};

SCENARIO(time_out_let_in) = {.name = "rwlock: time out while let in to read",
                             .stride = 3,
                             RWLOCK,
                             .setup = root_writes,
                             .act = read_within_2_ms,
                             .behind = WRITERS,
                             .direct = root_ends_writing_after_2_ms,
                             .late = NEWCOMERS,
                             TOLD};

SCENARIO(time_out_writing) = {.name = "rwlock: time out, to write, a reader inside",
                              RWLOCK,
                              .setup = root_reads,
                              .act = write_within_2_ms,
                              .sleeps = true,
                              .behind = READERS,
                              .aftermath = root_ends_reading,
                              .late = NEWCOMERS,
                              TOLD};

SCENARIO(time_out_next) = {.name = "rwlock: time out, to write, a writer inside",
                           RWLOCK,
                           .setup = root_writes,
                           .act = write_within_2_ms,
                           .sleeps = true,
                           .behind = WRITERS,
                           .aftermath = root_ends_writing,
                           .late = NEWCOMERS,
                           TOLD};

SCENARIO(time_out_reader_leaves) = {.name = "rwlock: time out, to write, while the reader leaves",
                                    RWLOCK,
                                    .setup = root_reads,
                                    .act = write_within_2_ms,
                                    .behind = READERS,
                                    .direct = root_ends_reading_after_2_ms,
                                    .late = NEWCOMERS,
                                    TOLD};

SCENARIO(cancelled_reading) = {.name = "rwlock: cancelled, to read",
                               .stride = 3,
                               RWLOCK,
                               .setup = root_writes,
                               .act = read_until_cancelled,
                               .behind = WRITERS,
                               .direct = root_cancels_and_ends_writing,
                               .late = NEWCOMERS,
                               TOLD};

SCENARIO(cancelled_writing) = {.name = "rwlock: cancelled, to write",
                               RWLOCK,
                               .setup = root_reads,
                               .act = write_until_cancelled,
                               .behind = READERS,
                               .direct = root_cancels_and_ends_reading,
                               .late = NEWCOMERS,
                               TOLD};

SCENARIO(write_from_dead) = {.name = "rwlock: write, the writer inside is dead",
                             .world_size = sizeof(struct world),
                             .last_look = note_if_inside_or_told,
                             .setup = let_another_write_and_die,
                             .act = write_it,
                             .late = NEWCOMERS,
                             .check = told_of_both};

SCENARIO(read_from_dead) = {.name = "rwlock: read, the writer inside is dead",
                            .stride = 3,
                            RWLOCK,
                            .setup = let_another_write_and_die,
                            .act = read_and_end,
                            .late = NEWCOMERS,
                            .check = told_of_both};

SCENARIO(write_over_dead) = {.name = "rwlock: write, the reader inside is dead",
                             RWLOCK,
                             .setup = let_another_read_and_die,
                             .act = write_it,
                             .late = NEWCOMERS,
                             .check = told_of_the_victim_only};

SCENARIO(write_woken_by_writer) = {.name = "rwlock: write, woken by the writer's death",
                                   .world_size = sizeof(struct world),
                                   .last_look = note_if_inside_or_told,
                                   .setup = let_another_write,
                                   .ahead = READERS,
                                   .act = write_and_end,
                                   .sleeps = true,
                                   .behind = WRITERS,
                                   .direct = kill_the_holder,
                                   .late = NEWCOMERS,
                                   .check = told_of_both};

SCENARIO(read_woken_by_writer) = {.name = "rwlock: read, woken by the writer's death",
                                  .stride = 3,
                                  RWLOCK,
                                  .setup = let_another_write,
                                  .ahead = READERS,
                                  .act = read_and_end,
                                  .sleeps = true,
                                  .behind = WRITERS,
                                  .direct = kill_the_holder,
                                  .late = NEWCOMERS,
                                  .check = told_of_both};

SCENARIO(write_woken_by_reader) = {.name = "rwlock: write, woken by the reader's death",
                                   .stride = 3,
                                   RWLOCK,
                                   .setup = let_another_read,
                                   .act = write_it,
                                   .sleeps = true,
                                   .behind = READERS,
                                   .direct = kill_the_holder,
                                   .late = NEWCOMERS,
                                   .check = told_of_the_victim_only};

SCENARIO(crowd_read) = {.name = "rwlock: read in a crowd, and end",
                        RWLOCK,
                        .setup = root_fills_the_entries,
                        .act = read_and_end,
                        .behind = WRITERS,
                        .aftermath = root_empties_the_entries,
                        .late = NEWCOMERS,
                        TOLD};

SCENARIO(crowd_end) = {.name = "rwlock: end reading in a crowd, writers wait",
                       RWLOCK,
                       .setup = root_fills_the_entries,
                       .prepare = read_twice,
                       .ahead = WRITERS,
                       .act = end_reading_twice,
                       .behind = READERS,
                       .aftermath = root_empties_the_entries,
                       .late = NEWCOMERS,
                       TOLD};

SCENARIO(crowd_wait) = {.name = "rwlock: read in a crowd, writers wait",
                        .stride = 3,
                        RWLOCK,
                        .setup = root_fills_the_entries,
                        .first = WRITERS,
                        .ahead = READERS,
                        .act = read_it,
                        .sleeps = true,
                        .behind = READERS,
                        .direct = root_empties_the_entries,
                        .late = NEWCOMERS,
                        TOLD};

/* The entry that it waits for last is free; only the registry says who reads. */
static void empty_the_entries_again(void *world)
{
    struct world *w = world;
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++)
        STEPS_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
}

static bool is_waited_for(void *world)
{
    return plait_rwlock_readers(&((struct world *)world)->rw) == 1;
}

/* A reader in the registry that dies when told. */
static void let_another_read_in_a_crowd(void *world)
{
    struct world *w = world;
    root_fills_the_entries(w);
    let_another_read(w);
    empty_the_entries_again(w);
    STEPS_EXPECT(steps_await(is_waited_for, w));
}

SCENARIO(crowd_write) = {.name = "rwlock: write, a reader in the registry dies",
                         .stride = 7,
                         RWLOCK,
                         .setup = let_another_read_in_a_crowd,
                         .act = write_it,
                         .sleeps = true,
                         .behind = READERS,
                         .direct = kill_the_holder,
                         .late = NEWCOMERS,
                         .check = told_of_the_victim_only};

SCENARIO(several_at_random) = {.name = "rwlock: several victims at random steps",
                               RWLOCK,
                               .victims = 3,
                               .act = change_often,
                               .ahead = {.threads = 2, .processes = 2, .run = pass_often},
                               .late = NEWCOMERS,
                               .check = told_no_more_than_inside};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(read_free),
        STEPS_TEST(read_behind_writer),
        STEPS_TEST(read_with_others),
        STEPS_TEST(read_old_kernel),
        STEPS_TEST(read_behind_waiting),
        STEPS_TEST(read_deeper),
        STEPS_TEST(end_reading_alone),
        STEPS_TEST(end_reading_others),
        STEPS_TEST(end_reading_joined),
        STEPS_TEST(end_reading_old_kernel),
        STEPS_TEST(write_free),
        STEPS_TEST(write_behind_writer),
        STEPS_TEST(write_next),
        STEPS_TEST(write_behind_reader),
        STEPS_TEST(write_behind_both),
        STEPS_TEST(write_old_kernel),
        STEPS_TEST(end_writing_alone),
        STEPS_TEST(end_writing_readers),
        STEPS_TEST(end_writing_writers),
        STEPS_TEST(end_writing_joined),
        STEPS_TEST(end_writing_old_kernel),
        STEPS_TEST(time_out_reading),
        STEPS_TEST(time_out_let_in),
        STEPS_TEST(time_out_writing),
        STEPS_TEST(time_out_next),
        STEPS_TEST(time_out_reader_leaves),
        STEPS_TEST(cancelled_reading),
        STEPS_TEST(cancelled_writing),
        STEPS_TEST(write_from_dead),
        STEPS_TEST(read_from_dead),
        STEPS_TEST(write_over_dead),
        STEPS_TEST(write_woken_by_writer),
        STEPS_TEST(read_woken_by_writer),
        STEPS_TEST(write_woken_by_reader),
        STEPS_TEST(crowd_read),
        STEPS_TEST(crowd_end),
        STEPS_TEST(crowd_wait),
        STEPS_TEST(crowd_write),
        STEPS_STORES_TEST(read_woken_by_writer),
        STEPS_STORES_TEST(write_woken_by_reader),
        STEPS_STORES_TEST(end_writing_readers),
        STEPS_STORES_TEST(end_reading_others),
        STEPS_STORES_TEST(time_out_writing),
        STEPS_RANDOM_TEST(several_at_random),
    };
    int rc = cmocka_run_group_tests_name("rwlock", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
