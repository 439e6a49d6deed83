/* Modelled compute: the time that a device of a given rate would take is waited, nothing is
 * computed. `model` takes the rate from the user, `gpu` from a table of data sheets. Output rows of
 * experts stay as they are. */
#include <stdio.h>
#include <string.h>

#include "compute_engines.h"
#include "moe/system.h"

#define TERA 1e12

/* Outside of these the unit was mistaken ("model:989" for 989 TFLOP/s): one core does more than the
 * least, and the most is some 400,000 of the fastest GPUs below. */
#define LEAST_FLOPS 1e9
#define MOST_FLOPS  1e21

#define LEAST_EFFICIENCY 1e-6

/* Share of the peak that a GEMM on random data reaches: 788 of 989 TFLOP/s in bf16 at 8192^3,
 * measured on an H200. Other GPUs are taken to reach the same share. */
#define DEFAULT_EFFICIENCY 0.80

/* Longest text in front of the comma that is read. */
#define WORD 64

typedef struct gpu {
    const char *name;
    double flops; /* dense bf16 peak, FLOP/s, by NVIDIA's data sheet of the SXM part */
} gpu_t;

static const gpu_t gpus[] = {
    {.name = "a100", .flops = 312 * TERA},  {.name = "h100", .flops = 989 * TERA},
    {.name = "h200", .flops = 989 * TERA},  {.name = "h800", .flops = 989 * TERA},
    {.name = "b200", .flops = 2250 * TERA},
};

#define GPUS (sizeof gpus / sizeof gpus[0])

/* Cuts "FIRST,SECOND" in two; *second is NULL where there is no comma. False: FIRST is too long. */
static bool cut_at_comma(const char *text, char *first, const char **second)
{
    const size_t length = strcspn(text, ",");
    if (length >= WORD)
        return false;
    memcpy(first, text, length);
    first[length] = '\0';
    *second = text[length] == ',' ? text + length + 1 : NULL;
    return true;
}

static moe_status_t parse_efficiency(const char *what, const char *text, double *out,
                                     moe_error_t *error)
{
    return moe_parse_real(what, text, LEAST_EFFICIENCY, 1, out, error);
}

static moe_status_t model_create(moe_compute_t *c, const char *arguments, moe_error_t *error)
{
    char first[WORD];
    const char *second = NULL;
    if (arguments == NULL || !cut_at_comma(arguments, first, &second) || second == NULL)
        return moe_fail(error, MOE_BAD_INPUT,
                        "--compute model:%.60s: give model:FLOPS,EFFICIENCY, as model:100e12,0.8",
                        arguments == NULL ? "" : arguments);
    double flops = 0, efficiency = 0;
    moe_status_t status = moe_parse_real("--compute model: FLOPS (a second)", first, LEAST_FLOPS,
                                         MOST_FLOPS, &flops, error);
    if (status == MOE_OK)
        status = parse_efficiency("--compute model: EFFICIENCY", second, &efficiency, error);
    if (status != MOE_OK)
        return status;
    c->flops_per_second = flops * efficiency;
    snprintf(c->description, sizeof c->description, "%.4g TFLOP/s x %.2g (modelled)", flops / TERA,
             efficiency);
    return MOE_OK;
}

static const gpu_t *find_gpu(const char *name)
{
    for (size_t i = 0; i < GPUS; i++) {
        if (strcmp(gpus[i].name, name) == 0)
            return &gpus[i];
    }
    return NULL;
}

static moe_status_t refuse_gpu(const char *arguments, moe_error_t *error)
{
    char known[GPUS * WORD] = "";
    size_t length = 0;
    for (size_t i = 0; i < GPUS; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s",
                                   i == 0 ? "" : ", ", gpus[i].name);
    return moe_fail(error, MOE_BAD_INPUT,
                    "--compute gpu:%.60s: give gpu:NAME or gpu:NAME,EFFICIENCY, where NAME is one "
                    "of %s",
                    arguments == NULL ? "" : arguments, known);
}

static moe_status_t gpu_create(moe_compute_t *c, const char *arguments, moe_error_t *error)
{
    char name[WORD];
    const char *second = NULL;
    const gpu_t *gpu = NULL;
    if (arguments != NULL && cut_at_comma(arguments, name, &second))
        gpu = find_gpu(name);
    if (gpu == NULL)
        return refuse_gpu(arguments, error);
    double efficiency = DEFAULT_EFFICIENCY;
    if (second != NULL) {
        const moe_status_t status =
            parse_efficiency("--compute gpu: EFFICIENCY", second, &efficiency, error);
        if (status != MOE_OK)
            return status;
    }
    c->flops_per_second = gpu->flops * efficiency;
    snprintf(c->description, sizeof c->description, "%.4g TFLOP/s x %.2g (modelled: %s)",
             gpu->flops / TERA, efficiency, gpu->name);
    return MOE_OK;
}

static void wait_for(moe_compute_t *c, double flops, bool backward)
{
    /* Gradients of inputs and of weights: twice the forward. */
    const double all = backward ? 2.0 * flops : flops;
    if (all > 0)
        c->device->ops->wait(c->device, all / c->flops_per_second);
}

static void model_run(moe_compute_t *c, const moe_gemm_list_t *list, bool backward)
{
    wait_for(c, moe_gemm_list_flops(list), backward);
}

static void model_experts(moe_compute_t *c, const moe_gemm_list_t *list, const moe_expert_t *expert,
                          size_t count, moe_dtype_t in_dtype, moe_dtype_t out_dtype, size_t hidden,
                          bool backward)
{
    (void)in_dtype, (void)out_dtype, (void)hidden;
    double flops = 0;
    for (size_t e = 0; e < count; e++) {
        for (size_t i = 0; i < list[e].count; i++)
            flops += 2.0 * (double)list[e].times[i] * (double)expert[e].rows *
                     (double)list[e].shape[i].n * (double)list[e].shape[i].k;
    }
    wait_for(c, flops, backward);
}

const moe_compute_ops_t moe_compute_model_ops = {
    .name = "model",
    .syntax = "model:FLOPS,EFFICIENCY",
    .summary = "waits the time that a device of FLOPS (FLOP/s) at EFFICIENCY would take",
    .create = model_create,
    .run = model_run,
    .experts = model_experts,
    .memory = moe_compute_no_memory,
    .prepare = moe_compute_no_preparation,
    .destroy = moe_compute_nothing_to_destroy,
};

const moe_compute_ops_t moe_compute_gpu_ops = {
    .name = "gpu",
    .syntax = "gpu:NAME[,EFFICIENCY]",
    .summary = "waits the time that a GPU of that name would take, as gpu:h100",
    .create = gpu_create,
    .run = model_run,
    .experts = model_experts,
    .memory = moe_compute_no_memory,
    .prepare = moe_compute_no_preparation,
    .destroy = moe_compute_nothing_to_destroy,
};
