/* Other programs: run and read, stopped when they take too long, chained; and exec, which makes this process another one.
 *
 * Try:  19_programs thread
 *       19_programs process
 *       19_programs task
 *
 * Whatever happens, no program is left behind: not after a timeout, nor if this one is killed by kill -9 while
 * they run. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SH(script) PLAIT_ARGV("/bin/sh", "-c", script)

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    exit(1);
}

static void run_and_read(void)
{
    plait_run_result r;
    plait_run_options how = {.capture = true, .input = "four words go in", .input_size = 16};
    check("wc", plait_run_program(SH("wc -w; echo done >&2; exit 3"), &how, &r, plait_seconds(10)));
    printf("counted %d words, said \"%.*s\", ended with %d\n", atoi(r.out),
           (int)strcspn(r.err, "\n"), r.err, r.end.status);
    plait_run_free(&r);
}

/* With a child of its own that would go on for long: both are gone after. */
static void run_for_too_long(void)
{
    plait_run_result r;
    plait_run_options how = {.capture = true};
    int rc = plait_run_program(SH("echo begun; sleep 1000 & sleep 1000"), &how, &r, plait_ms(500));
    printf("%s; it said \"%.*s\" and was ended by signal %d\n", plait_strerror(rc),
           (int)strcspn(r.out, "\n"), r.out, r.end.signal);
    plait_run_free(&r);
}

static void run_in_a_chain(void)
{
    plait_run_result r;
    plait_program_end ends[3];
    plait_run_options how = {.capture = true, .input = "b\na\nb\n", .input_size = 6};
    const char *const *const chain[] = {PLAIT_ARGV("sort"), PLAIT_ARGV("uniq"),
                                        SH("tr '\\n' ' '; exit 2")};
    check("chain", plait_run_pipeline(chain, 3, &how, &r, ends, plait_seconds(10)));
    printf("sort | uniq | tr: \"%s\", ended with %d, %d, %d\n", r.out, ends[0].status,
           ends[1].status, ends[2].status);
    plait_run_free(&r);
}

static void run_what_is_not_there(void)
{
    plait_run_result r;
    int rc = plait_run_program(PLAIT_ARGV("/no/such/program"), NULL, &r, plait_seconds(10));
    printf("%s: %s: %s\n", plait_process_step_text(r.failure.step), r.failure.path,
           plait_strerror(rc));
    plait_run_free(&r);
}

/* A talk of questions and answers, by the program's streams. */
static void talk(void)
{
    plait_program *cat;
    char answer[20];
    plait_program_options pipes = {.in = {.kind = PLAIT_PIPE}, .out = {.kind = PLAIT_PIPE}};
    check("cat", plait_program_start(&cat, PLAIT_ARGV("cat"), &pipes));
    for (int i = 0; i < 3; i++) {
        check("ask", plait_write(plait_program_in(cat), "hello\n", 6, NULL, plait_seconds(10)));
        check("hear", plait_read_line(plait_program_out(cat), answer, sizeof answer, NULL,
                                      plait_seconds(10)));
        printf("heard %s", answer);
    }
    plait_program_close(cat); /* which still runs: it is killed */
}

static int work(void *unused)
{
    (void)unused;
    run_and_read();
    run_for_too_long();
    run_in_a_chain();
    run_what_is_not_there();
    talk();
    return 0;
}

int main(int argc, char **argv)
{
    plait_worker w;
    plait_blame end;
    check("init", plait_init(&argc, &argv));
    int kind = argc > 1 && strcmp(argv[1], "process") == 0 ? PLAIT_PROCESS
               : argc > 1 && strcmp(argv[1], "task") == 0  ? PLAIT_TASK
                                                           : PLAIT_THREAD;
    check("start", plait_start(&w, kind, work, NULL, NULL));
    check("join", plait_join(w, &end, PLAIT_FOREVER));
    if (end.status != 0)
        return 1;
    printf("and now as "); /* it lies in a buffer, which the exec writes out */
    check("exec", plait_execvp("echo", PLAIT_ARGV("echo", "another program")));
}
