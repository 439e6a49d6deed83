/* Setting a layer up, in any order, and what happens to it when that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "layer_setting.h"

static bool refuse_each_buffer(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    counting_device_t device;
    counting_device_init(&device, s->host);
    moe_layer_spec_t spec = spec_of(s, t, 2, 0, 33);
    spec.device = &device.device;
    moe_layer_t *layer = NULL;
    RANK_EXPECT(moe_layer_create(&spec, &layer, NULL) == MOE_OK);
    moe_status_t status = MOE_BAD_INPUT;
    size_t allowed = 0;
    for (; status != MOE_OK; allowed++) {
        moe_workspace_t *workspace = NULL;
        device.allocs_left = allowed;
        status = moe_workspace_create(&layer, 1, &workspace, NULL);
        RANK_EXPECT(status == MOE_OK || (status == MOE_BAD_INPUT && workspace == NULL));
        RANK_EXPECT(status == MOE_OK || device.blocks == 0);
        moe_workspace_destroy(workspace);
    }
    RANK_EXPECT(allowed > 2 && device.blocks == 0);
    moe_layer_destroy(layer);
    return true;
}

static void test_a_refused_buffer_gives_back_the_others(void **state)
{
    const world_spec_t spec = {.experts = 8, .top_k = 2, .tokens = 9, .ranks = 2, .seed = 24};
    run_on(&spec, *state, NULL, refuse_each_buffer);
}

/* Rank 1 cannot hold its table; the others are told, and do not wait for it. */
static bool set_up_fails_on_rank_1(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    size_t tokens[] = {4, 4, 4};
    tokens[1] = t->rank == 1 ? SIZE_MAX / 2 : 4;
    moe_workload_t workload = s->world->workload;
    workload.tokens = tokens;
    moe_layer_spec_t spec = spec_of(s, t, 2, 0, 33);
    spec.workload = &workload;
    moe_layer_t *layer = NULL;
    moe_error_t error = {0};
    RANK_EXPECT(moe_layer_create(&spec, &layer, &error) == MOE_BAD_INPUT && layer == NULL);
    RANK_EXPECT((t->rank == 1) == (error.text[0] != '\0')); /* one message, from one rank */
    return true;
}

static void test_one_rank_that_fails_in_set_up_ends_all(void **state)
{
    const world_spec_t spec = {.experts = 8, .top_k = 2, .tokens = 4, .ranks = 3, .seed = 25};
    run_on(&spec, *state, NULL, set_up_fails_on_rank_1);
}

/* A transport like MPI's: a collective must be prepared, and what is prepared must be released. */
typedef struct strict_transport {
    moe_transport_t transport; /* first: its address is that of the whole */
    moe_transport_ops_t ops;
    const moe_transport_ops_t *real;
    size_t prepared; /* now */
    size_t runs;     /* of prepared collectives */
} strict_transport_t;

static strict_transport_t *strict_of(moe_transport_t *t)
{
    return (strict_transport_t *)t;
}

static moe_status_t strict_prepare(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error)
{
    if (x->prepared != NULL)
        return moe_fail(error, MOE_FAILED, "prepared twice");
    strict_of(t)->prepared++;
    x->prepared = t;
    return strict_of(t)->real->prepare_alltoallv(t, x, error);
}

static void strict_release(moe_transport_t *t, moe_alltoallv_t *x)
{
    strict_of(t)->prepared -= x->prepared != NULL;
    x->prepared = NULL;
}

static moe_status_t strict_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                     moe_error_t *error)
{
    if (x->prepared != t)
        return moe_fail(error, MOE_FAILED, "not prepared");
    strict_of(t)->runs++;
    return strict_of(t)->real->alltoallv(t, x, error);
}

static void strict_transport(strict_transport_t *s, const moe_transport_t *real)
{
    *s = (strict_transport_t){.transport = *real, .ops = *real->ops, .real = real->ops};
    s->ops.prepare_alltoallv = strict_prepare;
    s->ops.release_alltoallv = strict_release;
    s->ops.alltoallv = strict_alltoallv;
    s->transport.ops = &s->ops;
}

