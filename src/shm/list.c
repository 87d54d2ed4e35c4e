/* Looking at all segments, and clearing away what the killed have left. */
#include "port/shared_file.h"
#include "shm/record.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Calls visit(record, name, arg) for each segment that can be opened, with its lock held, until it returns
 * non-zero; 0, or that, or an error. */
static int for_each(int (*visit)(struct pl_record *r, const char *name, void *arg), void *arg)
{
    static const char prefix[] = "plait-";
    char path[PL_RECORD_PATH];
    struct pl_record r;
    int rc = 0;
    DIR *folder = opendir(PL_SHARED_FOLDER);
    if (!folder)
        return -errno;
    for (struct dirent *e; rc == 0 && (e = readdir(folder));) {
        if (strncmp(e->d_name, prefix, sizeof prefix - 1) != 0)
            continue;
        if (snprintf(path, sizeof path, PL_SHARED_FOLDER "/%s", e->d_name) >= (int)sizeof path)
            continue;
        rc = pl_record_open(&r, path, false);
        if (rc == PLAIT_ECANCELED || rc == PLAIT_EMFILE)
            break;
        if (rc == 0) {
            rc = visit(&r, e->d_name + sizeof prefix - 1, arg);
            pl_record_close(&r);
        } else {
            rc = 0; /* gone, another user's, or none of ours */
        }
    }
    closedir(folder);
    return rc;
}

struct listing {
    plait_shm_info *ret;
    int most, n;
};

static int list_one(struct pl_record *r, const char *name, void *arg)
{
    struct listing *l = arg;
    struct stat st;
    if (l->n++ >= l->most)
        return 0;
    plait_shm_info *info = &l->ret[l->n - 1];
    *info = (plait_shm_info){
        .size = r->head.size,
        .version = r->head.version,
        .data_only = (r->head.flags & PL_SEGMENT_DATA_ONLY) != 0,
        .unlink_with_last = (r->head.flags & PL_SEGMENT_WITH_LAST) != 0,
        .holders = r->n_holding,
        .leftover = pl_record_is_leftover(r),
    };
    if (fstat(r->fd, &st) == 0) {
        info->mode = st.st_mode & 0777;
        info->user = st.st_uid;
    }
    if (*name != '.')
        snprintf(info->name, sizeof info->name, "%s", name);
    return 0;
}

int plait_shm_list(plait_shm_info *ret, int most)
{
    struct listing l = {ret, most, 0};
    if (most < 0 || (most > 0 && !ret))
        return PLAIT_EINVAL;
    int saved = errno;
    int rc = for_each(list_one, &l);
    errno = saved;
    return rc < 0 ? rc : l.n;
}

static int sweep_one(struct pl_record *r, const char *name, void *arg)
{
    (void)name;
    if (pl_record_is_leftover(r) && pl_record_end(r) == 0)
        ++*(int *)arg;
    return 0;
}

int plait_shm_sweep(void)
{
    int n = 0, saved = errno;
    int rc = for_each(sweep_one, &n);
    errno = saved;
    return rc < 0 ? rc : n;
}

int plait_shm_holders(const char *name, plait_shm_holder *ret, int most)
{
    char path[PL_RECORD_PATH];
    struct pl_record r;
    int saved = errno, n = 0;
    int rc = most < 0 || (most > 0 && !ret) ? PLAIT_EINVAL : pl_record_path(name, path);
    if (rc == 0)
        rc = pl_record_open(&r, path, false);
    errno = saved;
    if (rc < 0)
        return rc;
    for (int i = 0; i < PLAIT_SHM_HOLDERS_MOST; i++) {
        const struct pl_segment_holder *h = &r.holders[i];
        if (!r.alive[i] || (!h->owns && !h->borrows))
            continue;
        if (n++ < most)
            ret[n - 1] = (plait_shm_holder){h->pid, (int)h->owns, (int)h->borrows};
    }
    pl_record_close(&r);
    errno = saved;
    return n;
}
