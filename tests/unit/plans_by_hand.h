/* Plans of all ranks of a group, carried out by hand: rows are what they hold, not bytes. Include after
 * cmocka.h. */
#ifndef MOE_TESTS_PLANS_BY_HAND_H
#define MOE_TESTS_PLANS_BY_HAND_H

#include <string.h>

#include "world.h"

#define NO_TOKEN     UINT64_MAX /* zeros */
#define NO_SIDE      SIZE_MAX
#define MOST_EXPERTS 64

/* A row in these tests: which token it holds, whose side data travels behind it, and with what weight
 * each expert's result is in it. */
typedef struct row {
    uint64_t token; /* global number, or NO_TOKEN */
    size_t side;    /* of the source rank, as in moe_hop_t */
    double weight[MOST_EXPERTS];
} row_t;

/* The buffers of one rank, as in a layer. */
typedef struct hand {
    moe_plan_t plan;
    row_t *sent, *arrived, *returned; /* of the first hop; returned: come back */
    row_t *forward_sent, *forward_arrived, *forward_returned;
    row_t *expert; /* by expert */
} hand_t;

typedef struct hands {
    const world_t *world;
    const moe_style_ops_t *style;
    hand_t *hand;                 /* [ranks] */
    moe_flow_t dispatch, combine; /* rows as they really travel */
} hands_t;

/* counts[peers][local experts] as `rank` learns them. */
static inline size_t *counts_for(const world_t *w, size_t rank)
{
    const size_t first = w->placement.first[rank];
    const size_t experts = w->placement.first[rank + 1] - first;
    size_t *counts = world_array(w->ranks * experts, sizeof *counts);
    for (size_t p = 0; p < w->ranks; p++) {
        for (size_t l = 0; l < experts; l++) {
            counts[p * experts + l] = w->batch[p]->counts[w->placement.expert_at[first + l]];
        }
    }
    return counts;
}

static inline row_t *rows_for(size_t count)
{
    row_t *rows = world_array(count, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        rows[i].token = NO_TOKEN - 1; /* nothing that any rank holds */
        rows[i].side = NO_SIDE;
    }
    return rows;
}

/* ranks_per_node: of the tiers that are counted. */
static inline void hands_create(hands_t *s, const world_t *w, const moe_style_ops_t *style,
                                size_t ranks_per_node, size_t row_bytes)
{
    assert_true(w->experts <= MOST_EXPERTS);
    *s = (hands_t){.world = w, .style = style, .hand = world_array(w->ranks, sizeof *s->hand)};
    const size_t side = moe_style_side_bytes(style, &w->sizes);
    assert_int_equal(
        moe_flow_create(w->ranks, ranks_per_node, row_bytes + side, &s->dispatch, NULL), MOE_OK);
    assert_int_equal(moe_flow_create(w->ranks, ranks_per_node, row_bytes, &s->combine, NULL),
                     MOE_OK);
    for (size_t r = 0; r < w->ranks; r++) {
        hand_t *h = &s->hand[r];
        size_t *counts = counts_for(w, r);
        const bool needs_counts = style->metadata == MOE_METADATA_COUNTS || style->fixed_slots;
        assert_int_equal(moe_plan_create(style, &w->workload, &w->sizes, w->batch[r], r,
                                         needs_counts ? counts : NULL, &h->plan, NULL),
                         MOE_OK);
        free(counts);
        h->sent = rows_for(moe_hop_send_rows(&h->plan.hop));
        h->arrived = rows_for(moe_hop_recv_rows(&h->plan.hop));
        h->returned = rows_for(moe_hop_back_rows(&h->plan.hop));
        h->expert = rows_for(h->plan.expert_first[h->plan.local_experts]);
        if (h->plan.two_hops) {
            h->forward_sent = rows_for(moe_hop_send_rows(&h->plan.forward));
            h->forward_arrived = rows_for(moe_hop_recv_rows(&h->plan.forward));
            h->forward_returned = rows_for(moe_hop_back_rows(&h->plan.forward));
        }
    }
}

