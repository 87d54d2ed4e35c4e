/* A semaphore guards a scarce resource: three connections to a database for ten workers.
 *
 * Try:  13_semaphore_connections thread
 *       13_semaphore_connections process
 *
 * Each worker opens a connection while it holds a permit, as a process cannot use another's. It is a
 * bounded semaphore: a connection given back that nobody took is refused. */
#include <plait/plait.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONNECTIONS = 3, WORKERS = 10 };

struct service {
    plait_semaphore connections;
    char path[64];   /* of the database */
    plait_lock lock; /* guards what follows */
    int in_use, most;
};

/* Runs one statement; its first number is the result. Negative: it failed. */
static int query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return -1;
    int rc = sqlite3_step(statement);
    int result = rc == SQLITE_ROW ? sqlite3_column_int(statement, 0) : rc == SQLITE_DONE ? 0 : -1;
    sqlite3_finalize(statement);
    return result;
}

/* Opens the database, runs one statement, closes it. */
static int visit(const struct service *s, const char *sql)
{
    sqlite3 *db;
    int result = -1;
    if (sqlite3_open(s->path, &db) == SQLITE_OK) {
        sqlite3_busy_timeout(db, 20000); /* writers take turns */
        result = query(db, sql);
    }
    sqlite3_close(db);
    return result;
}

static void count_use(struct service *s, int change)
{
    PLAIT_WITH(&s->lock) {
        s->in_use += change;
        s->most = s->in_use > s->most ? s->in_use : s->most;
    }
}

static int serve(void *arg)
{
    struct service *s = arg;
    int result = -1;
    PLAIT_WITH(&s->connections) {
        count_use(s, 1);
        result = visit(s, "INSERT INTO visits DEFAULT VALUES");
        usleep(5000); /* so that all three are wanted at once */
        count_use(s, -1);
    }
    return result;
}

static void check(const char *what, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1); /* exit would wait for the workers */
}

static void make_database(struct service *s)
{
    snprintf(s->path, sizeof s->path, "/tmp/plait-visits-XXXXXX");
    int file = mkstemp(s->path);
    if (file < 0 || visit(s, "CREATE TABLE visits (id INTEGER PRIMARY KEY)") != 0) {
        fprintf(stderr, "no database\n");
        _Exit(1);
    }
    close(file);
}

int main(int argc, char **argv)
{
    int kind = argc > 1 && strcmp(argv[1], "process") == 0 ? PLAIT_PROCESS : PLAIT_THREAD;
    plait_worker worker[WORKERS];
    int failed = 0;

    check("plait_init", plait_init(&argc, &argv));
    struct service *s = plait_alloc(sizeof *s);
    check("plait_alloc", s ? 0 : plait_last_error());
    check("plait_semaphore_init", plait_semaphore_init(&s->connections, CONNECTIONS, CONNECTIONS));
    make_database(s);

    for (int i = 0; i < WORKERS; i++)
        check("plait_start", plait_start(&worker[i], kind, serve, s, NULL));
    for (int i = 0; i < WORKERS; i++) {
        plait_blame end;
        check("plait_join", plait_join(worker[i], &end, PLAIT_FOREVER));
        failed += end.status != 0;
    }

    printf("%d workers, %d failed, %d rows, %s than %d connections in use\n", WORKERS, failed,
           visit(s, "SELECT count(*) FROM visits"), s->most > CONNECTIONS ? "more" : "never more",
           CONNECTIONS);
    int rc = plait_semaphore_release(&s->connections, 1);
    printf("a connection too many given back: %s, still %d\n", plait_errname(rc),
           plait_semaphore_value(&s->connections));
    unlink(s->path);
    return 0;
}
