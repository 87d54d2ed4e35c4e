/* The array: items under an rlock. Its shape is written once, under that lock, the count last: a count says
 * that it is an array, so who dies in between leaves memory that is none yet. */
#include "base/atomic.h"
#include "base/error.h"
#include "base/self.h"

#include <plait/arena.h>
#include <plait/array.h>
#include <string.h>

_Static_assert(sizeof(plait_array) % 16 == 0, "items are aligned as the array is");

size_t plait_array_size(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(plait_array), &bytes) || bytes > PTRDIFF_MAX)
        return 0;
    return bytes;
}

static void shape(plait_array *array, size_t count, size_t size)
{
    array->size = size;
    /* R:array.shape, pairs with span: who sees the count sees the size. */
    pl_store_release(&array->count, count);
}

plait_array *plait_array_new(size_t count, size_t size)
{
    size_t bytes = plait_array_size(count, size);
    if (count == 0 || size == 0)
        return pl_null(PLAIT_EINVAL);
    if (bytes == 0)
        return pl_null(PLAIT_ENOMEM);
    plait_array *array = plait_alloc(bytes);
    if (array)
        shape(array, count, size);
    return array;
}

/* The wait stands where the call does, not here. */
static int take(plait_array *array, const void *site)
{
    pl_self.site = site;
    int rc = plait_rlock_acquire(&array->lock, PLAIT_FOREVER);
    pl_self.site = NULL;
    return rc;
}

int plait_array_init(plait_array *array, size_t count, size_t size)
{
    if (!array || count == 0 || size == 0 || plait_array_size(count, size) == 0)
        return PLAIT_EINVAL;
    int rc = take(array, __builtin_return_address(0));
    if (rc < 0)
        return rc;
    if (pl_load_relaxed(&array->count) == 0)
        shape(array, count, size);
    else if (array->count != count || array->size != size)
        rc = PLAIT_EEXIST;
    plait_rlock_release(&array->lock);
    return rc;
}

void *plait_array_items(plait_array *array)
{
    return array ? array + 1 : NULL;
}

/* Items i to i + n; NULL if not all of them are there. */
static void *span(plait_array *array, size_t i, size_t n)
{
    /* A:array.shape, pairs with shape. */
    size_t count = pl_load_acquire(&array->count);
    return i <= count && n <= count - i ? (char *)(array + 1) + i * array->size : NULL;
}

void *plait_array_at(plait_array *array, size_t i)
{
    return array ? span(array, i, 1) : NULL;
}

static int copy_out(plait_array *array, size_t i, size_t count, void *ret, const void *site)
{
    if (!array || !ret)
        return PLAIT_EINVAL;
    void *from = span(array, i, count);
    int rc = from ? take(array, site) : PLAIT_EOVERFLOW;
    if (rc < 0)
        return rc;
    memcpy(ret, from, count * array->size);
    plait_rlock_release(&array->lock);
    return rc;
}

static int copy_in(plait_array *array, size_t i, size_t count, const void *items, const void *site)
{
    if (!array || !items)
        return PLAIT_EINVAL;
    void *to = span(array, i, count);
    int rc = to ? take(array, site) : PLAIT_EOVERFLOW;
    if (rc < 0)
        return rc;
    memcpy(to, items, count * array->size);
    plait_rlock_release(&array->lock);
    return rc;
}

int plait_array_read(plait_array *array, size_t i, size_t count, void *ret)
{
    return copy_out(array, i, count, ret, __builtin_return_address(0));
}

int plait_array_write(plait_array *array, size_t i, size_t count, const void *items)
{
    return copy_in(array, i, count, items, __builtin_return_address(0));
}

int plait_array_get(plait_array *array, size_t i, void *ret)
{
    return copy_out(array, i, 1, ret, __builtin_return_address(0));
}

int plait_array_set(plait_array *array, size_t i, const void *item)
{
    return copy_in(array, i, 1, item, __builtin_return_address(0));
}
