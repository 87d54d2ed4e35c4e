/* Modules by dl_iterate_phdr, told apart by their build ids. */
#include "port/module.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NO_ID, BUILD_ID, FILE_ID }; /* what the first byte of an id says */

struct search {
    uintptr_t address;            /* that it has to contain; 0: compare with `like` */
    const struct pl_module *like; /* NULL: any */
    struct pl_module found;
    uintptr_t base;
    bool met_another; /* the module is here, of another build */
};

static bool contains(const struct dl_phdr_info *info, uintptr_t address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD &&
            address - info->dlpi_addr - segment->p_vaddr < segment->p_memsz)
            return true;
    }
    return false;
}

static void set_id(uint8_t *id, int kind, const void *bytes, size_t size)
{
    size_t most = PL_MODULE_ID - 2;
    memset(id, 0, PL_MODULE_ID);
    id[0] = (uint8_t)kind;
    id[1] = (uint8_t)(size < most ? size : most);
    memcpy(id + 2, bytes, id[1]);
}

static size_t padded(size_t n)
{
    return (n + 3) & ~(size_t)3;
}

/* The note that the linker leaves with --build-id. */
static bool read_note(const char *notes, size_t size, uint8_t *id)
{
    while (size >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) head;
        memcpy(&head, notes, sizeof head);
        const char *name = notes + sizeof head;
        size_t length = sizeof head + padded(head.n_namesz) + padded(head.n_descsz);
        if (length > size)
            return false;
        if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && memcmp(name, "GNU", 4) == 0) {
            set_id(id, BUILD_ID, name + 4, head.n_descsz);
            return true;
        }
        notes += length;
        size -= length;
    }
    return false;
}

static void read_file_id(const char *path, uint8_t *id)
{
    struct stat st;
    uint64_t file[4] = {0};
    if (stat(path, &st) < 0) {
        set_id(id, NO_ID, "", 0);
        return;
    }
    file[0] = (uint64_t)st.st_dev;
    file[1] = (uint64_t)st.st_ino;
    file[2] = (uint64_t)st.st_size;
    file[3] = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
    set_id(id, FILE_ID, file, sizeof file);
}

static void read_id(const struct dl_phdr_info *info, uint8_t *id)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const char *notes = (const char *)(info->dlpi_addr + segment->p_vaddr);
        if (segment->p_type == PT_NOTE && read_note(notes, segment->p_memsz, id))
            return;
    }
    read_file_id(info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe", id);
}

static void describe(const struct dl_phdr_info *info, struct pl_module *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->is_program = info->dlpi_name[0] == 0;
    snprintf(ret->path, sizeof ret->path, "%s", info->dlpi_name);
    read_id(info, ret->id);
}

/* The program is the same one whatever it is called; libraries may be loaded by several names. */
static bool has_its_place(const struct pl_module *a, const struct pl_module *b)
{
    return a->is_program ? b->is_program : strcmp(a->path, b->path) == 0;
}

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    struct search *s = arg;
    if (s->address && !contains(info, s->address))
        return 0;
    describe(info, &s->found);
    if (s->like && memcmp(s->found.id, s->like->id, PL_MODULE_ID) != 0) {
        s->met_another = s->met_another || has_its_place(s->like, &s->found);
        return 0;
    }
    s->base = info->dlpi_addr;
    return 1;
}

bool pl_module_of(const void *address, struct pl_module *ret, uintptr_t *ret_base)
{
    struct search s = {.address = (uintptr_t)address};
    if (!address || dl_iterate_phdr(look, &s) == 0)
        return false;
    *ret = s.found;
    *ret_base = s.base;
    return s.found.id[0] != NO_ID; /* its file is gone: it could be any */
}

static int read_unloaded(struct dl_phdr_info *info, size_t size, void *ret)
{
    (void)size;
    *(uint64_t *)ret = info->dlpi_subs;
    return 1;
}

uint64_t pl_modules_unloaded(void)
{
    uint64_t n = 0;
    dl_iterate_phdr(read_unloaded, &n);
    return n;
}

static int find_loaded(const struct pl_module *module, uintptr_t *ret_base)
{
    struct search s = {.like = module};
    if (dl_iterate_phdr(look, &s) == 0)
        return s.met_another ? -ENOEXEC : -ENOENT;
    *ret_base = s.base;
    return 0;
}

int pl_module_find(const struct pl_module *module, uintptr_t *ret_base)
{
    int rc = find_loaded(module, ret_base);
    if (rc != -ENOENT || module->is_program)
        return rc;
    if (!dlopen(module->path, RTLD_NOW | RTLD_GLOBAL))
        return -ENOENT;
    return find_loaded(module, ret_base);
}
