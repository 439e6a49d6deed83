#include <stdlib.h>

#include "capacity.h"
#include "moe/system.h"

static moe_status_t check(const moe_workload_t *workload, size_t rank, moe_error_t *error)
{
    const moe_placement_t *placement = workload->placement;
    const size_t experts = moe_router_spec(workload->router)->experts;
    if (rank >= placement->ranks) {
        return moe_fail(error, MOE_BAD_INPUT, "rank %zu: the experts are placed on %zu ranks", rank,
                        placement->ranks);
    }
    const size_t placed = placement->logical > 0 ? placement->logical : placement->experts;
    if (experts != placed) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "the gate chooses among %zu experts, but %zu are placed on ranks", experts,
                        placed);
    }
    return MOE_OK;
}

static moe_status_t make_arrays(moe_batch_t *batch, size_t tokens, size_t top_k, size_t experts,
                                moe_error_t *error)
{
    moe_status_t status = moe_table_create(tokens, top_k, &batch->table, error);
    if (status == MOE_OK) {
        status = moe_alloc("the kept selections", tokens, top_k, (void **)&batch->kept, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("counts per expert", experts, sizeof(size_t), (void **)&batch->selected,
                           error);
    }
    if (status == MOE_OK) {
        status =
            moe_alloc("counts per expert", experts, sizeof(size_t), (void **)&batch->counts, error);
    }
    return status;
}

static void count_selected(moe_batch_t *batch)
{
    const size_t selections = batch->table.tokens * batch->table.top_k;
    for (size_t i = 0; i < selections; i++) {
        if (batch->table.expert[i] != MOE_NO_EXPERT) {
            batch->selected[batch->table.expert[i]]++;
            batch->selections++;
        }
    }
}

static moe_status_t route(moe_batch_t *batch, const moe_workload_t *workload, size_t rank,
                          moe_error_t *error)
{
    const moe_routing_spec_t *spec = moe_router_spec(workload->router);
    const size_t tokens = workload->tokens[rank], experts = workload->placement->experts;
    moe_status_t status = make_arrays(batch, tokens, moe_routing_slots(spec), experts, error);
    if (status != MOE_OK) {
        return status;
    }
    status = moe_router_open(workload->router, workload->step, rank, &batch->router, error);
    if (status == MOE_OK) {
        status = moe_router_route(batch->router, workload->step, workload->first_token[rank],
                                  &batch->table, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    moe_placement_share(workload->placement, batch->router, workload->step, &batch->table);
    count_selected(batch);
    const moe_capacity_spec_t *capacity = &workload->capacity;
    if (capacity->factor > 0) {
        batch->slots =
            moe_capacity_slots(tokens, experts, spec->top_k, capacity->factor, capacity->min);
    }
    const moe_drop_rule_t rule = {.drop = capacity->drop,
                                  .slots = capacity->factor > 0 ? batch->slots : SIZE_MAX,
                                  .seed = spec->seed,
                                  .layer = moe_router_layer(workload->router),
                                  .step = workload->step};
    status = moe_capacity_keep(&rule, &batch->table, experts, batch->selected, batch->kept,
                               batch->counts, error);
    for (size_t e = 0; status == MOE_OK && e < experts; e++) {
        batch->kept_selections += batch->counts[e];
    }
    return status;
}

moe_status_t moe_batch_create(const moe_workload_t *workload, size_t rank, moe_batch_t **out,
                              moe_error_t *error)
{
    moe_batch_t *batch = NULL;
    moe_status_t status = check(workload, rank, error);
    if (status == MOE_OK) {
        status = moe_alloc("a batch", 1, sizeof *batch, (void **)&batch, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    batch->opened_from = workload->router;
    status = route(batch, workload, rank, error);
    if (status != MOE_OK) {
        moe_batch_destroy(batch);
        return status;
    }
    *out = batch;
    return MOE_OK;
}

void moe_batch_destroy(moe_batch_t *batch)
{
    if (batch == NULL) {
        return;
    }
    moe_router_close(batch->opened_from, batch->router);
    moe_table_destroy(&batch->table);
    free(batch->kept);
    free(batch->selected);
    free(batch->counts);
    free(batch);
}
