/* Records in words: what a report says of a worker and of what it waits for. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/record.h"
#include "port/symbol.h"

#include <plait/label.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *pl_wait_name(uint32_t kind)
{
    static const char *const names[PL_WAIT_KINDS] = {
        [PL_WAIT_NONE] = "nothing",
        [PL_WAIT_LOCK] = "a lock",
        [PL_WAIT_EVENT] = "an event",
        [PL_WAIT_SEMAPHORE] = "a semaphore",
        [PL_WAIT_CONDITION] = "a condition",
        [PL_WAIT_JOIN] = "the end of a worker",
        [PL_WAIT_POOL] = "work",
        [PL_WAIT_ITEMS] = "the results of a pool",
        [PL_WAIT_RLOCK] = "an rlock",
        [PL_WAIT_PI_LOCK] = "a priority-inheriting lock",
        [PL_WAIT_READ] = "an rwlock, to read",
        [PL_WAIT_WRITE] = "an rwlock, to write",
        [PL_WAIT_BARRIER] = "a barrier",
        [PL_WAIT_ONCE] = "a once",
        [PL_WAIT_LATCH] = "a latch",
        [PL_WAIT_BANK] = "a bank",
        [PL_WAIT_GIL] = "a gil",
        [PL_WAIT_FD] = "a descriptor",
        [PL_WAIT_HELPER] = "a helper thread",
        [PL_WAIT_SLEEP] = "time to pass",
        [PL_WAIT_WORKERS] = "the end of one of several workers",
        [PL_WAIT_SUPERVISOR] = "a supervisor",
    };
    return kind < PL_WAIT_KINDS ? names[kind] : "something unknown";
}

void pl_text_add(struct pl_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sizeof text->bytes - text->length;
    int n = vsnprintf(text->bytes + text->length, room, format, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n < room) {
        text->length += (size_t)n;
    } else { /* no room: it ends here, as whole lines do */
        static const char end[] = "...\n";
        text->length = sizeof text->bytes - 1;
        memcpy(text->bytes + sizeof text->bytes - sizeof end, end, sizeof end);
    }
}

void pl_text_add_worker(struct pl_text *text, const struct pl_slot *slot)
{
    char name[PLAIT_NAME_SIZE];
    static const char *const kinds[] = {
        [PLAIT_THREAD] = "thread", [PLAIT_PROCESS] = "process", [PLAIT_TASK] = "task"};
    pl_name_get(slot, name);
    uint32_t kind = pl_slot_kind(slot);
    pl_text_add(text, "%s \"%s\" (pid %d, tid %d)",
                kind >= PLAIT_THREAD && kind <= PLAIT_TASK ? kinds[kind] : "worker", name,
                pl_load_relaxed(&slot->pid), pl_load_relaxed(&slot->tid));
}

void pl_text_add_wait(struct pl_text *text, const struct pl_wait_record *record)
{
    char label[PLAIT_LABEL_SIZE], symbol[80] = "";
    pl_text_add(text, "%s", pl_wait_name(record->kind));
    if (record->kind == PL_WAIT_JOIN || record->kind == PL_WAIT_FD)
        return;
    pl_label_get(record->word, record->pid, label, sizeof label);
    if (pl_slot_is_of_this_image(record->slot)) /* else the address says nothing here */
        pl_symbol(record->word, symbol, sizeof symbol);
    if (label[0])
        pl_text_add(text, " \"%s\"", label);
    pl_text_add(text, " at %p", (void *)record->word);
    if (symbol[0])
        pl_text_add(text, " (%s)", symbol);
}

void pl_text_add_held(struct pl_text *text, uint32_t holder, const uint32_t *word)
{
    char symbol[80] = "";
    const struct pl_slot *slot = pl_slot_of(holder);
    const struct pl_held *held =
        pl_slot_is_of_this_image(slot) ? pl_load_acquire(&slot->held) : NULL;
    for (int i = 0; held && i < PL_HELD_MOST; i++)
        if (pl_load_acquire(&held[i].word) == word)
            pl_symbol(pl_load_relaxed(&held[i].site), symbol, sizeof symbol);
    if (symbol[0])
        pl_text_add(text, " since %s", symbol);
}
