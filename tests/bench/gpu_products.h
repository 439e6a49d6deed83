/* The experts' products as one group, beside cuBLAS called for one after the other. */
#ifndef MOE_BENCH_GPU_PRODUCTS_H
#define MOE_BENCH_GPU_PRODUCTS_H

#include "../../src/device/cuda_blas.h"
#include "gpu_bench.h"

#ifndef MOE_HAVE_CUBLAS

static void run_experts(moe_device_t *d, size_t shrink)
{
    (void)d, (void)shrink;
    puts("products of experts: built without cuBLAS, nothing was measured");
}

#else

enum { MOST_EXPERTS = 32 };

typedef struct experts {
    const char *name;
    size_t experts, hidden, inner, rows;
} experts_t;

/* Experts of one GPU: Mixtral's eight of a layer, DeepSeek-V3's on one of eight. */
static const experts_t models[] = {
    {"Mixtral 8x7B", 8, 4096, 14336, 16384},
    {"DeepSeek-V3", 32, 7168, 2048, 16384},
};

typedef struct group {
    moe_device_t *d;
    size_t count;
    moe_gemm_t shape[MOST_EXPERTS];
    const void *a[MOST_EXPERTS], *b[MOST_EXPERTS];
    void *c[MOST_EXPERTS];
} group_t;

static void multiply_group(void *context, size_t turn)
{
    const group_t *g = context;
    (void)turn;
    g->d->ops->gemm(g->d, g->count, g->shape, g->a, g->b, g->c);
}

/* cuBLAS itself, column-major: see cuda_gemm.c. */
static void multiply_alone(void *context, size_t turn)
{
    const group_t *g = context;
    moe_cuda_state_t *state = g->d->state;
    (void)turn;
    const cublasHandle_t handle = moe_cuda_blas_handle(state);
    const float one = 1, zero = 0;
    for (size_t i = 0; i < g->count && handle != NULL; i++) {
        const int m = (int)g->shape[i].m, n = (int)g->shape[i].n, k = (int)g->shape[i].k;
        if (m > 0) {
            (void)state->blas->gemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, n, m, k, &one, g->b[i],
                                    CUDA_R_16BF, n, g->a[i], CUDA_R_16BF, k, &zero, g->c[i],
                                    CUDA_R_16BF, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
        }
    }
}

/* Rows of expert e, of those that Zipf's law with exponent 1 gives it; the first takes what is left. */
static size_t zipf_rows(const experts_t *m, size_t e)
{
    double harmonic = 0;
    size_t others = 0;
    for (size_t i = 1; i <= m->experts; i++) {
        harmonic += 1 / (double)i;
    }
    for (size_t i = 1; i < m->experts; i++) {
        const size_t rows = (size_t)((double)m->rows / harmonic / (double)(i + 1));
        others += rows;
        if (i == e) {
            return rows;
        }
    }
    return m->rows - others;
}

/* n columns out of k. */
static void run_products(moe_device_t *d, const experts_t *m, size_t n, size_t k)
{
    group_t group = {.d = d, .count = m->experts};
    char *const rows_in = need(d, m->rows * k * 2);
    char *const weights = need(d, m->experts * k * n * 2);
    char *const rows_out = need(d, m->rows * n * 2);
    d->ops->fill_tokens(d, rows_in, MOE_BF16, 1, 0, m->rows, k);
    d->ops->fill_tokens(d, weights, MOE_BF16, 2, 0, m->experts * k, n);
    size_t first = 0;
    double flops = 0;
    for (size_t e = 0; e < m->experts; e++) {
        const size_t rows = zipf_rows(m, e);
        group.shape[e] = (moe_gemm_t){.m = rows, .n = n, .k = k};
        group.a[e] = rows_in + first * k * 2;
        group.b[e] = weights + e * k * n * 2;
        group.c[e] = rows_out + first * n * 2;
        first += rows;
        flops += 2 * (double)rows * (double)n * (double)k;
    }
    double alone[REPETITIONS], grouped[REPETITIONS], ratio[REPETITIONS];
    time_both(d, &group, multiply_alone, multiply_group, alone, grouped);
    for (size_t r = 0; r < REPETITIONS; r++) {
        ratio[r] = grouped[r] / alone[r];
    }
    const double middle = median(ratio);
    printf("  %-13s %2zu experts, %5zu rows, %5zu x %-5zu  one by one %7.1f TFLOP/s, as a group "
           "%7.1f   time ratio %.3f (%.3f .. %.3f)\n",
           m->name, m->experts, m->rows, k, n, 1e-12 * flops / median(alone),
           1e-12 * flops / median(grouped), middle, ratio[0], ratio[REPETITIONS - 1]);
    fflush(stdout);
    d->ops->release(d, rows_in);
    d->ops->release(d, weights);
    d->ops->release(d, rows_out);
}

/* `shrink`: sides and rows are that many times smaller. */
static void run_experts(moe_device_t *d, size_t shrink)
{
    puts("products of experts with skewed rows, beside cuBLAS called for one after the other (aim: "
         "time at most 1.1)");
    if (!d->ops->has_gemm) {
        puts("  there is no cuBLAS");
        return;
    }
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        experts_t m = models[i];
        m.hidden /= shrink;
        m.inner /= shrink;
        m.rows /= shrink;
        run_products(d, &m, m.inner, m.hidden);
        run_products(d, &m, m.hidden, m.inner);
    }
}

#endif
#endif
