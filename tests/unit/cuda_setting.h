/* A GPU beside the host's device, and buffers that are on both, for tests of the CUDA device. They run
 * on the fake CUDA of tests/fakes/gpu (found by LD_LIBRARY_PATH) or, as they are, on a real GPU; where
 * there is neither they are skipped. Include after cmocka.h. */
#ifndef MOE_TESTS_CUDA_SETTING_H
#define MOE_TESTS_CUDA_SETTING_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/device/formats.h"
#include "moe/device.h"

/* Every number of columns that may be special: none fills a lane, a block of FP8, a warp, or a part of
 * a row exactly, some do, and one lacks a lane of it. */
static const size_t cuda_hiddens[] = {1, 7, 8, 127, 128, 129, 256, 1000, 1016, 1024, 7168};
enum { CUDA_HIDDENS = sizeof cuda_hiddens / sizeof *cuda_hiddens, CUDA_LONGEST = 7168 };

static const moe_dtype_t cuda_dtypes[] = {MOE_BF16, MOE_FP16, MOE_FP32, MOE_FP8};
enum { CUDA_DTYPES = sizeof cuda_dtypes / sizeof *cuda_dtypes };

typedef struct setting {
    moe_device_t *host, *gpu;
} setting_t;

static inline bool cuda_is_fake(void)
{
    return dlsym(RTLD_DEFAULT, "fake_cuda_enqueue") != NULL;
}

