/* The list of modules: newest first, only ever added to. Two who add the same module at once leave two entries,
 * which harms nobody; who dies between making an entry and adding it has lost a block that the recovery of the allocator
 * does not know of: half a KiB, once. */
#include "registry/code.h"

#include "arena/arena.h"
#include "base/atomic.h"
#include "base/self.h"
#include "port/module.h"

#include <string.h>

struct pl_code_module {
    struct pl_code_module *next; /* constant once it is in the list, like the rest */
    struct pl_module what;
};

static struct pl_code_module *find_listed(const struct pl_module *what)
{
    /* A:modules.head, pairs with push. */
    struct pl_code_module *m = pl_load_acquire(&pl_arena->modules);
    while (m && (memcmp(m->what.id, what->id, sizeof what->id) != 0 ||
                 strcmp(m->what.path, what->path) != 0))
        m = m->next;
    return m;
}

static void push(struct pl_code_module *m)
{
    m->next = pl_load_relaxed(&pl_arena->modules);
    /* R:modules.head, pairs with find_listed. */
    while (!pl_cas_release(&pl_arena->modules, &m->next, m))
        continue;
}

int pl_code_name(struct pl_code *ret, plait_function *fn)
{
    struct pl_module what;
    uintptr_t base;
    if (!pl_module_of((const void *)(uintptr_t)fn, &what, &base))
        return PLAIT_EMODULE;
    struct pl_code_module *m = find_listed(&what);
    if (!m) {
        m = plait_alloc(sizeof *m);
        if (!m)
            return plait_last_error();
        m->what = what;
        push(m);
    }
    *ret = (struct pl_code){m, (uintptr_t)fn - base};
    return 0;
}

int pl_code_find(const struct pl_code *code, plait_function **ret)
{
    uintptr_t base;
    if (pl_module_find(&code->module->what, &base) < 0)
        return PLAIT_EMODULE;
    *ret = (plait_function *)(base + code->offset);
    return 0;
}
