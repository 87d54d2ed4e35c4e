/* The bank: rows of what each worker has claimed, holds and waits for, under a lock.
 *
 * Naive: a table under a lock, and a count of what is left. Its holes: a worker that dies half way
 * through a change leaves the sums wrong for ever, what the dead held is lost, and those who wait for it
 * sleep on. Cure: there are no sums. Each worker has a row, what is left is counted anew from the rows
 * of the living, and each change of a row is one store. Facts:
 *   1 rows are changed under the bank's lock only. Taken over from a dead holder, the rows need no repair,
 *     but the waiting are served again, and those whom he had served and not woken are woken;
 *   2 a row is in force while `id_` names a living worker: writing it opens the row, when all else in
 *     it is written; clearing it, or the worker's death, gives back all at once;
 *   3 what a row holds is the copy `held_` that bit ROW_SIDE of its word chooses. A change is written to
 *     the other copy, and the store of the word makes it count. The same store ends a wait, so
 *     nobody is ever woken without what it wanted, nor given it twice;
 *   4 when the lock is let go, no waiting row could be served by the rule of first_due(). So whoever gives
 *     something back serves the others himself, and a waiter sleeps on its own row's word;
 *   5 a waiter watches the hearts of all who had declared when it fell asleep; whoever declares later
 *     wakes it, so that it watches the newcomer, too. So each death among them is noticed at once.
 *
 * Safe (`is_safe`): there is an order in which each worker can get the rest of its claim out of what is
 * left and what those before it have given back. Those who hold nothing can always come last and are not looked
 * at. Lending from safe to safe state only, some worker that holds something can always be served,
 * whatever it asks for; and the rule against overtaking shuts out only those that hold nothing. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/mapping.h"
#include "sync/lock_word.h"

#include <plait/bank.h>
#include <string.h>

/* The word of a row; written under the lock, its waiter sleeps on it. */
#define ROW_SIDE UINT32_C(1)    /* which copy of held_ is in force */
#define ROW_WAITING UINT32_C(2) /* want_ is asked for; the worker sleeps or is about to */
#define ROW_CHANGE UINT32_C(4)  /* the rest counts changes, so that each is seen */

/* ns that a call waits for its turn at the desk though its own time is over. */
enum { DESK_PATIENCE = 20 * 1000 * 1000 };

typedef struct plait_bank_row_ row_t;

#define FOR_EACH_ROW(row, bank)                                                                    \
    for (row_t *row = (bank)->rows_; row < (bank)->rows_ + PLAIT_BANK_CLAIMANTS; row++)            \
        if (row->id_)

static const int32_t *held(const row_t *row)
{
    return row->held_[row->word_ & ROW_SIDE];
}

/* The copy that is not in force: room for a draft. */
static int32_t *draft(row_t *row)
{
    return row->held_[~row->word_ & ROW_SIDE];
}

static bool is_waiting(row_t *row)
{
    /* A:bank.word, pairs with change. */
    return pl_load_acquire(&row->word_) & ROW_WAITING;
}

/* Fact 3: one store. `flip`: what is drafted counts from here on. */
static void change(row_t *row, bool flip, bool waiting)
{
    uint32_t word = (row->word_ & ~ROW_WAITING) + ROW_CHANGE;
    /* R:bank.word, pairs with is_waiting. */
    pl_store_release(&row->word_, (word ^ (flip ? ROW_SIDE : 0)) | (waiting ? ROW_WAITING : 0));
}

/* The same for a row whose worker sleeps. */
static void change_and_wake(row_t *row, bool flip, bool waiting)
{
    if (row->id_ == pl_self.id) {
        change(row, flip, waiting);
        return;
    }
    pl_will_unpark(&row->word_);
    change(row, flip, waiting);
    pl_unpark(&row->word_, 1);
}

/* --- what may be lent --- */

static void count_left(plait_bank *bank, int32_t *left)
{
    memcpy(left, bank->total_, sizeof bank->total_);
    FOR_EACH_ROW(row, bank)
    for (int k = 0; k < bank->kinds_; k++)
        left[k] -= held(row)[k];
}

static bool fits(const int32_t *part, const int32_t *whole, int kinds)
{
    for (int k = 0; k < kinds; k++)
        if (part[k] > whole[k])
            return false;
    return true;
}

