#include "balanced.h"

#include <stdbool.h>

#include "gate.h"
#include "race.h"
#include "score.h"

/* The global sequence of tokens is cut into blocks of E / gcd(E, K). A block has a random
 * permutation of the experts of its own, and its tokens take K after K of it, round and round:
 * after the block every expert was chosen K / gcd(E, K) times, so whole blocks give equal loads,
 * and any number of tokens from the first on gives loads that differ by one at most. The gate is
 * not asked; weights are those of a race of equally popular experts, in the order of the turns.
 *
 * A gate that limits groups keeps its limit. Then a block has a random order of the groups and a
 * random order of the experts in each; its token j uses the topk_group groups from the j-th of
 * that order on, round and round, and takes the next experts of each of them. After n_group tokens
 * every group was chosen K times, so a block of n_group * g / gcd(g, K) tokens, g = E / n_group,
 * chooses every expert K / gcd(g, K) times. */

static size_t greatest_common_divisor(size_t a, size_t b)
{
    while (b > 0) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Without a limit all experts are one group. */
typedef struct groups {
    size_t count, used; /* used: by a token */
    size_t size;        /* experts of one */
} groups_t;

static groups_t groups_of(const moe_routing_spec_t *spec)
{
    const bool limited = moe_gate_limits(spec);
    const size_t count = limited ? spec->n_group : 1;
    const groups_t groups = {
        .count = count, .used = limited ? spec->topk_group : 1, .size = spec->experts / count};
    return groups;
}

static size_t block_tokens(const moe_routing_spec_t *spec)
{
    const groups_t groups = groups_of(spec);
    return groups.count * (groups.size / greatest_common_divisor(groups.size, spec->top_k));
}

static void permute(const moe_router_t *router, uint32_t step, uint64_t block,
                    uint16_t *permutation)
{
    const moe_source_t source = moe_router_source(router, MOE_FOR_BALANCE, step);
    const groups_t groups = groups_of(&router->spec);
    moe_stream_t stream = moe_stream_start(&source, block, 0);
    uint16_t order[MOE_MAX_GROUPS] = {0};
    if (groups.count > 1)
        moe_stream_shuffle(&stream, groups.count, order);
    for (size_t g = 0; g < groups.count; g++) {
        uint16_t *in_group = permutation + g * groups.size;
        moe_stream_shuffle(&stream, groups.size, in_group);
        for (size_t i = 0; i < groups.size; i++)
            in_group[i] = (uint16_t)(in_group[i] + order[g] * groups.size);
    }
}

static void take_turns(const moe_routing_spec_t *spec, const uint16_t *permutation,
                       uint64_t token_in_block, int32_t *expert)
{
    const groups_t groups = groups_of(spec);
    const size_t top_k = spec->top_k, used = groups.used, count = groups.count;
    const size_t round = (size_t)token_in_block / count, first = (size_t)token_in_block % count;
    /* Of a token's choices, i K / used ... (i + 1) K / used - 1 fall to the i-th of its groups. */
    for (size_t i = 0, k = 0; i < used; i++) {
        const size_t end = (i + 1) * top_k / used, at = first + i, group = at % count;
        /* Chosen of this group before: K in each round, and in this one by the tokens that it is a
         * later group of, which all have been if the groups are round. */
        const size_t later = at < count ? (at + 1 < used ? at + 1 : used) * top_k / used
                                        : top_k + (group + 1) * top_k / used;
        size_t place = (round * top_k + later - end) % groups.size;
        for (; k < end; k++) {
            expert[k] = permutation[group * groups.size + place];
            place = place + 1 < groups.size ? place + 1 : 0;
        }
    }
}

static void fill_remaining(const moe_routing_spec_t *spec, size_t tokens, size_t stride,
                           double *remaining)
{
    for (size_t k = 0; k < spec->top_k; k++) {
        for (size_t t = 0; t < tokens; t++)
            remaining[k * stride + t] = (double)(spec->experts - k) / (double)spec->experts;
    }
}

static void weigh(const moe_router_t *router, uint32_t step, uint64_t first_token,
                  moe_table_t *table)
{
    const moe_source_t scores = moe_router_source(router, MOE_FOR_SCORE, step);
    const size_t top_k = router->spec.top_k,
                 blocks = (top_k + MOE_RANDOM_WORDS - 1) / MOE_RANDOM_WORDS;
    const size_t stride = MOE_BATCH_TIMES / (blocks * MOE_RANDOM_WORDS);
    uint32_t words[MOE_BATCH_TIMES];
    double remaining[MOE_BATCH_TIMES], time[MOE_BATCH_TIMES];
    fill_remaining(&router->spec, stride, stride, remaining);
    for (size_t done = 0; done < table->tokens; done += stride) {
        const size_t left = table->tokens - done, tokens = left < stride ? left : stride;
        moe_score_times(&scores, first_token + done, tokens, top_k, stride, remaining, words, time);
        moe_score_weights(tokens, top_k, stride, time, table->weight + done * top_k);
    }
}

void moe_balanced_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                        moe_table_t *table)
{
    const uint64_t length = block_tokens(&router->spec);
    uint16_t permutation[MOE_MAX_EXPERTS];
    for (size_t t = 0; t < table->tokens; t++) {
        const uint64_t token = first_token + t;
        if (t == 0 || token % length == 0)
            permute(router, step, token / length, permutation);
        take_turns(&router->spec, permutation, token % length,
                   table->expert + t * router->spec.top_k);
    }
    weigh(router, step, first_token, table);
}

void moe_balanced_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                                double *probability)
{
    const moe_routing_spec_t *spec = &router->spec;
    const moe_source_t scores = moe_router_source(router, MOE_FOR_SCORE, step);
    const uint64_t length = block_tokens(spec);
    uint16_t permutation[MOE_MAX_EXPERTS];
    int32_t expert[MOE_MAX_TOP_K];
    uint32_t words[MOE_MAX_TOP_K];
    double remaining[MOE_MAX_TOP_K], time[MOE_MAX_TOP_K];
    permute(router, step, token / length, permutation);
    take_turns(spec, permutation, token % length, expert);
    fill_remaining(spec, 1, 1, remaining);
    moe_score_times(&scores, token, 1, spec->top_k, 1, remaining, words, time);
    moe_race_spread(router, step, token, expert, time, probability);
}
