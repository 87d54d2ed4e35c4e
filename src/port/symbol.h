/* Addresses in words: which function or static variable of which file. For reports. */
#ifndef PL_PORT_SYMBOL_H
#define PL_PORT_SYMBOL_H

#include <stddef.h>

/* Writes "name", "name+0x1c" or "file+0x4010" for an address in a loaded program or library; an empty
 * string for any other (stack, heap). Slow: reads the file's symbol table. */
void pl_symbol(const void *address, char *buffer, size_t size);

#endif
