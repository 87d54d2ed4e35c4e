/* The program and its libraries, as loaded: of which one an address is, and where the same one lies in another
 * process. */
#ifndef PL_PORT_MODULE_H
#define PL_PORT_MODULE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PL_MODULE_ID = 40, /* bytes that tell one build from another: kind, length, and 38 of the id */
    PL_MODULE_PATH = 488, /* bytes of a path, its zero included */
};

struct pl_module {
    uint8_t id[PL_MODULE_ID];  /* the linker's build id, or if it has none its file's identity */
    bool is_program;           /* not a library */
    char path[PL_MODULE_PATH]; /* of a library; cut if it is longer */
};

/* The module that contains an address, and where it is loaded. False: in none (made at run time). */
bool pl_module_of(const void *address, struct pl_module *ret, uintptr_t *ret_base);

/* How many modules have been unloaded so far: while that stays the same, what was found of any holds. */
uint64_t pl_modules_unloaded(void);

/* Where that very build is loaded in this process; loads a library that is not yet. 0; -ENOENT (not to be had
 * here), -ENOEXEC (another build has its place). */
int pl_module_find(const struct pl_module *module, uintptr_t *ret_base);

#endif
