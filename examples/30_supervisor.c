/* A supervisor: parts of a program that are started in order, and again when they crash.
 *
 * Try:  30_supervisor thread
 *       30_supervisor process
 *       30_supervisor task
 *
 * The argument is the kind of worker that the supervisor runs in. It has two children: a process that keeps a
 * number, ready once it has opened its book, and a thread that uses it. The process is killed (kill -9). The strategy is rest-for-one, so the user, who
 * comes after it, is stopped, and both are started again. When the process crashes each time, the supervisor gives up, and says so. */
#include <plait/plait.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct office {
    plait_supervisor supervisor;
    plait_semaphore used;
    long book;
    bool crash; /* the keeper is to crash at its work */
    plait_event work;
};

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

static int keeper(void *arg)
{
    struct office *office = arg;
    plait_supervisor_ready(); /* only now the user is started */
    for (;;) {
        int rc = plait_event_wait(&office->work, PLAIT_FOREVER);
        if (rc < 0)
            return rc;
        if (office->crash)
            raise(SIGKILL);
        office->book++;
        plait_event_clear(&office->work);
    }
}

static int user(void *arg)
{
    struct office *office = arg;
    plait_semaphore_release(&office->used, 1); /* here I am */
    return plait_sleep(PLAIT_FOREVER);
}

static void tell(const plait_supervisor_report *r, void *unused)
{
    (void)unused;
    switch (r->event) {
    case PLAIT_REPORT_START:
        printf("  %s: started\n", r->child);
        break;
    case PLAIT_REPORT_READY:
        printf("  %s: ready\n", r->child);
        break;
    case PLAIT_REPORT_END:
        printf("  %s: %s%s\n", r->child, r->asked ? "stopped" : "ended",
               r->blame.signal == SIGKILL ? " by SIGKILL" : "");
        break;
    case PLAIT_REPORT_RESTART:
        printf("  %s: to be restarted, %d of 2\n", r->child, r->restarts);
        break;
    case PLAIT_REPORT_GIVE_UP:
        printf("  too many restarts\n");
        break;
    default:
        break;
    }
    fflush(stdout);
}

static void set_up(struct office *office)
{
    plait_supervisor_options options = {.strategy = PLAIT_REST_FOR_ONE,
                                        .intensity = 2,
                                        .period = plait_seconds(60),
                                        .listener = tell};
    plait_child children[] = {
        {.name = "keeper", .kind = PLAIT_PROCESS, .function = keeper, .ready = true},
        {.name = "user", .kind = PLAIT_THREAD, .function = user},
    };
    check("plait_supervisor_init", plait_supervisor_init(&office->supervisor, &options));
    for (int i = 0; i < 2; i++) {
        children[i].argument = office;
        check("plait_supervisor_add",
              plait_supervisor_add(&office->supervisor, &children[i], NULL, PLAIT_FOREVER));
    }
}

/* Until the user is there again. */
static void await_user(struct office *office)
{
    check("plait_semaphore_acquire", plait_semaphore_acquire(&office->used, PLAIT_FOREVER));
}

static int kind = PLAIT_THREAD;

static int visit(void *arg)
{
    struct office *office = arg;
    plait_worker worker;
    plait_blame end;
    check("plait_supervisor_start",
          plait_supervisor_start(&worker, &office->supervisor, kind, NULL));
    await_user(office);
    office->crash = true;
    check("plait_event_set", plait_event_set(&office->work));
    await_user(office);
    await_user(office);
    check("plait_join", plait_join(worker, &end, PLAIT_FOREVER));
    printf("the supervisor: %s\n", plait_errname(end.status));
    return 0;
}

int main(int argc, char **argv)
{
    check("plait_init", plait_init(&argc, &argv));
    struct office *office = plait_alloc(sizeof *office);
    check("plait_alloc", office ? 0 : plait_last_error());
    set_up(office);
    if (argc > 1 && strcmp(argv[1], "process") == 0)
        kind = PLAIT_PROCESS;
    if (argc > 1 && strcmp(argv[1], "task") == 0)
        kind = PLAIT_TASK;
    return plait_run(visit, office);
}
