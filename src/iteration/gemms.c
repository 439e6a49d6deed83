/* The GEMMs of a model's parts, as the field counts them. Activation functions, norms, softmax and
 * rotary embeddings are left out: they are a few FLOP an element where a GEMM spends thousands. */
#include <assert.h>
#include <stdlib.h>

#include "moe/iteration.h"
#include "moe/system.h"

/* Tokens of one rank: scores of so many tokens (a square matrix of fp32) still fit a size_t. */
#define MAX_TOKENS ((size_t)1 << 30)

/* Shapes of the longest list: MLA has five projections, and scores and values of the whole
 * sequences and of the rest. */
#define MAX_SHAPES 9

static moe_status_t check_tokens(size_t tokens, moe_error_t *error)
{
    if (tokens > MAX_TOKENS)
        return moe_fail(error, MOE_BAD_INPUT, "--tokens %zu: at most %zu on one rank", tokens,
                        MAX_TOKENS);
    return MOE_OK;
}

static moe_status_t create_list(size_t tokens, moe_gemm_list_t *out, moe_error_t *error)
{
    moe_gemm_list_t list = {.capacity = MAX_SHAPES};
    void *shapes = NULL, *times = NULL;
    moe_status_t status = check_tokens(tokens, error);
    if (status == MOE_OK)
        status = moe_alloc("GEMM shapes", MAX_SHAPES, sizeof *list.shape, &shapes, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc("GEMM counts", MAX_SHAPES, sizeof *list.times, &times, error);
    if (status != MOE_OK) {
        free(shapes);
        return status;
    }
    list.shape = shapes;
    list.times = times;
    *out = list;
    return MOE_OK;
}

/* What has no element is no GEMM: no tokens, no shared expert, no rest of a sequence. */
static void add(moe_gemm_list_t *list, size_t times, moe_gemm_t shape)
{
    if (shape.m == 0 || shape.n == 0 || shape.k == 0 || times == 0)
        return;
    assert(list->count < list->capacity);
    list->shape[list->count] = shape;
    list->times[list->count] = times;
    list->count++;
}

/* Activations [tokens][from] times weights [from][to]. */
static void add_projection(moe_gemm_list_t *list, size_t tokens, size_t from, size_t to)
{
    add(list, 1, (moe_gemm_t){.m = tokens, .n = to, .k = from});
}

/* Grouped-query attention (arXiv 2305.13245): one projection for queries, keys and values. */
static void add_gqa_projections(moe_gemm_list_t *list, const moe_model_t *model, size_t tokens)
{
    const size_t queries = model->heads * model->head_dim;
    const size_t keys = model->kv_heads * model->head_dim;
    add_projection(list, tokens, model->hidden, queries + keys + keys);
    add_projection(list, tokens, queries, model->hidden);
}

/* Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1), in the form that trains
 * and prefills: keys and values are made whole. The key's rotary part is one for all heads and
 * comes straight from the token. */
static void add_mla_projections(moe_gemm_list_t *list, const moe_model_t *model, size_t tokens)
{
    const moe_mla_t *mla = &model->mla;
    const size_t queries = model->heads * moe_model_score_width(model);
    if (mla->q_lora > 0) {
        add_projection(list, tokens, model->hidden, mla->q_lora);
        add_projection(list, tokens, mla->q_lora, queries);
    } else {
        add_projection(list, tokens, model->hidden, queries);
    }
    add_projection(list, tokens, model->hidden, mla->kv_lora + mla->qk_rope);
    add_projection(list, tokens, mla->kv_lora, model->heads * (mla->qk_nope + mla->v_head));
    add_projection(list, tokens, model->heads * mla->v_head, model->hidden);
}

/* Scores and values of `times` heads and sequences of `length` tokens. Whole squares: a kernel that
 * skips what the causal mask hides does half (moe_model_flops() counts that half). */
static void add_scores(moe_gemm_list_t *list, const moe_model_t *model, size_t times, size_t length)
{
    const size_t score = moe_model_score_width(model), value = moe_model_value_width(model);
    add(list, times, (moe_gemm_t){.m = length, .n = length, .k = score, .transpose_b = true});
    add(list, times, (moe_gemm_t){.m = length, .n = value, .k = length});
}

moe_status_t moe_gemms_attention(const moe_model_t *model, size_t tokens, size_t sequence,
                                 moe_gemm_list_t *out, moe_error_t *error)
{
    if (tokens > 0 && sequence == 0)
        return moe_fail(error, MOE_BAD_INPUT, "--seq-len 0: give 1 or more");
    moe_gemm_list_t list;
    const moe_status_t status = create_list(tokens, &list, error);
    if (status != MOE_OK)
        return status;
    if (model->mla.kv_lora > 0)
        add_mla_projections(&list, model, tokens);
    else
        add_gqa_projections(&list, model, tokens);
    if (tokens > 0) {
        add_scores(&list, model, model->heads * (tokens / sequence), sequence);
        add_scores(&list, model, model->heads, tokens % sequence);
    }
    *out = list;
    return MOE_OK;
}

moe_status_t moe_gemms_ffn(size_t tokens, size_t hidden, size_t inner, bool glu,
                           moe_gemm_list_t *out, moe_error_t *error)
{
    moe_gemm_list_t list;
    const moe_status_t status = create_list(tokens, &list, error);
    if (status != MOE_OK)
        return status;
    /* Gate and up are alike; down leads back. */
    add(&list, glu ? 2 : 1, (moe_gemm_t){.m = tokens, .n = inner, .k = hidden});
    add(&list, 1, (moe_gemm_t){.m = tokens, .n = hidden, .k = inner});
    *out = list;
    return MOE_OK;
}

static moe_status_t one_projection(size_t tokens, size_t from, size_t to, moe_gemm_list_t *out,
                                   moe_error_t *error)
{
    moe_gemm_list_t list;
    const moe_status_t status = create_list(tokens, &list, error);
    if (status != MOE_OK)
        return status;
    add_projection(&list, tokens, from, to);
    *out = list;
    return MOE_OK;
}

moe_status_t moe_gemms_router(const moe_model_t *model, size_t tokens, moe_gemm_list_t *out,
                              moe_error_t *error)
{
    return one_projection(tokens, model->hidden, model->experts, out, error);
}

moe_status_t moe_gemms_head(const moe_model_t *model, size_t tokens, moe_gemm_list_t *out,
                            moe_error_t *error)
{
    return one_projection(tokens, model->hidden, model->vocab, out, error);
}

double moe_gemm_list_flops(const moe_gemm_list_t *list)
{
    double flops = 0;
    for (size_t i = 0; i < list->count; i++) {
        const moe_gemm_t *s = &list->shape[i];
        flops += 2.0 * (double)list->times[i] * (double)s->m * (double)s->n * (double)s->k;
    }
    return flops;
}

void moe_gemm_list_destroy(moe_gemm_list_t *list)
{
    if (list == NULL)
        return;
    free(list->shape);
    free(list->times);
    *list = (moe_gemm_list_t){.count = 0};
}
