#include "work.h"

#include <math.h>

/* GEMMs run on tokens as they lie in memory: fp8 on the wire is converted before. */
static double element_bytes(const moe_forecast_spec_t *spec)
{
    return (double)moe_dtype_bytes(spec->combine_dtype);
}

/* ---- Experts ---- */

static double matrices(const moe_model_t *model)
{
    return model->glu ? 3 : 2;
}

double work_row_seconds(const moe_forecast_spec_t *spec)
{
    const moe_model_t *m = spec->model;
    if (spec->flops <= 0)
        return 0;
    return 2 * matrices(m) * (double)m->hidden * (double)m->expert_ffn / spec->flops;
}

double work_expert_seconds(const moe_forecast_spec_t *spec, double rows)
{
    const moe_model_t *m = spec->model;
    const double h = (double)m->hidden, f = (double)m->expert_ffn;
    if (spec->flops <= 0 || rows <= 0)
        return 0;
    const double weights = matrices(m) * h * f, moved = rows * matrices(m) * (h + f);
    /* With less than a row expected, the expert is as likely to have none. */
    const double reading =
        fmin(1, rows) * (weights + moved) * element_bytes(spec) / spec->machine->memory;
    const double computing = rows * work_row_seconds(spec);
    return spec->roofline ? fmax(computing, reading) : computing;
}

/* ---- The rest ---- */

static double list_seconds(const moe_forecast_spec_t *spec, const moe_gemm_list_t *list,
                           bool reads_operands)
{
    double elements = 0;
    if (spec->flops <= 0)
        return 0;
    for (size_t i = 0; i < list->count; i++) {
        const moe_gemm_t *s = &list->shape[i];
        elements +=
            (double)list->times[i] * ((double)s->m * (double)s->k + (double)s->k * (double)s->n +
                                      (double)s->m * (double)s->n);
    }
    const double computing = moe_gemm_list_flops(list) / spec->flops;
    const double reading = elements * element_bytes(spec) / spec->machine->memory;
    return spec->roofline && reads_operands ? fmax(computing, reading) : computing;
}

/* Takes the list over. Scores of attention are not written to memory (FlashAttention, arXiv 2205.14135). */
static moe_status_t add(const moe_forecast_spec_t *spec, moe_status_t made, moe_gemm_list_t *list,
                        bool reads_operands, double *seconds)
{
    if (made != MOE_OK)
        return made;
    *seconds += list_seconds(spec, list, reads_operands);
    moe_gemm_list_destroy(list);
    return MOE_OK;
}

moe_status_t work_of_rank(const moe_forecast_spec_t *spec, work_t *out, moe_error_t *error)
{
    const moe_model_t *m = spec->model;
    const size_t tokens = spec->tokens, shared = moe_model_shared_width(m);
    moe_gemm_list_t list;
    double attention = 0, dense = 0;
    work_t w = {0};
    moe_status_t status = add(spec, moe_gemms_attention(m, tokens, spec->sequence, &list, error),
                              &list, false, &attention);
    if (status == MOE_OK && m->dense_ffn > 0)
        status = add(spec, moe_gemms_ffn(tokens, m->hidden, m->dense_ffn, m->glu, &list, error),
                     &list, true, &dense);
    if (status == MOE_OK && shared > 0)
        status = add(spec, moe_gemms_ffn(tokens, m->hidden, shared, m->glu, &list, error), &list,
                     true, &w.moe);
    if (status == MOE_OK)
        status = add(spec, moe_gemms_router(m, tokens, &list, error), &list, true, &w.moe);
    if (status == MOE_OK)
        status = add(spec, moe_gemms_head(m, tokens, &list, error), &list, true, &w.once);
    w.moe += attention + (m->dense_residual ? dense : 0);
    w.dense = attention + dense;
    if (status == MOE_OK)
        *out = w;
    return status;
}
