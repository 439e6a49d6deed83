/* The timeline: what is called, how often, and on whose account its time goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "slow_iteration.h"

/* ---- Calls ---- */

static bool forward_calls(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    (void)s;
    RANK_EXPECT(r->group.exchanges == 2 * MOE_LAYERS);
    RANK_EXPECT(r->group.metadata == MOE_LAYERS);
    RANK_EXPECT(r->world.sums == 0 && r->replicas.sums == 0);
    RANK_EXPECT(r->world.barriers == 1 && r->group.barriers == 0 && r->replicas.barriers == 0);
    return true;
}

static void test_a_forward_pass_exchanges_twice_a_moe_layer(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD}, forward_calls);
}

static void test_gradients_are_of_training_alone(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD, .gradients = true}, forward_calls);
}

static bool training_calls(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                           char *text)
{
    (void)s;
    RANK_EXPECT(r->group.exchanges == 4 * MOE_LAYERS);
    RANK_EXPECT(r->group.metadata == MOE_LAYERS); /* of the forward pass: counts are known then */
    RANK_EXPECT(r->world.sums == 0 && r->replicas.sums == 0);
    RANK_EXPECT(part(r, MOE_PART_ALLREDUCE) == 0);
    RANK_EXPECT(moe_iteration_bytes(r->iteration) == 0);
    return true;
}

static void test_training_exchanges_four_times_a_moe_layer(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING}, training_calls);
}

static bool no_metadata(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    (void)s;
    RANK_EXPECT(r->group.metadata == 0 && part(r, MOE_PART_METADATA) == 0);
    RANK_EXPECT(r->group.exchanges == 4 * MOE_LAYERS);
    return true;
}

static void test_padded_needs_no_metadata(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING, .style = "padded"}, no_metadata);
}

/* ---- Time ---- */

static double permute_seconds(const rank_t *r)
{
    /* Rows of a rank with one expert arrive in order. */
    const size_t gathers = r->spec.local_experts > 1 ? 3 : 1;
    return (double)gathers * GATHER_SECONDS + REDUCE_SECONDS;
}

static bool forward_parts(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    const double scale = (double)s->total_moe / MOE_LAYERS;
    RANK_EXPECT(part(r, MOE_PART_METADATA) == scale * MOE_LAYERS * METADATA_SECONDS);
    RANK_EXPECT(part(r, MOE_PART_DISPATCH) == scale * exchange_seconds(0, 2, MOE_LAYERS));
    RANK_EXPECT(part(r, MOE_PART_COMBINE) == scale * exchange_seconds(1, 2, MOE_LAYERS));
    RANK_EXPECT(part(r, MOE_PART_PERMUTE) == scale * MOE_LAYERS * permute_seconds(r));
    RANK_EXPECT(part(r, MOE_PART_COMPUTE) == compute_seconds(r, s));
    RANK_EXPECT(r->spec.tokens == 0 || compute_seconds(r, s) > 0);
    RANK_EXPECT(part(r, MOE_PART_ALLREDUCE) == 0);
    RANK_EXPECT(r->seconds[MOE_COLUMN_COMPUTE_ONLY] == part(r, MOE_PART_COMPUTE));
    RANK_EXPECT(moe_iteration_is_extrapolated(&r->spec) ==
                (s->total_moe != MOE_LAYERS || s->total_dense != DENSE_LAYERS));
    return parts_add_up(r, t, text);
}

static void test_each_part_has_its_own_time(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD}, forward_parts);
}

static void test_measured_layers_stand_for_all_of_their_kind(void **state)
{
    /* 2 measured MoE layers for 5, 1 dense for 3; the head is there once. */
    iterate(state, (setting_t){.pass = MOE_FORWARD, .total_moe = 5, .total_dense = 3},
            forward_parts);
    iterate(state, (setting_t){.pass = MOE_FORWARD, .total_moe = 2, .total_dense = 7},
            forward_parts);
}

