/* Wrong plans and wrong metadata: a layer that was told something wrong must not go on as if it were
 * right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_setting.h"

/* ---- A wrong plan ----
 * The check trusts no index list of the plan. */

typedef struct spoiled {
    const world_t *world;
    const moe_device_t *host;
    const moe_style_ops_t *style;
} spoiled_t;

static void swap_sizes(size_t *a, size_t *b)
{
    const size_t kept = *a;
    *a = *b;
    *b = kept;
}

/* Spoils the plan on one rank, sees it found, and mends it. */
static bool find_two_swapped(moe_transport_t *t, moe_layer_t *layer, size_t *a, size_t *b,
                             char *text)
{
    moe_check_result_t result;
    RANK_EXPECT(*a != *b);
    if (t->rank == FAULTY)
        swap_sizes(a, b);
    RANK_EXPECT(moe_layer_check(layer, MOE_CHECK_FULL, &result, NULL) == MOE_OK);
    RANK_EXPECT(result.errors > 0);
    if (t->rank == FAULTY)
        swap_sizes(a, b);
    return layer_is_right(layer, text);
}

static bool spoil_plans(moe_transport_t *t, void *context, char *text)
{
    const spoiled_t *s = context;
    const moe_layer_spec_t spec = faulty_spec(s->world, t, s->style, dtype_pairs[0]);
    layer_rank_t rank;
    RANK_EXPECT(layer_rank_create(&rank, &spec, s->host, NULL) == MOE_OK);
    const moe_plan_t *plan = moe_layer_plan(rank.layer);
    const moe_hop_t *hop = &plan->hop;
    const size_t sent = hop->send_first[RANKS] - 1, got = hop->recv_first[RANKS] - 1;
    if (!find_two_swapped(t, rank.layer, &hop->gather[0], &hop->gather[sent], text) ||
        !find_two_swapped(t, rank.layer, &hop->reduce_row[0], &hop->reduce_row[sent], text) ||
        !find_two_swapped(t, rank.layer, &plan->expert_gather[0], &plan->expert_gather[got],
                          text) ||
        !find_two_swapped(t, rank.layer, &plan->expert_return[0], &plan->expert_return[got], text))
        return false;
    moe_check_result_t result;
    hop->reduce_weight[0] /= t->rank == FAULTY ? 2 : 1;
    RANK_EXPECT(moe_layer_check(rank.layer, MOE_CHECK_FULL, &result, NULL) == MOE_OK);
    RANK_EXPECT(result.errors > 0 && result.rank == FAULTY && result.in_combine);
    layer_rank_destroy(&rank);
    return true;
}

static void test_a_wrong_plan_is_found(void **state)
{
    world_t world;
    world_create(&world, &traffic);
    spoiled_t spoiled = {.world = &world, .host = *state, .style = style_named("exact")};
    assert_int_equal(run_ranks(RANKS, spoil_plans, &spoiled), 0);
    world_destroy(&world);
}

/* ---- Metadata ---- */

typedef struct miscount {
    const world_t *world;
    const moe_device_t *host;
    const char *style_name;
    const moe_style_ops_t *style; /* of that name */
    size_t algorithm;
    fault_t fault;
    bool in_set_up;   /* from the set-up on, else in the check only */
    bool passes;      /* nothing is told, so nothing can be told wrongly */
    const char *says; /* words of the message */
} miscount_t;

/* As a driver does it: the rank that finds wrong data ends all. */
static bool end_as_a_driver(moe_transport_t *t, moe_status_t status, const moe_error_t *error,
                            const char *says, char *text)
{
    if (t->rank == FAULTY) {
        if (status != MOE_WRONG_DATA || strstr(error->text, says) == NULL) {
            snprintf(text, RANK_TEXT, "rank %zu: status %d: %.200s", t->rank, (int)status,
                     error->text);
            return false;
        }
        t->ops->abort(t, status);
        return true;
    }
    RANK_EXPECT(status == MOE_FAILED);
    RANK_EXPECT(strstr(error->text, "aborted") != NULL);
    return true;
}

static bool tell_a_wrong_count(moe_transport_t *t, void *context, char *text)
{
    const miscount_t *m = context;
    fault_transport_t f;
    fault_transport_init(&f, t);
    const fault_t *fault = t->rank == FAULTY ? &m->fault : NULL;
    moe_layer_spec_t spec = faulty_spec(m->world, &f.transport, m->style, dtype_pairs[0]);
    spec.algorithm = moe_algorithm_at(m->algorithm);
    layer_rank_t rank;
    fault_arm(&f, m->in_set_up ? fault : NULL);
    RANK_EXPECT(layer_rank_create(&rank, &spec, m->host, NULL) == MOE_OK);
    if (!m->in_set_up) {
        if (!layer_is_right(rank.layer, text))
            return false;
        /* FAULTY may end all before it has met all: nobody must still be in the check above. */
        t->ops->barrier(t, NULL);
        fault_arm(&f, fault);
    }
    moe_check_result_t result;
    moe_error_t error = {0};
    const moe_status_t status = moe_layer_check(rank.layer, MOE_CHECK_FULL, &result, &error);
    RANK_EXPECT(t->rank != FAULTY || (fault_planted(&f) > 0) == !m->passes);
    bool right = status == MOE_OK && result.errors == 0;
    if (!m->passes)
        right = end_as_a_driver(&f.transport, status, &error, m->says, text);
    layer_rank_destroy(&rank);
    return right;
}

