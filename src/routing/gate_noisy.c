#include "gate.h"
#include "perturbed.h"
#include "real.h"

/* softplus(0) = ln 2: the noise scale of a router whose noise weights are still zero, as they are
 * initialised in the paper. */
static const double noise_scale = MOE_LN2_HIGH + MOE_LN2_LOW;

/* Blocks of the stream of two experts' normals. A try takes half a block and fails with probability
 * 1 - pi/4: 256 blocks do not run out (0.21^512). */
#define BLOCKS_OF_PAIR 256

/* H(x)_e = logit_e + N(0, 1) * softplus(noise logit), equations 3 to 5 of the paper. */
static void noisy(const moe_router_t *router, uint32_t step, uint64_t token, size_t first,
                  size_t count, double *logit)
{
    const moe_source_t source = moe_router_source(router, MOE_FOR_NOISE, step);
    moe_perturbed_logits(router, step, token, first, count, logit);
    for (size_t i = 0; i < count; i += 2) {
        const size_t pair = (first + i) / 2;
        moe_stream_t stream = moe_stream_start(&source, token, (uint32_t)(pair * BLOCKS_OF_PAIR));
        double noise[2];
        moe_stream_normals(&stream, noise);
        logit[i] += noise_scale * noise[0];
        if (i + 1 < count)
            logit[i + 1] += noise_scale * noise[1];
    }
}

static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    (void)error;
    const size_t top_k = router->spec.top_k;
    for (size_t t = 0; t < table->tokens; t++) {
        double logit[MOE_MAX_TOP_K];
        moe_perturbed_top(router, step, first_token + t, noisy, &table->expert[t * top_k], logit);
        moe_perturbed_weights(top_k, logit, &table->weight[t * top_k]);
    }
    return MOE_OK;
}

static void probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability)
{
    moe_perturbed_probabilities(router, step, token, noisy, probability);
}

const moe_gate_ops_t moe_gate_noisy = {
    .name = "noisy",
    .summary = "top-k of logits with normal noise, weights renormalised over the k chosen",
    .source = "Shazeer et al., arXiv 1701.06538",
    .route = route,
    .probabilities = probabilities,
};
