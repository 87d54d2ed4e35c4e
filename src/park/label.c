/* Labels: a list in the arena, newest first, that is only ever added to and read for reports.
 *
 * An entry is found again by its address (and its process, unless the address means the same in all), and
 * its text is rewritten word by word: a reader beside a writer gets a mixed name at worst. */
#include "base/atomic.h"
#include "base/error.h"
#include "park/record.h"

#include <plait/arena.h>
#include <plait/label.h>
#include <string.h>

struct pl_label {
    struct pl_label *next;               /* constant once it is in the list */
    const void *object;                  /* constant */
    int32_t pid;                         /* constant; 0: any */
    uint64_t text[PLAIT_LABEL_SIZE / 8]; /* atomic words */
};

static int32_t pid_for(const void *object, int32_t pid)
{
    return pl_arena_holds(object) ? 0 : pid;
}

static struct pl_label *find(const void *object, int32_t pid)
{
    pid = pid_for(object, pid);
    /* A:labels.head, pairs with push. */
    struct pl_label *label = pl_arena ? pl_load_acquire(&pl_arena->labels) : NULL;
    while (label && (label->object != object || label->pid != pid))
        label = label->next;
    return label;
}

static void write_text(struct pl_label *label, const char *name)
{
    uint64_t words[PLAIT_LABEL_SIZE / 8] = {0};
    memcpy(words, name, strnlen(name, PLAIT_LABEL_SIZE - 1));
    for (int i = 0; i < PLAIT_LABEL_SIZE / 8; i++)
        pl_store_relaxed(&label->text[i], words[i]);
}

static void push(struct pl_label *label)
{
    label->next = pl_load_relaxed(&pl_arena->labels);
    /* R:labels.head, pairs with find. */
    while (!pl_cas_release(&pl_arena->labels, &label->next, label))
        continue;
}

int plait_label(const void *object, const char *name)
{
    int rc = object ? pl_self_known() : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    int32_t pid = pl_load_relaxed(&pl_self.slot->pid);
    struct pl_label *label = find(object, pid);
    if (label || !name) {
        if (label)
            write_text(label, name ? name : "");
        return 0;
    }
    label = plait_alloc(sizeof *label);
    if (!label)
        return plait_last_error();
    label->object = object;
    label->pid = pid_for(object, pid);
    write_text(label, name);
    push(label);
    return 0;
}

void pl_label_get(const void *object, int32_t pid, char *buffer, size_t size)
{
    const struct pl_label *label = find(object, pid);
    uint64_t words[PLAIT_LABEL_SIZE / 8] = {0};
    for (int i = 0; label && i < PLAIT_LABEL_SIZE / 8; i++)
        words[i] = pl_load_relaxed(&label->text[i]);
    size_t length = strnlen((const char *)words, size - 1);
    memcpy(buffer, words, length);
    buffer[length] = 0;
}