static void miscount(void **state, miscount_t m)
{
    world_t world;
    world_create(&world, &traffic);
    m.world = &world;
    m.host = *state;
    m.style = style_named(m.style_name);
    for (m.algorithm = 0; m.algorithm < moe_algorithm_count(); m.algorithm++)
        assert_int_equal(run_ranks(RANKS, tell_a_wrong_count, &m), 0);
    world_destroy(&world);
}

/* Where a count of rank `peer` stands among those that FAULTY gets; it is not 0. */
static size_t count_of(size_t peer, size_t local_expert)
{
    world_t world;
    world_create(&world, &traffic);
    const moe_placement_t *p = &world.placement;
    const size_t local = p->first[FAULTY + 1] - p->first[FAULTY];
    assert_true(local_expert < local);
    const int32_t expert = p->expert_at[p->first[FAULTY] + local_expert];
    assert_true(world.batch[peer]->counts[expert] > 0);
    world_destroy(&world);
    return peer * local + local_expert;
}

static void test_one_row_too_many_announced_is_found(void **state)
{
    miscount(state, (miscount_t){.style_name = "exact",
                                 .fault = {.kind = FAULT_COUNTS,
                                           .more = count_of(PEER, 1),
                                           .less = FAULT_NO_ELEMENT},
                                 .says = "metadata: rank 0"});
}

static void test_one_row_too_few_announced_is_found(void **state)
{
    miscount(state, (miscount_t){.style_name = "exact",
                                 .fault = {.kind = FAULT_COUNTS,
                                           .more = FAULT_NO_ELEMENT,
                                           .less = count_of(OTHER, 0)},
                                 .says = "metadata: rank 1"});
}

static void test_a_row_announced_for_another_expert_is_found(void **state)
{
    /* The peer's sum stays right. */
    miscount(state, (miscount_t){.style_name = "exact",
                                 .fault = {.kind = FAULT_COUNTS,
                                           .more = count_of(PEER, 1),
                                           .less = count_of(PEER, 0)},
                                 .says = "metadata: rank 0"});
}

static void test_a_row_announced_by_another_peer_is_found(void **state)
{
    /* The expert's sum stays right. */
    miscount(state, (miscount_t){.style_name = "exact",
                                 .fault = {.kind = FAULT_COUNTS,
                                           .more = count_of(OTHER, 0),
                                           .less = count_of(PEER, 0)},
                                 .says = "metadata: rank"});
}

static void test_a_wrong_largest_count_is_found(void **state)
{
    miscount(state, (miscount_t){.style_name = "padded-max",
                                 .fault = {.kind = FAULT_LARGEST},
                                 .says = "metadata: the largest count"});
}

static void test_rows_announced_wrongly_are_found_in_every_hop(void **state)
{
    static const struct {
        const char *style;
        fault_part_t part;
    } hops[] = {{"dedup", FAULT_IN_GROUP}, {"two-hop", FAULT_IN_NODE}, {"two-hop", FAULT_IN_RAIL}};
    for (size_t i = 0; i < LENGTH(hops); i++) {
        miscount(state, (miscount_t){.style_name = hops[i].style,
                                     .fault = {.kind = FAULT_COUNTS,
                                               .part = hops[i].part,
                                               .more = 1,
                                               .less = FAULT_NO_ELEMENT},
                                     .says = "metadata: peer 1 announces"});
        miscount(state, (miscount_t){.style_name = hops[i].style,
                                     .fault = {.kind = FAULT_COUNTS,
                                               .part = hops[i].part,
                                               .more = FAULT_NO_ELEMENT,
                                               .less = 0},
                                     .says = "metadata: peer 0 announces"});
    }
}

static void test_padded_blocks_need_no_counts(void **state)
{
    miscount(state, (miscount_t){.style_name = "padded",
                                 .fault = {.kind = FAULT_COUNTS, .more = 0, .less = 1},
                                 .passes = true});
    miscount(state, (miscount_t){
                        .style_name = "padded", .fault = {.kind = FAULT_LARGEST}, .passes = true});
}

static void test_a_plan_made_of_a_wrong_count_is_found(void **state)
{
    miscount(state, (miscount_t){.style_name = "exact",
                                 .in_set_up = true,
                                 .fault = {.kind = FAULT_COUNTS,
                                           .more = count_of(PEER, 1),
                                           .less = count_of(PEER, 0)},
                                 .says = "metadata: rank 0"});
}

static void test_a_count_that_is_always_wrong_is_found(void **state)
{
    /* Plan and metadata agree; only the choices made anew tell. */
    const size_t experts[2][2] = {{0, 1}, {1, 0}};
    for (size_t i = 0; i < LENGTH(experts); i++) {
        miscount(state, (miscount_t){.style_name = "exact",
                                     .in_set_up = true,
                                     .fault = {.kind = FAULT_COUNTS,
                                               .more = count_of(PEER, experts[i][0]),
                                               .less = count_of(PEER, experts[i][1]),
                                               .every_time = true},
                                     .says = "local expert 0 expects rows up to"});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_plan_is_found),
        cmocka_unit_test(test_one_row_too_many_announced_is_found),
        cmocka_unit_test(test_one_row_too_few_announced_is_found),
        cmocka_unit_test(test_a_row_announced_for_another_expert_is_found),
        cmocka_unit_test(test_a_row_announced_by_another_peer_is_found),
        cmocka_unit_test(test_a_wrong_largest_count_is_found),
        cmocka_unit_test(test_rows_announced_wrongly_are_found_in_every_hop),
        cmocka_unit_test(test_padded_blocks_need_no_counts),
        cmocka_unit_test(test_a_plan_made_of_a_wrong_count_is_found),
        cmocka_unit_test(test_a_count_that_is_always_wrong_is_found),
    };
    return cmocka_run_group_tests_name("exchange", tests, host_set_up, host_tear_down);
}
