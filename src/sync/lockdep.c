/* Lock-order checking, in the manner of the kernel's lockdep: inversions that have not happened yet.
 *
 * A deadlock needs two workers in the wrong moment; the mistake behind it, taking A before B here and B
 * before A there, is in the program all the time. So in this mode each worker notes what it holds, and each
 * order in which two locks were ever taken becomes an arrow from one to the other. An arrow that closes a
 * ring is reported once, with the places in the code, though nobody waits.
 *
 * The arrows are between classes, for a program may make a million locks in one place: locks that were
 * initialised at the same place are of one class; a lock that never was (zeroed memory, a static) is a
 * class of its own, named by its address. Within a class, locks taken in rising and in falling order
 * of addresses are an inversion too. A class without a place in the full tables is not checked.
 *
 * All tables lie in the arena, for all processes, and are only ever added to, by compare-and-swap on one
 * word. Arrows are drawn before it is asked whether they close a ring: of two workers that draw the two
 * halves at once, the later one sees both. Nothing here waits, so a death leaves nothing to repair.
 *
 * The mode costs the fast path nothing while it is off, because it has no place there: the fast paths
 * compare with pl_self.quick, which is 0 in this mode, so each call goes the slow way, where the flag is
 * asked. What it costs when on is in docs/internals/lockdep.md. */
#include "sync/lockdep.h"

#include "base/atomic.h"
#include "base/log.h"
#include "park/record.h"
#include "port/symbol.h"

#include <plait/arena.h>
#include <plait/clock.h>
#include <plait/label.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLASSES_LOG = 11,
    CLASSES = 1 << CLASSES_LOG,
    MADE_LOG = 14,
    MADE = 1 << MADE_LOG, /* locks whose place of initialisation is remembered */
    ARROWS = 1 << 13,
    PROBES = 32,
    PATH_MOST = 32,
};

struct made {
    uint32_t *word; /* atomic; claimed once */
    const void *site;
};

struct arrow {
    uint16_t from, to;
    const void *from_site, *to_site; /* where the one was held, and the other taken */
};

struct tables {
    uintptr_t keys[CLASSES]; /* atomic; 0: free. The class is the index */
    uint64_t before[CLASSES]
                   [CLASSES / 64]; /* atomic; bit t of row f: f was held when t was taken */
    uint64_t rising[CLASSES / 64], falling[CLASSES / 64]; /* atomic; orders within a class */
    struct made made[MADE];
    uint32_t n_arrows; /* atomic */
    struct arrow arrows[ARROWS];
};

__attribute__((constructor(101))) static void read_wish(void)
{
    const char *wish = getenv("PLAIT_LOCKDEP");
    pl_slow_paths_only = wish && wish[0] == '1' && wish[1] == 0;
}

static struct tables *tables(void)
{
    struct tables *t = pl_load_acquire(&pl_arena->lockdep), *mine;
    if (t)
        return t;
    mine = plait_alloc(sizeof *mine);
    /* R:lockdep.tables, pairs with the look above. A:lockdep.tables. */
    if (mine && pl_cas_acq_rel(&pl_arena->lockdep, &t, mine))
        return mine;
    plait_free(mine);
    return t;
}

static uint32_t hash(uintptr_t key, int bits)
{
    return (uint32_t)((uint64_t)key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits));
}

/* --- classes --- */

static struct made *find_made(struct tables *t, uint32_t *word, bool claim)
{
    for (uint32_t i = 0, at = hash((uintptr_t)word, MADE_LOG); i < PROBES; i++) {
        struct made *m = &t->made[(at + i) % MADE];
        uint32_t *seen = pl_load_acquire(&m->word);
        if (!seen && claim && pl_cas_acq_rel(&m->word, &seen, word))
            return m;
        if (seen == word)
            return m;
        if (!seen)
            return NULL;
    }
    return NULL;
}

void pl_lockdep_made(uint32_t *word, const void *site)
{
    struct tables *t = pl_self_known() == 0 ? tables() : NULL;
    struct made *m = t ? find_made(t, word, true) : NULL;
    if (m)
        pl_store_release(&m->site, site);
}

static uintptr_t key_of(struct tables *t, uint32_t *word)
{
    struct made *m = find_made(t, word, false);
    const void *site = m ? pl_load_acquire(&m->site) : NULL;
    return (uintptr_t)(site ? site : word);
}

