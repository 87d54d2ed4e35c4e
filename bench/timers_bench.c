/* The queue of timers, with so many in it: one is added and another removed, as a timeout that does
 * not expire is; and one expires and is added again. Beside it a linked list that is not in order: what no queue
 * of linked timers can undercut. */
#include "harness.h"

#include "task/timers.h"

#include <stdint.h>

struct link {
    struct link *next, *prev;
    int64_t when;
};

struct crowd {
    long n;
    uint64_t random;
    int64_t now;
    bool alike; /* all timeouts are equally long; else between 0 and that */
    struct pl_timers timers;
    struct pl_timer *timer;
    struct link head, *links;
};

enum { LENGTH = 1 << 30 };

static uint32_t chance(struct crowd *c)
{
    c->random = c->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(c->random >> 33);
}

static int64_t instant(struct crowd *c)
{
    uint32_t x = chance(c);
    return ++c->now + (c->alike ? LENGTH : x % LENGTH);
}

static void renew_timer(struct crowd *c)
{
    struct pl_timer *t = &c->timer[chance(c) % (uint32_t)c->n];
    pl_timers_remove(&c->timers, t);
    pl_timers_add(&c->timers, t, instant(c));
}

static void expire_timer(struct crowd *c)
{
    struct pl_timer *t = pl_timers_expired(&c->timers, INT64_MAX);
    bench_check(t, "no timer");
    pl_timers_add(&c->timers, t, instant(c));
}

static void link_add(struct crowd *c, struct link *l)
{
    l->when = instant(c);
    l->next = &c->head;
    l->prev = c->head.prev;
    l->prev->next = c->head.prev = l;
}

static void renew_link(struct crowd *c)
{
    struct link *l = &c->links[chance(c) % (uint32_t)c->n];
    l->next->prev = l->prev;
    l->prev->next = l->next;
    link_add(c, l);
}

struct subject {
    void (*step)(struct crowd *c);
    bool alike, links;
};

struct run {
    const struct subject *subject;
    struct crowd crowd;
};

static int64_t measure(void *arg, long n)
{
    struct run *run = arg;
    int64_t began = bench_now();
    for (long i = 0; i < n; i++)
        run->subject->step(&run->crowd);
    return bench_now() - began;
}

static double run(const struct bench_subject *self)
{
    static struct run r;
    r = (struct run){.subject = self->what, .crowd = {.n = self->x}};
    struct crowd *c = &r.crowd;
    c->alike = r.subject->alike;
    c->head.next = c->head.prev = &c->head;
    c->timer = bench_private(sizeof *c->timer * (size_t)c->n);
    c->links = bench_private(sizeof *c->links * (size_t)c->n);
    for (long i = 0; i < c->n; i++)
        if (r.subject->links)
            link_add(c, &c->links[i]);
        else
            pl_timers_add(&c->timers, &c->timer[i], instant(c));
    measure(&r, 4 * c->n); /* to be as it is after long use */
    return bench_per_operation(measure, &r);
}

static const struct subject renew = {renew_timer, false, false},
                            renew_alike = {renew_timer, true, false},
                            expire = {expire_timer, false, false},
                            expire_alike = {expire_timer, true, false},
                            list = {renew_link, false, true};

enum { FEW = 1000, MANY = 1000000 };

static const struct bench_subject table[] = {
    BENCH_SUBJECT("timers_renew", "plait", run, &renew, MANY),
    BENCH_SUBJECT("timers_renew", "plait, alike", run, &renew_alike, MANY),
    BENCH_INFO("timers_renew", "a list", run, &list, MANY),
    BENCH_SUBJECT("timers_renew_few", "plait", run, &renew, FEW),
    BENCH_SUBJECT("timers_renew_few", "plait, alike", run, &renew_alike, FEW),
    BENCH_INFO("timers_renew_few", "a list", run, &list, FEW),
    BENCH_SUBJECT("timers_expire", "plait", run, &expire, MANY),
    BENCH_SUBJECT("timers_expire", "plait, alike", run, &expire_alike, MANY),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
