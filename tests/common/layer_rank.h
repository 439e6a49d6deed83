/* One rank's layer with its device and its buffers, for bodies of run_ranks(). */
#ifndef TESTS_LAYER_RANK_H
#define TESTS_LAYER_RANK_H

#include <inttypes.h>
#include <stdio.h>

#include "counting_device.h"
#include "loopback_ranks.h"
#include "moe/exchange.h"

/* Number formats of dispatch and combine: those that the field uses together, and two that take
 * different memory. */
typedef struct dtype_pair {
    moe_dtype_t dispatch, combine;
} dtype_pair_t;

static const dtype_pair_t dtype_pairs[] = {
    {MOE_BF16, MOE_BF16}, {MOE_FP16, MOE_FP16}, {MOE_FP32, MOE_FP32},
    {MOE_FP8, MOE_BF16},  {MOE_FP8, MOE_FP8},   {MOE_BF16, MOE_FP32},
};
#define DTYPE_PAIRS (sizeof dtype_pairs / sizeof dtype_pairs[0])
enum { FP8_AND_BF16 = 3 };

#define DATA_SEED 0x5eed

typedef struct layer_rank {
    counting_device_t device;
    moe_layer_t *layer;
    moe_workspace_t *workspace;
} layer_rank_t;

/* `spec` without its device; *r must stay where it is. Nothing is left behind on failure. */
static inline moe_status_t layer_rank_create(layer_rank_t *r, const moe_layer_spec_t *spec,
                                             const moe_device_t *host, moe_error_t *error)
{
    *r = (layer_rank_t){0};
    counting_device_init(&r->device, host);
    moe_layer_spec_t own = *spec;
    own.device = &r->device.device;
    moe_status_t status = moe_layer_create(&own, &r->layer, error);
    if (status == MOE_OK)
        status = moe_workspace_create(&r->layer, 1, &r->workspace, error);
    if (status == MOE_OK)
        status = moe_layer_bind(r->layer, r->workspace, error);
    if (status != MOE_OK) {
        moe_layer_destroy(r->layer);
        moe_workspace_destroy(r->workspace);
    }
    return status;
}

static inline void layer_rank_destroy(layer_rank_t *r)
{
    moe_layer_destroy(r->layer);
    moe_workspace_destroy(r->workspace);
}

/* The steps as an iteration runs them, between two checks. */
static inline moe_status_t layer_run_steps(moe_layer_t *layer, moe_error_t *error)
{
    moe_status_t (*const steps[])(moe_layer_t *, moe_error_t *) = {
        moe_layer_metadata, moe_layer_permute, moe_layer_dispatch,  moe_layer_arrange,
        moe_layer_restore,  moe_layer_combine, moe_layer_unpermute,
    };
    moe_status_t status = MOE_OK;
    for (size_t s = 0; s < sizeof steps / sizeof steps[0] && status == MOE_OK; s++)
        status = steps[s](layer, error);
    return status;
}

/* What a failure was about, in front of it. */
static inline void layer_explain(const moe_layer_t *layer, const char *finding, char *text)
{
    const moe_layer_spec_t *spec = moe_layer_spec(layer);
    snprintf(text, RANK_TEXT, "%zu ranks, %s, %s, %s/%s, hidden %zu: %.150s", spec->transport->size,
             spec->style->name, spec->algorithm->name, moe_dtype_name(spec->dtype),
             moe_dtype_name(spec->combine_dtype), spec->hidden, finding);
}

/* A full check that finds nothing. */
static inline bool layer_is_right(moe_layer_t *layer, char *text)
{
    moe_check_result_t result;
    moe_error_t error = {0};
    if (moe_layer_check(layer, MOE_CHECK_FULL, &result, &error) != MOE_OK) {
        layer_explain(layer, error.text, text);
        return false;
    }
    if (result.errors > 0) {
        char finding[RANK_TEXT];
        moe_check_describe(&result, finding, sizeof finding);
        layer_explain(layer, finding, text);
        return false;
    }
    return true;
}

#endif