static bool is_nothing(const int32_t *part, int kinds)
{
    static const int32_t nothing[PLAIT_BANK_KINDS];
    return fits(part, nothing, kinds);
}

/* Whether a worker holding `has` can get the rest of its claim; if so gives all back to `left`. */
static bool can_finish(const row_t *row, const int32_t *has, int32_t *left, int kinds)
{
    for (int k = 0; k < kinds; k++)
        if (row->claim_[k] - has[k] > left[k])
            return false;
    for (int k = 0; k < kinds; k++)
        left[k] += has[k];
    return true;
}

/* Whether all can finish if `asking` holds what is drafted in its row and `left` is what is left then. */
static bool is_safe(plait_bank *bank, row_t *asking, int32_t *left)
{
    uint64_t finished = 0;
    _Static_assert(PLAIT_BANK_CLAIMANTS <= 64, "a bit for each");
    bool unfinished = true, progress = true;
    while (unfinished && progress) {
        unfinished = progress = false;
        FOR_EACH_ROW(row, bank)
        {
            uint64_t bit = UINT64_C(1) << (row - bank->rows_);
            const int32_t *has = row == asking ? draft(row) : held(row);
            if ((finished & bit) || is_nothing(has, bank->kinds_))
                continue;
            if (can_finish(row, has, left, bank->kinds_)) {
                finished |= bit;
                progress = true;
            } else {
                unfinished = true;
            }
        }
    }
    return !unfinished;
}

/* Whether a row may get what it wants; drafts it. */
static bool can_lend(plait_bank *bank, row_t *row)
{
    int32_t left[PLAIT_BANK_KINDS];
    count_left(bank, left);
    if (!fits(row->want_, left, bank->kinds_))
        return false;
    for (int k = 0; k < bank->kinds_; k++) {
        draft(row)[k] = held(row)[k] + row->want_[k];
        left[k] -= row->want_[k];
    }
    return is_safe(bank, row, left);
}

/* --- whose turn it is --- */

/* The waiting row that came first after `ticket`. */
static row_t *next_waiting(plait_bank *bank, uint64_t ticket)
{
    row_t *best = NULL;
    FOR_EACH_ROW(row, bank)
    if ((row->word_ & ROW_WAITING) && row->ticket_ > ticket &&
        (!best || row->ticket_ < best->ticket_))
        best = row;
    return best;
}

/* The first that can be served, drafted; behind one that was overtaken too often, only of those that hold
 * something. */
static row_t *first_due(plait_bank *bank)
{
    bool shut = false;
    for (row_t *row = next_waiting(bank, 0); row; row = next_waiting(bank, row->ticket_)) {
        bool shut_out = shut && is_nothing(held(row), bank->kinds_);
        if (!shut_out && can_lend(bank, row))
            return row;
        shut = shut || row->overtaken_ >= PLAIT_BANK_OVERTAKEN;
    }
    return NULL;
}

static void serve(plait_bank *bank)
{
    for (row_t *row = first_due(bank); row; row = first_due(bank)) {
        for (row_t *older = next_waiting(bank, 0); older != row;
             older = next_waiting(bank, older->ticket_))
            older->overtaken_++;
        change_and_wake(row, true, false);
    }
}

/* --- the desk --- */

/* Takes the rows of the dead out of force. */
static void bury(plait_bank *bank)
{
    FOR_EACH_ROW(row, bank)
    if (pl_is_dead(row->id_)) {
        struct pl_slot *slot = pl_slot_of(row->id_);
        pl_store_release(&row->id_, 0u);
        pl_heart_stopped(slot); /* the kernel has woken one of those who watch it only */
    }
}

/* A bank in private memory that a fork copied: the rows are those of the parent's workers. */
static int check_reach(plait_bank *bank)
{
    int32_t pid = pl_load_relaxed(&pl_self.slot->pid);
    if (pl_arena_holds(bank) || bank->pid_ == pid)
        return 0;
    if (bank->pid_ && pl_mapping_is_shared(bank))
        return PLAIT_EPRIVATE;
    FOR_EACH_ROW(row, bank)
    pl_store_release(&row->id_, 0u);
    bank->pid_ = pid;
    return 0;
}

/* The last one at the desk died there: wakes whom it was about to wake, and those who watch its heart. */
static void recover_predecessor(plait_bank *bank)
{
    struct pl_slot *slot = pl_slot_of(pl_load_relaxed(&bank->lock_.died_));
    pl_recover(slot);
    pl_heart_stopped(slot);
}

