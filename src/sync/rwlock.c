/* The rwlock: a word that names the writer, and entries that name the readers.
 *
 * Naive: a count of readers in the word. Its holes: when a reader dies, the count stays, and nobody can
 * tell whose it was; a writer waits for ever, and does not know for whom. And all readers change one
 * word. Cure: each reader writes its name into an entry of its own, then looks at the word; a writer
 * writes its name into the word, then looks at the entries. All these are seq_cst, so of a reader and
 * a writer that come at once one at least sees the other (as Dekker's two). The reader, if it sees a
 * writer, steps back; so a writer has only to wait until each entry has been free once.
 *
 * Naive: readers that stepped back sleep until the word is free. Its hole: the next writer may always be
 * faster. Cure: they leave their names, marked as waiting, and the writer that leaves takes the marks
 * off while the word still names it: they read from then on, asleep or not, and the next writer waits
 * for them.
 *
 * An entry:  0                   free
 *            id                  reads; or came just now, looks at the word, and may step back
 *            id | PENDING        waits to read
 *            id [| WATCHED]      reads, and a writer sleeps on the entry
 *
 * The word: who writes or is the next to (0: nobody), and three flags with a law each.
 *   READERS  readers may be asleep at their gates. Set by a waiting reader before it sleeps; cleared
 *            by the writer that leaves, before it lets in those that wait. May be set with no sleeper.
 *   WRITER   a writer may be asleep on the word. Set by it before it sleeps; cleared when a writer that
 *            was the next takes the word, or a wake-up found nobody.
 *   HUNGRY   that writer has waited too long: others must not take a free word. Set by it, cleared
 *            when one that is the next takes the word or gives up.
 *
 * Facts:
 *   1 A writer is inside only when, after it wrote its name into the word, it has seen each entry free,
 *     waiting or dead. No reader stays in an entry that it claimed while the word named a writer, so an
 *     entry once seen so needs no second look. (To read again while a writer waits is therefore a depth
 *     in the entry one has, not another entry.)
 *   2 Who takes PENDING off: the writer named in the word, on leaving; or the reader itself, which then
 *     looks at the word again as if it had just come.
 *   3 A reader sleeps on its gate only if, when it marked the word READERS, the word named the writer
 *     that the gate names. That writer cannot free the word before it has let the reader in and
 *     opened the gate; if it dies, the reader sees that by its heart.
 *   4 On the word sleeps one writer at most: the holder of queue_. The others sleep on that lock.
 *   5 `inside_` is set by a writer between the last look at the entries and its return, and cleared before
 *     it begins to leave. So whoever gets in and finds it set knows that its writer died inside.
 *     Only the next writer that gets in overwrites it.
 *   6 Each word that is slept on names the one that is waited for, and its heart is watched: the word
 *     and the gates the writer, the entries the reader. (With PENDING in an entry its reader holds
 *     nothing: so the deadlock detector is told, or it would see a ring where a reader has left, come
 *     again and waits, and the writer that it has woken has not run yet.)
 *
 * When the entries are all taken, a reader uses a record in its slot of the registry (struct pl_reading),
 * and sets overflow_ so that writers look there too. What counts there is the lowest bit of `lock`: thus
 * that bit and the rwlock change as one, and a writer cannot let in a reader that has turned to another
 * rwlock meanwhile. PENDING in its `word` follows when the reader runs. Dead workers' records are passed over; the next owner of the slot clears them.
 *
 * Ordering: R:rwlock.word in leave pairs with A:rwlock.word in both acquires: what a writer wrote is
 * seen by the next. R:rwlock.reader in release_read pairs with A:rwlock.reader in the writer's look at the
 * entries: it writes after they have read. A reader that is let in asleep has it from the mark's removal:
 * R:rwlock.pending, A:rwlock.pending. What is taken over from the dead needs no release; see lock.c. */
#include "base/clock.h"
#include "park/park.h"
#include "sync/lock_word.h"
#include "sync/lockdep.h"

#include <plait/rwlock.h>
#include <limits.h>
#include <string.h>

#define RW_READERS UINT32_C(0x80000000)
#define RW_WRITER UINT32_C(0x40000000)
#define RW_HUNGRY UINT32_C(0x20000000)

#define PENDING UINT32_C(0x80000000)
#define WATCHED UINT32_C(0x40000000)

/* A gate that holds a depth, which is never mistaken for the id of a writer. */
#define DEEP UINT32_C(0x80000000)
enum { DEEPEST = 65535 };

