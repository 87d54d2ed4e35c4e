/* Ctrl-C on a tree of workers: one asks all to stop, and they tidy up; signals are handled in the main thread.
 *
 * Try:  23_ctrl_c          (presses the keys itself)
 *       23_ctrl_c wait     and press Ctrl-C; then echo $? says 130, as after any program that died of it
 *       23_ctrl_c wait     and kill -HUP it from elsewhere
 *
 * The main thread waits in a group of three processes, each of which waits in a group of two threads. The request to
 * stop that Ctrl-C makes ends the main thread's wait; from there the groups hand it down. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct office {
    plait_event letter, handled; /* nobody writes a letter */
    int working, tidied;
};

static struct office *office;

static int clerk(void *unused)
{
    (void)unused;
    __atomic_add_fetch(&office->working, 1, __ATOMIC_RELAXED);
    int rc = plait_event_wait(&office->letter, PLAIT_FOREVER); /* PLAIT_ECANCELED */
    __atomic_add_fetch(&office->tidied, 1, __ATOMIC_RELAXED);
    return rc;
}

static int department(void *unused)
{
    (void)unused;
    int rc;
    plait_group clerks = {0};
    plait_group_enter(&clerks);
    for (int i = 0; i < 2; i++)
        plait_group_start(&clerks, NULL, PLAIT_THREAD, clerk, NULL, NULL);
    rc = plait_group_leave(&clerks);
    __atomic_add_fetch(&office->tidied, 1, __ATOMIC_RELAXED);
    return rc;
}

/* Not in the middle of anything: it may print, lock and wait. */
static void read_the_rules_again(const plait_signal_info *info, void *unused)
{
    (void)unused;
    printf("signal %d is handled by %s\n", info->signum,
           gettid() == getpid() ? "the main thread" : "another thread");
    plait_event_set(&office->handled);
}

static int work(void)
{
    int rc;
    plait_init(NULL, NULL);
    office = plait_alloc(sizeof *office);
    plait_signal(SIGHUP, read_the_rules_again, NULL, NULL);

    plait_group departments = {0};
    plait_options fork = {.start_method = PLAIT_FORK};
    plait_group_enter(&departments);
    for (int i = 0; i < 3; i++)
        plait_group_start(&departments, NULL, PLAIT_PROCESS, department, NULL, &fork);
    while (__atomic_load_n(&office->working, __ATOMIC_RELAXED) < 6)
        plait_sleep(plait_ms(1));
    raise(SIGHUP);
    plait_event_wait(&office->handled, PLAIT_FOREVER);
    printf("at work: press Ctrl-C\n");
    fflush(stdout);

    rc = plait_group_leave(&departments); /* waits here */
    printf("the wait ended with %s\n", plait_errname(rc));
    printf("of 3 processes and 6 threads %d have tidied up\n", office->tidied);
    return rc < 0; /* not 0, so the program is seen to die of SIGINT */
}

/* Plays shell and terminal: starts the work as a job of its own, and sends all of it SIGINT. */
static int press_keys(void)
{
    int lines[2], status;
    char text[1000] = "";
    size_t n = 0;
    bool pressed = false;
    if (pipe(lines) < 0)
        return 1;
    pid_t job = fork();
    if (job == 0) {
        setpgid(0, 0);
        signal(SIGINT, SIG_DFL); /* it is ignored in what a script runs with &, and then stays so */
        dup2(lines[1], 1);
        close(lines[0]);
        close(lines[1]);
        exit(work());
    }
    close(lines[1]);
    for (ssize_t got; (got = read(lines[0], text + n, sizeof text - 1 - n)) > 0;) {
        text[n += (size_t)got] = 0;
        if (!pressed && strstr(text, "Ctrl-C"))
            pressed = kill(-job, SIGINT) == 0;
    }
    waitpid(job, &status, 0);
    printf("%sthe shell sees: %s\n", text,
           WIFSIGNALED(status) ? sigdescr_np(WTERMSIG(status)) : "an exit status");
    return 0;
}

int main(int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "wait") == 0 ? work() : press_keys();
}