static int opened(plait_bank *bank, int rc)
{
    if (rc < 0)
        return rc;
    if (rc == PLAIT_OWNER_DIED)
        recover_predecessor(bank);
    rc = check_reach(bank);
    if (rc < 0)
        plait_lock_release(&bank->lock_);
    else
        bury(bank);
    return rc;
}

/* To the desk, for calls without a timeout and for ending a wait: 0 or PLAIT_EPRIVATE. */
static int open_desk(plait_bank *bank)
{
    return opened(bank, pl_lock_acquire_certainly(&bank->lock_, PL_WAIT_LOCK));
}

/* The same for a call that may give up. The desk is taken for moments only; that somebody is there just
 * now is not yet a reason to say that there is nothing to be had. */
static int open_desk_until(plait_bank *bank, int64_t deadline)
{
    int64_t timeout = PLAIT_FOREVER;
    if (deadline != PL_NEVER) {
        int64_t left = deadline ? deadline - plait_now() : 0;
        timeout = left > DESK_PATIENCE ? left : DESK_PATIENCE;
    }
    return opened(bank, plait_lock_acquire(&bank->lock_, timeout));
}

/* Leaves it to the next one, with everybody served (fact 4). */
static int close_desk(plait_bank *bank, int rc)
{
    serve(bank);
    plait_lock_release(&bank->lock_);
    return rc;
}

static row_t *own_row(plait_bank *bank)
{
    FOR_EACH_ROW(row, bank)
    if (row->id_ == pl_self.id)
        return row;
    return NULL;
}

/* PLAIT_EINVAL if this is no bank or there is a negative number; registers the caller. */
static int check_call(const plait_bank *bank, const int *numbers)
{
    if (!bank || !numbers || bank->kinds_ < 1 || bank->kinds_ > PLAIT_BANK_KINDS)
        return PLAIT_EINVAL;
    for (int k = 0; k < bank->kinds_; k++)
        if (numbers[k] < 0)
            return PLAIT_EINVAL;
    return pl_self_known();
}

/* --- opening, declaring --- */

int plait_bank_init(plait_bank *bank, const int *totals, int kinds)
{
    if (!bank || !totals || kinds < 1 || kinds > PLAIT_BANK_KINDS)
        return PLAIT_EINVAL;
    for (int k = 0; k < kinds; k++)
        if (totals[k] < 0)
            return PLAIT_EINVAL;
    memset(bank, 0, sizeof *bank);
    for (int k = 0; k < kinds; k++)
        bank->total_[k] = totals[k];
    bank->kinds_ = kinds;
    return 0;
}

/* Wakes all who wait, so that they watch a newcomer, too (fact 5). */
static void introduce(plait_bank *bank)
{
    FOR_EACH_ROW(row, bank)
    if (row->word_ & ROW_WAITING)
        change_and_wake(row, false, true);
}

static int declare(plait_bank *bank, const int *claims)
{
    row_t *row = bank->rows_, *end = row + PLAIT_BANK_CLAIMANTS;
    while (row < end && row->id_)
        row++;
    if (row == end)
        return PLAIT_EWORKERS;
    memset(row->held_, 0, sizeof row->held_);
    for (int k = 0; k < bank->kinds_; k++)
        row->claim_[k] = claims[k];
    change(row, false, false);
    pl_store_release(&row->id_, pl_self.id);
    introduce(bank);
    return 0;
}

int plait_bank_declare(plait_bank *bank, const int *claims)
{
    int rc = check_call(bank, claims);
    if (rc < 0)
        return rc;
    for (int k = 0; k < bank->kinds_; k++)
        if (claims[k] > bank->total_[k])
            return PLAIT_EOVERFLOW;
    rc = open_desk(bank);
    if (rc < 0)
        return rc;
    return close_desk(bank, own_row(bank) ? PLAIT_EBUSY : declare(bank, claims));
}

/* --- lending --- */

static int check_want(plait_bank *bank, row_t *row, const int *want)
{
    if (!row)
        return PLAIT_EPERM;
    for (int k = 0; k < bank->kinds_; k++)
        if (want[k] > row->claim_[k] - held(row)[k])
            return PLAIT_EOVERFLOW;
    return 0;
}