static inline void hands_destroy(hands_t *s)
{
    for (size_t r = 0; r < s->world->ranks; r++) {
        hand_t *h = &s->hand[r];
        moe_plan_destroy(&h->plan);
        assert_null(h->plan.hop.gather);
        free(h->sent);
        free(h->arrived);
        free(h->returned);
        free(h->forward_sent);
        free(h->forward_arrived);
        free(h->forward_returned);
        free(h->expert);
    }
    free(s->hand);
    moe_flow_destroy(&s->dispatch);
    moe_flow_destroy(&s->combine);
}

/* ---- One hop ---- */

static inline const moe_hop_t *hop_of(const hands_t *s, size_t rank, bool forward)
{
    const moe_plan_t *plan = &s->hand[rank].plan;
    return forward ? &plan->forward : &plan->hop;
}

static inline size_t peer_rank(const hands_t *s, size_t rank, moe_scope_t scope, size_t peer)
{
    const size_t g = moe_sizes_node_ranks(&s->world->sizes);
    switch (scope) {
    case MOE_SCOPE_NODE:
        return rank / g * g + peer;
    case MOE_SCOPE_RAIL:
        return peer * g + rank % g;
    default:
        return peer;
    }
}

static inline size_t number_in(const hands_t *s, size_t rank, moe_scope_t scope)
{
    const size_t g = moe_sizes_node_ranks(&s->world->sizes);
    return scope == MOE_SCOPE_NODE ? rank % g : scope == MOE_SCOPE_RAIL ? rank / g : rank;
}

/* What one rank sends to another is what that one expects; the rounds are the whole. */
static inline void check_hop(const hands_t *s, size_t rank, bool forward)
{
    const moe_hop_t *hop = hop_of(s, rank, forward);
    assert_int_equal(hop->peers, hop->scope == MOE_SCOPE_GROUP ? s->world->ranks
                                 : hop->scope == MOE_SCOPE_NODE
                                     ? moe_sizes_node_ranks(&s->world->sizes)
                                     : moe_sizes_nodes(&s->world->sizes));
    const size_t own = number_in(s, rank, hop->scope);
    for (size_t p = 0; p < hop->peers; p++) {
        const size_t other = peer_rank(s, rank, hop->scope, p);
        const moe_hop_t *there = hop_of(s, other, forward);
        assert_int_equal(hop->send_rows[p], there->recv_rows[own]);
        assert_int_equal(hop->recv_first[p + 1], hop->recv_first[p] + hop->recv_rows[p]);
        assert_true(hop->send_first[p] + hop->send_rows[p] <= moe_hop_send_rows(hop));
        assert_true(hop->slot_first == NULL ||
                    hop->slot_first[p] + hop->recv_rows[p] <= hop->slot_first[p + 1]);
        assert_int_equal(hop->rounds, there->rounds);
        size_t send = 0, recv = 0;
        for (size_t r = 0; r < hop->rounds; r++) {
            const moe_round_t *round = &hop->round[r];
            assert_int_equal(round->send_rows[p], there->round[r].recv_rows[own]);
            assert_int_equal(round->send_first[p], hop->send_first[p] + send);
            assert_int_equal(round->recv_first[p], hop->recv_first[p] + recv);
            send += round->send_rows[p];
            recv += round->recv_rows[p];
        }
        assert_true(hop->rounds == 0 || (send == hop->send_rows[p] && recv == hop->recv_rows[p]));
        assert_true(!hop->uniform || hop->send_rows[p] == s->hand[0].plan.hop.send_rows[0]);
    }
}

static inline void count_rows(moe_flow_t *flow, size_t from, size_t to, const row_t *rows,
                              size_t count)
{
    size_t padding = 0;
    for (size_t i = 0; i < count; i++) {
        padding += rows[i].token == NO_TOKEN;
    }
    moe_flow_add_rows(flow, from, to, count, padding);
}

/* Dispatch, and combine back: rows between this rank and every peer. */
static inline void move_rows(hands_t *s, size_t rank, bool forward, bool back)
{
    const moe_hop_t *hop = hop_of(s, rank, forward);
    const size_t own = number_in(s, rank, hop->scope);
    const hand_t *h = &s->hand[rank];
    for (size_t p = 0; p < hop->peers; p++) {
        const size_t other = peer_rank(s, rank, hop->scope, p), rows = hop->send_rows[p];
        const moe_hop_t *to = hop_of(s, other, forward);
        const hand_t *o = &s->hand[other];
        row_t *there = forward ? o->forward_arrived : o->arrived;
        if (back) {
            row_t *here = (forward ? h->forward_returned : h->returned) +
                          (hop->back_first != NULL ? hop->back_first : hop->send_first)[p];
            there += to->recv_first[own]; /* what goes back lies close, slots or not */
            memcpy(here, there, rows * sizeof *here);
            count_rows(&s->combine, other, rank, here, rows);
        } else {
            const row_t *here = (forward ? h->forward_sent : h->sent) + hop->send_first[p];
            there += (to->slot_first != NULL ? to->slot_first : to->recv_first)[own];
            memcpy(there, here, rows * sizeof *here);
            count_rows(&s->dispatch, rank, other, here, rows);
        }
    }
}