_Static_assert(sizeof(plait_rwlock) == 192, "three cache lines: the word, and two of entries");

static uint32_t holder_of(uint32_t word)
{
    return word & PL_ID_MASK;
}

/* --- a reader's place: an entry, or a record in the registry --- */

/* Where a reader has written its name. */
struct place {
    uint32_t *word; /* what a writer sleeps on */
    uint32_t *gate; /* what the reader sleeps on */
    uint64_t *lock; /* of a record; NULL for an entry */
    uint64_t key;   /* what `lock` says while it reads */
};

/* What a record says of the rwlock. Private memory of several processes may lie at one address. */
static uint64_t key_of(const plait_rwlock *rw)
{
    uint64_t key = (uintptr_t)rw;
    if (!pl_arena_holds(rw))
        key ^= (uint64_t)(uint16_t)pl_load_relaxed(&pl_self.slot->pid) << 48;
    return key;
}

static struct place entry_place(plait_rwlock *rw, uint32_t i)
{
    return (struct place){&rw->readers_[i].id_, &rw->readers_[i].gate_, NULL, 0};
}

static struct place record_place(const plait_rwlock *rw, struct pl_reading *record)
{
    return (struct place){&record->word, &record->gate, &record->lock, key_of(rw)};
}

/* Neighbours in the registry start on different cache lines. */
static uint32_t first_entry(uint32_t id)
{
    enum { LINES = 2, EACH = PLAIT_RWLOCK_ENTRIES_ / LINES };
    uint32_t slot = PL_ID_SLOT(id);
    return slot % LINES * EACH + slot / LINES % EACH;
}

static bool is_pending(const struct place *p)
{
    /* A:rwlock.pending, pairs with let_in. */
    return p->lock ? pl_load_seq_cst(p->lock) & 1 : (pl_load_seq_cst(p->word) & PENDING) != 0;
}

/* Takes the name off the word, leaving `next`, and wakes the writer that sleeps there. */
static void rename_word(uint32_t *word, uint32_t next)
{
    uint32_t seen = pl_load_relaxed(word);
    do {
        if (seen & WATCHED)
            pl_will_unpark(word);
        /* R:rwlock.reader, pairs with wait_for_entry and wait_for_record. */
    } while (!pl_cas_seq_cst(word, &seen, next));
    if (seen & WATCHED)
        pl_unpark(word, INT_MAX);
}

/* Reads -> waits to read. */
static void step_back(const struct place *p)
{
    if (p->lock)
        pl_store_seq_cst(p->lock, p->key | 1);
    rename_word(p->word, pl_self.id | PENDING);
}

/* Reads -> free. */
static void leave_place(const struct place *p)
{
    if (p->lock)
        /* R:rwlock.reader */
        pl_store_release(p->lock, UINT64_C(0));
    rename_word(p->word, 0);
}

/* Waits to read -> `next` (the key or 0; the id or 0). False: it has been let in. */
static bool stop_waiting(const struct place *p, bool to_read)
{
    uint32_t pending = pl_self.id | PENDING;
    uint64_t waiting = p->key | 1;
    pl_store_relaxed(p->gate, 0u);
    if (!p->lock)
        return pl_cas_seq_cst(p->word, &pending, to_read ? pl_self.id : 0u);
    if (!pl_cas_seq_cst(p->lock, &waiting, to_read ? p->key : 0))
        return false;
    rename_word(p->word, to_read ? pl_self.id : 0);
    return true;
}

/* --- finding a place --- */

static struct pl_reading *own_record(uint64_t key)
{
    for (int i = 0; i < PL_READINGS; i++)
        if (pl_load_relaxed(&pl_self.slot->reading[i].lock) == key)
            return &pl_self.slot->reading[i];
    return NULL;
}

/* Where the caller reads; looks past `except`, which it has claimed but just now. */
static bool find_held(plait_rwlock *rw, const struct place *except, struct place *ret)
{
    uint32_t first = first_entry(pl_self.id);
    for (uint32_t i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++) {
        *ret = entry_place(rw, (first + i) % PLAIT_RWLOCK_ENTRIES_);
        if ((pl_load_relaxed(ret->word) & ~WATCHED) == pl_self.id &&
            !(except && except->word == ret->word))
            return true;
    }
    struct pl_reading *record = own_record(key_of(rw));
    if (record)
        *ret = record_place(rw, record);
    return record != NULL;
}