static void ask(plait_bank *bank, row_t *row, const int *want)
{
    for (int k = 0; k < bank->kinds_; k++)
        row->want_[k] = want[k];
    row->ticket_ = ++bank->tickets_;
    row->overtaken_ = 0;
    change(row, false, true);
}

static int list_others(plait_bank *bank, uint32_t *ids)
{
    int n = 0;
    FOR_EACH_ROW(row, bank)
    if (row->id_ != pl_self.id)
        ids[n++] = row->id_;
    return n;
}

/* The wait has brought what it was for; a request to stop that came as well is for the next call. */
static int succeed(int why)
{
    if (why == PLAIT_ECANCELED)
        pl_cancel_put_back();
    return 0;
}

/* Back at the desk after sleeping. 1: wait on; 0 or `why`: it is over, and the desk left. */
static int go_on(plait_bank *bank, row_t *row, int why)
{
    if (!is_waiting(row))
        return succeed(why);
    int rc = open_desk(bank);
    if (rc < 0)
        return rc;
    serve(bank);
    if (!is_waiting(row))
        return close_desk(bank, succeed(why));
    if (why == 0)
        return 1;
    change(row, false, false);
    return close_desk(bank, why);
}

/* Requires: at the desk, having asked. */
static int wait_for_turn(plait_bank *bank, row_t *row, struct pl_wait *wait)
{
    uint32_t others[PLAIT_BANK_CLAIMANTS];
    int rc = 1;
    _Static_assert((int)PLAIT_BANK_CLAIMANTS <= (int)PL_WATCH_MOST,
                   "one sleeper can watch all others");
    while (rc > 0) {
        uint32_t seen = row->word_;
        wait->others = others;
        wait->n_others = list_others(bank, others);
        close_desk(bank, 0);
        rc = go_on(bank, row, pl_park(&row->word_, seen, wait));
    }
    return rc;
}

int plait_bank_acquire(plait_bank *bank, const int *want, int64_t timeout)
{
    struct pl_wait wait;
    int rc = check_call(bank, want);
    if (rc == 0)
        rc = pl_wait_begin(&wait, PL_WAIT_BANK, timeout);
    if (rc == 0)
        rc = open_desk_until(bank, wait.deadline);
    if (rc < 0)
        return rc;
    row_t *row = own_row(bank);
    rc = check_want(bank, row, want);
    if (rc < 0)
        return close_desk(bank, rc);
    ask(bank, row, want);
    serve(bank);
    if (!is_waiting(row))
        return close_desk(bank, 0);
    if (timeout == PLAIT_NOWAIT) {
        change(row, false, false);
        return close_desk(bank, PLAIT_ETIMEDOUT);
    }
    return wait_for_turn(bank, row, &wait);
}

/* --- giving back --- */

static int give_back(plait_bank *bank, row_t *row, const int *give)
{
    if (!row)
        return PLAIT_EPERM;
    for (int k = 0; k < bank->kinds_; k++)
        if (give[k] > held(row)[k])
            return PLAIT_EOVERFLOW;
    for (int k = 0; k < bank->kinds_; k++)
        draft(row)[k] = held(row)[k] - give[k];
    change(row, true, false);
    return 0;
}

int plait_bank_release(plait_bank *bank, const int *give)
{
    int rc = check_call(bank, give);
    if (rc == 0)
        rc = open_desk(bank);
    return rc < 0 ? rc : close_desk(bank, give_back(bank, own_row(bank), give));
}

int plait_bank_leave(plait_bank *bank)
{
    static const int nothing[PLAIT_BANK_KINDS];
    int rc = check_call(bank, nothing);
    if (rc == 0)
        rc = open_desk(bank);
    if (rc < 0)
        return rc;
    row_t *row = own_row(bank);
    if (row)
        pl_store_release(&row->id_, 0u);
    return close_desk(bank, row ? 0 : PLAIT_EPERM);
}

int plait_bank_available(plait_bank *bank, int *ret)
{
    static const int nothing[PLAIT_BANK_KINDS];
    int rc = ret ? check_call(bank, nothing) : PLAIT_EINVAL;
    if (rc == 0)
        rc = open_desk(bank);
    if (rc < 0)
        return rc;
    int32_t left[PLAIT_BANK_KINDS];
    count_left(bank, left);
    for (int k = 0; k < bank->kinds_; k++)
        ret[k] = left[k];
    return close_desk(bank, 0);
}