/* The class of a lock; -1: the table is full there. */
static int class_of(struct tables *t, uint32_t *word)
{
    uintptr_t key = key_of(t, word);
    for (uint32_t i = 0, at = hash(key, CLASSES_LOG); i < PROBES; i++) {
        uint32_t index = (at + i) % CLASSES;
        uintptr_t seen = pl_load_acquire(&t->keys[index]);
        if (!seen && pl_cas_acq_rel(&t->keys[index], &seen, key))
            return (int)index;
        if (seen == key)
            return (int)index;
    }
    return -1;
}

/* --- bits --- */

static bool has_bit(uint64_t *row, int i)
{
    return pl_load_seq_cst(&row[i / 64]) >> (i % 64) & 1;
}

/* True if it was not set before. */
static bool set_bit(uint64_t *row, int i)
{
    uint64_t bit = UINT64_C(1) << (i % 64);
    return !(pl_fetch_or_seq_cst(&row[i / 64], bit) & bit);
}

/* --- rings --- */

struct path {
    int n;
    uint16_t classes[PATH_MOST]; /* from the lock about to be taken, to one that is held */
};

/* The way that a search has gone to `to`, each class with the one it was found from. False: it is long. */
static bool trace(const uint16_t *found_from, int from, int to, struct path *ret)
{
    int n = 1;
    for (int at = to; at != from; at = found_from[at])
        n++;
    if (n > PATH_MOST)
        return false;
    ret->n = n;
    for (int at = to; n > 0; at = found_from[at])
        ret->classes[--n] = (uint16_t)at;
    return true;
}

/* Whether arrows lead from `from` to `to`, another class; the shortest way there. In breadth, so that a class
 * that was come to by a long way first is not given up for the short one. */
static bool leads(struct tables *t, int from, int to, struct path *ret)
{
    uint64_t seen[CLASSES / 64] = {0};
    uint16_t queue[CLASSES], found_from[CLASSES];
    int first = 0, n = 0;
    set_bit(seen, from);
    for (queue[n++] = (uint16_t)from; first < n && !has_bit(seen, to); first++)
        for (int w = 0; w < CLASSES / 64; w++) {
            uint64_t row = pl_load_seq_cst(&t->before[queue[first]][w]) & ~seen[w];
            seen[w] |= row;
            for (; row; row &= row - 1) {
                queue[n] = (uint16_t)(w * 64 + __builtin_ctzll(row));
                found_from[queue[n++]] = queue[first];
            }
        }
    return has_bit(seen, to) && trace(found_from, from, to, ret);
}

static const struct arrow *find_arrow(struct tables *t, int from, int to)
{
    uint32_t n = pl_load_acquire(&t->n_arrows);
    for (uint32_t i = 0; i < n && i < ARROWS; i++)
        if (pl_load_acquire(&t->arrows[i].to_site) && t->arrows[i].from == from &&
            t->arrows[i].to == to)
            return &t->arrows[i];
    return NULL;
}

static void add_site(struct pl_text *text, const void *site)
{
    char symbol[80];
    pl_symbol(site, symbol, sizeof symbol);
    pl_text_add(text, " at %s", symbol[0] ? symbol : "an unknown place");
}

/* A class in words: the label or symbol of a lock that is a class of its own, else where it is made. */
static void add_class(struct pl_text *text, struct tables *t, int class)
{
    uintptr_t key = pl_load_acquire(&t->keys[class]);
    char label[PLAIT_LABEL_SIZE], symbol[80];
    pl_label_get((const void *)key, pl_load_relaxed(&pl_self.slot->pid), label, sizeof label);
    pl_symbol((const void *)key, symbol, sizeof symbol);
    if (label[0])
        pl_text_add(text, " \"%s\"", label);
    else if (symbol[0])
        pl_text_add(text, " %s", symbol);
    else
        pl_text_add(text, " %p", (void *)key);
}

static void add_arrow(struct pl_text *text, struct tables *t, int from, int to)
{
    const struct arrow *arrow = find_arrow(t, from, to);
    pl_text_add(text, "plait:   with");
    add_class(text, t, from);
    if (arrow)
        add_site(text, arrow->from_site);
    pl_text_add(text, " held,");
    add_class(text, t, to);
    pl_text_add(text, " was taken");
    if (arrow)
        add_site(text, arrow->to_site);
    pl_text_add(text, "\n");
}

