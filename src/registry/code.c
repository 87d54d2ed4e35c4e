/* The list of modules: newest first, only ever added to. Two who add the same module at once leave two entries,
 * which harms nobody; who dies between making an entry and adding it has lost half a KiB, once. */
#include "registry/code.h"

#include "arena/arena.h"
#include "base/atomic.h"
#include "base/self.h"
#include "port/module.h"

#include <string.h>
#include <sys/auxv.h>

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

/* The first few have their room in the arena's head, so that a program that counts its blocks finds none that it has
 * not made. */
static struct pl_code_module *room_for_module(void)
{
    enum { ROOM = PL_MODULES_ROOM / sizeof(struct pl_code_module) };
    uint32_t i = pl_load_relaxed(&pl_arena->modules_made);
    while (i < ROOM)
        if (pl_cas_relaxed(&pl_arena->modules_made, &i, i + 1))
            return (struct pl_code_module *)pl_arena->modules_room + i;
    return plait_alloc(sizeof(struct pl_code_module));
}

/* The last answers of this thread. The program stays where it is; a library may be unloaded, and another take its place. */
static _Thread_local struct {
    plait_function *named, *found;
    struct pl_code name, of_found;
    uint64_t unloaded_named, unloaded_found; /* modules, at that time */
} last __attribute__((tls_model("initial-exec")));

static bool holds(const struct pl_code *code, uint64_t unloaded)
{
    return code->module->what.is_program || pl_modules_unloaded() == unloaded;
}

int pl_code_name(struct pl_code *ret, plait_function *fn)
{
    struct pl_module what;
    uintptr_t base;
    if (fn && last.named == fn && holds(&last.name, last.unloaded_named)) {
        *ret = last.name;
        return 0;
    }
    uint64_t unloaded = pl_modules_unloaded();
    if (!pl_module_of((const void *)(uintptr_t)fn, &what, &base))
        return PLAIT_EMODULE;
    struct pl_code_module *m = find_listed(&what);
    if (!m) {
        m = room_for_module();
        if (!m)
            return plait_last_error();
        m->what = what;
        push(m);
    }
    *ret = (struct pl_code){m, (uintptr_t)fn - base};
    last.named = fn;
    last.name = *ret;
    last.unloaded_named = unloaded;
    return 0;
}

int pl_code_find(const struct pl_code *code, plait_function **ret)
{
    uintptr_t base;
    if (last.found && code->module == last.of_found.module &&
        code->offset == last.of_found.offset && holds(code, last.unloaded_found)) {
        *ret = last.found;
        return 0;
    }
    uint64_t unloaded = pl_modules_unloaded();
    if (!code->module || pl_module_find(&code->module->what, &base) < 0)
        return PLAIT_EMODULE;
    *ret = (plait_function *)(base + code->offset);
    last.found = *ret;
    last.of_found = *code;
    last.unloaded_found = unloaded;
    return 0;
}

uint64_t pl_image(void)
{
    static uint64_t known; /* atomic; all who write it write the same */
    uint64_t image = pl_load_relaxed(&known), random[2];
    if (image)
        return image;
    /* The kernel gives each execution sixteen random bytes. They are secret: only a digest leaves the process. */
    memcpy(random, (const void *)getauxval(AT_RANDOM), sizeof random);
    for (int i = 0; i < 2; i++) {
        image = (image ^ random[i]) * UINT64_C(0x9e3779b97f4a7c15);
        image ^= image >> 29;
    }
    image |= 1;
    pl_store_relaxed(&known, image);
    return image;
}

void pl_function_set(struct pl_function *f, plait_function *fn, bool shared)
{
    *f = (struct pl_function){.address = fn, .image = pl_image()};
    if (fn && shared && pl_code_name(&f->code, fn) < 0)
        f->code.module = NULL;
}

int pl_function_get(const struct pl_function *f, plait_function **ret)
{
    const struct pl_code_module *m = f->code.module;
    if (f->image != pl_image() || (m && !m->what.is_program))
        return pl_code_find(&f->code, ret);
    *ret = f->address;
    return 0;
}
