/* From options to a setup: checks, the user database, the cgroup's file. What may fail slowly or needs memory is done here, in
 * the starter, so that the child has system calls to make and nothing else. */
#include "port/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CPUS_MOST = 1 << 16, GROUPS_MOST = 1 << 16 };

static const char *const step_texts[] = {
    [PLAIT_STEP_NONE] = "nothing has failed",
    [PLAIT_STEP_ARGUMENTS] = "checking the arguments",
    [PLAIT_STEP_STREAMS] = "opening a standard stream",
    [PLAIT_STEP_CLONE] = "making the process",
    [PLAIT_STEP_SESSION] = "making a session",
    [PLAIT_STEP_GROUP] = "joining a process group",
    [PLAIT_STEP_TIE] = "tying it to its starter",
    [PLAIT_STEP_CGROUP] = "entering the cgroup",
    [PLAIT_STEP_NICE] = "setting the niceness",
    [PLAIT_STEP_CPUS] = "setting the processors",
    [PLAIT_STEP_DESCRIPTORS] = "handing over descriptors",
    [PLAIT_STEP_CWD] = "changing to the directory",
    [PLAIT_STEP_LIMITS] = "setting limits",
    [PLAIT_STEP_USER] = "changing user and groups",
    [PLAIT_STEP_CALLBACK] = "the callback before the program",
    [PLAIT_STEP_EXEC] = "executing the program",
};

const char *plait_process_step_text(int step)
{
    bool known = step >= 0 && step < (int)(sizeof step_texts / sizeof step_texts[0]);
    return known ? step_texts[step] : "an unknown step";
}

int pl_process_failed(plait_process_failure *failure, int code, int step, int error,
                      const char *path)
{
    *failure = (plait_process_failure){.code = code, .step = step, .error = error};
    if (path)
        snprintf(failure->path, sizeof failure->path, "%s", path);
    return code;
}

/* What failed before there is a child. */
static int refuse(plait_process_failure *failure, int step, int error, const char *path)
{
    return pl_process_failed(failure, -error, step, error, path);
}

static int refuse_arguments(plait_process_failure *failure, const char *about)
{
    return pl_process_failed(failure, PLAIT_EINVAL, PLAIT_STEP_ARGUMENTS, 0, about);
}

/* --- users and groups --- */

/* A whole decimal number that is an id; the largest means "none" to the kernel. */
static bool is_number(const char *text, uint32_t *ret)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    *ret = (uint32_t)n;
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0 && n < UINT32_MAX;
}

struct person {
    uid_t uid;
    gid_t gid;
    bool in_database;
    char name[256];
};

/* 0, or an errno. ENOENT: no such user. */
static int find_user(const char *text, struct person *ret)
{
    struct passwd entry, *found = NULL;
    uint32_t number;
    char *room = NULL;
    int rc = ERANGE;
    bool numeric = is_number(text, &number);
    for (size_t size = 1024; rc == ERANGE && size <= 1 << 20; size *= 4) {
        free(room);
        if (!(room = malloc(size)))
            return ENOMEM;
        rc = numeric ? getpwuid_r(number, &entry, room, size, &found)
                     : getpwnam_r(text, &entry, room, size, &found);
    }
    *ret = (struct person){.uid = numeric ? number : 0};
    if (found) {
        ret->in_database = true;
        ret->uid = found->pw_uid;
        ret->gid = found->pw_gid;
        snprintf(ret->name, sizeof ret->name, "%s", found->pw_name);
    }
    free(room);
    return found || numeric                                       ? 0
           : rc == 0 || rc == ESRCH || rc == EBADF || rc == EPERM ? ENOENT
                                                                  : rc;
}

static int find_group(const char *text, gid_t *ret)
{
    struct group entry, *found = NULL;
    uint32_t number;
    char *room = NULL;
    int rc = ERANGE;
    if (is_number(text, &number)) {
        *ret = number;
        return 0;
    }
    for (size_t size = 4096; rc == ERANGE && size <= 1 << 22; size *= 4) {
        free(room);
        if (!(room = malloc(size)))
            return ENOMEM;
        rc = getgrnam_r(text, &entry, room, size, &found);
    }
    if (found)
        *ret = found->gr_gid;
    free(room);
    return found ? 0 : rc == 0 || rc == ESRCH || rc == EBADF || rc == EPERM ? ENOENT : rc;
}

/* The groups that the database has the user in. */
static int groups_of_user(struct pl_child_setup *setup, const struct person *person)
{
    int n = 64;
    setup->groups = NULL;
    for (;;) {
        gid_t *more = realloc(setup->groups, (size_t)n * sizeof *more);
        if (!more)
            return ENOMEM;
        setup->groups = more;
        int room = n;
        if (getgrouplist(person->name, setup->gid, setup->groups, &n) >= 0)
            break;
        if (n <= room)
            n = room * 2;
        if (n > GROUPS_MOST)
            return EINVAL;
    }
    setup->n_groups = n;
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;
    return x < y ? -1 : x > y;
}

