#include "task/proxy.h"
int pl_proxy_fd(const struct pl_proxies *p)
{
    (void)p;
    return -1;
}
struct pl_proxied *pl_proxy_arm(struct pl_proxies *p, uint32_t *word, uint32_t seen, void *sleeper)
{
    (void)p;
    (void)word;
    (void)seen;
    (void)sleeper;
    return NULL;
}
void pl_proxy_disarm(struct pl_proxies *p, struct pl_proxied *x)
{
    (void)p;
    (void)x;
}
void pl_proxy_submit(struct pl_proxies *p)
{
    (void)p;
}
void pl_proxy_collect(struct pl_proxies *p, void (*told)(void *))
{
    (void)p;
    (void)told;
}
void pl_proxies_end(struct pl_proxies *p)
{
    (void)p;
}
void pl_proxies_forget(struct pl_proxies *p)
{
    (void)p;
}
