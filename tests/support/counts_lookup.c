/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/counts_lookup.h"

double counts_lookup(const struct counts_view *counts, uint32_t from, uint32_t to)
{
    size_t count;
    const struct counts_entry *row = counts_row(counts, from, &count);
    for (size_t i = 0; i < count; i++)
        if (row[i].item_id == to)
            return row[i].probability;
    return 0;
}