static void test_a_residual_is_computed_beside_the_experts(void **state)
{
    moe_model_t arctic = small;
    arctic.dense_residual = true;
    arctic.glu = false;
    iterate(state,
            (setting_t){.pass = MOE_FORWARD, .model = arctic, .total_moe = 3, .total_dense = 1},
            forward_parts);
}

static bool training_parts(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                           char *text)
{
    const double scale = (double)s->total_moe / MOE_LAYERS;
    const size_t both = 2 * MOE_LAYERS;
    RANK_EXPECT(part(r, MOE_PART_METADATA) == scale * MOE_LAYERS * METADATA_SECONDS);
    RANK_EXPECT(part(r, MOE_PART_DISPATCH) == scale * exchange_seconds(0, 2, both));
    RANK_EXPECT(part(r, MOE_PART_COMBINE) == scale * exchange_seconds(1, 2, both));
    RANK_EXPECT(part(r, MOE_PART_PERMUTE) == scale * (double)both * permute_seconds(r));
    RANK_EXPECT(part(r, MOE_PART_COMPUTE) == 3 * compute_seconds(r, s)); /* backward: twice */
    RANK_EXPECT(r->seconds[MOE_COLUMN_COMPUTE_ONLY] == part(r, MOE_PART_COMPUTE));
    return parts_add_up(r, t, text);
}

static void test_backward_computes_twice_and_exchanges_as_much(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING}, training_parts);
    iterate(state, (setting_t){.pass = MOE_TRAINING, .total_moe = 6, .total_dense = 2},
            training_parts);
}

static void test_a_rank_without_experts_computes_the_rest(void **state)
{
    moe_model_t few = small;
    few.experts = 2; /* on 3 ranks */
    iterate(state, (setting_t){.pass = MOE_TRAINING, .model = few}, training_parts);
}

static bool nothing_computed(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                             char *text)
{
    (void)s;
    RANK_EXPECT(part(r, MOE_PART_COMPUTE) == 0 && r->seconds[MOE_COLUMN_COMPUTE_ONLY] == 0);
    RANK_EXPECT(part(r, MOE_PART_DISPATCH) > 0);
    return parts_add_up(r, t, text);
}

static void test_no_compute_takes_no_time(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING, .compute = "none"}, nothing_computed);
}

static bool half_the_compute(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                             char *text)
{
    RANK_EXPECT(part(r, MOE_PART_COMPUTE) == compute_seconds(r, s) / 2);
    RANK_EXPECT(part(r, MOE_PART_DISPATCH) == exchange_seconds(0, 2, MOE_LAYERS));
    return parts_add_up(r, t, text);
}

static void test_a_device_twice_as_fast_computes_half_as_long(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD, .compute = "model:2147483648,1"},
            half_the_compute);
}

/* The next repetition starts from nothing. */
static bool repeat_thrice(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = &((const judged_t *)context)->setting;
    rank_t r;
    if (!rank_create(&r, s, t, text))
        return false;
    for (size_t i = 0; i < 3; i++) {
        r.group.exchanges = 0;
        RANK_EXPECT(moe_iteration_repeat(r.iteration, r.seconds, NULL) == MOE_OK);
        if (!training_parts(&r, s, t, text))
            return false;
    }
    return rank_destroy(&r, t, text);
}

static void test_repetitions_do_not_add_up(void **state)
{
    on_ranks(state, (setting_t){.pass = MOE_TRAINING}, repeat_thrice, NULL);
}

/* ---- What goes wrong ---- */

static bool cut_the_wire(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = &((const judged_t *)context)->setting;
    rank_t r;
    if (!rank_create(&r, s, t, text))
        return false;
    for (size_t left = 0; left < 4 * MOE_LAYERS; left++) {
        moe_error_t error = {0};
        r.group.exchanges = 0;
        r.group.exchanges_left = left;
        const double untouched = -1;
        r.seconds[MOE_COLUMN_ITERATION] = untouched;
        RANK_EXPECT(moe_iteration_repeat(r.iteration, r.seconds, &error) == MOE_FAILED);
        RANK_EXPECT(strcmp(error.text, "the wire is cut") == 0);
        RANK_EXPECT(r.group.exchanges == left);
        RANK_EXPECT(r.group.failures == left + 1); /* one each: nothing is tried after it */
        RANK_EXPECT(r.seconds[MOE_COLUMN_ITERATION] == untouched);
    }
    r.group.exchanges_left = SIZE_MAX;
    r.group.exchanges = 0;
    RANK_EXPECT(moe_iteration_repeat(r.iteration, r.seconds, NULL) == MOE_OK);
    return training_parts(&r, s, t, text) && rank_destroy(&r, t, text);
}

