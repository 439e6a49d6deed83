/* Plans, carried out by hand for all ranks of a group. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* A row in this test: which token it holds, and what expert has worked on it. */
typedef struct row {
    uint64_t token; /* global number; PADDING: zeros */
    int32_t expert; /* NOBODY: none yet */
} row_t;

#define PADDING UINT64_MAX
#define NOBODY  (-7)

/* The plans of a style on all ranks. */
typedef struct plans {
    const world_t *world;
    const moe_style_ops_t *style;
    moe_plan_t *plan; /* [ranks] */
    row_t **sent;     /* [ranks] send buffers; combine returns rows to them */
    row_t **arrived;  /* [ranks] */
} plans_t;

/* counts[peers][local experts] as `rank` learns them. */
static size_t *counts_for(const world_t *w, size_t rank)
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

static void plans_create(plans_t *s, const world_t *w, const char *style)
{
    *s = (plans_t){.world = w,
                   .style = style_named(style),
                   .plan = world_array(w->ranks, sizeof *s->plan),
                   .sent = world_array(w->ranks, sizeof *s->sent),
                   .arrived = world_array(w->ranks, sizeof *s->arrived)};
    for (size_t r = 0; r < w->ranks; r++) {
        moe_plan_t *plan = &s->plan[r];
        assert_int_equal(moe_plan_send(s->style, &w->sizes, w->batch[r], r, plan, NULL), MOE_OK);
        size_t *counts = counts_for(w, r);
        const bool needs_counts = s->style->metadata == MOE_METADATA_COUNTS;
        assert_int_equal(moe_plan_receive(plan, &w->sizes, needs_counts ? counts : NULL, NULL),
                         MOE_OK);
        free(counts);
        s->sent[r] = world_array(plan->hop.send_first[w->ranks], sizeof(row_t));
        s->arrived[r] = world_array(plan->hop.recv_first[w->ranks], sizeof(row_t));
    }
}

static void plans_destroy(plans_t *s)
{
    for (size_t r = 0; r < s->world->ranks; r++) {
        moe_plan_destroy(&s->plan[r]);
        assert_null(s->plan[r].hop.gather);
        free(s->sent[r]);
        free(s->arrived[r]);
    }
    free(s->plan);
    free(s->sent);
    free(s->arrived);
}

/* ---- The steps of a layer ---- */

/* What one rank sends to another is what that one expects; running sums are right. */
static void check_agreement(const plans_t *s)
{
    const size_t ranks = s->world->ranks;
    for (size_t i = 0; i < ranks; i++) {
        const moe_hop_t *hop = &s->plan[i].hop;
        assert_int_equal(hop->peers, ranks);
        assert_int_equal(hop->before, s->world->tokens[i]);
        assert_int_equal(hop->send_first[0], 0);
        assert_int_equal(hop->recv_first[0], 0);
        for (size_t j = 0; j < ranks; j++) {
            assert_int_equal(hop->send_rows[j], s->plan[j].hop.recv_rows[i]);
            assert_int_equal(hop->send_first[j + 1], hop->send_first[j] + hop->send_rows[j]);
            assert_int_equal(hop->recv_first[j + 1], hop->recv_first[j] + hop->recv_rows[j]);
            if (hop->uniform) {
                assert_int_equal(hop->send_rows[j], s->plan[0].hop.send_rows[0]);
            }
        }
        assert_int_equal(hop->uniform, s->plan[0].hop.uniform);
    }
}

/* The rows of the plan are those that are counted for reports. */
static void check_counting(const plans_t *s)
{
    const world_t *w = s->world;
    moe_sent_t sent = {.rows = world_array(w->ranks, sizeof(size_t)),
                       .tokens = world_array(w->ranks, sizeof(size_t))};
    for (size_t r = 0; r < w->ranks; r++) {
        const moe_hop_t *hop = &s->plan[r].hop;
        moe_style_count_rows(s->style, &w->sizes, w->batch[r]->counts, &sent);
        for (size_t p = 0; p < w->ranks; p++) {
            size_t tokens = 0;
            for (size_t i = hop->send_first[p]; i < hop->send_first[p + 1]; i++) {
                tokens += hop->gather[i] != MOE_ROW_ZERO;
            }
            assert_int_equal(sent.rows[p], hop->send_rows[p]);
            assert_int_equal(sent.tokens[p], tokens);
        }
    }
    free(sent.rows);
    free(sent.tokens);
}

