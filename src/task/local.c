/* Task-local variables: each worker has a context, which has a map; maps are shared until someone changes one.
 *
 * Naive: the starter's values are copied at each start; a million tasks copy a million times what hardly anyone changes.
 * Cure: a map that more than one context uses is never changed: who sets copies it first. A context is its worker's alone;
 * its number tells a token whose it is. Facts:
 *   1 `users` counts the contexts that have the map; only a worker whose context is the single one writes into it;
 *   2 who sees 1 there is that one, and it stays so: others come only by this worker's own starts;
 *   3 a forked child has copies of all of it; the counts may be too high there, which costs a copy. Its context is another than its
 *     parent's, though the number is the same: the count of forks tells. */
#include <plait/local.h>

#include "base/atomic.h"
#include "base/self.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const plait_local *local;
    void *value;
};

struct map {
    uint32_t users; /* atomic */
    int n, room;    /* written while users is 1 */
    struct entry entries[];
};

struct pl_locals {
    uint64_t context; /* never 0 */
    struct map *map;  /* NULL: empty */
};

static uint64_t contexts; /* numbers given out; atomic */

static uint32_t forks_now(void)
{
    return __atomic_load_n(&pl_forks, __ATOMIC_RELAXED);
}

static const struct entry *find(const plait_local *local)
{
    const struct map *map = pl_self.locals ? pl_self.locals->map : NULL;
    for (int i = 0; map && i < map->n; i++)
        if (map->entries[i].local == local)
            return &map->entries[i];
    return NULL;
}

static void let_go(struct map *map)
{
    /* Whoever frees it, or finds itself alone and changes it, comes after all that others have read in it. */
    if (map && pl_fetch_add_acq_rel(&map->users, UINT32_MAX) == 1)
        free(map);
}

/* A context with the given map, which it keeps. NULL: no memory. */
static struct pl_locals *new_context(struct map *map)
{
    struct pl_locals *locals = malloc(sizeof *locals);
    if (locals) {
        locals->context = pl_fetch_add_relaxed(&contexts, UINT64_C(1)) + 1;
        locals->map = map;
    }
    return locals;
}

int pl_locals_share(struct pl_locals **ret)
{
    const struct pl_locals *own = pl_self.locals;
    *ret = NULL;
    if (!own || !own->map)
        return 0;
    *ret = new_context(own->map);
    if (!*ret)
        return PLAIT_ENOMEM;
    pl_fetch_add_relaxed(&own->map->users, 1u);
    return 0;
}

void pl_locals_free(struct pl_locals *locals)
{
    if (!locals)
        return;
    let_go(locals->map);
    free(locals);
}

void pl_locals_drop(void)
{
    struct pl_locals *locals = pl_self.locals;
    pl_self.locals = NULL;
    pl_locals_free(locals);
}

/* --- changing --- */

/* A map of this worker's alone, with room for one more entry. False: no memory. */
static bool own_map(struct pl_locals *locals)
{
    enum { ROOM = 4 };
    struct map *was = locals->map;
    int n = was ? was->n : 0;
    if (was && pl_load_acquire(&was->users) == 1 && n < was->room)
        return true;
    int room = n < ROOM ? ROOM : 2 * n;
    struct map *map = malloc(sizeof *map + (size_t)room * sizeof map->entries[0]);
    if (!map)
        return false;
    *map = (struct map){.users = 1, .n = n, .room = room};
    if (n)
        memcpy(map->entries, was->entries, (size_t)n * sizeof map->entries[0]);
    locals->map = map;
    let_go(was);
    return true;
}

/* A context of this worker's. Its thread must be known, so that its end is noticed. */
static int need_context(void)
{
    if (pl_self.locals)
        return 0;
    int rc = pl_thread_known();
    if (rc < 0)
        return rc;
    pl_self.locals = new_context(NULL);
    return pl_self.locals ? 0 : PLAIT_ENOMEM;
}

static void put(const plait_local *local, void *value)
{
    struct entry *found = (struct entry *)find(local);
    struct map *map = pl_self.locals->map;
    if (!found)
        found = &map->entries[map->n++];
    *found = (struct entry){local, value};
}

static void take_out(const plait_local *local)
{
    struct entry *found = (struct entry *)find(local);
    struct map *map = pl_self.locals->map;
    if (found)
        *found = map->entries[--map->n];
}

int plait_local_set(plait_local *local, void *value, plait_local_token *token)
{
    int rc = local ? need_context() : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (!own_map(pl_self.locals))
        return PLAIT_ENOMEM;
    const struct entry *was = find(local);
    if (token)
        *token = (plait_local_token){
            .local_ = local,
            .old_ = was ? was->value : NULL,
            .context_ = pl_self.locals->context,
            .forks_ = forks_now(),
            .was_set_ = was != NULL,
        };
    put(local, value);
    return 0;
}

static bool is_own(const plait_local_token *token)
{
    return pl_self.locals && token->context_ == pl_self.locals->context &&
           token->forks_ == forks_now();
}

int plait_local_reset(plait_local *local, plait_local_token *token)
{
    if (!local || !token || token->local_ != local)
        return PLAIT_EINVAL;
    if (!is_own(token))
        return PLAIT_EPERM;
    if (token->used_)
        return PLAIT_ESTALE;
    if (!own_map(pl_self.locals))
        return PLAIT_ENOMEM;
    token->used_ = true;
    if (token->was_set_)
        put(local, token->old_);
    else
        take_out(local);
    return 0;
}

/* --- asking --- */

void *plait_local_get_or(const plait_local *local, void *other)
{
    const struct entry *found = find(local);
    return found ? found->value : other;
}

void *plait_local_get(const plait_local *local)
{
    return local ? plait_local_get_or(local, local->initial) : NULL;
}

int plait_local_is_set(const plait_local *local)
{
    return find(local) != NULL;
}