static void test_a_failing_exchange_ends_the_iteration(void **state)
{
    on_ranks(state, (setting_t){.pass = MOE_TRAINING}, cut_the_wire, NULL);
}

/* ---- One layer alone ---- */

static bool time_the_phases(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = &((const judged_t *)context)->setting;
    rank_t r;
    double seconds[MOE_LAYER_COLUMNS];
    if (!rank_create(&r, s, t, text))
        return false;
    RANK_EXPECT(moe_layer_repeat(r.layer[0], seconds, NULL) == MOE_OK);
    const bool sorts = r.spec.local_experts > 1;
    const double permute = sorts ? 2 * GATHER_SECONDS : GATHER_SECONDS;
    const double unpermute = REDUCE_SECONDS + (sorts ? GATHER_SECONDS : 0);
    RANK_EXPECT(seconds[MOE_LAYER_METADATA] == METADATA_SECONDS);
    RANK_EXPECT(seconds[MOE_LAYER_PERMUTE] == permute);
    RANK_EXPECT(seconds[MOE_LAYER_DISPATCH] == EXCHANGE_SECONDS);
    RANK_EXPECT(seconds[MOE_LAYER_COMBINE] == EXCHANGE_SECONDS + 1);
    RANK_EXPECT(seconds[MOE_LAYER_UNPERMUTE] == unpermute);
    /* A second pass without the barriers: exchanges 2 and 3. */
    RANK_EXPECT(seconds[MOE_LAYER_TOTAL] ==
                METADATA_SECONDS + permute + unpermute + exchange_seconds(2, 1, 2));
    RANK_EXPECT(r.group.exchanges == 4 && r.group.metadata == 2);
    RANK_EXPECT(seconds[MOE_LAYER_SCHEDULE] == 0); /* this algorithm makes none */
    /* Before the schedule, dispatch, combine, and the second pass. */
    RANK_EXPECT(r.group.barriers == 4);
    r.group.exchanges_left = 0;
    RANK_EXPECT(moe_layer_repeat(r.layer[0], seconds, NULL) == MOE_FAILED);
    return rank_destroy(&r, t, text);
}

static void test_phases_of_a_layer_are_aligned_and_the_total_is_not(void **state)
{
    on_ranks(state, (setting_t){.pass = MOE_FORWARD}, time_the_phases, NULL);
}

/* ---- Overlap: the two measured layers as two chunks of one ---- */

/* Seconds of the experts of one chunk. */
static double expert_seconds(const rank_t *r, const setting_t *s, size_t chunk)
{
    const size_t *first = moe_layer_plan(r->layer[chunk])->expert_first;
    return ffn_flops(&s->model, (double)first[r->spec.local_experts], s->model.expert_ffn) / FLOPS;
}

/* The schedule once more, on a clock of its own: one chunk is packed and sent while the port still
 * carries the last one; experts begin when their chunk has arrived. */
static double overlapped_seconds(const rank_t *r, const setting_t *s, size_t first_exchange)
{
    const double gather = r->spec.local_experts > 1 ? GATHER_SECONDS : 0;
    double now = 2 * GATHER_SECONDS, port = GATHER_SECONDS, arrived[2], back[2];
    double exchange = EXCHANGE_SECONDS + (double)first_exchange;
    arrived[0] = port += exchange++;
    arrived[1] = port += exchange++;
    for (size_t c = 0; c < 2; c++) {
        now = (now > arrived[c] ? now : arrived[c]) + 2 * gather + expert_seconds(r, s, c);
        port = (port > now ? port : now) + exchange++;
        back[c] = port;
    }
    for (size_t c = 0; c < 2; c++) {
        now = (now > back[c] ? now : back[c]) + REDUCE_SECONDS;
    }
    return now;
}

