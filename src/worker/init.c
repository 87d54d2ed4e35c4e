/* plait_init: the first line of main, where a process that was executed anew turns off into its role. */
#include "base/atomic.h"
#include "worker/begin.h"
#include "worker/signals.h"

#include <plait/start_method.h>

int32_t pl_default_method = PLAIT_START_DEFAULT;

int pl_program_begin(int argc, char **argv)
{
    struct pl_role role;
    if (!pl_role_take(&role))
        return PLAIT_EINVAL;
    int rc = pl_program_keep(argc, argv);
    if (rc == 0 && role.kind == PL_ROLE_ZYGOTE)
        pl_zygote_main(&role);
    if (rc == 0 && role.kind == PL_ROLE_SPAWNED)
        pl_spawned_main(&role);
    return rc;
}

int plait_init(int *argc, char ***argv)
{
    if (!argc != !argv)
        return PLAIT_EINVAL;
    int rc = pl_program_begin(argc ? *argc : 0, argv ? *argv : NULL);
    if (rc == 0)
        rc = pl_self_known();
    if (rc == 0)
        pl_signals_begin();
    return rc;
}

int plait_set_start_method(int method)
{
    if (method < PLAIT_START_DEFAULT || method > PLAIT_SPAWN)
        return PLAIT_EINVAL;
    pl_store_relaxed(&pl_default_method, method);
    return 0;
}

int plait_get_start_method(void)
{
    int method = pl_load_relaxed(&pl_default_method);
    if (method != PLAIT_START_DEFAULT)
        return method;
    /* Reports of lock orders name places in the code, which have to mean the same to all. */
    return pl_may_reexec() && !pl_slow_paths_only ? PLAIT_ZYGOTE : PLAIT_FORK;
}
