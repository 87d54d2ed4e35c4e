/* Telling a run: each step with its worker, operation, word, value before and after. */
#include "explore_internal.h"

#include "base/atomic.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* --- names --- */

struct name {
    const char *start;
    size_t size;
    const char *text;
};

enum { NAMES = 256 };

static struct name names[NAMES];
static int n_names;

void ex_forget_names(void)
{
    n_names = 0;
}

void explore_name(const void *start, size_t size, const char *text)
{
    if (n_names < NAMES)
        names[n_names++] = (struct name){start, size, text};
}

#define SLOT(path)                                                                                 \
    {                                                                                              \
        offsetof(struct pl_slot, path), sizeof(((struct pl_slot *)0)->path), #path                 \
    }
static const struct {
    size_t offset, size;
    const char *text;
} slot_fields[] = {
    SLOT(life),         SLOT(kind),       SLOT(parent),          SLOT(pid),
    SLOT(tid),          SLOT(birth),      SLOT(flags),           SLOT(id),
    SLOT(heart),        SLOT(asked.made), SLOT(asked.delivered), SLOT(asked.undone),
    SLOT(waits_kind),   SLOT(waits_on),   SLOT(waits_holder),    SLOT(waking),
    SLOT(waits_since),  SLOT(waits_seq),  SLOT(waits_firm),      SLOT(waits_until),
    SLOT(waits_looked), SLOT(place.word), SLOT(place.line),      SLOT(place.ticket),
    SLOT(turn.word),    SLOT(turn.debt),  SLOT(recoverer),
};

/* "w->lock.word_" is the world's lock.word_. */
static const char *without_pointer(const char *text)
{
    const char *arrow = strstr(text, "->");
    return arrow ? arrow + 2 : text;
}

static bool name_by_user(const char *at, char *text, size_t size)
{
    for (int i = n_names - 1; i >= 0; i--) {
        if (at < names[i].start || at >= names[i].start + names[i].size)
            continue;
        const char *plain = without_pointer(names[i].text);
        if (at == names[i].start)
            snprintf(text, size, "%s", plain);
        else
            snprintf(text, size, "%s+%ld", plain, (long)(at - names[i].start));
        return true;
    }
    return false;
}

static bool name_in_slot(const char *at, char *text, size_t size)
{
    for (int i = 0; i < ex.n; i++) {
        size_t offset = (size_t)(at - (const char *)ex.workers[i].self.slot);
        if (offset >= sizeof(struct pl_slot))
            continue;
        for (size_t k = 0; k < sizeof slot_fields / sizeof *slot_fields; k++)
            if (offset - slot_fields[k].offset < slot_fields[k].size) {
                snprintf(text, size, "%c's %s", 'a' + i, slot_fields[k].text);
                return true;
            }
        snprintf(text, size, "%c's entry+%zu", 'a' + i, offset);
        return true;
    }
    return false;
}

static bool name_on_stack(const char *at, char *text, size_t size)
{
    for (int i = 0; i < ex.n; i++) {
        size_t offset = (size_t)(at - ex.workers[i].stack);
        if (offset < EX_STACK) {
            snprintf(text, size, "%c's stack-%zu", 'a' + i, EX_STACK - offset);
            return true;
        }
    }
    return false;
}

void ex_name_of(const void *word, char *text, size_t size)
{
    const char *at = word;
    size_t in_world = (size_t)(at - (const char *)ex.world);
    if (word == NULL)
        text[0] = 0;
    else if (word == &ex.clock)
        snprintf(text, size, "the clock");
    else if (name_by_user(at, text, size) || name_in_slot(at, text, size) ||
             name_on_stack(at, text, size))
        return;
    else if (in_world < ex.s->world_size)
        snprintf(text, size, "world+%zu", in_world);
    else if (pl_arena_holds(word))
        snprintf(text, size, "arena+%#lx", (unsigned long)(at - (const char *)pl_arena));
    else
        snprintf(text, size, "%p", word);
}

/* --- values --- */

static size_t size_of(const void *word)
{
    const char *at = word;
    for (int i = 0; i < n_names; i++)
        if (at == names[i].start)
            return names[i].size == 8 ? 8 : 4;
    for (int i = 0; i < ex.n; i++)
        for (size_t k = 0; k < sizeof slot_fields / sizeof *slot_fields; k++)
            if (at == (const char *)ex.workers[i].self.slot + slot_fields[k].offset)
                return slot_fields[k].size == 8 ? 8 : 4;
    return word == &ex.clock ? 8 : 4;
}

static uint64_t value_of(const void *word)
{
    if (!word || (uintptr_t)word % 4)
        return 0;
    return size_of(word) == 8 ? *(const uint64_t *)word : *(const uint32_t *)word;
}

/* --- lines --- */

static struct ex_line *new_line(int who)
{
    struct ex_line *line = &ex.box->lines[ex.box->n_lines++ % EX_LINES];
    *line = (struct ex_line){.who = who};
    return line;
}

void ex_tell_step(const char *what, const void *word)
{
    if (!ex.tells)
        return;
    struct ex_line *line = new_line(ex.cur);
    line->what = what;
    line->word = word;
    line->before = value_of(word);
    ex_name_of(word, line->remark, sizeof line->remark);
    ex.workers[ex.cur].line = ex.box->n_lines - 1;
}

void ex_tell_end_of_step(struct ex_worker *w)
{
    if (!ex.tells || w->line < 0)
        return;
    struct ex_line *line = &ex.box->lines[w->line % EX_LINES];
    line->after = value_of(line->word);
    line->ended = true;
    w->line = -1;
}

void ex_tell(int who, const char *format, ...)
{
    if (!ex.tells)
        return;
    va_list args;
    va_start(args, format);
    struct ex_line *line = new_line(who);
    vsnprintf(line->remark, sizeof line->remark, format, args);
    va_end(args);
}

static void print_line(const struct ex_line *line, long step)
{
    char who = line->who < 0 ? '-' : (char)('a' + line->who);
    if (!line->what) {
        fprintf(stderr, "           %c  (%s)\n", who, line->remark);
        return;
    }
    fprintf(stderr, "    %5ld  %c  %-11s %-24s", step, who, line->what, line->remark);
    if (!line->word || strncmp(line->what, "futex", 5) == 0)
        fprintf(stderr, "\n");
    else if (line->ended && line->after != line->before)
        fprintf(stderr, " %#lx -> %#lx\n", (unsigned long)line->before, (unsigned long)line->after);
    else
        fprintf(stderr, " %#lx\n", (unsigned long)line->before);
}

void ex_print_lines(const struct ex_box *box, long most)
{
    long first = box->n_lines - (most < EX_LINES ? most : EX_LINES), step = 0;
    if (first > 0)
        fprintf(stderr, "      ...\n");
    for (long i = box->n_lines > EX_LINES ? box->n_lines - EX_LINES : 0; i < box->n_lines; i++) {
        const struct ex_line *line = &box->lines[i % EX_LINES];
        step += line->what != NULL;
        if (i >= first)
            print_line(line, step);
    }
}
