#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORKERS = 4096, MOST_RETRIES = 1000, MOST_TOP = 1000000 };

enum { KILL_ONE = 256, JSON, RETRIES }; /* options without a letter */

static const struct option table[] = {
    {"workers", required_argument, NULL, 'w'}, {"kind", required_argument, NULL, 'k'},
    {"top", required_argument, NULL, 't'},     {"retries", required_argument, NULL, RETRIES},
    {"kill-one", no_argument, NULL, KILL_ONE}, {"json", no_argument, NULL, JSON},
    {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
};

static const char help[] =
    "usage: wordcount [OPTION...] FILE-OR-FOLDER...\n"
    "Counts the words of files, and of all files in folders; .gz files are unpacked.\n"
    "\n"
    "  -w, --workers N   how many work at once (default: one per processor)\n"
    "  -k, --kind KIND   what they are: thread or process (default: process)\n"
    "  -t, --top N       print the N most frequent words (default: 10)\n"
    "      --retries N   count a file N times more if workers die of it (default: 2)\n"
    "      --kill-one    kill a worker process when half of the work is done\n"
    "      --json        print the result for programs\n"
    "  -h, --help        print this\n"
    "\n"
    "Files that cannot be read are listed at the end. The exit status is 0 if all others were\n"
    "counted, 1 if not, 2 if the options make no sense.\n";

static int complain(const char *what, const char *about)
{
    fprintf(stderr, "wordcount: %s%s\nTry 'wordcount --help'.\n", what, about);
    return EXIT_USAGE;
}

static int parse_number(int *ret, const char *option, const char *text, int least, int most)
{
    char *end, message[80];
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end != text && *end == '\0' && errno == 0 && value >= least && value <= most) {
        *ret = (int)value;
        return OPTIONS_GO_ON;
    }
    snprintf(message, sizeof message, "--%s takes a number from %d to %d, not ", option, least,
             most);
    return complain(message, text);
}

static int parse_kind(int *ret, const char *text)
{
    if (strcmp(text, "thread") == 0)
        *ret = PLAIT_THREAD;
    else if (strcmp(text, "process") == 0)
        *ret = PLAIT_PROCESS;
    else
        return complain("--kind takes thread or process, not ", text);
    return OPTIONS_GO_ON;
}

static int parse_one(struct options *o, int option, const char *value)
{
    switch (option) {
    case 'w':
        return parse_number(&o->workers, "workers", value, 1, MOST_WORKERS);
    case 'k':
        return parse_kind(&o->kind, value);
    case 't':
        return parse_number(&o->top, "top", value, 0, MOST_TOP);
    case RETRIES:
        return parse_number(&o->retries, "retries", value, 0, MOST_RETRIES);
    case KILL_ONE:
        o->kill_one = true;
        return OPTIONS_GO_ON;
    case JSON:
        o->json = true;
        return OPTIONS_GO_ON;
    case 'h':
        fputs(help, stdout);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    default: /* getopt_long has said what is wrong */
        fputs("Try 'wordcount --help'.\n", stderr);
        return EXIT_USAGE;
    }
}

int options_parse(struct options *ret, int argc, char **argv)
{
    struct options o = {
        .kind = PLAIT_PROCESS, .workers = plait_cpu_count(), .top = 10, .retries = 2};
    int option;
    while ((option = getopt_long(argc, argv, "w:k:t:h", table, NULL)) != -1) {
        int status = parse_one(&o, option, optarg);
        if (status != OPTIONS_GO_ON)
            return status;
    }
    if (optind == argc)
        return complain("which files or folders?", "");
    if (o.kill_one && o.kind != PLAIT_PROCESS)
        return complain("--kill-one needs --kind process: nobody can kill a thread alone", "");
    o.names = argv + optind;
    o.n_names = (size_t)(argc - optind);
    *ret = o;
    return OPTIONS_GO_ON;
}
