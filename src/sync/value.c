/* The value: a number under an rlock.
 *
 * Naive, get, set and add are atomic instructions, and the lock is for the rest. But then an add in between another's steps
 * under the lock is lost: the lock would keep out only those who ask for it. So every call asks for it. */
#include "base/self.h"

#include <plait/value.h>

/* The wait stands where the call does, not here. */
static int take(plait_value *value, const void *site)
{
    pl_self.site = site;
    int rc = plait_rlock_acquire(&value->lock, PLAIT_FOREVER);
    pl_self.site = NULL;
    return rc;
}

#define TAKE(value) take((value), __builtin_return_address(0))

int plait_value_get(plait_value *value, int64_t *ret)
{
    if (!value || !ret)
        return PLAIT_EINVAL;
    int rc = TAKE(value);
    if (rc < 0)
        return rc;
    *ret = value->integer;
    plait_rlock_release(&value->lock);
    return rc;
}

int plait_value_get_real(plait_value *value, double *ret)
{
    if (!value || !ret)
        return PLAIT_EINVAL;
    int rc = TAKE(value);
    if (rc < 0)
        return rc;
    *ret = value->real;
    plait_rlock_release(&value->lock);
    return rc;
}

int plait_value_set(plait_value *value, int64_t number)
{
    if (!value)
        return PLAIT_EINVAL;
    int rc = TAKE(value);
    if (rc < 0)
        return rc;
    value->integer = number;
    plait_rlock_release(&value->lock);
    return rc;
}

int plait_value_set_real(plait_value *value, double number)
{
    if (!value)
        return PLAIT_EINVAL;
    int rc = TAKE(value);
    if (rc < 0)
        return rc;
    value->real = number;
    plait_rlock_release(&value->lock);
    return rc;
}

int plait_value_add(plait_value *value, int64_t number, int64_t *ret)
{
    int64_t sum;
    if (!value)
        return PLAIT_EINVAL;
    int rc = TAKE(value);
    if (rc < 0)
        return rc;
    if (__builtin_add_overflow(value->integer, number, &sum))
        rc = PLAIT_EOVERFLOW;
    else
        value->integer = sum; /* one store: a death leaves the old number or the new one */
    if (rc >= 0 && ret)
        *ret = sum;
    plait_rlock_release(&value->lock);
    return rc;
}

int plait_value_add_real(plait_value *value, double number, double *ret)
{
    if (!value)
        return PLAIT_EINVAL;
    int rc = TAKE(value);
    if (rc < 0)
        return rc;
    double sum = value->real + number;
    value->real = sum;
    if (ret)
        *ret = sum;
    plait_rlock_release(&value->lock);
    return rc;
}
