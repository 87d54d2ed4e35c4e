/* Shared words watched for tasks (stand-in: nothing is watched, tasks nap). */
#ifndef PL_TASK_PROXY_H
#define PL_TASK_PROXY_H

#include <stdint.h>
#include <stddef.h>

struct pl_proxies {
    int fd;
};
struct pl_proxied;

int pl_proxy_fd(const struct pl_proxies *proxies);
struct pl_proxied *pl_proxy_arm(struct pl_proxies *proxies, uint32_t *word, uint32_t seen,
                                void *sleeper);
void pl_proxy_disarm(struct pl_proxies *proxies, struct pl_proxied *proxied);
void pl_proxy_submit(struct pl_proxies *proxies);
void pl_proxy_collect(struct pl_proxies *proxies, void (*told)(void *sleeper));
void pl_proxies_end(struct pl_proxies *proxies);
void pl_proxies_forget(struct pl_proxies *proxies);

#endif
