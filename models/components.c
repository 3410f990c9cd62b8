/* SPDX-License-Identifier: Apache-2.0 */
#include "models/components.h"

#include "models/matrix.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float norm(const float *row, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)row[i] * row[i];
    return (float)sqrt(sum);
}

/* covariance (d, d), lower triangle filled and mirrored, of unit rows around `mean`, in double: λ^-½ of small λ multiplies its error */
static bool covariance(double *out, float *mean, const float *rows, size_t count, size_t dimension)
{
    double *centred = malloc(count * dimension * sizeof *centred);
    double *average = calloc(dimension, sizeof *average);
    bool ok = centred != NULL && average != NULL;
    if (!ok)
        goto out;
    for (size_t i = 0; i < count; i++) {
        float length = norm(rows + i * dimension, dimension);
        for (size_t j = 0; j < dimension; j++) {
            centred[i * dimension + j] = length > 0 ? rows[i * dimension + j] / length : 0;
            average[j] += centred[i * dimension + j] / (double)count;
        }
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < dimension; j++)
            centred[i * dimension + j] -= average[j];
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (int)dimension, (int)count, 1.0 / (double)count, centred,
                (int)dimension, 0.0, out, (int)dimension);
    for (size_t i = 0; i < dimension; i++) {
        mean[i] = (float)average[i];
        for (size_t j = 0; j < i; j++)
            out[j * dimension + i] = out[i * dimension + j];
    }
out:
    free(centred);
    free(average);
    return ok;
}

/* Chen, Wiesel, Eldar, Hero: "Shrinkage algorithms for MMSE covariance estimation", 2010, eq. 23 */
static void shrink(double *matrix, size_t count, size_t dimension)
{
    double n = (double)count, p = (double)dimension, trace = 0, trace_of_square = 0;
    for (size_t i = 0; i < dimension; i++)
        trace += matrix[i * dimension + i];
    for (size_t i = 0; i < dimension * dimension; i++)
        trace_of_square += matrix[i] * matrix[i];
    double numerator = (1 - 2 / p) * trace_of_square + trace * trace;
    double denominator = (n + 1 - 2 / p) * (trace_of_square - trace * trace / p);
    double rho = denominator > 0 ? fmin(1, numerator / denominator) : 1;
    for (size_t i = 0; i < dimension * dimension; i++)
        matrix[i] *= 1 - rho;
    for (size_t i = 0; i < dimension; i++)
        matrix[i * dimension + i] += rho * trace / p;
}

bool components_fit(float *mean, float *rotation, const float *rows, size_t count, size_t dimension, size_t components,
                    float power)
{
    double *matrix = malloc(dimension * dimension * sizeof *matrix);
    double *values = malloc(dimension * sizeof *values);
    bool ok = matrix != NULL && values != NULL && covariance(matrix, mean, rows, count, dimension);
    if (!ok)
        goto out;
    shrink(matrix, count, dimension);
    ok = matrix_eigen(values, matrix, dimension);
    if (!ok)
        goto out;
    double floor = fmax(values[dimension - 1] * 1e-7, 1e-12);
    for (size_t j = 0; j < components; j++) {
        size_t rank = dimension - 1 - j; /* eigenvalues ascend */
        double scale = values[rank] > floor ? pow(values[rank], -(double)power) : 0;
        const double *vector = matrix + rank * dimension;
        size_t peak = 0; /* an eigenvector's sign is arbitrary: make its largest entry positive */
        for (size_t i = 1; i < dimension; i++)
            if (fabs(vector[i]) > fabs(vector[peak]))
                peak = i;
        if (vector[peak] < 0)
            scale = -scale;
        for (size_t i = 0; i < dimension; i++)
            rotation[i * components + j] = (float)(vector[i] * scale);
    }
out:
    free(matrix);
    free(values);
    return ok;
}

void components_apply(float *out, const float *rows, const float *mean, const float *rotation, size_t count,
                      size_t dimension, size_t components, float *scratch)
{
    for (size_t i = 0; i < count; i++) {
        const float *row = rows + i * dimension;
        float length = norm(row, dimension);
        for (size_t j = 0; j < dimension; j++)
            scratch[i * dimension + j] = length > 0 ? row[j] / length - mean[j] : 0;
    }
    matrix_multiply(out, scratch, rotation, count, components, dimension);
    for (size_t i = 0; i < count; i++) {
        float *row = out + i * components, length = norm(row, components);
        for (size_t j = 0; j < components; j++)
            row[j] = length > 0 ? row[j] / length : 0;
    }
}
