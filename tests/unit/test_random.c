/* SPDX-License-Identifier: Apache-2.0 */
#include "models/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* First outputs of the authors' xoshiro256starstar.c from the state 1, 2, 3, 4. */
Test(random, xoshiro_known_answers)
{
    static const uint64_t wanted[] = {
        11520u, 0u, 1509978240u, 1215971899390074240u, 1216172134540287360u, 607988272756665600u,
    };
    struct random rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        cr_assert_eq(random_u64(&rng), wanted[i], "output %zu", i);
}

/* First outputs of the author's splitmix64.c from the state 1234567. */
Test(random, splitmix_known_answers)
{
    static const uint64_t wanted[] = {
        6457827717110365317u,
        3203168211198807973u,
        9817491932198370423u,
        4593380528125082431u,
    };
    struct random rng;
    random_init(&rng, 1234567);
    cr_assert_eq(memcmp(rng.state, wanted, sizeof wanted), 0);
}

Test(random, seed_decides_the_stream)
{
    struct random a, b, c;
    random_init(&a, 0);
    random_init(&b, 0);
    random_init(&c, 1);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = random_u64(&a);
        cr_assert_eq(value, random_u64(&b));
        same += value == random_u64(&c);
    }
    cr_assert_eq(same, 0);
}

Test(random, below_stays_below)
{
    static const uint64_t bounds[] = {1, 2, 3, 10, 1u << 20, UINT32_MAX, (1ull << 63) + 1, UINT64_MAX};
    struct random rng;
    random_init(&rng, 11);
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        for (int draw = 0; draw < 1000; draw++)
            cr_assert_lt(random_below(&rng, bounds[i]), bounds[i]);
}

/* 3/4 of 2^64: without rejection a remainder would favour one third two to one, a multiplication one remainder of 3. */
Test(random, below_is_unbiased_at_a_large_bound)
{
    const uint64_t bound = 3ull << 62;
    const int draws = 30000;
    int modulo_three[3] = {0}, third[3] = {0};
    struct random rng;
    random_init(&rng, 12);
    for (int i = 0; i < draws; i++) {
        uint64_t value = random_below(&rng, bound);
        third[value >> 62]++;
        modulo_three[value % 3]++;
    }
    for (int i = 0; i < 3; i++) { /* 5 standard deviations: sqrt(30000 * 1/3 * 2/3) = 82 */
        cr_assert(abs(third[i] - draws / 3) < 410, "third %d: %d", i, third[i]);
        cr_assert(abs(modulo_three[i] - draws / 3) < 410, "remainder %d: %d", i, modulo_three[i]);
    }
}

Test(random, below_nothing_is_our_mistake, .signal = SIGABRT)
{
    struct random rng;
    random_init(&rng, 1);
    random_below(&rng, 0);
}

Test(random, uniform_moments_and_range)
{
    const int draws = 100000;
    struct random rng;
    random_init(&rng, 13);
    double sum = 0, squares = 0;
    float least = 1, most = 0;
    for (int i = 0; i < draws; i++) {
        float x = random_uniform(&rng);
        cr_assert(x >= 0.0f && x < 1.0f);
        least = fminf(least, x);
        most = fmaxf(most, x);
        sum += x;
        squares += (double)x * x;
    }
    cr_assert_float_eq(sum / draws, 0.5, 0.005);
    cr_assert_float_eq(squares / draws, 1.0 / 3, 0.005);
    cr_assert(least < 1e-3f && most > 0.999f);
}

/* All bits set must not round up to 1. */
Test(random, uniform_at_its_ends)
{
    /* state[1] = x gives rotl(5x, 7) * 9 */
    struct random zero = {{1, 0, 0, 0}};
    cr_assert_eq(random_uniform(&zero), 0.0f);
    /* 5 and 9 are odd, so 5x * 9 can be inverted: 0xcccccccccccccccd is 1/5, 0x8e38e38e38e38e39 is 1/9 modulo 2^64 */
    uint64_t nine = UINT64_MAX * 0x8e38e38e38e38e39u;
    struct random ones = {{1, (nine >> 7 | nine << 57) * 0xcccccccccccccccdu, 0, 0}};
    struct random copy = ones;
    cr_assert_eq(random_u64(&copy), UINT64_MAX);
    cr_assert_eq(random_uniform(&ones), 1.0f - 0x1p-24f);
}

Test(random, normal_moments_and_tails)
{
    const int draws = 200000;
    struct random rng;
    random_init(&rng, 14);
    double sum = 0, squares = 0, cubes = 0, fourths = 0;
    int beyond_two = 0;
    for (int i = 0; i < draws; i++) {
        double x = random_normal(&rng);
        cr_assert(isfinite(x));
        sum += x;
        squares += x * x;
        cubes += x * x * x;
        fourths += x * x * x * x;
        beyond_two += fabs(x) > 2;
    }
    cr_assert_float_eq(sum / draws, 0.0, 0.012);
    cr_assert_float_eq(squares / draws, 1.0, 0.017);
    cr_assert_float_eq(cubes / draws, 0.0, 0.05);
    cr_assert_float_eq(fourths / draws, 3.0, 0.12);
    cr_assert_float_eq((double)beyond_two / draws, 0.0455, 0.0025);
}

Test(random, shuffle_keeps_every_value)
{
    enum { COUNT = 1000 };
    struct random rng;
    random_init(&rng, 15);
    uint32_t values[COUNT];
    bool seen[COUNT] = {false};
    int moved = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        values[i] = i;
    random_shuffle(&rng, values, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert(values[i] < COUNT && !seen[values[i]]);
        seen[values[i]] = true;
        moved += values[i] != i;
    }
    cr_assert_gt(moved, COUNT / 2);
    random_shuffle(&rng, NULL, 0);
    random_shuffle(&rng, values, 1);
}

/* The classic mistake, drawing from all positions each time, gives three orders 4 times of 27 and three 5 times. */
Test(random, shuffle_gives_every_order_equally)
{
    const int draws = 60000;
    int times[27] = {0};
    struct random rng;
    random_init(&rng, 16);
    for (int i = 0; i < draws; i++) {
        uint32_t values[3] = {0, 1, 2};
        random_shuffle(&rng, values, 3);
        times[9 * values[0] + 3 * values[1] + values[2]]++;
    }
    static const int orders[] = {5, 7, 11, 15, 19, 21};
    for (int i = 0; i < 6; i++) /* 5 standard deviations: sqrt(60000 * 1/6 * 5/6) = 91 */
        cr_assert(abs(times[orders[i]] - draws / 6) < 456, "order %d: %d times", i, times[orders[i]]);
}