static void pack(const plans_t *s)
{
    for (size_t r = 0; r < s->world->ranks; r++) {
        const moe_hop_t *hop = &s->plan[r].hop;
        for (size_t i = 0; i < hop->send_first[hop->peers]; i++) {
            const size_t token = hop->gather[i];
            assert_true(token == MOE_ROW_ZERO || token < hop->before);
            s->sent[r][i] =
                (row_t){.token = token == MOE_ROW_ZERO ? PADDING : s->world->first_token[r] + token,
                        .expert = NOBODY};
        }
    }
}

static void move(const plans_t *s, bool back)
{
    for (size_t i = 0; i < s->world->ranks; i++) {
        for (size_t j = 0; j < s->world->ranks; j++) {
            const moe_hop_t *from = &s->plan[i].hop, *to = &s->plan[j].hop;
            row_t *here = s->sent[i] + from->send_first[j];
            row_t *there = s->arrived[j] + to->recv_first[i];
            memcpy(back ? here : there, back ? there : here, from->send_rows[j] * sizeof *here);
        }
    }
}

/* Every expert must find the kept tokens of all ranks, by rank, ascending, each rank's followed by
 * its padding; nothing else, and nothing twice. */
static void check_expert_rows(const plans_t *s, size_t rank, size_t local, const row_t *rows)
{
    const world_t *w = s->world;
    const int32_t expert = w->placement.expert_at[w->placement.first[rank] + local];
    size_t at = s->plan[rank].expert_first[local];
    for (size_t p = 0; p < w->ranks; p++) {
        const moe_batch_t *b = w->batch[p];
        const size_t block = s->style->block_rows(&w->sizes, b->counts[expert]);
        for (size_t i = 0; i < b->table.tokens * b->table.top_k; i++) {
            if (b->kept[i] && b->table.expert[i] == expert) {
                assert_true(rows[at].token == w->first_token[p] + i / b->table.top_k);
                at++;
            }
        }
        for (size_t i = b->counts[expert]; i < block; i++) {
            assert_true(rows[at++].token == PADDING);
        }
    }
    assert_int_equal(at, s->plan[rank].expert_first[local + 1]);
}

/* Arranges what arrived by expert, lets the experts sign every row, and puts them back. */
static void visit_experts(const plans_t *s, size_t rank)
{
    const moe_plan_t *plan = &s->plan[rank];
    const size_t rows = plan->hop.recv_first[plan->hop.peers];
    row_t *sorted = world_array(rows, sizeof *sorted);
    assert_int_equal(plan->expert_first[plan->local_experts], rows);
    assert_int_equal(plan->expert_gather == NULL, plan->expert_return == NULL);
    for (size_t i = 0; i < rows; i++) {
        const size_t from = plan->expert_gather != NULL ? plan->expert_gather[i] : i;
        assert_true(from < rows);
        sorted[i] = s->arrived[rank][from];
    }
    for (size_t l = 0; l < plan->local_experts; l++) {
        check_expert_rows(s, rank, l, sorted);
        for (size_t i = plan->expert_first[l]; i < plan->expert_first[l + 1]; i++) {
            sorted[i].expert = s->world->placement.expert_at[s->world->placement.first[rank] + l];
        }
    }
    for (size_t i = 0; i < rows; i++) {
        s->arrived[rank][i] = sorted[plan->expert_return != NULL ? plan->expert_return[i] : i];
    }
    free(sorted);
}

/* The terms of every token are the outputs of its kept experts for it, with its weights. */
static void check_reduction(const plans_t *s, size_t rank)
{
    const moe_hop_t *hop = &s->plan[rank].hop;
    const moe_batch_t *b = s->world->batch[rank];
    size_t term = 0;
    for (size_t t = 0; t < hop->before; t++) {
        assert_int_equal(hop->reduce_first[t], term);
        for (size_t i = t * b->table.top_k; i < (t + 1) * b->table.top_k; i++) {
            if (!b->kept[i]) {
                continue;
            }
            const row_t back = s->sent[rank][hop->reduce_row[term]];
            assert_true(back.token == s->world->first_token[rank] + t);
            assert_int_equal(back.expert, b->table.expert[i]);
            assert_true(hop->reduce_weight[term] == b->table.weight[i]);
            term++;
        }
    }
    assert_int_equal(hop->reduce_first[hop->before], term);
    assert_int_equal(term, b->kept_selections);
}