/* Claims an entry that is free or, if `dead` is wanted, whose reader is gone. */
static bool claim_entry(plait_rwlock *rw, uint32_t i, bool dead)
{
    uint32_t *word = &rw->readers_[i].id_, seen = pl_load_relaxed(word);
    if (seen != 0 && (!dead || pl_holder_lost(rw, holder_of(seen)) <= 0))
        return false;
    if (!pl_cas_seq_cst(word, &seen, pl_self.id))
        return false;
    pl_store_relaxed(&rw->readers_[i].gate_, 0u);
    return true;
}

/* Order matters: a writer that resets overflow_ after the mark has been set sees the record. */
static int claim_record(plait_rwlock *rw, struct place *ret)
{
    struct pl_reading *record = own_record(0);
    if (!record)
        return PLAIT_EAGAIN;
    *ret = record_place(rw, record);
    pl_store_relaxed(ret->gate, 0u);
    pl_store_release(ret->word, pl_self.id);
    pl_store_seq_cst(ret->lock, ret->key);
    pl_store_seq_cst(&rw->overflow_, 1u);
    return 0;
}

static int claim_place(plait_rwlock *rw, struct place *ret)
{
    uint32_t first = first_entry(pl_self.id);
    for (uint32_t i = 0; i < 2 * PLAIT_RWLOCK_ENTRIES_; i++) {
        uint32_t k = (first + i) % PLAIT_RWLOCK_ENTRIES_;
        if (claim_entry(rw, k, i == 0 || i >= PLAIT_RWLOCK_ENTRIES_)) {
            *ret = entry_place(rw, k);
            return 0;
        }
    }
    return claim_record(rw, ret);
}

/* --- leaving, and letting others in --- */

/* Goes through the records of this rwlock: the next at or after *cursor, which it moves past it. */
static struct pl_reading *next_record(const plait_rwlock *rw, uint32_t *cursor)
{
    uint32_t end = pl_load_acquire(&pl_arena->slots_ready) * PL_READINGS;
    uint64_t key = key_of(rw);
    bool anyones = pl_arena_holds(rw);
    while (*cursor < end) {
        struct pl_slot *slot = pl_slot_at(*cursor / PL_READINGS);
        struct pl_reading *record = &slot->reading[(*cursor)++ % PL_READINGS];
        if ((pl_load_seq_cst(&record->lock) & ~UINT64_C(1)) == key &&
            (anyones || pl_load_relaxed(&slot->pid) == pl_load_relaxed(&pl_self.slot->pid)))
            return record;
    }
    return NULL;
}

/* Opens the gate of a reader that has been let in, if it is this writer's. */
static void open_gate(uint32_t *gate)
{
    uint32_t mine = pl_self.id;
    if (pl_load_seq_cst(gate) != mine)
        return;
    pl_will_unpark(gate);
    if (pl_cas_seq_cst(gate, &mine, 0u))
        pl_unpark(gate, INT_MAX);
}

/* Lets everybody in who waits to read. Requires: the word names the caller, who is not inside. */
static void let_in(plait_rwlock *rw)
{
    struct pl_reading *record;
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++) {
        struct plait_reader_ *e = &rw->readers_[i];
        uint32_t seen = pl_load_seq_cst(&e->id_);
        /* R:rwlock.pending, pairs with is_pending. */
        if ((seen & PENDING) && pl_cas_seq_cst(&e->id_, &seen, seen & ~PENDING))
            open_gate(&e->gate_);
    }
    if (!pl_load_seq_cst(&rw->overflow_))
        return;
    for (uint32_t cursor = 0; (record = next_record(rw, &cursor)) != NULL;) {
        uint64_t waiting = key_of(rw) | 1;
        if (pl_cas_seq_cst(&record->lock, &waiting, waiting & ~UINT64_C(1)))
            open_gate(&record->gate);
    }
}

/* Frees the word: sleeping readers first, then a sleeping writer. Requires: the word names the caller, who
 * is not inside. */
static __attribute__((noinline)) void leave(plait_rwlock *rw)
{
    uint32_t seen = pl_load_relaxed(&rw->word_), kept;
    for (;;) {
        if (seen &
            RW_READERS) { /* cleared first: who marks the word after is seen by a second round */
            if (pl_cas_seq_cst(&rw->word_, &seen, seen & ~RW_READERS))
                let_in(rw);
            seen = pl_load_relaxed(&rw->word_);
            continue;
        }
        kept = seen & (RW_WRITER | RW_HUNGRY);
        if (kept & RW_WRITER)
            pl_will_unpark(&rw->word_);
        /* R:rwlock.word, pairs with plait_rwlock_acquire_read and plait_rwlock_acquire_write. */
        if (pl_cas_release(&rw->word_, &seen, kept))
            break;
    }
    if ((kept & RW_WRITER) && pl_unpark(&rw->word_, INT_MAX) == 0)
        pl_cas_relaxed(&rw->word_, &kept, kept & ~RW_WRITER);
}

