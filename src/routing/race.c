#include "race.h"

#include <assert.h>
#include <string.h>

#include "real.h"
#include "score.h"

/* Drawing one by one in proportion to p and passing over those drawn before is drawing without
 * replacement. Where that takes more than 2 K draws (one expert has nearly all of p), the rest are
 * drawn by inversion over those not chosen: the same law, at a cost that does not depend on p. */

/* Which token of a batch drew an expert last: its number in the batch + 1. Stamps need no clearing
 * between tokens, and bytes fare better than bits: draws of different experts do not wait for each
 * other's stores. */
typedef struct stamps {
    uint8_t last[MOE_MAX_EXPERTS];
} stamps_t;

/* At most what a stamp holds. */
#define BATCH_TOKENS 128

/* Blocks of random words for a token's draws before inversion. */
static size_t blocks_of(size_t top_k)
{
    return (2 * top_k + MOE_RANDOM_WORDS - 1) / MOE_RANDOM_WORDS;
}

/* Tokens of a batch. */
static size_t batch_stride(size_t top_k)
{
    const size_t tokens = MOE_BATCH_WORDS / (blocks_of(top_k) * MOE_RANDOM_WORDS);
    return tokens < BATCH_TOKENS ? tokens : BATCH_TOKENS;
}

/* The distinct experts among those that `draws` words (stride apart) give, in the order of their
 * first draw. */
static size_t draw_distinct(const moe_draw_t *draw, const uint32_t *words, size_t stride,
                            size_t draws, stamps_t *stamps, uint8_t stamp, uint32_t *found)
{
    size_t count = 0;
    for (size_t i = 0; i < draws; i++) {
        const uint32_t e = moe_draw_pick(draw, words[i * stride]);
        found[count] = e; /* stays if it is new; no branch: that could not be foreseen */
        count += stamps->last[e] != stamp;
        stamps->last[e] = stamp;
    }
    return count;
}

/* Inserts into an ascending list. */
static void insert(uint32_t *list, size_t count, uint32_t value)
{
    size_t at = count;
    for (; at > 0 && list[at - 1] > value; at--)
        list[at] = list[at - 1];
    list[at] = value;
}

/* Draws what is missing to top_k experts, from the words behind those used so far. */
static void draw_missing(const moe_draw_t *draw, moe_stream_t *stream, size_t count, size_t top_k,
                         uint32_t *found)
{
    uint32_t taken[MOE_MAX_TOP_K];
    for (size_t i = 0; i < count; i++)
        insert(taken, i, found[i]);
    uint64_t mass = moe_draw_mass_without(draw, taken, count);
    for (; count < top_k; count++) {
        const uint32_t e = moe_draw_invert(draw, moe_stream_below(stream, mass), taken, count);
        mass -= draw->start[e + 1] - draw->start[e];
        insert(taken, count, e);
        found[count] = e;
    }
}

/* Scratch of a batch; on the stack, because many threads may route with one router. */
typedef struct batch {
    uint32_t words[MOE_BATCH_WORDS];
    uint32_t found[MOE_BATCH_WORDS]; /* experts of one token */
    double remaining[MOE_BATCH_TIMES];
    double time[MOE_BATCH_TIMES];
    stamps_t stamps;
} batch_t;

/* Experts of consecutive tokens to expert[tokens][top_k], and the mass not chosen before each to
 * remaining[k * stride + t]. */
static void choose(const moe_router_t *router, uint32_t step, uint64_t first_token, size_t tokens,
                   size_t stride, batch_t *batch, int32_t *expert)
{
    const moe_source_t source = moe_router_source(router, MOE_FOR_CHOICE, step);
    const size_t top_k = router->spec.top_k;
    const uint32_t blocks = (uint32_t)blocks_of(top_k);
    for (uint32_t b = 0; b < blocks; b++)
        moe_random_items(&source, first_token, tokens, b, stride,
                         batch->words + b * MOE_RANDOM_WORDS * stride);
    memset(batch->stamps.last, 0, router->spec.experts);
    for (size_t t = 0; t < tokens; t++) {
        const size_t count =
            draw_distinct(&router->draw, batch->words + t, stride, blocks * MOE_RANDOM_WORDS,
                          &batch->stamps, (uint8_t)(t + 1), batch->found);
        if (count < top_k) {
            moe_stream_t stream = moe_stream_start(&source, first_token + t, blocks);
            draw_missing(&router->draw, &stream, count, top_k, batch->found);
        }
        double mass = 1;
        for (size_t k = 0; k < top_k; k++) {
            batch->remaining[k * stride + t] = mass;
            mass -= router->popularity[batch->found[k]]; /* exact: multiples of 2^-32 */
            expert[t * top_k + k] = (int32_t)batch->found[k];
        }
    }
}

/* Experts and arrival times of a batch. */
static void race(const moe_router_t *router, uint32_t step, uint64_t first_token, size_t tokens,
                 size_t stride, batch_t *batch, int32_t *expert)
{
    const moe_source_t scores = moe_router_source(router, MOE_FOR_SCORE, step);
    choose(router, step, first_token, tokens, stride, batch, expert);
    moe_score_times(&scores, first_token, tokens, router->spec.top_k, stride, batch->remaining,
                    batch->words, batch->time);
}

void moe_race_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                    moe_table_t *table)
{
    const size_t top_k = router->spec.top_k, stride = batch_stride(top_k);
    batch_t batch;
    for (size_t done = 0; done < table->tokens; done += stride) {
        const size_t left = table->tokens - done, tokens = left < stride ? left : stride;
        race(router, step, first_token + done, tokens, stride, &batch,
             table->expert + done * top_k);
        moe_score_weights(tokens, top_k, stride, batch.time, table->weight + done * top_k);
    }
}

void moe_race_spread(const moe_router_t *router, uint32_t step, uint64_t token,
                     const int32_t *expert, const double *time, double *probability)
{
    /* Those not chosen have not arrived when the last chosen does; from then on they take Exp(p_e)
     * (no memory). */
    const moe_source_t rest = moe_router_source(router, MOE_FOR_REST, step);
    const size_t experts = router->spec.experts, top_k = router->spec.top_k;
    uint32_t words[MOE_RANDOM_GROUP];
    assert(top_k > 0);
    for (size_t e = 0; e < experts; e++) {
        if (e % MOE_RANDOM_GROUP == 0)
            moe_random_group(&rest, token, e, words);
        const double waited =
            moe_real_exponential(words[e % MOE_RANDOM_GROUP]) / router->popularity[e];
        probability[e] = 1 / (time[top_k - 1] + waited);
    }
    for (size_t k = 0; k < top_k; k++)
        probability[expert[k]] = 1 / time[k];
    double total = 0;
    for (size_t e = 0; e < experts; e++)
        total += probability[e];
    for (size_t e = 0; e < experts; e++)
        probability[e] /= total;
}

void moe_race_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                            double *probability)
{
    batch_t batch;
    int32_t expert[MOE_MAX_TOP_K];
    race(router, step, token, 1, 1, &batch, expert);
    moe_race_spread(router, step, token, expert, batch.time, probability);
}