/* `path` leads from the lock about to be taken back to the one held. */
static void report(struct tables *t, const struct path *path, const void *held_site,
                   const void *site)
{
    struct pl_text text = {.length = 0};
    int taken = path->classes[0], held = path->classes[path->n - 1];
    pl_text_add(&text, "plait: lock order: ");
    pl_text_add_worker(&text, pl_self.slot);
    pl_text_add(&text, " takes");
    add_class(&text, t, taken);
    add_site(&text, site);
    pl_text_add(&text, ", holding");
    add_class(&text, t, held);
    add_site(&text, held_site);
    pl_text_add(&text, "\nplait:   but elsewhere the order is the other one:\n");
    for (int i = 0; i + 1 < path->n; i++)
        add_arrow(&text, t, path->classes[i], path->classes[i + 1]);
    pl_text_add(&text, "plait:   two workers that do both at once can wait for each other\n");
    pl_log(text.bytes);
}

static void draw(struct tables *t, int from, const void *from_site, int to, const void *to_site)
{
    uint32_t at = pl_fetch_add_relaxed(&t->n_arrows, 1u);
    if (at >= ARROWS)
        return;
    t->arrows[at].from = (uint16_t)from;
    t->arrows[at].to = (uint16_t)to;
    pl_store_relaxed(&t->arrows[at].from_site, from_site);
    pl_store_release(&t->arrows[at].to_site, to_site); /* last: until then the entry is not read */
}

/* A lock of class `to` is about to be taken with one of class `from` held. */
static void check_order(struct tables *t, int from, const void *from_site, int to,
                        const void *to_site)
{
    struct path path;
    if (!set_bit(t->before[from], to))
        return; /* an old arrow, checked when it was drawn */
    draw(t, from, from_site, to, to_site);
    if (leads(t, to, from, &path))
        report(t, &path, from_site, to_site);
}

static void check_within(struct tables *t, int class, const uint32_t *held, const void *from_site,
                         const uint32_t *word, const void *to_site)
{
    uint64_t *mine = word > held ? t->rising : t->falling;
    uint64_t *other = word > held ? t->falling : t->rising;
    if (!set_bit(mine, class) || !has_bit(other, class))
        return;
    struct path path = {2, {(uint16_t) class, (uint16_t) class}};
    report(t, &path, from_site, to_site);
}

/* --- what a worker holds --- */

static struct pl_held *own_held(void)
{
    if (!pl_self.slot->held)
        pl_store_release(&pl_self.slot->held, plait_alloc(sizeof(struct pl_held) * PL_HELD_MOST));
    return pl_self.slot->held;
}

void pl_lockdep_before(uint32_t *word, const void *site)
{
    struct tables *t = tables();
    struct pl_held *held = t ? own_held() : NULL;
    int to = held ? class_of(t, word) : -1;
    for (int i = 0; to >= 0 && i < PL_HELD_MOST; i++) {
        uint32_t *other = pl_load_relaxed(&held[i].word);
        int from = other && other != word ? class_of(t, other) : -1;
        const void *from_site = pl_load_relaxed(&held[i].site);
        if (from == to)
            check_within(t, to, other, from_site, word, site);
        else if (from >= 0)
            check_order(t, from, from_site, to, site);
    }
}

void pl_lockdep_taken(uint32_t *word, const void *site)
{
    struct pl_held *held = own_held();
    for (int i = 0; held && i < PL_HELD_MOST; i++) {
        if (pl_load_relaxed(&held[i].word))
            continue;
        pl_store_relaxed(&held[i].site, site);
        pl_store_release(&held[i].word, word);
        return;
    }
}

int pl_lockdep_acquire(int (*call)(void *lock, int64_t timeout), void *lock, uint32_t *word,
                       int64_t timeout, const void *site)
{
    bool known = lock && pl_self_known() == 0;
    if (known && timeout != PLAIT_NOWAIT)
        pl_lockdep_before(word, site);
    int rc = call(lock, timeout);
    if (known && rc >= 0)
        pl_lockdep_taken(word, site);
    return rc;
}

void pl_lockdep_released(uint32_t *word, uint32_t holder)
{
    struct pl_held *held = holder ? pl_load_acquire(&pl_slot_of(holder)->held) : NULL;
    for (int i = PL_HELD_MOST - 1; held && i >= 0; i--) {
        uint32_t *seen = word;
        if (pl_load_relaxed(&held[i].word) == word && pl_cas_relaxed(&held[i].word, &seen, NULL))
            return;
    }
}