/* If the writer that the word names is gone, frees the word. 1: look again; 0: it lives; PLAIT_EPRIVATE. */
static int free_if_lost(plait_rwlock *rw, uint32_t seen)
{
    int lost = pl_holder_lost(rw, holder_of(seen));
    if (lost <= 0)
        return lost;
    pl_will_unpark(&rw->word_);
    if (pl_cas_acq_rel(&rw->word_, &seen, seen & ~PL_ID_MASK))
        pl_unpark(&rw->word_, INT_MAX);
    return 1;
}

/* --- reading --- */

/* What to tell one who reads now (fact 5; no writer gets in meanwhile). */
static int as_reader(const plait_rwlock *rw)
{
    return pl_load_relaxed(&rw->inside_) ? PLAIT_OWNER_DIED : 0;
}

enum { LET_IN = 1, LOOK_AGAIN = 0 };

/* Looks for a while whether it is let in or the word is free. */
static void spin_at_gate(const plait_rwlock *rw, const struct place *p)
{
    struct pl_spin spin = {0};
    do {
        if (!is_pending(p) || !holder_of(pl_load_relaxed(&rw->word_))) {
            pl_spin_won(&spin);
            return;
        }
    } while (pl_spin(&spin));
}

/* Sleeps until the writer `seen` names has let this reader in. 0: look again; else as pl_park. */
static int sleep_at_gate(plait_rwlock *rw, const struct place *p, uint32_t seen,
                         struct pl_wait *wait)
{
    uint32_t writer = holder_of(seen);
    pl_store_seq_cst(p->gate, writer);
    seen = pl_load_seq_cst(&rw->word_);
    if (!(seen & RW_READERS))
        seen = pl_fetch_or_seq_cst(&rw->word_, RW_READERS);
    if (holder_of(seen) != writer || !is_pending(p))
        return 0;
    wait->holder = writer;
    int64_t start = plait_now();
    int rc = pl_park(p->gate, writer, wait);
    if (rc == 0)
        pl_spin_slept(plait_now() - start);
    return rc;
}

/* Waits, with the place marked PENDING. LET_IN; LOOK_AGAIN: no writer, the mark is off; or why not. */
static int wait_at_gate(plait_rwlock *rw, const struct place *p, struct pl_wait *wait)
{
    for (;;) {
        if (wait->deadline != 0)
            spin_at_gate(rw, p);
        uint32_t seen = pl_load_seq_cst(&rw->word_);
        if (!is_pending(p))
            return LET_IN;
        if (!holder_of(seen))
            return stop_waiting(p, true) ? LOOK_AGAIN : LET_IN;
        int rc = free_if_lost(rw, seen);
        if (rc == 0)
            rc = sleep_at_gate(rw, p, seen, wait);
        if (rc < 0)
            return rc;
    }
}

/* Gives up waiting, unless it has been let in meanwhile. */
static int give_up_reading(const struct place *p, int why)
{
    if (stop_waiting(p, false))
        return why;
    if (why == PLAIT_ECANCELED)
        pl_cancel_put_back();
    return LET_IN;
}

/* A writer may be watching the word of a record already: it sleeps on. */
static void note_let_in(const struct place *p)
{
    pl_store_relaxed(p->gate, 0u);
    if (p->lock)
        pl_fetch_and_acq_rel(p->word, ~PENDING);
}

/* With a place claimed as if it read: stays, or waits. */
static int read_when_free(plait_rwlock *rw, const struct place *p, struct pl_wait *wait)
{
    for (;;) {
        /* A:rwlock.word, pairs with leave. */
        uint32_t writer = holder_of(pl_load_seq_cst(&rw->word_));
        if (!writer)
            return as_reader(rw);
        if (writer == pl_self.id) {
            leave_place(p);
            return PLAIT_EDEADLK;
        }
        step_back(p);
        int rc = wait_at_gate(rw, p, wait);
        if (rc < 0)
            rc = give_up_reading(p, rc);
        if (rc < 0)
            return rc;
        if (rc == LET_IN) {
            note_let_in(p);
            return as_reader(rw);
        }
    }
}

