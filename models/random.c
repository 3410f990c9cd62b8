/* SPDX-License-Identifier: Apache-2.0 */
#include "models/random.h"

#include <assert.h>
#include <math.h>

__extension__ typedef unsigned __int128 uint128;

/* SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; constants of Vigna's
 * prng.di.unimi.it/splitmix64.c. */
static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Four successive outputs are never all zero, since SplitMix64 is a bijection of its counter. */
void random_init(struct random *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->state[i] = splitmix64(&seed);
}

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

/* xoshiro256** 1.0: Blackman, Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47(4), 2021; the authors' code
 * is prng.di.unimi.it/xoshiro256starstar.c. */
uint64_t random_u64(struct random *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire, "Fast random integer generation in an interval", ACM TOMACS 29(1), 2019, algorithm 5. */
uint64_t random_below(struct random *rng, uint64_t bound)
{
    assert(bound > 0);
    uint128 product = (uint128)random_u64(rng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = -bound % bound; /* 2^64 mod bound */
        while ((uint64_t)product < threshold)
            product = (uint128)random_u64(rng) * bound;
    }
    return (uint64_t)(product >> 64);
}

float random_uniform(struct random *rng)
{
    return (float)(random_u64(rng) >> 40) * 0x1p-24f;
}

/* Uniform in [-1, 1). */
static double random_signed(struct random *rng)
{
    return (double)(random_u64(rng) >> 11) * 0x1p-52 - 1.0;
}

/* The polar method: Marsaglia, Bray, "A convenient method for generating normal variables", SIAM Review 6(3), 1964. The second
 * number of the pair is thrown away: keeping it would be state outside the generator. */
float random_normal(struct random *rng)
{
    double x, square;
    do {
        x = random_signed(rng);
        double y = random_signed(rng);
        square = x * x + y * y;
    } while (square >= 1.0 || square == 0.0);
    return (float)(x * sqrt(-2.0 * log(square) / square));
}

/* Fisher-Yates; Durstenfeld, "Algorithm 235: random permutation", CACM 7(7), 1964. */
void random_shuffle(struct random *rng, uint32_t *values, size_t count)
{
    for (size_t left = count; left > 1; left--) {
        size_t pick = (size_t)random_below(rng, left);
        uint32_t value = values[pick];
        values[pick] = values[left - 1];
        values[left - 1] = value;
    }
}