static bool overlapped(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    double sum = 0;
    for (int p = 0; p < MOE_PARTS; p++)
        sum += part(r, (moe_part_t)p);
    RANK_EXPECT(strncmp(history, "ssfEsfEsff", 10) == 0);
    RANK_EXPECT(r->group.exchanges == 4 && r->group.metadata == 2);
    RANK_EXPECT(part(r, MOE_PART_METADATA) == 2 * METADATA_SECONDS);
    RANK_EXPECT(r->seconds[MOE_COLUMN_ITERATION] == sum);
    const double beside = part(r, MOE_PART_COMPUTE) - expert_seconds(r, s, 0) -
                          expert_seconds(r, s, 1) + 2 * METADATA_SECONDS;
    RANK_EXPECT(r->seconds[MOE_COLUMN_ITERATION] == overlapped_seconds(r, s, 0) + beside);
    /* Four exchanges of 8 to 11 s, of which the experts hid a part. */
    const double waited = part(r, MOE_PART_DISPATCH) + part(r, MOE_PART_COMBINE);
    RANK_EXPECT(waited < 8 + 9 + 10 + 11 && waited > 0);
    return true;
}

static void test_chunks_are_exchanged_while_experts_work_on_others(void **state)
{
    iterate(
        state,
        (setting_t){.pass = MOE_FORWARD, .chunks = 2, .total_moe = 1, .total_dense = DENSE_LAYERS},
        overlapped);
}

static bool overlapped_twice(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                             char *text)
{
    (void)s;
    RANK_EXPECT(strncmp(history, "ssfEsfEsffssfEsfEsff", 20) == 0);
    RANK_EXPECT(r->group.exchanges == 8 && r->group.metadata == 2);
    return true;
}

static void test_gradients_overlap_in_the_same_way(void **state)
{
    iterate(
        state,
        (setting_t){.pass = MOE_TRAINING, .chunks = 2, .total_moe = 1, .total_dense = DENSE_LAYERS},
        overlapped_twice);
}

static bool in_one_piece(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    (void)s;
    RANK_EXPECT(r->group.exchanges == 4 && strncmp(history, "EE", 2) == 0);
    return true;
}

static void test_without_chunks_nothing_is_started_and_left(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD}, in_one_piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_forward_pass_exchanges_twice_a_moe_layer),
        cmocka_unit_test(test_gradients_are_of_training_alone),
        cmocka_unit_test(test_training_exchanges_four_times_a_moe_layer),
        cmocka_unit_test(test_padded_needs_no_metadata),
        cmocka_unit_test(test_each_part_has_its_own_time),
        cmocka_unit_test(test_measured_layers_stand_for_all_of_their_kind),
        cmocka_unit_test(test_a_residual_is_computed_beside_the_experts),
        cmocka_unit_test(test_backward_computes_twice_and_exchanges_as_much),
        cmocka_unit_test(test_a_rank_without_experts_computes_the_rest),
        cmocka_unit_test(test_no_compute_takes_no_time),
        cmocka_unit_test(test_a_device_twice_as_fast_computes_half_as_long),
        cmocka_unit_test(test_repetitions_do_not_add_up),
        cmocka_unit_test(test_a_failing_exchange_ends_the_iteration),
        cmocka_unit_test(test_phases_of_a_layer_are_aligned_and_the_total_is_not),
        cmocka_unit_test(test_chunks_are_exchanged_while_experts_work_on_others),
        cmocka_unit_test(test_gradients_overlap_in_the_same_way),
        cmocka_unit_test(test_without_chunks_nothing_is_started_and_left),
    };
    return cmocka_run_group_tests_name("iteration", tests, host_set_up, host_tear_down);
}
