#include "merge.h"

#include <plait/plait.h>

static int merge_all(const struct merge_item *item, struct table *table)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < item->n; i++)
        if (item->results[i].block)
            rc = table_merge(table, item->results[i].block, item->part);
    return rc;
}

int merge_part(const void *in, void *out)
{
    struct merged *merged = out;
    struct table table = {0};

    struct block *left = merged->block; /* by a worker that died; see count_item */
    merged->block = NULL;
    plait_free(left);

    int rc = merge_all(in, &table);
    if (rc == 0)
        rc = table_pack(&table, TABLE_SORTED, &merged->block);
    table_free(&table);
    return rc;
}
