/* Finding the symbol of an address.
 *
 * dladdr knows the file and, of its symbols, those that are exported. The names of static variables
 * and of a program's own functions stand in the symbol table of the file only (if it is not stripped);
 * that is mapped, searched from end to end, and unmapped again. */
#include "port/symbol.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
    const unsigned char *bytes;
    size_t size;
};

static bool map_file(const char *path, struct image *ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    void *bytes = MAP_FAILED;
    if (fstat(fd, &st) == 0 && st.st_size > (off_t)sizeof(Elf64_Ehdr))
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return false;
    *ret = (struct image){bytes, (size_t)st.st_size};
    return true;
}

/* `n` things of `each` bytes at an offset of the file; NULL if it has not that many. */
static const void *part(const struct image *image, uint64_t offset, uint64_t n, uint64_t each)
{
    bool fits = offset <= image->size && n <= (image->size - offset) / each;
    return fits ? image->bytes + offset : NULL;
}

static bool covers(const Elf64_Sym *symbol, uint64_t value)
{
    int type = ELF64_ST_TYPE(symbol->st_info);
    return (type == STT_OBJECT || type == STT_FUNC || type == STT_TLS) && symbol->st_shndx != 0 &&
           value >= symbol->st_value && value < symbol->st_value + symbol->st_size;
}

static bool tell(const char *name, uint64_t beyond, char *buffer, size_t size)
{
    if (beyond)
        snprintf(buffer, size, "%s+0x%lx", name, (unsigned long)beyond);
    else
        snprintf(buffer, size, "%s", name);
    return true;
}

static bool search_table(const struct image *image, const Elf64_Shdr *table,
                         const Elf64_Shdr *strings, uint64_t value, char *buffer, size_t size)
{
    uint64_t n = table->sh_size / sizeof(Elf64_Sym);
    const Elf64_Sym *symbols = part(image, table->sh_offset, n, sizeof(Elf64_Sym));
    const char *names = part(image, strings->sh_offset, strings->sh_size, 1);
    if (!symbols || !names || strings->sh_size == 0 || names[strings->sh_size - 1] != 0)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (covers(&symbols[i], value) && symbols[i].st_name < strings->sh_size)
            return tell(names + symbols[i].st_name, value - symbols[i].st_value, buffer, size);
    return false;
}

static bool search_image(const struct image *image, uint64_t value, char *buffer, size_t size)
{
    const Elf64_Ehdr *header = part(image, 0, 1, sizeof *header);
    if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    const Elf64_Shdr *sections = part(image, header->e_shoff, header->e_shnum, sizeof(Elf64_Shdr));
    for (unsigned i = 0; sections && i < header->e_shnum; i++)
        if (sections[i].sh_type == SHT_SYMTAB && sections[i].sh_link < header->e_shnum &&
            search_table(image, &sections[i], &sections[sections[i].sh_link], value, buffer, size))
            return true;
    return false;
}

/* A program that is loaded where its file says (not position-independent) has addresses as values. */
static bool is_fixed(const struct image *image)
{
    const Elf64_Ehdr *header = part(image, 0, 1, sizeof *header);
    return header && header->e_type == ET_EXEC;
}

static bool search_file(const char *path, uint64_t address, uint64_t base, char *buffer,
                        size_t size)
{
    struct image image;
    if (!map_file(path, &image))
        return false;
    bool found = search_image(&image, is_fixed(&image) ? address : address - base, buffer, size);
    munmap((void *)image.bytes, image.size);
    return found;
}

/* The program itself is named as it was called, perhaps relative to a folder it has left. */
static bool is_program(const Dl_info *info)
{
    Dl_info own;
    return dladdr((const void *)getauxval(AT_ENTRY), &own) && own.dli_fbase == info->dli_fbase;
}

void pl_symbol(const void *address, char *buffer, size_t size)
{
    Dl_info info;
    buffer[0] = 0;
    if (!dladdr(address, &info) || !info.dli_fname)
        return;
    uint64_t value = (uintptr_t)address, base = (uintptr_t)info.dli_fbase;
    if (search_file(info.dli_fname, value, base, buffer, size) ||
        (is_program(&info) && search_file("/proc/self/exe", value, base, buffer, size)))
        return;
    const char *name = strrchr(info.dli_fname, '/');
    snprintf(buffer, size, "%s+0x%lx", name ? name + 1 : info.dli_fname,
             (unsigned long)(value - base));
}
