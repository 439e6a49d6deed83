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
    size_t together; /* products of the call */
} gemm_call_t;

typedef struct watch {
    moe_device_t device;
    struct {
        char *memory;
        size_t bytes;
    } block[MOST_BLOCKS];
    const char *lent; /* see lend() */
    size_t lent_bytes;
    size_t blocks, allocated, largest; /* bytes now, and of the largest block */
    size_t allocs_left;                /* before alloc() fails */
    bool copies;                       /* copy() really copies */
    bool computes;                     /* gemm() really multiplies */
    size_t gemms, outside;             /* calls; pointers outside of every block */
    double flops, waited;
    gemm_call_t log[LOG];     /* the first calls */
    size_t widened, narrowed; /* rows to matrices, and back */
    moe_device_ops_t ops;     /* the device's own, for a test to change */
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
    if (w->lent != NULL && (const char *)at >= w->lent &&
        (const char *)(at + floats) <= w->lent + w->lent_bytes)
        return true;
    for (size_t i = 0; i < w->blocks; i++) {
        const char *first = w->block[i].memory, *p = (const char *)at;
        if (p >= first && p + floats * sizeof(float) <= first + w->block[i].bytes)
            return true;
    }
    return false;
}

/* Memory of a test's own that GEMMs may be given, until it is lent again. */
static inline void lend(watch_t *w, void *memory, size_t bytes)
{
    w->lent = memory;
    w->lent_bytes = bytes;
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

static void watch_one(watch_t *w, const moe_gemm_t *s, const float *a, const float *b, float *c,
                      size_t together)
{
    w->outside += !lies_inside(w, a, s->m * s->k);
    w->outside += !lies_inside(w, b, s->k * s->n);
    w->outside += !lies_inside(w, c, s->m * s->n);
    if (w->gemms < LOG)
        w->log[w->gemms] = (gemm_call_t){.shape = *s, .a = a, .b = b, .c = c, .together = together};
    w->gemms++;
    w->flops += 2.0 * (double)s->m * (double)s->n * (double)s->k;
    if (w->computes)
        multiply(s, a, b, c);
}

static void watch_gemm(moe_device_t *d, size_t count, const moe_gemm_t *s, const void *const *a,
                       const void *const *b, void *const *c)
{
    for (size_t i = 0; i < count; i++)
        watch_one(watch_of(d), &s[i], a[i], b[i], c[i], count);
}

/* fp16 rows, whose numbers are not looked at, to and from matrices. */
static void watch_gather(moe_device_t *d, void *to, size_t to_stride, moe_dtype_t to_dtype,
                         const void *from, size_t from_stride, moe_dtype_t from_dtype,
                         const size_t *index, size_t rows, size_t hidden)
{
    watch_t *w = watch_of(d);
    const bool widens = to_dtype == MOE_FP32;
    assert_true((widens ? from_dtype : to_dtype) == MOE_FP16);
    assert_true(index == NULL && to_stride == moe_row_bytes(to_dtype, hidden) &&
                from_stride == moe_row_bytes(from_dtype, hidden));
    w->outside += !lies_inside(w, widens ? to : from, rows * hidden);
    for (size_t i = 0; i < rows * hidden; i++) {
        if (widens)
            ((float *)to)[i] = ((const uint16_t *)from)[i];
        else
            ((uint16_t *)to)[i] = (uint16_t)((const float *)from)[i];
    }
    *(widens ? &w->widened : &w->narrowed) += rows;
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
    .gemm_dtype = MOE_FP32,
    .least_operands = (size_t)64 << 20,
    .most_operands = (size_t)256 << 20,
    .gemm_group = 1,
    .gemm = watch_gemm,
    .gather = watch_gather,
    .wait = watch_wait,
};

static int set_up(void **state)
{
    watch_t *w = calloc(1, sizeof *w);
    if (w == NULL)
        return -1;
    w->ops = watch_ops;
    w->device = (moe_device_t){.ops = &w->ops, .state = w};
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
