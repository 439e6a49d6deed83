/* A device for tests of compute engines. It watches: every matrix that gemm() is given must lie, in
 * its whole extent, in memory that alloc() gave. Include after cmocka.h. */
#ifndef MOE_TESTS_WATCH_DEVICE_H
#define MOE_TESTS_WATCH_DEVICE_H

#include <stdlib.h>
#include <string.h>

#include "moe/device.h"

#define MOST_BLOCKS 8
#define LOG         64

typedef struct gemm_call {
    moe_gemm_t shape;
    const float *a, *b;
    float *c;
} gemm_call_t;

typedef struct watch {
    moe_device_t device;
    struct {
        char *memory;
        size_t bytes;
    } block[MOST_BLOCKS];
    size_t blocks, allocated, largest; /* bytes now, and of the largest block */
    size_t allocs_left;                /* before alloc() fails */
    bool copies;                       /* copy() really copies */
    bool computes;                     /* gemm() really multiplies */
    size_t gemms, outside;             /* calls; pointers outside of every block */
    double flops, waited;
    gemm_call_t log[LOG]; /* the first calls */
    size_t widened, narrowed;
} watch_t;

static watch_t *watch_of(moe_device_t *d)
{
    return d->state;
}

static moe_status_t watch_alloc(moe_device_t *d, const char *what, size_t bytes, void **out,
                                moe_error_t *error)
{
    watch_t *w = watch_of(d);
    if (w->allocs_left == 0)
        return moe_fail(error, MOE_BAD_INPUT, "%s: no memory left", what);
    w->allocs_left--;
    assert_true(w->blocks < MOST_BLOCKS);
    w->block[w->blocks].memory = malloc(bytes);
    assert_non_null(w->block[w->blocks].memory);
    w->block[w->blocks].bytes = bytes;
    *out = w->block[w->blocks++].memory;
    w->allocated += bytes;
    w->largest = bytes > w->largest ? bytes : w->largest;
    return MOE_OK;
}

static void watch_release(moe_device_t *d, void *memory)
{
    watch_t *w = watch_of(d);
    for (size_t i = 0; i < w->blocks; i++) {
        if (w->block[i].memory == memory) {
            w->allocated -= w->block[i].bytes;
            free(memory);
            w->block[i] = w->block[--w->blocks];
            return;
        }
    }
    fail_msg("released what was not allocated");
}

static bool lies_inside(const watch_t *w, const float *at, size_t floats)
{
    for (size_t i = 0; i < w->blocks; i++) {
        const char *first = w->block[i].memory, *p = (const char *)at;
        if (p >= first && p + floats * sizeof(float) <= first + w->block[i].bytes)
            return true;
    }
    return false;
}

static void watch_copy(moe_device_t *d, void *to, const void *from, size_t bytes)
{
    watch_of(d)->outside += !lies_inside(watch_of(d), to, bytes / sizeof(float));
    if (watch_of(d)->copies)
        memcpy(to, from, bytes);
}

static void multiply(const moe_gemm_t *s, const float *a, const float *b, float *c)
{
    for (size_t i = 0; i < s->m; i++) {
        for (size_t j = 0; j < s->n; j++) {
            float sum = 0;
            for (size_t l = 0; l < s->k; l++)
                sum += (s->transpose_a ? a[l * s->m + i] : a[i * s->k + l]) *
                       (s->transpose_b ? b[j * s->k + l] : b[l * s->n + j]);
            c[i * s->n + j] = sum;
        }
    }
}

static void watch_gemm(moe_device_t *d, const moe_gemm_t *s, const float *a, const float *b,
                       float *c)
{
    watch_t *w = watch_of(d);
    w->outside += !lies_inside(w, a, s->m * s->k);
    w->outside += !lies_inside(w, b, s->k * s->n);
    w->outside += !lies_inside(w, c, s->m * s->n);
    if (w->gemms < LOG)
        w->log[w->gemms] = (gemm_call_t){.shape = *s, .a = a, .b = b, .c = c};
    w->gemms++;
    w->flops += 2.0 * (double)s->m * (double)s->n * (double)s->k;
    if (w->computes)
        multiply(s, a, b, c);
}

/* Rows are fp32 in these tests. */
static void watch_widen(moe_device_t *d, float *to, const void *from, moe_dtype_t dtype,
                        size_t rows, size_t hidden)
{
    assert_int_equal(dtype, MOE_FP32);
    watch_of(d)->outside += !lies_inside(watch_of(d), to, rows * hidden);
    memcpy(to, from, rows * hidden * sizeof *to);
    watch_of(d)->widened += rows;
}

static void watch_narrow(moe_device_t *d, void *to, moe_dtype_t dtype, const float *from,
                         size_t rows, size_t hidden)
{
    assert_int_equal(dtype, MOE_FP32);
    watch_of(d)->outside += !lies_inside(watch_of(d), from, rows * hidden);
    memcpy(to, from, rows * hidden * sizeof *from);
    watch_of(d)->narrowed += rows;
}

static void watch_wait(moe_device_t *d, double seconds)
{
    watch_of(d)->waited += seconds;
}

static const moe_device_ops_t watch_ops = {
    .name = "watch",
    .alloc = watch_alloc,
    .release = watch_release,
    .copy = watch_copy,
    .has_gemm = true,
    .gemm = watch_gemm,
    .widen = watch_widen,
    .narrow = watch_narrow,
    .wait = watch_wait,
};

static int set_up(void **state)
{
    watch_t *w = calloc(1, sizeof *w);
    if (w == NULL)
        return -1;
    w->device = (moe_device_t){.ops = &watch_ops, .state = w};
    w->allocs_left = SIZE_MAX;
    *state = w;
    return 0;
}

/* Whatever a test did, all memory is back and no GEMM left its own. */
static int tear_down(void **state)
{
    watch_t *w = *state;
    const bool clean = w->allocated == 0 && w->blocks == 0 && w->outside == 0;
    free(w);
    return clean ? 0 : -1;
}

#define WATCHED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