static inline void move_all(hands_t *s, bool forward, bool back)
{
    for (size_t r = 0; r < s->world->ranks; r++) {
        if (!back) {
            check_hop(s, r, forward);
        }
        move_rows(s, r, forward, back);
    }
}

/* ---- Packing and summing ---- */

static const row_t zeros = {.token = NO_TOKEN, .side = NO_SIDE};

static inline void pack_tokens(const hands_t *s, size_t rank)
{
    const world_t *w = s->world;
    const hand_t *h = &s->hand[rank];
    const moe_hop_t *hop = &h->plan.hop;
    assert_int_equal(hop->before, w->tokens[rank]);
    for (size_t i = 0; i < moe_hop_send_rows(hop); i++) {
        const size_t token = hop->gather[i];
        h->sent[i] = zeros;
        assert_int_equal(hop->side_row != NULL, s->style->side != NULL);
        if (hop->side_row != NULL) {
            h->sent[i].side = hop->side_row[i] == MOE_ROW_ZERO ? NO_SIDE : hop->side_row[i];
        }
        if (token != MOE_ROW_ZERO) {
            assert_true(token < hop->before);
            h->sent[i].token = w->first_token[rank] + token;
        }
    }
}

static inline void pack_forward(const hands_t *s, size_t rank)
{
    const hand_t *h = &s->hand[rank];
    const moe_hop_t *forward = &h->plan.forward;
    assert_int_equal(forward->before, moe_hop_recv_rows(&h->plan.hop));
    for (size_t i = 0; i < moe_hop_send_rows(forward); i++) {
        assert_true(forward->gather[i] < forward->before);
        h->forward_sent[i] = h->arrived[forward->gather[i]];
    }
}

/* A weighted sum of rows, all of one token, or of zeros. */
static inline row_t sum_rows(const row_t *rows, size_t count, const size_t *index,
                             const float *weight, size_t first, size_t end)
{
    row_t sum = zeros;
    for (size_t i = first; i < end; i++) {
        assert_true(index[i] < count);
        const row_t *row = &rows[index[i]];
        assert_true(sum.token == NO_TOKEN || row->token == NO_TOKEN || row->token == sum.token);
        sum.token = row->token == NO_TOKEN ? sum.token : row->token;
        for (size_t e = 0; e < MOST_EXPERTS; e++) {
            sum.weight[e] += (double)weight[i] * row->weight[e];
        }
    }
    return sum;
}

static inline row_t sum_of_hop(const moe_hop_t *hop, const row_t *returned, size_t before)
{
    return sum_rows(returned, moe_hop_back_rows(hop), hop->reduce_row, hop->reduce_weight,
                    hop->reduce_first[before], hop->reduce_first[before + 1]);
}

/* ---- The experts ---- */

static inline size_t side_of(const hands_t *s, size_t selection)
{
    const size_t top_k = s->world->sizes.top_k;
    return s->style->side == NULL         ? NO_SIDE
           : s->style->block_rows != NULL ? selection
                                          : selection / top_k;
}

/* Every expert must find the kept tokens of all ranks, by rank, ascending, each rank's followed by
 * its padding; nothing else, and nothing twice; and behind each its own side data. */
