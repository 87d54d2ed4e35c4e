/* Finding the symbol of an address.
 *
 * dladdr knows the file and, of its symbols, those that are exported. The names of static variables
 * and of a program's own functions stand in the symbol table of the file only (if it is not stripped);
 * that is read, piece by piece, from end to end. Not mapped: a library that is being written anew just
 * now gets shorter, and to look beyond its end would be a signal. What the file says is believed in
 * nothing: each piece may be missing. */
#include "port/symbol.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is looked for, and where the answer goes. */
struct search {
    uint64_t address, base; /* where it is; where its file is loaded */
    uint64_t value;         /* what the file's symbols call it */
    char *buffer;
    size_t size;
};

static bool read_at(int fd, void *to, size_t n, uint64_t offset)
{
    return offset <= INT64_MAX && pread(fd, to, n, (off_t)offset) == (ssize_t)n;
}

static bool covers(const Elf64_Sym *symbol, uint64_t value)
{
    int type = ELF64_ST_TYPE(symbol->st_info);
    return (type == STT_OBJECT || type == STT_FUNC) && symbol->st_shndx != 0 &&
           value >= symbol->st_value && value - symbol->st_value < symbol->st_size;
}

static bool tell(const struct search *s, const char *name, uint64_t beyond)
{
    if (beyond)
        snprintf(s->buffer, s->size, "%s+0x%lx", name, (unsigned long)beyond);
    else
        snprintf(s->buffer, s->size, "%s", name);
    return true;
}

/* The symbol, whose name is in the table of strings; a long one is cut. */
static bool tell_symbol(const struct search *s, int fd, const Elf64_Shdr *strings,
                        const Elf64_Sym *symbol)
{
    char name[64];
    if (symbol->st_name >= strings->sh_size)
        return false;
    uint64_t left = strings->sh_size - symbol->st_name;
    size_t n = left < sizeof name - 1 ? (size_t)left : sizeof name - 1;
    if (!read_at(fd, name, n, strings->sh_offset + symbol->st_name))
        return false;
    name[n] = 0;
    return name[0] && tell(s, name, s->value - symbol->st_value);
}

static bool search_table(const struct search *s, int fd, const Elf64_Shdr *table,
                         const Elf64_Shdr *strings)
{
    enum { AT_ONCE = 128 };
    Elf64_Sym symbols[AT_ONCE];
    uint64_t n = table->sh_size / sizeof symbols[0];
    for (uint64_t i = 0; i < n; i += AT_ONCE) {
        size_t some = n - i < AT_ONCE ? (size_t)(n - i) : AT_ONCE;
        if (!read_at(fd, symbols, some * sizeof symbols[0],
                     table->sh_offset + i * sizeof symbols[0]))
            return false;
        for (size_t k = 0; k < some; k++)
            if (covers(&symbols[k], s->value) && tell_symbol(s, fd, strings, &symbols[k]))
                return true;
    }
    return false;
}

static bool read_section(int fd, const Elf64_Ehdr *header, unsigned i, Elf64_Shdr *ret)
{
    return i < header->e_shnum && header->e_shentsize == sizeof *ret &&
           read_at(fd, ret, sizeof *ret, header->e_shoff + i * sizeof *ret);
}

static bool search_sections(struct search *s, int fd)
{
    Elf64_Ehdr header;
    Elf64_Shdr table, strings;
    if (!read_at(fd, &header, sizeof header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    /* A program that is loaded where its file says (not position-independent) has addresses as values. */
    s->value = header.e_type == ET_EXEC ? s->address : s->address - s->base;
    for (unsigned i = 0; read_section(fd, &header, i, &table); i++)
        if (table.sh_type == SHT_SYMTAB && read_section(fd, &header, table.sh_link, &strings) &&
            search_table(s, fd, &table, &strings))
            return true;
    return false;
}

static bool search_file(struct search *s, const char *path)
{
    struct stat st;
    int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* whatever has that name now */
    if (fd < 0)
        return false;
    bool found = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && search_sections(s, fd);
    close(fd);
    return found;
}

/* The program itself is named as it was called, which may be relative to a folder it has left, and may be
 * a newer program's name by now. */
static bool is_program(const Dl_info *info)
{
    Dl_info own;
    return dladdr((const void *)getauxval(AT_ENTRY), &own) && own.dli_fbase == info->dli_fbase;
}

static void find(const void *address, char *buffer, size_t size)
{
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname)
        return;
    struct search s = {.address = (uintptr_t)address,
                       .base = (uintptr_t)info.dli_fbase,
                       .buffer = buffer,
                       .size = size};
    bool in_file = is_program(&info) ? search_file(&s, "/proc/self/exe")
                                     : info.dli_fname[0] == '/' && search_file(&s, info.dli_fname);
    if (in_file)
        return;
    const char *name = strrchr(info.dli_fname, '/');
    if (info.dli_sname)
        tell(&s, info.dli_sname, s.address - (uintptr_t)info.dli_saddr);
    else
        tell(&s, name ? name + 1 : info.dli_fname, s.address - s.base);
}

void pl_symbol(const void *address, char *buffer, size_t size)
{
    int saved = errno;
    buffer[0] = 0;
    find(address, buffer, size);
    errno = saved;
}
