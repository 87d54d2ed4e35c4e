/* Where a program may be, found out by the starter: its child has no memory to build names in. */
#include "program/program_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char DEFAULT_PATH[] = "/bin:/usr/bin";

bool pl_env_is_valid(const char *const *env)
{
    for (; env && *env; env++)
        if (**env == '=' || !strchr(*env, '='))
            return false;
    return true;
}

int pl_start_error(int error)
{
    return error == EAGAIN ? PLAIT_EAGAIN : pl_file_error(error);
}

static const char *path_of(char *const *env)
{
    for (; env && *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return DEFAULT_PATH;
}

static size_t count_parts(const char *path)
{
    size_t n = 1;
    for (; *path; path++)
        n += *path == ':';
    return n;
}

/* "part/name" at `to`; an empty part is the directory itself. The byte after it. */
static char *join(char *to, const char *part, size_t length, const char *name)
{
    if (length > 0) {
        memcpy(to, part, length);
        to[length] = '/';
        to += length + 1;
    }
    return stpcpy(to, name) + 1;
}

char **pl_program_paths(const char *name, char *const *env)
{
    const char *path = strchr(name, '/') || !*name ? NULL : path_of(env);
    size_t parts = path ? count_parts(path) : 1, length = strlen(name);
    size_t text = path ? strlen(path) + parts * (length + 2) : length + 1;
    char **paths = malloc((parts + 1) * sizeof *paths + text);
    if (!paths)
        return NULL;
    char *at = (char *)(paths + parts + 1);
    size_t n = 0;
    if (!path) {
        paths[n++] = at;
        join(at, "", 0, name);
    }
    while (path) {
        size_t part = strcspn(path, ":");
        paths[n++] = at;
        at = join(at, path, part, name);
        path = path[part] ? path + part + 1 : NULL;
    }
    paths[n] = NULL;
    return paths;
}