/* native, linear, pairwise; and back, and the same again. */
static bool prepare_and_release(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    static const size_t order[] = {0, 1, 0, 0, 2, 1, 0};
    strict_transport_t strict;
    strict_transport(&strict, t);
    const moe_layer_spec_t spec = spec_of(s, &strict.transport, 0, 0, 33);
    layer_rank_t rank;
    RANK_EXPECT(layer_rank_create(&rank, &spec, s->host, NULL) == MOE_OK);
    size_t runs = 0;
    for (size_t i = 0; i < LENGTH(order); i++) {
        RANK_EXPECT(moe_layer_use(rank.layer, moe_algorithm_at(order[i]), NULL) == MOE_OK);
        if (!layer_is_right(rank.layer, text))
            return false;
        const bool collective = moe_algorithm_at(order[i])->prepare != NULL;
        runs += collective ? 2 : 0;
        RANK_EXPECT(strict.prepared == (collective ? 2 : 0) && strict.runs == runs);
    }
    RANK_EXPECT(runs > 0);
    RANK_EXPECT(moe_layer_bind(rank.layer, rank.workspace, NULL) == MOE_OK); /* bound once more */
    layer_rank_destroy(&rank);
    RANK_EXPECT(strict.prepared == 0);
    return true;
}

static void test_collectives_are_prepared_and_released(void **state)
{
    const world_spec_t spec = {.experts = 6, .top_k = 2, .tokens = 9, .ranks = 3, .seed = 27};
    run_on(&spec, *state, NULL, prepare_and_release);
}

/* An algorithm may be chosen before the layer has its buffers, and a check may be left out. */
static bool choose_then_bind(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    counting_device_t device;
    counting_device_init(&device, s->host);
    moe_layer_spec_t spec = spec_of(s, t, 0, 0, 33);
    spec.device = &device.device;
    moe_layer_t *layer = NULL;
    moe_workspace_t *workspace = NULL;
    RANK_EXPECT(moe_layer_create(&spec, &layer, NULL) == MOE_OK);
    RANK_EXPECT(moe_layer_use(layer, moe_algorithm_at(1), NULL) == MOE_OK);
    moe_check_result_t result = {.errors = 1};
    RANK_EXPECT(moe_layer_check(layer, MOE_CHECK_OFF, &result, NULL) == MOE_OK);
    RANK_EXPECT(result.errors == 0);
    RANK_EXPECT(moe_workspace_create(&layer, 1, &workspace, NULL) == MOE_OK);
    RANK_EXPECT(moe_layer_bind(layer, workspace, NULL) == MOE_OK);
    RANK_EXPECT(moe_layer_check(layer, MOE_CHECK_SAMPLE, &result, NULL) == MOE_OK);
    RANK_EXPECT(result.errors == 0);
    const moe_placement_t *placement = spec.workload->placement;
    RANK_EXPECT(moe_layer_local_experts(layer) ==
                placement->first[t->rank + 1] - placement->first[t->rank]);
    moe_layer_destroy(layer);
    moe_workspace_destroy(workspace);
    return true;
}

static void test_the_algorithm_may_be_chosen_before_the_buffers(void **state)
{
    const world_spec_t spec = {.experts = 5, .top_k = 2, .tokens = 9, .ranks = 3, .seed = 26};
    run_on(&spec, *state, NULL, choose_then_bind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_refused_buffer_gives_back_the_others),
        cmocka_unit_test(test_one_rank_that_fails_in_set_up_ends_all),
        cmocka_unit_test(test_collectives_are_prepared_and_released),
        cmocka_unit_test(test_the_algorithm_may_be_chosen_before_the_buffers),
    };
    return cmocka_run_group_tests_name("exchange", tests, host_set_up, host_tear_down);
}