static void carry_out(const world_spec_t *spec)
{
    world_t w;
    world_create(&w, spec);
    for (size_t i = 0; i < moe_style_count(); i++) {
        plans_t plans;
        plans_create(&plans, &w, moe_style_at(i)->name);
        check_agreement(&plans);
        check_counting(&plans);
        pack(&plans);
        move(&plans, false);
        for (size_t r = 0; r < w.ranks; r++) {
            visit_experts(&plans, r);
        }
        move(&plans, true);
        for (size_t r = 0; r < w.ranks; r++) {
            check_reduction(&plans, r);
        }
        plans_destroy(&plans);
    }
    world_destroy(&w);
}

/* ---- Every shape of group ---- */

static void test_every_kept_token_reaches_its_experts_and_returns(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 8, .top_k = 2, .ranks = 4, .tokens = 50});
}

static void test_a_rank_alone_keeps_its_rows(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 8, .top_k = 3, .ranks = 1, .tokens = 50});
}

static void test_no_tokens_make_empty_plans(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 8, .top_k = 2, .ranks = 4, .tokens = 0});
    carry_out(&(world_spec_t){.experts = 8,
                              .top_k = 2,
                              .ranks = 4,
                              .tokens = 0,
                              .capacity = {.factor = 1, .min = 4}}); /* blocks of padding alone */
}

static void test_one_expert_takes_everything(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 1, .top_k = 1, .ranks = 4, .tokens = 17});
}

static void test_experts_need_not_divide_among_ranks(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 10, .top_k = 3, .ranks = 4, .tokens = 33});
}

static void test_there_may_be_more_ranks_than_experts(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 3, .top_k = 2, .ranks = 8, .tokens = 21});
}

static void test_a_rank_may_be_empty(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){
        .experts = 8, .top_k = 2, .ranks = 4, .tokens = 20, .empty_rank = 3, .fuller_rank = 1});
}

static void test_one_expert_may_be_hot(void **state)
{
    (void)state;
    carry_out(
        &(world_spec_t){.experts = 16, .top_k = 2, .ranks = 4, .tokens = 60, .skew = "hot:1,0.95"});
}

static void test_dropped_tokens_are_neither_sent_nor_summed(void **state)
{
    (void)state;
    for (int drop = MOE_DROP_POSITION; drop <= MOE_DROP_RANDOM; drop++) {
        const world_spec_t spec = {.experts = 10,
                                   .top_k = 3,
                                   .ranks = 4,
                                   .tokens = 70,
                                   .empty_rank = 2,
                                   .skew = "zipf:1.2",
                                   .capacity = {.factor = 0.6, .drop = (moe_drop_t)drop},
                                   .seed = 5};
        world_t w;
        world_create(&w, &spec);
        assert_true(w.batch[0]->kept_selections < w.batch[0]->selections);
        world_destroy(&w);
        carry_out(&spec);
    }
}

static void test_a_second_expert_may_be_left_out(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){
        .gate = "gshard", .experts = 6, .top_k = 2, .ranks = 3, .tokens = 90, .seed = 3});
}

static void test_experts_may_be_dealt_round_robin(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){
        .placement = "round-robin", .experts = 11, .top_k = 4, .ranks = 4, .tokens = 40});
}

/* ---- What a plan claims ---- */

static void check_claim(size_t experts, size_t ranks, const char *style, bool uniform)
{
    const world_spec_t spec = {.experts = experts, .top_k = 1, .ranks = ranks, .tokens = 12};
    world_t w;
    world_create(&w, &spec);
    plans_t plans;
    plans_create(&plans, &w, style);
    for (size_t r = 0; r < ranks; r++) {
        assert_int_equal(plans.plan[r].hop.uniform, uniform);
    }
    plans_destroy(&plans);
    world_destroy(&w);
}

static void test_only_equal_blocks_are_uniform(void **state)
{
    (void)state;
    check_claim(8, 4, "padded", true);
    check_claim(8, 4, "padded-max", true);
    check_claim(8, 4, "exact", false);
    check_claim(10, 4, "padded", false);
    check_claim(3, 4, "padded-max", false);
    check_claim(1, 1, "padded", true);
    check_claim(1, 1, "exact", false);
}

