#include "host.h"

#include <stdio.h>

#include "moe/system.h"

#ifdef MOE_HAVE_BLAS

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Other libraries than OpenBLAS have none of these; they are then NULL. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

/* The length of a row, which BLAS wants to be at least 1. */
static int leading(size_t columns)
{
    return columns == 0 ? 1 : (int)columns;
}

static void multiply(const moe_gemm_t *shape, const float *a, const float *b, float *c)
{
    const size_t m = shape->m, n = shape->n, k = shape->k;
    /* BLAS counts in int. A side of 2^31 is a matrix that no host of today holds. */
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX);
    if (m == 0 || n == 0) {
        return;
    }
    if (k == 0) {
        memset(c, 0, m * n * sizeof *c);
        return;
    }
    cblas_sgemm(CblasRowMajor, shape->transpose_a ? CblasTrans : CblasNoTrans,
                shape->transpose_b ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, 1.0f, a,
                leading(shape->transpose_a ? m : k), b, leading(shape->transpose_b ? k : n), 0.0f,
                c, leading(n));
}

void moe_host_gemm(moe_device_t *d, size_t count, const moe_gemm_t *shape, const void *const *a,
                   const void *const *b, void *const *c)
{
    (void)d;
    for (size_t i = 0; i < count; i++) {
        multiply(&shape[i], a[i], b[i], c[i]);
    }
}

/* Cores, not hardware threads: two threads of one core share its multipliers. */
static size_t cores_of_process(void)
{
    moe_topology_t here;
    moe_topology_read(&here);
    if (here.known && here.pus > 0 && here.cores > 0) {
        return here.bound_pus * here.cores / here.pus;
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

static size_t threads_to_use(size_t threads, size_t ranks_on_host)
{
    const char *wish = getenv("OPENBLAS_NUM_THREADS");
    const long wished = wish == NULL ? 0 : strtol(wish, NULL, 10);
    if (threads > 0) {
        return threads;
    }
    if (wished > 0) {
        return (size_t)wished;
    }
    const size_t share = cores_of_process() / (ranks_on_host > 0 ? ranks_on_host : 1);
    return share > 0 ? share : 1;
}

void moe_host_set_up_blas(size_t threads, size_t ranks_on_host, char *description, size_t size)
{
    if (openblas_set_num_threads == NULL || openblas_get_num_threads == NULL ||
        openblas_get_config == NULL) {
        snprintf(description, size, "a BLAS that sets its threads itself");
        return;
    }
    const size_t wanted = threads_to_use(threads, ranks_on_host);
    if (wanted <= INT_MAX && openblas_get_num_threads() != (int)wanted) {
        openblas_set_num_threads((int)wanted);
    }
    /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": name and version are the first two words. */
    const char *config = openblas_get_config();
    const char *first_space = strchr(config, ' ');
    const char *end = first_space == NULL ? NULL : strchr(first_space + 1, ' ');
    const int length = end == NULL ? (int)strlen(config) : (int)(end - config);
    const int used = openblas_get_num_threads();
    snprintf(description, size, "%.*s, %d thread%s", length, config, used, used == 1 ? "" : "s");
}

#else

void moe_host_gemm(moe_device_t *d, size_t count, const moe_gemm_t *shape, const void *const *a,
                   const void *const *b, void *const *c)
{
    (void)d, (void)count, (void)shape, (void)a, (void)b, (void)c;
}

void moe_host_set_up_blas(size_t threads, size_t ranks_on_host, char *description, size_t size)
{
    (void)threads, (void)ranks_on_host;
    snprintf(description, size, "no BLAS");
}

#endif
