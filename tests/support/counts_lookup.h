/* SPDX-License-Identifier: Apache-2.0
 *
 * One number out of the counts, for tests that ask for it by its two items. */
#ifndef RECSYS_TESTS_SUPPORT_COUNTS_LOOKUP_H
#define RECSYS_TESTS_SUPPORT_COUNTS_LOOKUP_H

#include "models/counts.h"

/* P[from -> to], 0 where it was never seen. */
double counts_lookup(const struct counts_view *counts, uint32_t from, uint32_t to);

#endif