/* Whether the starter has just these groups: a user without privileges may not even set them anew. */
static bool has_them_already(struct pl_child_setup *setup)
{
    int n = getgroups(0, NULL);
    gid_t *own = n >= 0 ? malloc(((size_t)n + 1) * sizeof *own) : NULL;
    if (!own)
        return false;
    n = getgroups(n, own);
    bool same = n == setup->n_groups;
    if (same && n > 0) {
        qsort(own, (size_t)n, sizeof *own, compare_ids);
        qsort(setup->groups, (size_t)n, sizeof *own, compare_ids);
        same = memcmp(own, setup->groups, (size_t)n * sizeof *own) == 0;
    }
    free(own);
    return same;
}

static int given_groups(struct pl_child_setup *setup, const plait_process_options *o,
                        plait_process_failure *failure)
{
    setup->groups = calloc(o->n_groups + 1, sizeof *setup->groups);
    if (!setup->groups)
        return refuse(failure, PLAIT_STEP_USER, ENOMEM, NULL);
    for (size_t i = 0; i < o->n_groups; i++) {
        int error = o->groups[i] ? find_group(o->groups[i], &setup->groups[i]) : EINVAL;
        if (error)
            return refuse(failure, PLAIT_STEP_USER, error, o->groups[i]);
    }
    setup->n_groups = (int)o->n_groups;
    return 0;
}

static int make_user(struct pl_child_setup *setup, const plait_process_options *o,
                     plait_process_failure *failure)
{
    struct person person = {0};
    int error = o->user ? find_user(o->user, &person) : 0;
    if (error)
        return refuse(failure, PLAIT_STEP_USER, error, o->user);
    error = o->group ? find_group(o->group, &setup->gid) : 0;
    if (error)
        return refuse(failure, PLAIT_STEP_USER, error, o->group);
    bool gives_groups = o->n_groups > 0 || o->set_groups;
    /* A stranger's groups are not known: the starter's must not stay by mistake. */
    if (o->user && !person.in_database && (!o->group || !gives_groups))
        return refuse_arguments(failure, o->user);
    setup->set_uid = o->user != NULL;
    setup->uid = person.uid;
    setup->set_gid = o->user || o->group;
    if (o->user && !o->group)
        setup->gid = person.gid;
    setup->set_groups = o->user || gives_groups;
    if (gives_groups) {
        int rc = given_groups(setup, o, failure);
        if (rc < 0)
            return rc;
    } else if (o->user && (error = groups_of_user(setup, &person))) {
        return refuse(failure, PLAIT_STEP_USER, error, o->user);
    }
    if (setup->set_groups && has_them_already(setup))
        setup->set_groups = false;
    return 0;
}

/* --- the rest --- */

static int make_env(struct pl_child_setup *setup, const plait_process_options *o,
                    plait_process_failure *failure)
{
    for (size_t i = 0; o->env && o->env[i]; i++) {
        const char *equals = strchr(o->env[i], '=');
        if (!equals || equals == o->env[i])
            return refuse_arguments(failure, o->env[i]);
    }
    setup->env = (char *const *)(uintptr_t)o->env;
    return 0;
}

static int make_cpus(struct pl_child_setup *setup, const plait_process_options *o,
                     plait_process_failure *failure)
{
    int highest = 0;
    for (size_t i = 0; i < o->n_cpus; i++) {
        if (o->cpus[i] < 0 || o->cpus[i] >= CPUS_MOST)
            return refuse_arguments(failure, "cpus");
        highest = o->cpus[i] > highest ? o->cpus[i] : highest;
    }
    if (o->n_cpus == 0)
        return 0;
    setup->cpus_size = CPU_ALLOC_SIZE(highest + 1);
    setup->cpus = calloc(1, setup->cpus_size);
    if (!setup->cpus)
        return refuse(failure, PLAIT_STEP_CPUS, ENOMEM, NULL);
    for (size_t i = 0; i < o->n_cpus; i++) {
        enum { BITS = 8 * sizeof(unsigned long) };
        setup->cpus[o->cpus[i] / BITS] |= 1UL << (o->cpus[i] % BITS);
    }
    return 0;
}

static int make_limits(struct pl_child_setup *setup, const plait_process_options *o,
                       plait_process_failure *failure)
{
    if (o->n_limits == 0)
        return 0;
    setup->limits = calloc(o->n_limits, sizeof *setup->limits);
    if (!setup->limits)
        return refuse(failure, PLAIT_STEP_LIMITS, ENOMEM, NULL);
    for (size_t i = 0; i < o->n_limits; i++) {
        const plait_limit *limit = &o->limits[i];
        if (limit->which < 0 || limit->which >= RLIM_NLIMITS || limit->soft > limit->hard)
            return refuse_arguments(failure, "limits");
        setup->limits[i] = (struct pl_child_limit){limit->which, limit->soft, limit->hard};
    }
    setup->n_limits = (int)o->n_limits;
    return 0;
}

