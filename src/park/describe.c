/* Records in words: what a report says of a worker and of what it waits for. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/record.h"
#include "port/symbol.h"

#include <plait/label.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool pl_wait_read(struct pl_slot *slot, struct pl_wait_record *ret)
{
    /* A:wait.record, pairs with pl_wait_show. */
    uint32_t seq = pl_load_acquire(&slot->waits_seq);
    uint32_t kind = pl_load_acquire(&slot->waits_kind);
    bool firm = pl_load_acquire(&slot->waits_firm) != 0;
    bool asked = pl_load_acquire(&slot->cancel) != pl_load_acquire(&slot->cancel_seen);
    *ret = (struct pl_wait_record){
        .slot = slot,
        .id = pl_slot_id(slot),
        .seq = seq,
        .kind = kind,
        .holder = pl_load_acquire(&slot->waits_holder),
        .unheld = pl_load_acquire(&slot->waits_unheld),
        .pid = pl_load_relaxed(&slot->pid),
        .word = pl_load_acquire(&slot->waits_on),
        .since = pl_load_acquire(&slot->waits_since),
        .looked = pl_load_acquire(&slot->waits_looked),
        .firm = firm,
        .ends_soon = pl_load_acquire(&slot->waits_until) != PL_NEVER || (asked && !firm),
    };
    return kind != PL_WAIT_NONE && kind < PL_WAIT_KINDS && pl_wait_is_same(ret);
}

bool pl_wait_is_same(const struct pl_wait_record *record)
{
    return !(record->seq & 1) && pl_load_acquire(&record->slot->waits_seq) == record->seq &&
           pl_load_acquire(&record->slot->waits_kind) == record->kind &&
           pl_slot_is_alive(record->slot) && pl_slot_id(record->slot) == record->id;
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
    pl_name_get(slot, name);
    pl_text_add(text, "%s \"%s\" (pid %d, tid %d)",
                pl_slot_kind(slot) == PLAIT_PROCESS ? "process" : "thread", name,
                pl_load_relaxed(&slot->pid), pl_load_relaxed(&slot->tid));
}

void pl_text_add_wait(struct pl_text *text, const struct pl_wait_record *record)
{
    char label[PLAIT_LABEL_SIZE], symbol[80];
    pl_text_add(text, "%s", pl_wait_name(record->kind));
    if (record->kind == PL_WAIT_JOIN)
        return;
    pl_label_get(record->word, record->pid, label, sizeof label);
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
    const struct pl_held *held = pl_load_acquire(&pl_slot_of(holder)->held);
    for (int i = 0; held && i < PL_HELD_MOST; i++)
        if (pl_load_acquire(&held[i].word) == word)
            pl_symbol(pl_load_relaxed(&held[i].site), symbol, sizeof symbol);
    if (symbol[0])
        pl_text_add(text, " since %s", symbol);
}
