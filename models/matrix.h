/* SPDX-License-Identifier: Apache-2.0
 *
 * Dense products on OpenBLAS and the eigenvectors of a symmetric matrix on LAPACK. Row-major, row vectors. One BLAS thread: each worker brings its own
 * parallelism. Kernels cannot fail; shapes are the caller's promise. */
#ifndef RECSYS_MODELS_MATRIX_H
#define RECSYS_MODELS_MATRIX_H

#include <stdbool.h>
#include <stddef.h>

/* One thread for every product of this process. Call before threads start. */
void matrix_init(void);

/* The core type whose kernels OpenBLAS uses ("SkylakeX", "Haswell"), and whether the processor could do better than that. */
const char *matrix_core_type(void);
bool matrix_core_type_is_slow(void);

/* out (rows, columns) = a (rows, inner) · b (inner, columns) */
void matrix_multiply(float *out, const float *a, const float *b, size_t rows, size_t columns, size_t inner);

/* out (rows, columns) = a (rows, inner) · bᵀ, b (columns, inner). The strides are the distances between rows of a and b: a slice of wider rows
 * is a head. */
void matrix_multiply_transposed(float *out, const float *a, size_t a_stride, const float *b, size_t b_stride,
                                size_t rows, size_t columns, size_t inner);

/* The two gradients of y (rows, columns) = x (rows, inner) · w (inner, columns), added: dx += dy · wᵀ and dw += xᵀ · dy. */
void matrix_input_gradient(float *dx, const float *dy, const float *w, size_t rows, size_t columns, size_t inner);
void matrix_weight_gradient(float *dw, const float *x, const float *dy, size_t rows, size_t columns, size_t inner);

/* Any product of slices of wider rows: out (rows, columns) = or += scale · op(a) · op(b), op the transpose where it says so; the strides are the
 * distances between rows as they lie in memory. */
struct matrix_slice {
    const float *at;
    size_t stride;
    bool transposed;
};
void matrix_product(float *out, size_t out_stride, struct matrix_slice a, struct matrix_slice b, size_t rows,
                    size_t columns, size_t inner, float scale, bool accumulate);

/* out (rows) = a (rows, inner) · x (inner); `accumulate` adds instead. */
void matrix_vector(float *out, const float *a, const float *x, size_t rows, size_t inner, float scale, bool accumulate);

float matrix_dot(const float *a, const float *b, size_t count);

/* Eigenvalues (n, ascending) and eigenvectors (n, n; row i belongs to value i) of the symmetric `a` (n, n), which is overwritten by the vectors.
 * Divide and conquer (LAPACK dsyevd). False when it did not converge or memory ran out. */
bool matrix_eigen(double *values, double *a, size_t n);

#endif
