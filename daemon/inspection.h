/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model is and what it has learned, as JSON: what recsys-train inspect prints. The numbers of the head are given as what they mean: a temperature for
 * a sharpness, a half-life for a table of biases. A model is only read. */
#ifndef RECSYS_DAEMON_INSPECTION_H
#define RECSYS_DAEMON_INSPECTION_H

#include "models/model.h"

/* Members, in this order; a half-life that is never reached within its table is null:
 *
 *   name, version, sha256, training     as the model has them; training is null where there is none
 *   architecture                        as in the file
 *   items           {id_rows, training_events}
 *   sizes           {numbers, bytes, groups: {statistics, encoder, sequence, head: {tensors, numbers, bytes}}}
 *   tensors         [{name, group, shape, bytes}]
 *   streams         [{pick, judge, weight, weight_per_log_count}]
 *   similarities    [{name, kind, heads, temperature: [per head], half_life_steps, half_life_seconds,
 *                     behaviours: {NAME: {weight, half_life_seconds}}}]
 *   sequence        {temperature, blocks: [{half_life_steps: [per head], half_life_seconds: [per head]}]}, null without a sequence part
 *   cooccurrence    {weight, reverse, epsilon, decay, half_life_steps}
 *   prior           {popularity, recent, novelty}
 *   behaviours      {NAME: what such an event says of an item, negative for a dislike}
 *
 * Age and behaviour add up in the logit of a pick, so by age alone the weights of all behaviours halve alike. `weight` is that of an event of the behaviour
 * where one of the reference behaviour ("view" where there is one, else the first) of the same age has 1; its half_life_seconds is the age at which it has
 * fallen to half of a fresh event of the reference: longer where a purchase weighs more than a view. 0: it never weighs that much.
 *
 * A new reference; NULL out of memory. */
json_t *inspection_report(const struct model *model);

/* The name of a similarity: "text", or "text/image" where the candidate's text meets the history's image. `out` of at least 130 bytes. */
void inspection_similarity_name(const struct architecture *architecture, int similarity, char *out);

/* The place, in units of its entries, at which exp(bias) has fallen to exp(`above`) times half of its highest value, going on from there; between two entries
 * on the straight line. 0 where even the highest is not that high, INFINITY where the table ends before. */
double inspection_half_life(const float *bias, size_t count, double above);

/* The middle of time bucket `bucket`, which need not be whole, in seconds. */
double inspection_bucket_seconds(double bucket);

#endif