/* One level deeper where it reads already. */
static int read_deeper(const struct place *p)
{
    uint32_t depth = pl_load_relaxed(p->gate) & ~DEEP;
    if (depth == DEEPEST - 1)
        return PLAIT_EAGAIN;
    pl_store_relaxed(p->gate, DEEP | (depth + 1));
    return 0;
}

/* Came too late to be in at once; `claimed`, if not NULL, is a place that it has claimed. */
static __attribute__((noinline)) int read_slow(plait_rwlock *rw, const struct place *claimed,
                                               int64_t timeout)
{
    struct pl_wait wait;
    struct place p;
    int rc = rw ? pl_wait_begin(&wait, PL_WAIT_READ, timeout) : PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    if (find_held(rw, claimed, &p)) {
        if (claimed)
            leave_place(claimed);
        return read_deeper(&p);
    }
    if (claimed)
        p = *claimed;
    else
        rc = claim_place(rw, &p);
    return rc < 0 ? rc : read_when_free(rw, &p, &wait);
}

static __attribute__((noinline)) int read_claimed(plait_rwlock *rw, uint32_t i, int64_t timeout)
{
    struct place p = entry_place(rw, i);
    return read_slow(rw, &p, timeout);
}

static int read_unwatched(void *rw, int64_t timeout)
{
    return read_slow(rw, NULL, timeout);
}

static __attribute__((noinline)) int read_not_at_once(plait_rwlock *rw, int64_t timeout,
                                                      const void *site)
{
    return pl_lockdep_is_on() && rw
               ? pl_lockdep_acquire(read_unwatched, rw, &rw->word_, timeout, site)
               : read_slow(rw, NULL, timeout);
}

int plait_rwlock_acquire_read(plait_rwlock *rw, int64_t timeout)
{
    uint32_t mine = pl_self.quick, i = first_entry(mine), free_entry = 0;
    if (__builtin_expect(!rw || !mine || timeout < PLAIT_FOREVER || timeout > PLAIT_TIMEOUT_MAX ||
                             !pl_cas_seq_cst(&rw->readers_[i].id_, &free_entry, mine),
                         0))
        return read_not_at_once(rw, timeout, PL_SITE());
    pl_store_relaxed(&rw->readers_[i].gate_, 0u);
    /* A:rwlock.word, pairs with leave. */
    if (__builtin_expect(holder_of(pl_load_seq_cst(&rw->word_)) || as_reader(rw), 0))
        return read_claimed(rw, i, timeout);
    return 0;
}

static __attribute__((noinline)) int release_read_slow(plait_rwlock *rw)
{
    struct place p;
    if (!pl_self.id || !find_held(rw, NULL, &p))
        return PLAIT_EPERM;
    if (pl_lockdep_is_on())
        pl_lockdep_released(&rw->word_, pl_self.id);
    uint32_t depth = pl_load_relaxed(p.gate) & ~DEEP;
    if (depth == 0)
        leave_place(&p);
    else
        pl_store_relaxed(p.gate, depth == 1 ? 0 : DEEP | (depth - 1));
    return 0;
}

int plait_rwlock_release_read(plait_rwlock *rw)
{
    if (__builtin_expect(!rw, 0))
        return PLAIT_EINVAL;
    uint32_t mine = pl_self.quick;
    struct plait_reader_ *e = &rw->readers_[first_entry(mine)];
    /* R:rwlock.reader, pairs with wait_for_entry. */
    if (__builtin_expect(mine && pl_load_relaxed(&e->id_) == mine &&
                             pl_load_relaxed(&e->gate_) == 0 && pl_cas_release(&e->id_, &mine, 0u),
                         1))
        return 0;
    return release_read_slow(rw);
}

/* --- waiting for readers: the word names the caller --- */

/* Marks a word that names a reader as watched and sleeps on it. `lock`, of a record, must still be `key`,
 * or what it names is another reading. 0: look again; else as pl_park. */
static int sleep_on_reader(uint32_t *word, uint32_t seen, const struct place *record,
                           struct pl_wait *wait)
{
    uint32_t watched = seen | WATCHED;
    if (watched != seen && !pl_cas_seq_cst(word, &seen, watched))
        return 0;
    if (record && pl_load_seq_cst(record->lock) != record->key)
        return 0;
    wait->holder = holder_of(watched);
    wait->unheld = PENDING;
    int64_t start = plait_now();
    int rc = pl_park(word, watched, wait);
    wait->unheld = 0;
    if (rc == 0)
        pl_spin_slept(plait_now() - start);
    return rc;
}

