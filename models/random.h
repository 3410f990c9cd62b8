/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers that a seed repeats, for training, sampling and tests; passed in, never global. The same seed gives the same
 * integers and uniforms on every machine; normals also depend on the C library's logarithm. Not for secrets. Each stream belongs to
 * one thread. */
#ifndef RECSYS_MODELS_RANDOM_H
#define RECSYS_MODELS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* A stream: the state of xoshiro256**, not all zero. Copying it forks the stream. */
struct random {
    uint64_t state[4];
};

/* Any seed will do; near seeds give unrelated streams. */
void random_init(struct random *rng, uint64_t seed);

/* 64 random bits. */
uint64_t random_u64(struct random *rng);

/* A number from 0 to bound - 1, each equally likely; bound must not be 0. */
uint64_t random_below(struct random *rng, uint64_t bound);

/* A multiple of 2^-24 from [0, 1). */
float random_uniform(struct random *rng);

/* Of the normal distribution with mean 0 and variance 1; always finite. */
float random_normal(struct random *rng);

/* Bring `values` into random order, each order equally likely. */
void random_shuffle(struct random *rng, uint32_t *values, size_t count);

#endif
