/* Functions by a name that means the same in every process of the family.
 *
 * A forked child has its parent's code at the same addresses; one that was executed anew has it elsewhere, and
 * may lack libraries that were loaded later. So an address in the code does not travel; the module that it is of and
 * the place in it do. Modules are listed in the arena, once each, for ever. */
#ifndef PL_REGISTRY_CODE_H
#define PL_REGISTRY_CODE_H

#include <plait/worker.h>
#include <stdbool.h>
#include <stdint.h>

struct pl_code {
    struct pl_code_module *module; /* in the arena */
    uint64_t offset;               /* from where it is loaded */
};

/* Names a function. 0; PLAIT_EMODULE (it is in no module: code made at run time), PLAIT_ENOMEM. */
int pl_code_name(struct pl_code *ret, plait_function *fn);

/* The function in this process; loads its library if need be. 0; PLAIT_EMODULE: that build of the module is not
 * to be had here. */
int pl_code_find(const struct pl_code *code, plait_function **ret);

/* Which image of the program this process runs: forked children share their parent's; executing makes another. In two
 * processes of the same image, the program's code lies at the same addresses; a library's not: each may have loaded it later. */
uint64_t pl_image(void);

/* A function kept where processes of several images find it. */
struct pl_function {
    plait_function *address;
    uint64_t image;      /* in which that address holds */
    struct pl_code code; /* for the others; module NULL: no name for it was to be had */
};

/* Keeps a function (NULL: none), with its name if `shared`. Requires then: the thread is known (pl_thread_known). */
void pl_function_set(struct pl_function *f, plait_function *fn, bool shared);

/* The function in this process. 0, or PLAIT_EMODULE. */
int pl_function_get(const struct pl_function *f, plait_function **ret);

#endif
