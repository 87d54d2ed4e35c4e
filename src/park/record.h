/* What a worker has put on record of its wait, read by others.
 *
 * The record is several words, written one after the other by the waiter (pl_wait_show), so a reader
 * may meet it half changed. `seq` makes it whole: odd while it changes, and different for each wait. What
 * is concluded from a record holds if, after all else was looked at, pl_wait_is_same still says so: then
 * the worker has been in this very wait all the time. */
#ifndef PL_PARK_RECORD_H
#define PL_PARK_RECORD_H

#include "park/park.h"

struct pl_wait_record {
    struct pl_slot *slot;
    uint32_t id, seq, kind, holder, unheld;
    int32_t pid;
    uint32_t *word;
    int64_t since, looked;
    bool rousable;  /* what comes from outside may give it something else to do: a signal */
    bool firm;      /* cannot be asked to give up */
    bool ends_soon; /* it will give up by itself, or has been asked to */
};

/* False: the worker is not waiting, or its record is changing just now. */
bool pl_wait_read(struct pl_slot *slot, struct pl_wait_record *ret);
bool pl_wait_is_same(const struct pl_wait_record *record);

/* --- words for reports: describe.c --- */

struct pl_text {
    char bytes[4096];
    size_t length;
};
void pl_text_add(struct pl_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* `thread "b" (pid 12, tid 14)` */
void pl_text_add_worker(struct pl_text *text, const struct pl_slot *slot);
/* `an rlock "accounts" at 0x5555 (bank.lock+0x8)` */
void pl_text_add_wait(struct pl_text *text, const struct pl_wait_record *record);

/* ` since clerk+0x1c`, if it is on record where the holder took it (lockdep) */
void pl_text_add_held(struct pl_text *text, uint32_t holder, const uint32_t *word);

/* The label of an object, "" if it has none; see plait_label. */
void pl_label_get(const void *object, int32_t pid, char *buffer, size_t size);

#endif
