/* Programs in a session of their own; see program.h. */
#include "program.h"

#include "base/atomic.h"
#include "registry/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- looking at processes --- */

/* State letter and session of a process, from /proc. False: there is none. */
static bool look_at(pid_t pid, char *ret_state, int *ret_session)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    char *rest = strrchr(text, ')');
    return rest && sscanf(rest, ") %c %*d %*d %d", ret_state, ret_session) == 2;
}

bool has_ended(pid_t pid)
{
    char state;
    int session;
    return !look_at(pid, &state, &session) || state == 'Z' || state == 'X';
}

/* Sends `signal` (0: none) to the processes of a session that run; how many there are. */
static int signal_session(pid_t session, int signal)
{
    int n = 0, of, pid;
    char state;
    DIR *folder = opendir("/proc");
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if ((pid = atoi(entry->d_name)) <= 0 || !look_at(pid, &state, &of) || of != session ||
            state == 'Z' || state == 'X')
            continue;
        n++;
        if (signal)
            kill(pid, signal);
    }
    closedir(folder);
    return n;
}

void wait_for_zombie(pid_t pid)
{
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

int living_in_session(pid_t session)
{
    return signal_session(session, 0);
}

/* --- running --- */

/* cmocka catches crashes to report them as failures; in a program they are to be crashes. */
static int begin(void *fn)
{
    const int caught[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++)
        signal(caught[i], SIG_DFL);
    setsid();
    exit(((plait_function *)(uintptr_t)fn)(NULL));
}

/* The status of a program, as t_reap; one that does not end is killed: 1009. */
static int end_of(pid_t pid)
{
    int status;
    int64_t until = plait_now() + plait_seconds(T_PATIENCE_S + 10);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        t_sleep(plait_ms(1));
        if (plait_now() > until)
            signal_session(pid, SIGKILL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Collects orphans and waits for a second at most until the session is empty; how many are left. */
static int left_of(pid_t session)
{
    int left;
    int64_t until = plait_now() + plait_seconds(t_is_sanitized() ? 5 : 1);
    do {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        left = living_in_session(session);
        if (left)
            t_sleep(plait_ms(1));
    } while (left && plait_now() < until);
    return left;
}

static void clear_away(pid_t session)
{
    while (signal_session(session, SIGKILL) > 0)
        t_sleep(plait_ms(1));
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

void program_run(void **state)
{
    adopt_orphans();
    pid_t pid = t_fork(begin, *state);
    int status = end_of(pid);
    int left = left_of(pid);
    clear_away(pid);
    if (status == PROGRAM_SKIPPED)
        skip();
    if (status != 0 || left != 0)
        fail_msg("the program ended with status %d and left %d processes", status, left);
}

/* --- what tests ask for --- */

void *board_new(size_t size)
{
    void *board = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(board != MAP_FAILED);
    return board;
}

void adopt_orphans(void)
{
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
}

int entries_in_use(void)
{
    CHECK_RC(plait_init(NULL, NULL), 0);
    int n = 0;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        enum pl_life life = pl_life_of(pl_load_acquire(&pl_slot_at(i)->life));
        n += life != PL_FREE && life != PL_JOINED;
    }
    return n;
}

int fill_descriptors(int most)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)most;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int first = dup(2), last = first;
    while (last >= 0)
        last = dup(2);
    CHECK_EQ(errno, EMFILE);
    return first;
}

void become_nobody_else(void)
{
    unsigned id = 1000000u + (unsigned)getpid();
    CHECK_EQ(setgid(id), 0);
    CHECK_EQ(setuid(id), 0);
}
