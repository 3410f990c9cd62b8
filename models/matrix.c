/* SPDX-License-Identifier: Apache-2.0 */
#include "models/matrix.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK's Fortran entry point: libopenblas has it, no header declares it. */
extern void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w,
                    double *work, const int *lwork, int *iwork, const int *liwork, int *info);

void matrix_init(void)
{
    openblas_set_num_threads(1);
}

const char *matrix_core_type(void)
{
    return openblas_get_corename();
}

bool matrix_core_type_is_slow(void)
{
    static const char *const fast[] = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    if (!__builtin_cpu_supports("avx512f"))
        return false;
    for (size_t i = 0; i < sizeof fast / sizeof *fast; i++)
        if (strcasecmp(matrix_core_type(), fast[i]) == 0)
            return false;
    return true;
}

void matrix_multiply(float *out, const float *a, const float *b, size_t rows, size_t columns, size_t inner)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)columns, (int)inner, 1.0f, a, (int)inner, b,
                (int)columns, 0.0f, out, (int)columns);
}

void matrix_multiply_transposed(float *out, const float *a, size_t a_stride, const float *b, size_t b_stride,
                                size_t rows, size_t columns, size_t inner)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, (int)inner, 1.0f, a, (int)a_stride, b,
                (int)b_stride, 0.0f, out, (int)columns);
}

void matrix_product(float *out, size_t out_stride, struct matrix_slice a, struct matrix_slice b, size_t rows,
                    size_t columns, size_t inner, float scale, bool accumulate)
{
    cblas_sgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
                (int)rows, (int)columns, (int)inner, scale, a.at, (int)a.stride, b.at, (int)b.stride,
                accumulate ? 1.0f : 0.0f, out, (int)out_stride);
}

void matrix_input_gradient(float *dx, const float *dy, const float *w, size_t rows, size_t columns, size_t inner)
{
    matrix_product(dx, inner, (struct matrix_slice){dy, columns, false}, (struct matrix_slice){w, columns, true}, rows,
                   inner, columns, 1, true);
}

void matrix_weight_gradient(float *dw, const float *x, const float *dy, size_t rows, size_t columns, size_t inner)
{
    matrix_product(dw, columns, (struct matrix_slice){x, inner, true}, (struct matrix_slice){dy, columns, false}, inner,
                   columns, rows, 1, true);
}

void matrix_vector(float *out, const float *a, const float *x, size_t rows, size_t inner, float scale, bool accumulate)
{
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)rows, (int)inner, scale, a, (int)inner, x, 1,
                accumulate ? 1.0f : 0.0f, out, 1);
}

float matrix_dot(const float *a, const float *b, size_t count)
{
    return cblas_sdot((int)count, a, 1, b, 1);
}

bool matrix_eigen(double *values, double *a, size_t n)
{
    int order = (int)n, work_size = -1, integer_size = -1, info = 0, wanted_integers = 0;
    double wanted = 0;
    dsyevd_("V", "L", &order, a, &order, values, &wanted, &work_size, &wanted_integers, &integer_size, &info);
    if (info != 0)
        return false;
    work_size = (int)wanted;
    integer_size = wanted_integers;
    double *work = malloc((size_t)work_size * sizeof *work);
    int *integers = malloc((size_t)integer_size * sizeof *integers);
    if (work != NULL && integers != NULL)
        dsyevd_("V", "L", &order, a, &order, values, work, &work_size, integers, &integer_size, &info);
    else
        info = -1;
    free(work);
    free(integers);
    return info == 0;
}
