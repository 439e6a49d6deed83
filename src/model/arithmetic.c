#include "moe/model.h"

/* Sums are doubles: a model of 2^20 x 2^20 x 2^20 parameters passes 2^53 in size_t's range, and
 * every published count (below 2^53) is exact in a double. */

/* A multiplication and an addition. */
#define FLOP_PER_WEIGHT 2.0

/* Forward, gradient of the input, gradient of the weights (Megatron-LM, training.py). */
#define TRAINING_PASSES 3.0

bool moe_model_layer_is_moe(const moe_model_t *model, size_t layer)
{
    return layer >= model->first_dense && (layer - model->first_dense + 1) % model->moe_every == 0;
}

size_t moe_model_moe_layers(const moe_model_t *model)
{
    return model->layers < model->first_dense
               ? 0
               : (model->layers - model->first_dense) / model->moe_every;
}

size_t moe_model_shared_width(const moe_model_t *model)
{
    const size_t each = model->shared_ffn > 0 ? model->shared_ffn : model->expert_ffn;
    return model->shared_experts * each;
}

/* Weights of an FFN: gate (with GLU), up and down. */
static double ffn_weights(const moe_model_t *model, size_t inner)
{
    return (model->glu ? 3.0 : 2.0) * (double)model->hidden * (double)inner;
}

size_t moe_model_score_width(const moe_model_t *model)
{
    return model->mla.kv_lora > 0 ? model->mla.qk_nope + model->mla.qk_rope : model->head_dim;
}

size_t moe_model_value_width(const moe_model_t *model)
{
    return model->mla.kv_lora > 0 ? model->mla.v_head : model->head_dim;
}

/* DeepSeek-V2, arXiv 2405.04434, section 2.1: queries and, together, keys and values go through a
 * narrow layer; the rotary part of the key is one for all heads. */
static double mla_params(const moe_model_t *model)
{
    const moe_mla_t *mla = &model->mla;
    const double hidden = (double)model->hidden, heads = (double)model->heads;
    const double queries = heads * (double)moe_model_score_width(model);
    const double query =
        mla->q_lora > 0 ? (double)mla->q_lora * (hidden + queries) : hidden * queries;
    const double keys_values =
        (double)mla->kv_lora * (hidden + heads * (double)(mla->qk_nope + mla->v_head)) +
        hidden * (double)mla->qk_rope;
    return query + keys_values + heads * (double)mla->v_head * hidden;
}

double moe_model_attention_params(const moe_model_t *model)
{
    if (model->mla.kv_lora > 0)
        return mla_params(model);
    const double queries = (double)model->heads * (double)model->head_dim;
    const double keys_values = 2.0 * (double)model->kv_heads * (double)model->head_dim;
    return (double)model->hidden * (2.0 * queries + keys_values); /* 2: query and output */
}

/* FFNs of dense layers and those beside experts. */
static double dense_params(const moe_model_t *model)
{
    const size_t moe_layers = moe_model_moe_layers(model);
    const size_t ffns = model->layers - moe_layers + (model->dense_residual ? moe_layers : 0);
    return (double)ffns * ffn_weights(model, model->dense_ffn);
}

void moe_model_params(const moe_model_t *model, moe_params_t *out)
{
    const double hidden = (double)model->hidden;
    const double moe_layers = (double)moe_model_moe_layers(model);
    const double expert = ffn_weights(model, model->expert_ffn);
    moe_params_t params = {
        .embedding = (double)model->vocab * hidden,
        .lm_head = hidden * (double)model->vocab,
        .attention = (double)model->layers * moe_model_attention_params(model),
        .router = moe_layers * hidden * (double)model->experts,
        .experts = moe_layers * (double)model->experts * expert,
        .experts_active = moe_layers * (double)model->top_k * expert,
        .shared = moe_layers * ffn_weights(model, moe_model_shared_width(model)),
        .dense = dense_params(model),
    };
    const double others = params.embedding + params.lm_head + params.attention + params.router +
                          params.shared + params.dense;
    params.total = others + params.experts;
    params.active = others + params.experts_active;
    *out = params;
}

/* Multiply-adds of one layer's attention for one token. Under a causal mask a token sees half of
 * the sequence in the mean. Megatron-LM counts each of MLA's two compressed vectors once more, for
 * its norm: the "+ 1" in q_lora * (... + 1) + kv_lora * (... + 1). */
static double attention_weights(const moe_model_t *model, size_t sequence)
{
    const double seen = (double)sequence / 2.0;
    const double scores_and_values =
        (double)model->heads *
        (double)(moe_model_score_width(model) + moe_model_value_width(model)) * seen;
    const double norms =
        model->mla.kv_lora > 0 ? (double)(model->mla.q_lora + model->mla.kv_lora) : 0.0;
    return moe_model_attention_params(model) + norms + scores_and_values;
}

void moe_model_flops(const moe_model_t *model, size_t sequence, moe_flops_t *out)
{
    moe_params_t params;
    moe_model_params(model, &params);
    moe_flops_t flops = {
        .attention = FLOP_PER_WEIGHT * (double)model->layers * attention_weights(model, sequence),
        .dense = FLOP_PER_WEIGHT * params.dense,
        .experts = FLOP_PER_WEIGHT * params.experts_active,
        .shared = FLOP_PER_WEIGHT * params.shared,
        .head = FLOP_PER_WEIGHT * params.lm_head,
        .router = FLOP_PER_WEIGHT * params.router,
    };
    flops.forward = flops.attention + flops.dense + flops.experts + flops.shared + flops.head;
    flops.training = TRAINING_PASSES * flops.forward;
    *out = flops;
}