static int open_cgroup(struct pl_child_setup *setup, const plait_process_options *o,
                       plait_process_failure *failure)
{
    char path[4096];
    if (!o->cgroup)
        return 0;
    if (snprintf(path, sizeof path, "%s/cgroup.procs", o->cgroup) >= (int)sizeof path)
        return refuse(failure, PLAIT_STEP_CGROUP, ENAMETOOLONG, o->cgroup);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(failure, PLAIT_STEP_CGROUP, errno, o->cgroup);
    setup->cgroup = fd;
    setup->has_cgroup = true;
    return 0;
}

static int check(const plait_process_options *o, plait_process_failure *failure)
{
    if (o->new_session && (o->new_group || o->process_group))
        return refuse_arguments(failure, "new_session with a process group");
    if (o->new_group && o->process_group)
        return refuse_arguments(failure, "new_group with process_group");
    if (o->process_group < 0)
        return refuse_arguments(failure, "process_group");
    if (o->take_terminal && !o->new_session)
        return refuse_arguments(failure, "take_terminal without new_session");
    if ((o->n_cpus && !o->cpus) || (o->n_limits && !o->limits) || (o->n_groups && !o->groups))
        return refuse_arguments(failure, "a count without a list");
    if (o->n_groups > GROUPS_MOST || o->n_limits > 1024)
        return refuse_arguments(failure, "too many");
    if ((o->user && !*o->user) || (o->group && !*o->group))
        return refuse_arguments(failure, "an empty name");
    if (o->set_umask && o->umask > 0777)
        return refuse_arguments(failure, "umask");
    if (o->nice < -40 || o->nice > 40)
        return refuse_arguments(failure, "nice");
    return 0;
}

static int fill_in(struct pl_child_setup *setup, const plait_process_options *o,
                   plait_process_failure *failure)
{
    int rc = check(o, failure);
    if (rc == 0)
        rc = make_env(setup, o, failure);
    if (rc == 0)
        rc = make_cpus(setup, o, failure);
    if (rc == 0)
        rc = make_limits(setup, o, failure);
    if (rc == 0 && (o->user || o->group || o->n_groups || o->set_groups))
        rc = make_user(setup, o, failure);
    if (rc == 0)
        rc = open_cgroup(setup, o, failure);
    setup->cwd = o->cwd;
    setup->set_umask = o->set_umask;
    setup->umask = o->umask;
    setup->nice = o->nice;
    setup->new_session = o->new_session;
    setup->take_terminal = o->take_terminal;
    setup->new_group = o->new_group;
    setup->group_to_join = o->process_group;
    setup->keep_signals = o->keep_signals;
    setup->subreaper = o->subreaper;
    return rc;
}

int pl_child_setup_make(struct pl_child_setup *ret, const plait_process_options *options,
                        plait_process_failure *failure)
{
    int saved = errno, rc = 0;
    *ret = (struct pl_child_setup){.highest = 2};
    *failure = (plait_process_failure){0};
    if (options)
        rc = fill_in(ret, options, failure);
    if (rc < 0)
        pl_child_setup_free(ret);
    errno = saved;
    return rc;
}

void pl_child_setup_free(struct pl_child_setup *setup)
{
    if (setup->has_cgroup)
        close(setup->cgroup);
    if (setup->has_tie)
        close(setup->tie);
    free(setup->cpus);
    free(setup->limits);
    free(setup->groups);
    free(setup->moves);
    free(setup->tos);
    *setup = (struct pl_child_setup){.highest = 2};
}

/* --- descriptors --- */

int pl_child_setup_move(struct pl_child_setup *setup, int from, int to)
{
    if (from < 0 || to < 0)
        return PLAIT_EINVAL;
    for (int i = 0; i < setup->n_moves; i++)
        if (setup->moves[i].to == to)
            return PLAIT_EINVAL;
    if (setup->n_moves == setup->room) {
        int room = setup->room ? setup->room * 2 : 8;
        struct pl_move *moves = realloc(setup->moves, (size_t)room * sizeof *moves);
        if (!moves)
            return PLAIT_ENOMEM;
        setup->moves = moves;
        setup->room = room;
    }
    setup->moves[setup->n_moves++] = (struct pl_move){from, to};
    if (from > setup->highest)
        setup->highest = from;
    if (to > setup->highest)
        setup->highest = to;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return x < y ? -1 : x > y;
}

int pl_child_setup_seal(struct pl_child_setup *setup, const struct pl_lifeline *lifeline)
{
    setup->tos = malloc(((size_t)setup->n_moves + 1) * sizeof *setup->tos);
    if (!setup->tos)
        return PLAIT_ENOMEM;
    for (int i = 0; i < setup->n_moves; i++)
        setup->tos[i] = setup->moves[i].to;
    if (setup->n_moves > 1)
        qsort(setup->tos, (size_t)setup->n_moves, sizeof *setup->tos, compare_numbers);
    setup->lifeline = lifeline;
    if (lifeline) {
        snprintf(setup->lifeline_path, sizeof setup->lifeline_path, "/proc/self/fd/%d",
                 lifeline->read_end);
        setup->tie = pl_lifeline_open(lifeline->read_end);
        setup->has_tie = setup->tie >= 0;
    }
    return 0;
}
