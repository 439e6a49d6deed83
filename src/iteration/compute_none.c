/* No compute at all: the exchanges of a model alone. */
#include <stdio.h>

#include "compute_engines.h"

static moe_status_t none_create(moe_compute_t *c, const char *arguments, moe_error_t *error)
{
    if (arguments != NULL)
        return moe_fail(error, MOE_BAD_INPUT, "--compute none:%.60s: none takes no arguments",
                        arguments);
    snprintf(c->description, sizeof c->description, "no compute");
    return MOE_OK;
}

static void none_run(moe_compute_t *c, const moe_gemm_list_t *list, bool backward)
{
    (void)c, (void)list, (void)backward;
}

/* The output rows stay as they are. */
static void none_experts(moe_compute_t *c, const moe_gemm_list_t *list, const moe_expert_t *expert,
                         size_t count, moe_dtype_t in_dtype, moe_dtype_t out_dtype, size_t hidden,
                         bool backward)
{
    (void)c, (void)list, (void)expert, (void)count, (void)in_dtype, (void)out_dtype;
    (void)hidden, (void)backward;
}

const moe_compute_ops_t moe_compute_none_ops = {
    .name = "none",
    .syntax = "none",
    .summary = "no compute: the exchanges alone",
    .create = none_create,
    .run = none_run,
    .experts = none_experts,
    .memory = moe_compute_no_memory,
    .prepare = moe_compute_no_preparation,
    .destroy = moe_compute_nothing_to_destroy,
};
