#include <stdlib.h>

#include "moe/system.h"
#include "moe/traffic.h"

/* Behind the counts of experts and ranks. */
enum { SUM_TOKENS, SUM_SELECTIONS, SUM_KEPT, SUM_HASH, SUM_SLOTS, SUM_TOTALS };

static size_t *totals(const moe_census_t *census)
{
    return census->sums + census->experts + census->ranks;
}

moe_status_t moe_census_create(size_t experts, size_t ranks, moe_census_t *out, moe_error_t *error)
{
    moe_census_t census = {
        .experts = experts, .ranks = ranks, .count = experts + ranks + SUM_TOTALS};
    moe_status_t status =
        moe_alloc("load figures", census.count, sizeof *census.sums, (void **)&census.sums, error);
    if (status != MOE_OK) {
        return status;
    }
    status = moe_gate_sums_create(experts, &census.gates, error);
    if (status != MOE_OK) {
        free(census.sums);
        return status;
    }
    *out = census;
    return MOE_OK;
}

moe_status_t moe_census_create_placed(const moe_placement_t *placement, size_t ranks,
                                      moe_census_t *out, moe_error_t *error)
{
    moe_census_t census = {0};
    const moe_status_t status = moe_census_create(placement->experts, ranks, &census, error);
    if (status != MOE_OK) {
        return status;
    }
    if (placement->logical_of != NULL) { /* gates know the logical ones only */
        census.logical_of = census.gates.logical_of = placement->logical_of;
        census.logical = census.gates.experts = placement->logical;
        census.group_ranks = placement->ranks;
    }
    *out = census;
    return MOE_OK;
}

void moe_census_destroy(moe_census_t *census)
{
    free(census->sums);
    moe_gate_sums_destroy(&census->gates);
    *census = (moe_census_t){0};
}

void moe_census_add(moe_census_t *census, const moe_workload_t *workload, const moe_batch_t *batch,
                    size_t first_rank, size_t stride)
{
    size_t *arriving = census->sums + census->experts + first_rank;
    for (size_t e = 0; e < census->experts; e++) {
        census->sums[e] += batch->selected[e];
        arriving[workload->placement->rank_of[e]] += batch->selected[e];
    }
    /* Blocks of `padded` are the fullest rank's on every rank. */
    moe_sizes_t sizes;
    moe_sizes_of(workload, 0, &sizes);
    size_t *total = totals(census);
    total[SUM_TOKENS] += batch->table.tokens;
    total[SUM_SELECTIONS] += batch->selections;
    total[SUM_KEPT] += batch->kept_selections;
    total[SUM_HASH] +=
        moe_table_hash(&batch->table, moe_router_layer(workload->router), workload->step);
    total[SUM_SLOTS] += sizes.slots * census->experts;
    const moe_router_t *router = batch->router != NULL ? batch->router : workload->router;
    moe_gate_sums_add(&census->gates, router, workload->step, &batch->table, stride);
}

/* Replicas are one expert. */
static void load_of_experts(const moe_census_t *census, moe_load_t *out)
{
    size_t *logical = NULL;
    if (census->logical_of != NULL) {
        logical = calloc(census->logical, sizeof *logical);
    }
    for (size_t e = 0; logical != NULL && e < census->experts; e++) {
        logical[census->logical_of[e]] += census->sums[e];
    }
    if (logical != NULL) {
        moe_load_of(logical, census->logical, out);
    } else {
        moe_load_of(census->sums, census->experts, out);
    }
    free(logical);
}

/* What the same choices would load ranks with if each expert lay once, in blocks. */
static double unplaced_max_over_mean(const moe_census_t *census, size_t group_ranks)
{
    size_t *rank = calloc(group_ranks, sizeof *rank);
    moe_placement_t block = {0};
    moe_load_t load = {0};
    if (rank != NULL &&
        moe_placement_create("block", census->logical, group_ranks, &block, NULL) == MOE_OK) {
        for (size_t e = 0; e < census->experts; e++) {
            rank[block.rank_of[census->logical_of[e]]] += census->sums[e];
        }
        moe_load_of(rank, group_ranks, &load);
    }
    moe_placement_destroy(&block);
    free(rank);
    return load.max_over_mean;
}

void moe_census_summarise(const moe_census_t *census, moe_census_report_t *out)
{
    const size_t *total = totals(census);
    const double selections = (double)total[SUM_SELECTIONS], kept = (double)total[SUM_KEPT];
    *out = (moe_census_report_t){
        .aux_loss = moe_aux_loss(&census->gates),
        .importance_cv2 = moe_importance_cv2(&census->gates),
        .gate_tokens = (size_t)census->gates.tokens,
        .tokens = total[SUM_TOKENS],
        .selections = total[SUM_SELECTIONS],
        .kept = total[SUM_KEPT],
        .drop_share = selections > 0 ? 1 - kept / selections : 0,
        .padding_share = total[SUM_SLOTS] > 0 ? 1 - kept / (double)total[SUM_SLOTS] : -1,
        .hash = total[SUM_HASH],
    };
    load_of_experts(census, &out->expert);
    moe_load_of(census->sums + census->experts, census->ranks, &out->rank);
    if (census->logical_of != NULL) {
        out->block_rank_max_over_mean = unplaced_max_over_mean(census, census->group_ranks);
    }
}

static void add_load(moe_load_t *sum, const moe_load_t *load, double weight)
{
    sum->max_over_mean += weight * load->max_over_mean;
    sum->cv += weight * load->cv;
    sum->gini += weight * load->gini;
    sum->hottest_share += weight * load->hottest_share;
}

void moe_census_mean(const moe_census_report_t *layers, size_t n, moe_census_report_t *out)
{
    const double weight = 1 / (double)n;
    moe_census_report_t mean = {0};
    for (size_t i = 0; i < n; i++) {
        add_load(&mean.expert, &layers[i].expert, weight);
        add_load(&mean.rank, &layers[i].rank, weight);
        mean.block_rank_max_over_mean += weight * layers[i].block_rank_max_over_mean;
        mean.aux_loss += weight * layers[i].aux_loss;
        mean.importance_cv2 += weight * layers[i].importance_cv2;
        mean.drop_share += weight * layers[i].drop_share;
        mean.padding_share += weight * layers[i].padding_share;
        mean.gate_tokens += layers[i].gate_tokens;
        mean.tokens += layers[i].tokens;
        mean.selections += layers[i].selections;
        mean.kept += layers[i].kept;
        mean.hash += layers[i].hash;
    }
    *out = mean;
}
