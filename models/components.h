/* SPDX-License-Identifier: Apache-2.0
 *
 * Principal components of one modality: vectors of any encoder and scale become rows whose dot products compare. A vector is normalised, centred,
 * rotated to its first components, each divided by a power of its deviation (whitening), and normalised again. */
#ifndef RECSYS_MODELS_COMPONENTS_H
#define RECSYS_MODELS_COMPONENTS_H

#include <stdbool.h>
#include <stddef.h>

/* Fit on `rows` (count, dimension): mean (dimension) and rotation (dimension, components), whose column j is eigenvector j times
 * λ_j^-power; power ½ whitens fully, ¼ by half, 0 not at all. The covariance is shrunk towards a multiple of the identity by the Oracle Approximating
 * Shrinkage of Chen, Wiesel, Eldar and Hero (2010), eq. 23: what few items say about many directions is mostly noise. Components beyond
 * the rank of the data are zero columns. count >= 2; components <= dimension. False out of memory or when LAPACK fails. */
bool components_fit(float *mean, float *rotation, const float *rows, size_t count, size_t dimension, size_t components,
                    float power);

/* out (count, components) from rows (count, dimension); `scratch` of count × dimension floats. A row of zeros stays a row of zeros: it stands for
 * a missing vector. */
void components_apply(float *out, const float *rows, const float *mean, const float *rotation, size_t count,
                      size_t dimension, size_t components, float *scratch);

#endif
