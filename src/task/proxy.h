/* Proxies: they wait on words of shared memory for the tasks of a loop.
 *
 * A thread that waits on a shared word sleeps in the kernel's queue of that word. A loop cannot: it sleeps in
 * epoll, for all its tasks at once. So something else stands in the queue in the task's place and writes to a
 * descriptor: io_uring, or where that is not to be had helper threads (ear.h).
 *
 * All calls by the loop's thread only, none blocks (pl_proxies_end may, briefly). */
#ifndef PL_TASK_PROXY_H
#define PL_TASK_PROXY_H

#include "port/uring.h"
#include "task/ear.h"

struct pl_proxied; /* one watched word */

struct pl_proxy_queue {
    struct pl_proxied *first, *last;
};

/* Those of one loop. Zeroed: nothing is watched yet. */
struct pl_proxies {
    bool begun;                 /* there is a bell */
    int bell;                   /* eventfd */
    bool has_ring, ring_is_bad; /* bad: what is in it stays, nothing new goes in */
    struct pl_uring ring;
    bool ears_have_news;
    struct pl_heard_box box;
    struct pl_proxied *known;           /* all that are not freed */
    struct pl_proxy_queue fresh, ready; /* to be submitted; to be told */
    int in_kernel;                      /* waits that the ring has not given a result for */
};

/* The descriptor that epoll is to watch, edge-triggered (EPOLLIN | EPOLLET; nobody reads it, so it stays readable): each
 * time there may be something for pl_proxy_collect it is written to. -1: nothing was ever watched. The same
 * until pl_proxies_end or _forget. */
int pl_proxy_fd(const struct pl_proxies *proxies);

/* Watches from the next pl_proxy_submit on, until told or disarmed. `sleeper` is told if *word != seen, or if a
 * wake-up (of shared kind) of the word has reached the watch; or for no reason. NULL: not possible now. */
struct pl_proxied *pl_proxy_arm(struct pl_proxies *proxies, uint32_t *word, uint32_t seen,
                                void *sleeper);

/* To be called after watches were armed and before the loop sleeps. No system call if there is no need. */
void pl_proxy_submit(struct pl_proxies *proxies);

/* Calls told(sleeper) for each watch that has something, once for each. The function may arm and
 * disarm. No system call if there is nothing. */
void pl_proxy_collect(struct pl_proxies *proxies, void (*told)(void *sleeper));

/* Ends a watch, told or not, and frees it. A wake-up that it has swallowed untold, or swallows while it is being
 * withdrawn, wakes another sleeper of the word instead; one that was told is the sleeper's to use or pass on. */
void pl_proxy_disarm(struct pl_proxies *proxies, struct pl_proxied *proxied);

/* Closes and frees all; every watch is disarmed. Waits for wake-ups that are just arriving. The kernel
 * takes leave of a closed ring later, by interrupting the thread once: a call of it that signals end
 * without restart may then return EINTR. */
void pl_proxies_end(struct pl_proxies *proxies);

/* In a forked child, instead of any other call: frees the copies, watches included, and touches nothing that
 * the parent uses. */
void pl_proxies_forget(struct pl_proxies *proxies);

#endif