static inline int set_up_cuda(void **state)
{
    static setting_t setting;
    moe_error_t error = {.status = MOE_OK};
    if (moe_host_device_create(1, 1, &setting.host, NULL) != MOE_OK ||
        moe_cuda_device_create(0, &setting.gpu, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return -1;
    }
    *state = &setting;
    return 0;
}

static inline int tear_down_cuda(void **state)
{
    setting_t *s = *state;
    s->gpu->ops->destroy(s->gpu);
    s->host->ops->destroy(s->host);
    return 0;
}

/* Runs the tests where there is a GPU (with only_fake: a fake one), and else says why not. */
#define RUN_CUDA_TESTS(name, tests, only_fake)                                                     \
    (cuda_may_run(name, only_fake)                                                                 \
         ? cmocka_run_group_tests_name(name, tests, set_up_cuda, tear_down_cuda)                   \
         : 0)
static inline bool cuda_may_run(const char *name, bool only_fake)
{
    moe_error_t error = {.status = MOE_OK};
    moe_gpu_t gpu;
    size_t count;
    if (moe_cuda_gpus(&gpu, 1, &count, &error) == MOE_OK && only_fake && !cuda_is_fake()) {
        (void)moe_fail(&error, MOE_BAD_INPUT, "faults are planted in fake GPUs only");
    }
    if (error.status != MOE_OK) {
        printf("1..1\nok 1 - %s # SKIP %s\n", name, error.text);
    }
    return error.status == MOE_OK;
}

static inline void assert_finished(moe_device_t *d)
{
    moe_error_t error = {.status = MOE_OK};
    if (d->ops->finish(d, &error) != MOE_OK) {
        fail_msg("%s", error.text);
    }
}

/* ---- Buffers on both devices ---- */

typedef struct pair {
    setting_t *setting;
    unsigned char *host, *gpu; /* the host's may be read and written by the test, see push_pair() */
    size_t bytes;
} pair_t;

/* The same bytes on both. */
static inline void push_pair(const pair_t *p)
{
    p->setting->gpu->ops->copy(p->setting->gpu, p->gpu, p->host, p->bytes);
}

static inline pair_t make_pair(setting_t *s, size_t bytes)
{
    pair_t p = {.setting = s, .bytes = bytes};
    assert_int_equal(s->host->ops->alloc(s->host, "rows", bytes, (void **)&p.host, NULL), MOE_OK);
    assert_int_equal(s->gpu->ops->alloc(s->gpu, "rows", bytes, (void **)&p.gpu, NULL), MOE_OK);
    return p;
}

/* Bytes that stay where nothing is written. */
static inline pair_t make_output(setting_t *s, size_t bytes)
{
    const pair_t p = make_pair(s, bytes);
    memset(p.host, 0xee, bytes);
    push_pair(&p);
    return p;
}

static inline pair_t make_random(setting_t *s, size_t bytes)
{
    const pair_t p = make_pair(s, bytes);
    for (size_t i = 0; i < bytes; i++) {
        p.host[i] = (unsigned char)rand();
    }
    push_pair(&p);
    return p;
}

/* A list in the host's memory, and as the GPU's kernels find it. */
static inline const void *gpu_list(const setting_t *s, const void *list, size_t bytes)
{
    const void *there = NULL;
    assert_int_equal(s->gpu->ops->list(s->gpu, "a list", list, bytes, &there, NULL), MOE_OK);
    return there;
}

static inline void drop_list(const setting_t *s, const void *list)
{
    s->gpu->ops->drop_list(s->gpu, list);
}

static inline void drop_pair(const pair_t *p)
{
    p->setting->gpu->ops->release(p->setting->gpu, p->gpu);
    p->setting->host->ops->release(p->setting->host, p->host);
}

/* What the GPU's holds; to be freed. */
static inline unsigned char *pull(const pair_t *p)
{
    unsigned char *copy = malloc(p->bytes + 1);
    assert_non_null(copy);
    p->setting->gpu->ops->copy(p->setting->gpu, copy, p->gpu, p->bytes);
    assert_finished(p->setting->gpu);
    return copy;
}

/* `what` is said where they differ. */
static inline void assert_same(const pair_t *p, const char *what, ...)
{
    unsigned char *gpu = pull(p);
    for (size_t i = 0; i < p->bytes; i++) {
        if (gpu[i] != p->host[i]) {
            char text[200];
            va_list arguments;
            va_start(arguments, what);
            vsnprintf(text, sizeof text, what, arguments);
            va_end(arguments);
            fail_msg("%s: byte %zu of %zu is 0x%02x on the GPU, 0x%02x on the host", text, i,
                     p->bytes, gpu[i], p->host[i]);
        }
    }
    free(gpu);
}

/* ---- Rows ---- */

/* Numbers that formats treat differently: NaN of both kinds, infinities, zeros, the ends of each
 * format's range and halves between neighbours. */
static inline float special_float(size_t i)
{
    static const uint32_t bits[] = {
        0x7fc00000, 0xffc12345, 0x7f812345, 0x7f800000, 0xff800000, 0x00000000, 0x80000000,
        0x00000001, 0x807fffff, 0x00800000, 0x7f7fffff, 0xff7f8000, 0x477fe000, 0x477ff000,
        0x38800000, 0x387fc000, 0x33800000, 0x33000000, 0x43e00000, 0x43e80000, 0x3c800000,
        0x3a800000, 0x3f808000, 0x3f818000, 0xbf800001, 0x3f803fff, 0x7f7f7fff, 0x00400000};
    return moe_float_of(bits[i % (sizeof bits / sizeof *bits)]);
}

static inline float ordinary_float(void)
{
    return ((float)rand() / (float)RAND_MAX - 0.5f) * (float)(1 << rand() % 12);
}

/* Random rows, `stride` bytes apart, encoded by the host; in some blocks every third is special. */
static inline pair_t make_rows(setting_t *s, moe_dtype_t dtype, size_t rows, size_t hidden,
                               size_t stride, bool special)
{
    const pair_t p = make_random(s, rows * stride);
    float *values = malloc(hidden * sizeof *values);
    assert_non_null(values);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < hidden; j++) {
            const bool odd = special && (r + j / MOE_FP8_BLOCK) % 2 == 0 && rand() % 3 == 0;
            values[j] = odd ? special_float((size_t)rand()) : ordinary_float();
        }
        s->host->ops->gather(s->host, p.host + r * stride, stride, dtype, values,
                             hidden * sizeof *values, MOE_FP32, NULL, 1, hidden);
    }
    free(values);
    push_pair(&p);
    return p;
}

#endif