static inline void check_expert_rows(const hands_t *s, size_t rank, size_t local)
{
    const world_t *w = s->world;
    const hand_t *h = &s->hand[rank];
    const int32_t expert = w->placement.expert_at[w->placement.first[rank] + local];
    size_t at = h->plan.expert_first[local];
    for (size_t p = 0; p < w->ranks; p++) {
        const moe_batch_t *b = w->batch[p];
        const size_t block = moe_style_expert_rows(s->style, &w->sizes, b->counts[expert]);
        for (size_t i = 0; i < b->table.tokens * b->table.top_k; i++) {
            if (b->kept[i] && b->table.expert[i] == expert) {
                assert_true(h->expert[at].token == w->first_token[p] + i / b->table.top_k);
                assert_true(h->expert[at].side == side_of(s, i));
                at++;
            }
        }
        for (size_t i = b->counts[expert]; i < block; i++) {
            assert_true(h->expert[at++].token == NO_TOKEN);
        }
    }
    assert_int_equal(at, h->plan.expert_first[local + 1]);
}

/* Arranges what arrived by expert, lets the experts sign every row, and puts back what returns. */
static inline void visit_experts(const hands_t *s, size_t rank)
{
    const world_t *w = s->world;
    const hand_t *h = &s->hand[rank];
    const moe_plan_t *plan = &h->plan;
    const moe_hop_t *last = plan->two_hops ? &plan->forward : &plan->hop;
    row_t *arrived = plan->two_hops ? h->forward_arrived : h->arrived;
    const size_t rows = plan->expert_first[plan->local_experts];
    const size_t returning = last->recv_first[last->peers];
    for (size_t i = 0; i < rows; i++) {
        const size_t from = plan->expert_gather != NULL ? plan->expert_gather[i] : i;
        assert_true(from < moe_hop_recv_rows(last));
        h->expert[i] = arrived[from];
    }
    for (size_t l = 0; l < plan->local_experts; l++) {
        check_expert_rows(s, rank, l);
        for (size_t i = plan->expert_first[l]; i < plan->expert_first[l + 1]; i++) {
            h->expert[i].weight[w->placement.expert_at[w->placement.first[rank] + l]] = 1;
        }
    }
    assert_true(plan->return_first != NULL || returning == rows);
    for (size_t i = 0; i < returning; i++) {
        if (plan->return_first != NULL) {
            const uint64_t token = arrived[i].token; /* also where no expert waits for it */
            arrived[i] = sum_rows(h->expert, rows, plan->return_row, plan->return_weight,
                                  plan->return_first[i], plan->return_first[i + 1]);
            assert_true(arrived[i].token == token || arrived[i].token == NO_TOKEN);
            arrived[i].token = token;
        } else {
            arrived[i] = h->expert[plan->expert_return != NULL ? plan->expert_return[i] : i];
        }
    }
}

/* Every token is the sum of its kept experts' results, with its weights; nothing else is in it. */
static inline void check_combined(const hands_t *s, size_t rank)
{
    const world_t *w = s->world;
    const moe_batch_t *b = w->batch[rank];
    const hand_t *h = &s->hand[rank];
    for (size_t t = 0; t < h->plan.hop.before; t++) {
        const row_t sum = sum_of_hop(&h->plan.hop, h->returned, t);
        row_t expected = zeros;
        for (size_t i = t * b->table.top_k; i < (t + 1) * b->table.top_k; i++) {
            if (b->kept[i]) {
                expected.token = w->first_token[rank] + t;
                expected.weight[b->table.expert[i]] = (double)b->table.weight[i];
            }
        }
        assert_true(expected.token == NO_TOKEN || sum.token == expected.token);
        assert_memory_equal(sum.weight, expected.weight, sizeof sum.weight);
    }
}

/* ---- A layer ---- */

static inline void carry_by_hand(hands_t *s)
{
    const size_t ranks = s->world->ranks;
    const bool two = s->hand[0].plan.two_hops;
    for (size_t r = 0; r < ranks; r++) {
        pack_tokens(s, r);
    }
    move_all(s, false, false);
    for (size_t r = 0; two && r < ranks; r++) {
        pack_forward(s, r);
    }
    if (two) {
        move_all(s, true, false);
    }
    for (size_t r = 0; r < ranks; r++) {
        visit_experts(s, r);
    }
    if (two) {
        move_all(s, true, true);
    }
    for (size_t r = 0; two && r < ranks; r++) {
        const hand_t *h = &s->hand[r];
        for (size_t i = 0; i < h->plan.forward.before; i++) {
            h->arrived[i] = sum_of_hop(&h->plan.forward, h->forward_returned, i);
        }
    }
    move_all(s, false, true);
    for (size_t r = 0; r < ranks; r++) {
        check_combined(s, r);
    }
}

#endif
