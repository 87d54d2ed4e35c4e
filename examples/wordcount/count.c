#include "count.h"

#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <plait/plait.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PIECE = 64 * 1024 }; /* bytes read at a time: all that a file of any size needs */

/* Opens a regular file, and nothing else: a pipe could keep us waiting for ever. -1 with *error. */
static int open_regular(const char *path, int *error)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        return fd;
    *error = fd >= 0 ? COUNT_NOT_REGULAR : errno;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* zlib reads plain files as they are and unpacks the others. NULL with *error. */
static gzFile open_text(const char *path, int *error)
{
    int fd = open_regular(path, error);
    if (fd < 0)
        return NULL;
    gzFile file = gzdopen(fd, "rb");
    if (!file) {
        *error = ENOMEM;
        close(fd);
        return NULL;
    }
    gzbuffer(file, PIECE);
    return file;
}

/* Why reading came to an end: 0 if the file did too. */
static int read_error(gzFile file)
{
    int code;
    gzerror(file, &code);
    if (code == Z_ERRNO)
        return errno;
    if (code == Z_MEM_ERROR)
        return ENOMEM;
    return code == Z_OK || code == Z_STREAM_END ? 0 : COUNT_BAD_GZIP;
}

/* Counts a whole file. Returns as an item does; what was wrong with the file goes into *result. */
static int count_text(gzFile file, struct words *words, struct result *result)
{
    unsigned char piece[PIECE];
    int size, rc = 0;
    while (rc == 0 && (size = gzread(file, piece, sizeof piece)) > 0) {
        result->bytes += (unsigned)size;
        rc = words_feed(words, piece, (size_t)size);
    }
    if (rc < 0)
        return rc;
    result->error = read_error(file);
    return result->error == ENOMEM ? PLAIT_ENOMEM : words_end(words);
}

static int count_file(const char *path, struct table *table, struct result *result)
{
    struct words words = {.table = table};
    gzFile file = open_text(path, &result->error);
    if (!file)
        return result->error == ENOMEM ? PLAIT_ENOMEM : 0;
    int rc = count_text(file, &words, result);
    gzclose(file);
    return rc;
}

int count_item(const void *in, void *out)
{
    const struct item *item = in;
    struct result *result = out;
    struct table table = {0};

    /* A worker before us may have died of this item when its block was made already. Forgotten first,
     * then freed: if we die in between, a block leaks; the other way round one would be freed twice. */
    struct block *left = result->block;
    *result = (struct result){0};
    plait_free(left);

    int rc = count_file(item->path, &table, result);
    if (rc == 0 && result->error)
        result->bytes = 0;
    else if (rc == 0)
        rc = table_pack(&table, TABLE_ANY, &result->block);
    table_free(&table);
    if (rc < 0)
        result->error = ENOMEM;
    result->done = rc == 0;
    return rc;
}

const char *count_why(int error)
{
    switch (error) {
    case COUNT_NOT_REGULAR:
        return "not a regular file";
    case COUNT_BAD_GZIP:
        return "not a whole gzip file";
    case COUNT_DIED:
        return "every worker that tried died";
    default:
        return strerror(error);
    }
}