/* Spins until the entry is another or the time for that is over. */
static uint32_t look_long(const uint32_t *word, uint32_t seen, const struct pl_wait *wait)
{
    struct pl_spin spin = {0};
    uint32_t now = seen;
    while (wait->deadline != 0 && holder_of(now) && !(now & PENDING) && pl_spin(&spin))
        now = pl_load_seq_cst(word);
    if (now != seen)
        pl_spin_won(&spin);
    pl_spin_end(&spin);
    return now;
}

/* Waits until the entry is free or its reader waits itself; 0, or why not. */
static int wait_for_entry(plait_rwlock *rw, uint32_t *word, struct pl_wait *wait)
{
    for (;;) {
        /* A:rwlock.reader, pairs with plait_rwlock_release_read. */
        uint32_t seen = pl_load_seq_cst(word);
        if (seen == 0)
            return 0;
        int rc = pl_holder_lost(rw, holder_of(seen));
        if (rc < 0)
            return rc;
        if (rc > 0) {
            pl_cas_seq_cst(word, &seen, 0u);
            continue;
        }
        if (seen & PENDING)
            return 0;
        if (look_long(word, seen, wait) != seen)
            continue;
        rc = sleep_on_reader(word, seen, NULL, wait);
        if (rc < 0)
            return rc;
    }
}

/* The same for a record; 1 if it is there still, waiting. */
static int wait_for_record(const plait_rwlock *rw, struct pl_reading *record, struct pl_wait *wait)
{
    struct place p = record_place(rw, record);
    for (;;) {
        /* A:rwlock.reader, pairs with leave_place. */
        uint64_t lock = pl_load_seq_cst(p.lock);
        uint32_t seen = pl_load_seq_cst(p.word);
        if ((lock & ~UINT64_C(1)) != p.key)
            return 0;
        if (holder_of(seen) && pl_is_dead(holder_of(seen)))
            return 0;
        if (lock & 1)
            return 1;
        if (!holder_of(seen) || look_long(p.word, seen, wait) != seen)
            continue;
        int rc = sleep_on_reader(p.word, seen, &p, wait);
        if (rc < 0)
            return rc;
    }
}

/* overflow_: 1: there may be records. 2: the same, and a writer looks; if it finds none and nobody has
 * set 1 meanwhile, it sets 0. */
static int wait_for_records(plait_rwlock *rw, struct pl_wait *wait)
{
    struct pl_reading *record;
    uint32_t one = 1, two = 2, left = 0;
    pl_cas_seq_cst(&rw->overflow_, &one, two);
    for (uint32_t cursor = 0; (record = next_record(rw, &cursor)) != NULL;) {
        int rc = wait_for_record(rw, record, wait);
        if (rc < 0)
            return rc;
        left |= (uint32_t)rc;
    }
    pl_cas_seq_cst(&rw->overflow_, &two, left);
    return 0;
}

static int wait_for_readers(plait_rwlock *rw, struct pl_wait *wait)
{
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++) {
        int rc = wait_for_entry(rw, &rw->readers_[i].id_, wait);
        if (rc < 0)
            return rc;
    }
    return pl_load_seq_cst(&rw->overflow_) ? wait_for_records(rw, wait) : 0;
}

/* Whether no entry is in use. Unrolled, and with a branch each, which the processor foresees: the looks do
 * not wait for one another. */
static inline __attribute__((always_inline)) bool is_empty(const plait_rwlock *rw)
{
#pragma GCC unroll 16
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++)
        /* A:rwlock.reader, pairs with plait_rwlock_release_read. */
        if (__builtin_expect(pl_load_seq_cst(&rw->readers_[i].id_) != 0, 0))
            return false;
    return pl_load_seq_cst(&rw->overflow_) == 0;
}

/* --- writing --- */

/* Notes that this writer is inside, and tells whether the last one died there. */
static int go_inside(plait_rwlock *rw)
{
    uint32_t dead = pl_load_relaxed(&rw->inside_);
    if (dead)
        pl_store_relaxed(&rw->died_, dead);
    pl_store_release(&rw->inside_, pl_self.id);
    return dead ? PLAIT_OWNER_DIED : 0;
}

/* Whether this wait has been so long (1 ms) that it may shut newcomers out. */
static bool is_hungry(const struct pl_wait *wait)
{
    return wait->slept && plait_now() - wait->began >= PL_HUNGER;
}

/* Takes the word if it is free. `next`: the caller holds queue_. */
static bool take_free(plait_rwlock *rw, bool next)
{
    uint32_t seen = pl_load_relaxed(&rw->word_);
    if (holder_of(seen) || (!next && (seen & RW_HUNGRY)))
        return false;
    uint32_t taken = (next ? seen & RW_READERS : seen) | pl_self.id;
    /* A:rwlock.word, pairs with leave. */
    return pl_cas_seq_cst(&rw->word_, &seen, taken);
}

