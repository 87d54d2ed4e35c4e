/* A group: workers that start together end together, whatever happens; and a time limit for all of it.
 *
 * Try:  26_group thread
 *       26_group process
 *       26_group task
 *
 * Three shops are asked for their price at once. The block ends when all have answered; when one fails, the
 * others are told to stop, and so is the block; when it takes too long, too. Nobody is left behind, and nothing has
 * to be cleaned up by hand. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shop {
    int64_t delay; /* until it answers; PLAIT_FOREVER: never */
    int answer;    /* a price, or a failure */
    int price, stopped;
};

static int ask(void *arg)
{
    struct shop *shop = arg;
    int rc = plait_sleep(shop->delay);
    shop->stopped = rc == PLAIT_ECANCELED;
    if (rc < 0)
        return rc;
    shop->price = shop->answer;
    return shop->answer < 0 ? shop->answer : 0;
}

static void tell(const struct shop *shops)
{
    for (int i = 0; i < 3; i++)
        if (shops[i].stopped)
            printf("  shop %d: stopped\n", i + 1);
        else if (shops[i].price < 0)
            printf("  shop %d: failed\n", i + 1);
        else
            printf("  shop %d: %d\n", i + 1, shops[i].price);
}

static void ask_all(int kind, const char *what, const struct shop *plan)
{
    struct shop *shops = plait_alloc(3 * sizeof *shops);
    plait_group group = {0};
    if (!shops)
        exit(1);
    memcpy(shops, plan, 3 * sizeof *shops);
    printf("%s\n", what);
    PLAIT_TIMEOUT(plait_ms(500)) {
        PLAIT_GROUP(&group) {
            for (int i = 0; i < 3; i++)
                plait_group_start(&group, NULL, kind, ask, &shops[i], NULL);
        } else {
            printf("  the group: %s\n", plait_errname(plait_group_error(&group)));
        }
    } else {
        printf("  it took too long\n");
    }
    tell(shops);
    plait_free(shops);
}

static int kind = PLAIT_THREAD;

static int shop_around(void *unused)
{
    (void)unused;
    struct shop all_answer[3] = {{plait_ms(5), 30, 0, 0}, {plait_ms(1), 20, 0, 0}, {0, 25, 0, 0}};
    struct shop one_fails[3] = {
        {PLAIT_FOREVER, 30, 0, 0}, {plait_ms(20), PLAIT_EBUSY, 0, 0}, {PLAIT_FOREVER, 25, 0, 0}};
    struct shop one_sleeps[3] = {{plait_ms(1), 30, 0, 0}, {PLAIT_FOREVER, 20, 0, 0}, {0, 25, 0, 0}};
    ask_all(kind, "all answer", all_answer);
    ask_all(kind, "one fails", one_fails);
    ask_all(kind, "one never answers", one_sleeps);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "process") == 0)
        kind = PLAIT_PROCESS;
    if (argc > 1 && strcmp(argv[1], "task") == 0)
        kind = PLAIT_TASK;
    plait_init(&argc, &argv);
    return plait_run(shop_around, NULL);
}
