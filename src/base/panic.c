/* The last words of a program whose shared state contradicts itself. */
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void pl_panic_at(const char *file, int line, const char *message)
{
    char text[512];
    const char *name = strrchr(file, '/');
    int n =
        snprintf(text, sizeof text, "plait: %s:%d: %s\n", name ? name + 1 : file, line, message);
    if (n > (int)sizeof text - 1)
        n = sizeof text - 1;
    if (write(STDERR_FILENO, text, (size_t)n) < 0)
        abort();
    abort();
}
