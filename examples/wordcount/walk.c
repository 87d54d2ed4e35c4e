#include "walk.h"

#include "count.h"

#include <errno.h>
#include <fts.h>
#include <plait/plait.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int files_add(struct files *files, const char *path, uint64_t size, int error)
{
    if (files->n == files->room) {
        size_t room = files->room ? files->room * 2 : 64;
        struct file *array = realloc(files->array, room * sizeof *array);
        if (!array)
            return PLAIT_ENOMEM;
        files->array = array;
        files->room = room;
    }
    char *copy = strdup(path);
    if (!copy)
        return PLAIT_ENOMEM;
    files->array[files->n++] = (struct file){copy, size, error};
    return 0;
}

void files_free(struct files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->array[i].path);
    free(files->array);
    *files = (struct files){0};
}

/* What is wrong with a name of the command line that is neither file nor folder. */
static int why_not(const char *path)
{
    struct stat status;
    return stat(path, &status) < 0 ? errno : COUNT_NOT_REGULAR;
}

static int visit(const FTSENT *entry, struct files *found, struct files *unreadable)
{
    switch (entry->fts_info) {
    case FTS_F:
        return files_add(found, entry->fts_path, (uint64_t)entry->fts_statp->st_size, 0);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return files_add(unreadable, entry->fts_path, 0, entry->fts_errno);
    case FTS_DEFAULT:
    case FTS_SLNONE:
        if (entry->fts_level == FTS_ROOTLEVEL)
            return files_add(unreadable, entry->fts_path, 0, why_not(entry->fts_path));
        return 0;
    default:
        return 0;
    }
}

static int walk_one(char *name, struct files *found, struct files *unreadable)
{
    char *names[] = {name, NULL};
    FTS *tree = fts_open(names, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    if (!tree)
        return errno == ENOMEM ? PLAIT_ENOMEM : files_add(unreadable, name, 0, errno);
    FTSENT *entry;
    int rc = 0;
    while (rc == 0 && (errno = 0, entry = fts_read(tree)))
        rc = visit(entry, found, unreadable);
    if (rc == 0 && errno)
        rc = errno == ENOMEM ? PLAIT_ENOMEM : files_add(unreadable, name, 0, errno);
    fts_close(tree);
    return rc;
}

static int larger_first(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return strcmp(x->path, y->path);
}

int walk(char *const *names, size_t n, struct files *found, struct files *unreadable)
{
    for (size_t i = 0; i < n; i++) {
        int rc = walk_one(names[i], found, unreadable);
        if (rc < 0)
            return rc;
    }
    if (found->n)
        qsort(found->array, found->n, sizeof *found->array, larger_first);
    return 0;
}