static void test_rows_are_rearranged_only_where_they_must_be(void **state)
{
    (void)state;
    const struct {
        size_t experts, ranks;
        bool rearranged;
    } cases[] = {{8, 4, true}, {4, 4, false}, {2, 4, false}, {8, 1, false}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const world_spec_t spec = {
            .experts = cases[i].experts, .top_k = 1, .ranks = cases[i].ranks, .tokens = 12};
        world_t w;
        world_create(&w, &spec);
        plans_t plans;
        plans_create(&plans, &w, "exact");
        for (size_t r = 0; r < w.ranks; r++) {
            assert_int_equal(plans.plan[r].expert_gather != NULL, cases[i].rearranged);
        }
        plans_destroy(&plans);
        world_destroy(&w);
    }
}

/* ---- What is refused ---- */

static void test_rows_past_the_range_are_refused(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 8, .top_k = 2, .ranks = 4, .tokens = 10};
    world_t w;
    world_create(&w, &spec);
    moe_plan_t plan = {.rank = 77};
    moe_error_t error = {0};
    moe_sizes_t sizes = w.sizes;
    sizes.slots = SIZE_MAX / 4;
    assert_int_equal(moe_plan_send(style_named("padded"), &sizes, w.batch[0], 0, &plan, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "do not fit"));
    assert_int_equal(plan.rank, 77); /* outputs are set on success only */
    /* Rows that can be numbered, but not held. */
    sizes.slots = SIZE_MAX / 16;
    assert_int_equal(moe_plan_send(style_named("padded"), &sizes, w.batch[0], 0, &plan, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "does not fit"));

    assert_int_equal(moe_plan_send(style_named("padded"), &w.sizes, w.batch[0], 0, &plan, NULL),
                     MOE_OK);
    sizes.slots = SIZE_MAX / 4;
    assert_int_equal(moe_plan_receive(&plan, &sizes, NULL, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "receive"));
    assert_null(plan.hop.recv_rows);
    moe_plan_destroy(&plan);
    world_destroy(&w);
}

static void test_sizes_of_another_batch_are_refused(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 2, .top_k = 1, .ranks = 2, .tokens = 10};
    world_t w;
    world_create(&w, &spec);
    moe_sizes_t sizes = w.sizes;
    sizes.slots = 1;
    sizes.count_max = 1;
    moe_plan_t plan = {0};
    moe_error_t error = {0};
    const char *const styles[] = {"padded", "padded-max"};
    for (size_t i = 0; i < LENGTH(styles); i++) {
        assert_int_equal(
            moe_plan_send(style_named(styles[i]), &sizes, w.batch[0], 0, &plan, &error),
            MOE_BAD_INPUT);
        assert_null(plan.hop.gather);
    }
    world_destroy(&w);
}

static void test_exact_needs_the_counts_of_its_peers(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 2, .top_k = 1, .ranks = 2, .tokens = 10};
    world_t w;
    world_create(&w, &spec);
    moe_plan_t plan;
    moe_error_t error = {0};
    assert_int_equal(moe_plan_send(style_named("exact"), &w.sizes, w.batch[0], 0, &plan, NULL),
                     MOE_OK);
    assert_int_equal(moe_plan_receive(&plan, &w.sizes, NULL, &error), MOE_BAD_INPUT);
    moe_plan_destroy(&plan);
    moe_style_ops_t other = {.name = "other"};
    assert_int_equal(moe_plan_send(&other, &w.sizes, w.batch[0], 0, &plan, &error), MOE_BAD_INPUT);
    world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kept_token_reaches_its_experts_and_returns),
        cmocka_unit_test(test_a_rank_alone_keeps_its_rows),
        cmocka_unit_test(test_no_tokens_make_empty_plans),
        cmocka_unit_test(test_one_expert_takes_everything),
        cmocka_unit_test(test_experts_need_not_divide_among_ranks),
        cmocka_unit_test(test_there_may_be_more_ranks_than_experts),
        cmocka_unit_test(test_a_rank_may_be_empty),
        cmocka_unit_test(test_one_expert_may_be_hot),
        cmocka_unit_test(test_dropped_tokens_are_neither_sent_nor_summed),
        cmocka_unit_test(test_a_second_expert_may_be_left_out),
        cmocka_unit_test(test_experts_may_be_dealt_round_robin),
        cmocka_unit_test(test_only_equal_blocks_are_uniform),
        cmocka_unit_test(test_rows_are_rearranged_only_where_they_must_be),
        cmocka_unit_test(test_rows_past_the_range_are_refused),
        cmocka_unit_test(test_sizes_of_another_batch_are_refused),
        cmocka_unit_test(test_exact_needs_the_counts_of_its_peers),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
