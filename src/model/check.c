#include <math.h>

#include "moe/model.h"

/* Far past every published model (the widest: 202,048 words; the most experts: 2,048, and a paper
 * has a million, arXiv 2407.04153), and small enough that the bytes of any matrix of a model, and
 * of all experts of a layer, stay in a size_t, and that an expert's number is an int32_t. */
#define MAX_WIDTH      ((size_t)1 << 20)
#define MAX_EXPERTS    ((size_t)1 << 20)
#define MAX_LAYERS     ((size_t)1 << 16)
#define MAX_HEADS      ((size_t)1 << 12)
#define MAX_HEAD_WIDTH ((size_t)1 << 12)

typedef struct limit {
    const char *option; /* as users know it; a name without dashes is a member of moe_model_t */
    size_t value, min, max;
} limit_t;

static moe_status_t check_limits(const limit_t *limits, size_t count, moe_error_t *error)
{
    for (size_t i = 0; i < count; i++) {
        if (limits[i].value < limits[i].min || limits[i].value > limits[i].max)
            return moe_fail(error, MOE_BAD_INPUT, "%s %zu: give a number between %zu and %zu",
                            limits[i].option, limits[i].value, limits[i].min, limits[i].max);
    }
    return MOE_OK;
}

static moe_status_t check_sizes(const moe_model_t *model, moe_error_t *error)
{
    const limit_t limits[] = {
        {"--hidden", model->hidden, 1, MAX_WIDTH},
        {"--expert-ffn", model->expert_ffn, 1, MAX_WIDTH},
        {"--experts", model->experts, 1, MAX_EXPERTS},
        {"--top-k", model->top_k, 1, MAX_EXPERTS},
        {"--layers", model->layers, 1, MAX_LAYERS},
        {"first_dense", model->first_dense, 0, MAX_LAYERS},
        {"moe_every", model->moe_every, 1, MAX_LAYERS},
        {"vocab", model->vocab, 1, MAX_WIDTH},
        {"shared_experts", model->shared_experts, 0, MAX_EXPERTS},
        {"shared_ffn", model->shared_ffn, 0, MAX_WIDTH},
        {"dense_ffn", model->dense_ffn, 0, MAX_WIDTH},
    };
    return check_limits(limits, sizeof limits / sizeof limits[0], error);
}

static moe_status_t check_attention(const moe_model_t *model, moe_error_t *error)
{
    const moe_mla_t *mla = &model->mla;
    const size_t with_mla = mla->kv_lora > 0; /* the least that each of its widths may be */
    const limit_t limits[] = {
        {"heads", model->heads, 1, MAX_HEADS},
        {"kv_heads", model->kv_heads, 1, model->heads},
        {"head_dim", model->head_dim, 1 - with_mla, MAX_HEAD_WIDTH},
        {"mla.q_lora", mla->q_lora, 0, MAX_WIDTH},
        {"mla.kv_lora", mla->kv_lora, 0, MAX_WIDTH},
        {"mla.qk_nope", mla->qk_nope, with_mla, MAX_HEAD_WIDTH},
        {"mla.qk_rope", mla->qk_rope, 0, MAX_HEAD_WIDTH},
        {"mla.v_head", mla->v_head, with_mla, MAX_HEAD_WIDTH},
    };
    return check_limits(limits, sizeof limits / sizeof limits[0], error);
}

static moe_status_t check_layers(const moe_model_t *model, moe_error_t *error)
{
    const size_t needed = model->first_dense + model->moe_every;
    if (model->layers < needed && model->first_dense > 0)
        return moe_fail(error, MOE_BAD_INPUT,
                        "--layers %zu leaves no MoE layer: %s starts with %zu dense layer%s; give "
                        "--layers %zu or more",
                        model->layers, model->name, model->first_dense,
                        model->first_dense == 1 ? "" : "s", needed);
    if (model->layers < needed)
        return moe_fail(error, MOE_BAD_INPUT,
                        "--layers %zu leaves no MoE layer: in %s the last of every %zu layers is "
                        "one; give --layers %zu or more",
                        model->layers, model->name, model->moe_every, needed);
    const bool has_dense = model->dense_residual || moe_model_moe_layers(model) < model->layers;
    if (has_dense && model->dense_ffn == 0)
        return moe_fail(error, MOE_BAD_INPUT,
                        "dense_ffn 0: %s has dense layers; give the width of their FFN",
                        model->name);
    return MOE_OK;
}

moe_status_t moe_model_check(const moe_model_t *model, moe_error_t *error)
{
    moe_status_t status = check_sizes(model, error);
    if (status == MOE_OK)
        status = check_attention(model, error);
    if (status == MOE_OK)
        status = check_layers(model, error);
    if (status != MOE_OK)
        return status;

    if (model->top_k > model->experts)
        return moe_fail(error, MOE_BAD_INPUT,
                        "--top-k %zu: more than --experts %zu: a token chooses distinct experts; "
                        "give --top-k %zu or less",
                        model->top_k, model->experts, model->experts);
    if (moe_model_shared_width(model) > MAX_WIDTH)
        return moe_fail(error, MOE_BAD_INPUT,
                        "shared experts %zu elements wide together: at most %zu; lower "
                        "shared_experts or --expert-ffn",
                        moe_model_shared_width(model), MAX_WIDTH);
    if (model->topk_group > model->n_group)
        return moe_fail(error, MOE_BAD_INPUT, "--topk-group %zu: more than --n-group %zu",
                        model->topk_group, model->n_group);
    if (!isfinite(model->capacity_factor) || model->capacity_factor < 0)
        return moe_fail(error, MOE_BAD_INPUT, "capacity_factor %g: give 0 (dropless) or more",
                        model->capacity_factor);
    return MOE_OK;
}
