/* Gradients of an iteration: which are summed over whom, and how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "slow_iteration.h"

static bool gradients_are_summed(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                                 char *text)
{
    const double world = world_floats(s), replicas = replica_floats(r, s);
    RANK_EXPECT(r->world.sums > 0 && (double)r->world.floats == world);
    RANK_EXPECT((double)r->replicas.floats == replicas);
    RANK_EXPECT(r->group.sums == 0);
    /* 25 MiB buckets, as frameworks fill them. */
    const size_t bucket = 25 * 1024 * 1024 / sizeof(float);
    RANK_EXPECT(r->world.longest_sum <= bucket && r->replicas.longest_sum <= bucket);
    RANK_EXPECT(moe_iteration_bytes(r->iteration) == bucket * sizeof(float));
    RANK_EXPECT(part(r, MOE_PART_ALLREDUCE) == (world + replicas) * FLOAT_SECONDS);
    return parts_add_up(r, t, text);
}

static void test_gradients_are_summed_over_the_world_and_over_replicas(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING, .gradients = true}, gradients_are_summed);
}

static void test_a_rank_without_experts_sums_what_it_holds(void **state)
{
    moe_model_t few = small;
    few.experts = 2; /* on 3 ranks */
    iterate(state, (setting_t){.pass = MOE_TRAINING, .gradients = true, .model = few},
            gradients_are_summed);
}

static bool two_buckets(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    /* Embedding and head are more than one bucket; a dense and two MoE layers are one each. */
    RANK_EXPECT(r->world.sums == 2 + DENSE_LAYERS + MOE_LAYERS);
    return gradients_are_summed(r, s, t, text);
}

static void test_gradients_travel_in_buckets(void **state)
{
    moe_model_t wide = small;
    wide.vocab = 500000; /* 2 * 8 * 500,000 floats: 30.5 MiB */
    iterate(state, (setting_t){.pass = MOE_TRAINING, .gradients = true, .model = wide},
            two_buckets);
}

static bool gradients_of_all_layers(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                                    char *text)
{
    const moe_model_t *m = &s->model;
    const double once = 2 * (double)m->hidden * (double)m->vocab;
    const double attention = (double)(m->hidden * m->head_dim * (2 * m->heads + 2 * m->kv_heads));
    const double dense = attention + 3 * (double)(m->hidden * m->dense_ffn);
    const double moe = world_floats(s) + replica_floats(r, s) - once - DENSE_LAYERS * dense;
    RANK_EXPECT(part(r, MOE_PART_ALLREDUCE) ==
                (once + dense * (double)s->total_dense / DENSE_LAYERS +
                 moe * (double)s->total_moe / MOE_LAYERS) *
                    FLOAT_SECONDS);
    return parts_add_up(r, t, text);
}

static void test_gradients_of_layers_not_run_are_extrapolated(void **state)
{
    iterate(state,
            (setting_t){.pass = MOE_TRAINING, .gradients = true, .total_moe = 6, .total_dense = 4},
            gradients_of_all_layers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_are_summed_over_the_world_and_over_replicas),
        cmocka_unit_test(test_a_rank_without_experts_sums_what_it_holds),
        cmocka_unit_test(test_gradients_travel_in_buckets),
        cmocka_unit_test(test_gradients_of_layers_not_run_are_extrapolated),
    };
    return cmocka_run_group_tests_name("iteration", tests, host_set_up, host_tear_down);
}