static bool take_spinning(plait_rwlock *rw, const struct pl_wait *wait, bool next)
{
    struct pl_spin spin = {0};
    do {
        if (take_free(rw, next)) {
            pl_spin_won(&spin);
            return true;
        }
    } while (wait->deadline != 0 && pl_spin(&spin));
    return false;
}

/* Takes the word from a writer that is gone. 1: taken; 0: not; PLAIT_EPRIVATE. */
static int inherit(plait_rwlock *rw)
{
    uint32_t seen = pl_load_relaxed(&rw->word_);
    int lost = holder_of(seen) ? pl_holder_lost(rw, holder_of(seen)) : 0;
    if (lost <= 0)
        return lost;
    return pl_cas_seq_cst(&rw->word_, &seen, (seen & ~PL_ID_MASK) | pl_self.id);
}

/* Marks the word as waited for and sleeps on it. 0: look again; else as pl_park. */
static int sleep_on_word(plait_rwlock *rw, struct pl_wait *wait)
{
    uint32_t seen = pl_load_relaxed(&rw->word_);
    uint32_t marked = seen | RW_WRITER | (is_hungry(wait) ? RW_HUNGRY : 0);
    if (!holder_of(seen) || (marked != seen && !pl_cas_relaxed(&rw->word_, &seen, marked)))
        return 0;
    wait->holder = holder_of(marked);
    int64_t start = plait_now();
    int rc = pl_park(&rw->word_, marked, wait);
    if (rc == 0)
        pl_spin_slept(plait_now() - start);
    return rc;
}

/* Nobody else sleeps on the word (fact 4), nor will others be kept out. */
static int give_up_writing(plait_rwlock *rw, int why)
{
    uint32_t seen = pl_load_relaxed(&rw->word_);
    while ((seen & (RW_WRITER | RW_HUNGRY)) &&
           !pl_cas_relaxed(&rw->word_, &seen, seen & ~(RW_WRITER | RW_HUNGRY)))
        ;
    return why;
}

/* Takes the word as the holder of queue_; 0, or why not. */
static int take_as_next(plait_rwlock *rw, struct pl_wait *wait)
{
    for (;;) {
        if (take_spinning(rw, wait, true))
            return 0;
        int rc = inherit(rw);
        if (rc > 0)
            return 0;
        if (rc == 0)
            rc = sleep_on_word(rw, wait);
        if (rc < 0)
            return give_up_writing(rw, rc);
    }
}

/* Gets this worker's name into the word; 0, or why not. */
static int take_word(plait_rwlock *rw, struct pl_wait *wait)
{
    if (take_spinning(rw, wait, false))
        return 0;
    int rc = inherit(rw);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = pl_lock_acquire_within(&rw->queue_, wait);
    if (rc < 0)
        return rc;
    rc = take_as_next(rw, wait);
    plait_lock_release(&rw->queue_);
    return rc;
}

/* With the word taken: waits for the readers, and is inside. */
static int write_after_readers(plait_rwlock *rw, struct pl_wait *wait)
{
    int rc = wait_for_readers(rw, wait);
    if (rc == 0)
        return go_inside(rw);
    leave(rw);
    return rc;
}

static __attribute__((noinline)) int write_slow(plait_rwlock *rw, int64_t timeout)
{
    struct pl_wait wait;
    struct place held;
    int rc = rw ? pl_wait_begin(&wait, PL_WAIT_WRITE, timeout) : PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    if (holder_of(pl_load_relaxed(&rw->word_)) == pl_self.id || find_held(rw, NULL, &held))
        return PLAIT_EDEADLK;
    rc = take_word(rw, &wait);
    return rc < 0 ? rc : write_after_readers(rw, &wait);
}

/* Took the free word, and there are readers, the caller perhaps among them. */
static __attribute__((noinline)) int write_crowded(plait_rwlock *rw, int64_t timeout)
{
    struct pl_wait wait;
    struct place held;
    pl_wait_begin(&wait, PL_WAIT_WRITE, timeout);
    if (!find_held(rw, NULL, &held))
        return write_after_readers(rw, &wait);
    leave(rw);
    return PLAIT_EDEADLK;
}

static int write_unwatched(void *rw, int64_t timeout)
{
    return write_slow(rw, timeout);
}

