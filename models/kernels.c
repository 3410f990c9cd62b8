/* SPDX-License-Identifier: Apache-2.0 */
#include "models/kernels.h"

#include <stdlib.h>
#include <string.h>

extern const struct kernels kernels_plain, kernels_avx2, kernels_avx512;

static int supported(const struct kernels *set)
{
    if (set == &kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
    if (set == &kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return 1;
}

const struct kernels *kernels(void)
{
    static const struct kernels *const sets[] = {&kernels_avx512, &kernels_avx2, &kernels_plain};
    const char *forced = getenv("RECSYSD_KERNELS");
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (supported(sets[i]) && (forced == NULL || strcmp(forced, sets[i]->name) == 0))
            return sets[i];
    return &kernels_plain;
}
