/* Model shapes: presets of published Mixture-of-Experts models, and what follows from a shape by
 * arithmetic alone: bytes of a token, parameters, FLOP. */
#ifndef MOE_MODEL_H
#define MOE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum moe_dtype { MOE_BF16, MOE_FP16, MOE_FP32, MOE_FP8, MOE_DTYPES } moe_dtype_t;

/* FP8 is E4M3 with one fp32 scale per MOE_FP8_BLOCK elements of a row (DeepSeek-V3, arXiv
 * 2412.19437, section 3.3: 1x128 tiles). */
#define MOE_FP8_BLOCK 128

const char *moe_dtype_name(moe_dtype_t dtype); /* "bf16", ... */
moe_status_t moe_dtype_parse(const char *what, const char *text, moe_dtype_t *out,
                             moe_error_t *error);
size_t moe_dtype_bytes(moe_dtype_t dtype); /* of one element: 2, 2, 4, 1 */
/* Bytes of one token row of `hidden` elements on the wire: hidden * element, and for FP8 the scales:
 * hidden + 4 * ceil(hidden / 128). */
size_t moe_row_bytes(moe_dtype_t dtype, size_t hidden);
/* In lists of row numbers: no row, but one of zeros (padding). */
#define MOE_ROW_ZERO SIZE_MAX

/* Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434). kv_lora 0: the model has none. */
typedef struct moe_mla {
    size_t q_lora; /* rank of the query compression; 0: queries are not compressed */
    size_t kv_lora;
    size_t qk_nope; /* per head: query/key width without rotary embedding */
    size_t qk_rope; /* per head: with it */
    size_t v_head;  /* per head: value width */
} moe_mla_t;

#define MOE_MODEL_NAME 48

/* A model's shape. Sizes in elements. A value type: copy it freely. */
typedef struct moe_model {
    char name[MOE_MODEL_NAME];
    size_t hidden;      /* H: width of a token */
    size_t expert_ffn;  /* inner width of one routed expert */
    size_t experts;     /* E: routed experts of a MoE layer */
    size_t top_k;       /* K: experts that a token chooses */
    size_t layers;      /* all layers, MoE and dense */
    size_t first_dense; /* so many layers at the start are dense */
    size_t moe_every;   /* after them every n-th layer is MoE (the last of each n); 1: all */
    size_t heads;       /* attention heads */
    size_t kv_heads;    /* key/value heads (GQA) */
    size_t head_dim;    /* width of a head; 0 with MLA */
    size_t vocab;
    size_t shared_experts; /* number of shared experts */
    size_t shared_ffn;     /* inner width of one shared expert; 0: as expert_ffn */
    size_t dense_ffn;      /* inner width of the FFN of dense layers; 0: there are none */
    size_t n_group;        /* groups of experts for group-limited gating; 0: none */
    size_t topk_group;     /* groups that a token may use */
    bool glu;              /* gated FFN: three matrices instead of two */
    bool dense_residual;   /* every MoE layer has a dense FFN beside the experts (Arctic) */
    moe_mla_t mla;
    const char *gate;       /* the published gate: softmax, switch, gshard, sigmoid, sigmoid-bias */
    double capacity_factor; /* published; 0: dropless or not stated */
    double published_params_b; /* 1e9 parameters; 0: not stated */
    double published_active_b; /* 1e9, by the publisher's own convention; 0: not stated */
    const char *note;          /* what the plain formulas do not cover, or "" */
    const char *source;
} moe_model_t;

/* The presets, in a fixed order. Pointers into a constant table. */
size_t moe_model_count(void);
const moe_model_t *moe_model_at(size_t index);
/* Copies the preset `name`; MOE_BAD_INPUT names the nearest presets. */
moe_status_t moe_model_find(const char *name, moe_model_t *out, moe_error_t *error);
/* Refuses shapes that cannot be (0 experts, top_k > experts, hidden 0, no MoE layer ...). */
moe_status_t moe_model_check(const moe_model_t *model, moe_error_t *error);

/* Layers are counted from 0. */
bool moe_model_layer_is_moe(const moe_model_t *model, size_t layer);
size_t moe_model_moe_layers(const moe_model_t *model);

/* Widths of a head, in elements: what enters the scores (query, key; with MLA both their parts), and
 * the values. */
size_t moe_model_score_width(const moe_model_t *model);
size_t moe_model_value_width(const moe_model_t *model);
size_t moe_model_shared_width(const moe_model_t *model); /* all shared experts side by side */

/* Parameters (embedding and LM head untied, no biases, no norms). */
typedef struct moe_params {
    double embedding, lm_head;
    double attention;      /* all layers */
    double router;         /* all MoE layers */
    double experts;        /* routed, all MoE layers */
    double experts_active; /* top_k of them a layer */
    double shared;         /* shared experts, all MoE layers */
    double dense;          /* FFN of dense layers, and dense residuals */
    double total, active;  /* active: total with experts_active in place of experts */
} moe_params_t;
void moe_model_params(const moe_model_t *model, moe_params_t *out);
/* Attention parameters of one layer (the projections). */
double moe_model_attention_params(const moe_model_t *model);

/* FLOP per token, forward, whole model, at a sequence length (elements: causal attention counts half
 * the scores). As Megatron-LM's num_floating_point_operations (megatron/training/training.py) with
 * the router on a line of its own and not in the sum. Training is three times the forward. */
typedef struct moe_flops {
    double attention, dense, experts, shared, head;
    double router;            /* not in forward */
    double forward, training; /* sums of the first five, and three times that */
} moe_flops_t;
void moe_model_flops(const moe_model_t *model, size_t sequence, moe_flops_t *out);

#ifdef __cplusplus
}
#endif
#endif