static __attribute__((noinline)) int write_not_at_once(plait_rwlock *rw, int64_t timeout,
                                                       const void *site)
{
    return pl_lockdep_is_on() && rw
               ? pl_lockdep_acquire(write_unwatched, rw, &rw->word_, timeout, site)
               : write_slow(rw, timeout);
}

int plait_rwlock_acquire_write(plait_rwlock *rw, int64_t timeout)
{
    uint32_t mine = pl_self.quick, free_word = 0;
    /* A:rwlock.word, pairs with leave. */
    if (__builtin_expect(!rw || !mine || timeout < PLAIT_FOREVER || timeout > PLAIT_TIMEOUT_MAX ||
                             !pl_cas_seq_cst(&rw->word_, &free_word, mine),
                         0))
        return write_not_at_once(rw, timeout, PL_SITE());
    return __builtin_expect(is_empty(rw), 1) ? go_inside(rw) : write_crowded(rw, timeout);
}

int plait_rwlock_release_write(plait_rwlock *rw)
{
    if (__builtin_expect(!rw, 0))
        return PLAIT_EINVAL;
    uint32_t mine = pl_self.id;
    if (!mine || holder_of(pl_load_relaxed(&rw->word_)) != mine)
        return PLAIT_EPERM;
    if (pl_lockdep_is_on())
        pl_lockdep_released(&rw->word_, mine);
    pl_store_release(&rw->inside_, 0u);
    /* R:rwlock.word, pairs with plait_rwlock_acquire_read and plait_rwlock_acquire_write. */
    if (__builtin_expect(!pl_cas_release(&rw->word_, &mine, 0u), 0))
        leave(rw);
    return 0;
}

/* --- asking --- */

int plait_rwlock_init(plait_rwlock *rw, const plait_rwlock_options *options)
{
    if (!rw || (options && options->reserved))
        return PLAIT_EINVAL;
    memset(rw, 0, sizeof *rw);
    if (pl_lockdep_is_on())
        pl_lockdep_made(&rw->word_, PL_SITE());
    pl_store_release(&rw->word_, 0u);
    return 0;
}

int plait_rwlock_blame(plait_rwlock *rw, plait_blame *ret)
{
    struct place held;
    uint32_t dead;
    if (!rw || !ret)
        return PLAIT_EINVAL;
    if (pl_self.id && holder_of(pl_load_relaxed(&rw->word_)) == pl_self.id)
        dead = pl_exchange_acquire(&rw->died_, 0u);
    else if (pl_self.id && find_held(rw, NULL, &held))
        dead = pl_load_acquire(&rw->inside_);
    else
        return PLAIT_EPERM;
    if (dead == 0)
        return PLAIT_ESRCH;
    return pl_blame_of_id(dead, ret) ? 0 : PLAIT_ESTALE;
}

plait_worker plait_rwlock_writer(const plait_rwlock *rw)
{
    plait_worker nobody = {0, 0};
    uint32_t id = rw && pl_arena ? pl_load_acquire(&rw->inside_) : 0;
    if (id == 0 || holder_of(pl_load_acquire(&rw->word_)) != id)
        return nobody;
    plait_worker w = pl_handle_of(pl_slot_of(id));
    return pl_slot_id(pl_slot_of(id)) == id ? w : nobody;
}

/* Whether one of the first n entries says that worker `id` reads. */
static bool is_among(const plait_rwlock *rw, int n, uint32_t id)
{
    for (int i = 0; i < n; i++)
        if ((pl_load_relaxed(&rw->readers_[i].id_) & ~WATCHED) == id)
            return true;
    return false;
}

static int readers_in_records(const plait_rwlock *rw)
{
    struct pl_reading *record;
    int n = 0;
    for (uint32_t cursor = 0; (record = next_record(rw, &cursor)) != NULL;) {
        uint32_t id = holder_of(pl_load_relaxed(&record->word));
        n += id && !(pl_load_relaxed(&record->lock) & 1) && !pl_is_dead(id) &&
             !is_among(rw, PLAIT_RWLOCK_ENTRIES_, id);
    }
    return n;
}

int plait_rwlock_readers(const plait_rwlock *rw)
{
    int n = 0;
    if (!rw)
        return 0;
    for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++) {
        uint32_t id = pl_load_relaxed(&rw->readers_[i].id_) & ~WATCHED;
        n += id && !(id & PENDING) && !pl_is_dead(id) && !is_among(rw, i, id);
    }
    return pl_load_relaxed(&rw->overflow_) && pl_self_known() == 0 ? n + readers_in_records(rw) : n;
}
