/* Styles that send a token once to each place that needs it, not once to each expert. */
#include <stdlib.h>
#include <string.h>

#include "hop.h"
#include "moe/system.h"

void tokens_places(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, moe_place_fn place,
                   size_t places, uint8_t *marks)
{
    memset(marks, 0, places);
    for (size_t i = t * batch->table.top_k; i < (t + 1) * batch->table.top_k; i++) {
        if (batch->kept[i]) {
            const size_t p = place(sizes, batch->table.expert[i]);
            if (p < places) {
                marks[p] = 1;
            }
        }
    }
}

/* ---- The sender ---- */

static moe_status_t make_lists(moe_hop_t *hop, moe_error_t *error)
{
    const size_t rows = hop->send_first[hop->peers];
    moe_status_t status = new_sizes("the rows to send", rows, &hop->gather, error);
    if (status == MOE_OK) {
        status = new_sizes("the rows to send", rows, &hop->side_row, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("a plan", hop->before + 1, &hop->reduce_first, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("a plan", rows, &hop->reduce_row, error);
    }
    return status == MOE_OK
               ? moe_alloc("a plan", rows, sizeof(float), (void **)&hop->reduce_weight, error)
               : status;
}

/* next[p]: the next free row to peer p. */
static void fill_lists(const moe_sizes_t *sizes, const moe_batch_t *batch, moe_place_fn place,
                       moe_hop_t *hop, uint8_t *marks, size_t *next)
{
    size_t terms = 0;
    for (size_t t = 0; t < batch->table.tokens; t++) {
        hop->reduce_first[t] = terms;
        tokens_places(sizes, batch, t, place, hop->peers, marks);
        for (size_t p = 0; p < hop->peers; p++) {
            if (marks[p]) {
                const size_t row = next[p]++;
                hop->gather[row] = t;
                hop->side_row[row] = t;
                hop->reduce_row[terms] = row;
                hop->reduce_weight[terms] = 1;
                terms++;
            }
        }
    }
    hop->reduce_first[batch->table.tokens] = terms;
}

moe_status_t tokens_send(const moe_sizes_t *sizes, const moe_batch_t *batch, moe_place_fn place,
                         moe_hop_t *hop, moe_error_t *error)
{
    uint8_t *marks = NULL;
    size_t *next = NULL;
    moe_status_t status = moe_alloc("a plan", hop->peers, 1, (void **)&marks, error);
    if (status == MOE_OK) {
        status = new_sizes("a plan", hop->peers, &next, error);
    }
    for (size_t t = 0; status == MOE_OK && t < batch->table.tokens; t++) {
        tokens_places(sizes, batch, t, place, hop->peers, marks);
        for (size_t p = 0; p < hop->peers; p++) {
            hop->send_rows[p] += marks[p];
        }
    }
    if (status == MOE_OK) {
        running_sums(hop->send_rows, hop->peers, hop->send_first);
        memcpy(next, hop->send_first, hop->peers * sizeof *next);
        status = make_lists(hop, error);
    }
    if (status == MOE_OK) {
        fill_lists(sizes, batch, place, hop, marks, next);
    }
    free(next);
    free(marks);
    return status;
}

/* ---- The receiver ---- */

/* Where the kept selections of one token have experts on this rank. */
static size_t local_terms(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, size_t rank)
{
    size_t terms = 0;
    for (size_t i = t * batch->table.top_k; i < (t + 1) * batch->table.top_k; i++) {
        terms +=
            batch->kept[i] && (size_t)sizes->placement->rank_of[batch->table.expert[i]] == rank;
    }
    return terms;
}

typedef struct arriving {
    const moe_workload_t *workload;
    const moe_sizes_t *sizes;
    bool all;
    moe_plan_t *plan;
    size_t *rows_of;  /* [ranks] */
    size_t *first_of; /* [ranks] */
    size_t *next_row; /* [local_experts] */
    size_t arrivals, expert_rows;
} arriving_t;

/* First pass: how many rows each source sends, and how many reach each local expert. */
static void count_source(arriving_t *a, const moe_batch_t *batch, size_t source)
{
    const moe_placement_t *placement = a->sizes->placement;
    const size_t rank = a->plan->rank;
    for (size_t l = 0; l < a->plan->local_experts; l++) {
        const int32_t e = placement->expert_at[placement->first[rank] + l];
        a->plan->expert_first[l + 1] += batch->counts[e];
    }
    for (size_t t = 0; t < batch->table.tokens; t++) {
        a->rows_of[source] += a->all || local_terms(a->sizes, batch, t, rank) > 0;
    }
}

/* Second pass, sources ascending: the rows by expert come in order of (expert, source, token). */
static void place_source(arriving_t *a, const moe_batch_t *batch, size_t source)
{
    moe_plan_t *plan = a->plan;
    const moe_placement_t *placement = a->sizes->placement;
    size_t arrival = a->first_of[source];
    for (size_t t = 0; t < batch->table.tokens; t++) {
        const size_t here = local_terms(a->sizes, batch, t, plan->rank);
        if (here == 0 && !a->all) {
            continue;
        }
        for (size_t i = t * batch->table.top_k; i < (t + 1) * batch->table.top_k; i++) {
            const int32_t e = batch->table.expert[i];
            if (!batch->kept[i] || (size_t)placement->rank_of[e] != plan->rank) {
                continue;
            }
            const size_t row = a->next_row[placement->local_of[e]]++;
            plan->expert_gather[row] = arrival;
            plan->return_weight[row] = batch->table.weight[i]; /* by expert row, sorted later */
        }
        plan->return_first[arrival + 1] = here;
        arrival++;
    }
}

static moe_status_t over_sources(arriving_t *a,
                                 void (*visit)(arriving_t *, const moe_batch_t *, size_t),
                                 moe_error_t *error)
{
    for (size_t p = 0; p < a->sizes->placement->ranks; p++) {
        moe_batch_t *batch = NULL;
        const moe_status_t status = moe_batch_create(a->workload, p, &batch, error);
        if (status != MOE_OK) {
            return status;
        }
        visit(a, batch, p);
        moe_batch_destroy(batch);
    }
    return MOE_OK;
}

/* return_row lists, for each arrival, its rows by expert, ascending; weights go along. */
static moe_status_t list_returns(arriving_t *a, moe_error_t *error)
{
    moe_plan_t *plan = a->plan;
    float *weights = NULL;
    size_t *next = NULL;
    moe_status_t status =
        moe_alloc("a plan", a->expert_rows, sizeof *weights, (void **)&weights, error);
    if (status == MOE_OK) {
        status = new_sizes("a plan", a->arrivals, &next, error);
    }
    if (status == MOE_OK) {
        for (size_t i = 0; i < a->arrivals; i++) {
            plan->return_first[i + 1] += plan->return_first[i];
            next[i] = plan->return_first[i];
        }
        for (size_t row = 0; row < a->expert_rows; row++) {
            const size_t at = next[plan->expert_gather[row]]++;
            plan->return_row[at] = row;
            weights[at] = plan->return_weight[row];
        }
        free(plan->return_weight);
        plan->return_weight = weights;
        weights = NULL;
    }
    free(weights);
    free(next);
    return status;
}

static moe_status_t make_arrival_lists(arriving_t *a, moe_error_t *error)
{
    moe_plan_t *plan = a->plan;
    for (size_t p = 0; p < a->sizes->placement->ranks; p++) {
        a->arrivals += a->rows_of[p];
    }
    for (size_t l = 0; l < plan->local_experts; l++) {
        plan->expert_first[l + 1] += plan->expert_first[l];
        a->next_row[l] = plan->expert_first[l];
    }
    a->expert_rows = plan->expert_first[plan->local_experts];
    moe_status_t status =
        new_sizes("the rows to receive", a->expert_rows, &plan->expert_gather, error);
    if (status == MOE_OK) {
        status = new_sizes("the rows to receive", a->arrivals + 1, &plan->return_first, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("the rows to receive", a->expert_rows, &plan->return_row, error);
    }
    return status == MOE_OK ? moe_alloc("the rows to receive", a->expert_rows, sizeof(float),
                                        (void **)&plan->return_weight, error)
                            : status;
}

moe_status_t tokens_arrive(const moe_workload_t *workload, const moe_sizes_t *sizes, bool all,
                           moe_order_fn order, moe_plan_t *plan, size_t **rows_of,
                           moe_error_t *error)
{
    const size_t ranks = sizes->placement->ranks;
    arriving_t a = {.workload = workload, .sizes = sizes, .all = all, .plan = plan};
    moe_status_t status = new_sizes("arrivals", ranks, &a.rows_of, error);
    if (status == MOE_OK) {
        status = new_sizes("arrivals", ranks, &a.first_of, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("arrivals", plan->local_experts, &a.next_row, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("arrivals", plan->local_experts + 1, &plan->expert_first, error);
    }
    if (status == MOE_OK) {
        status = over_sources(&a, count_source, error);
    }
    if (status == MOE_OK) {
        status = make_arrival_lists(&a, error);
    }
    if (status == MOE_OK) {
        order(sizes, a.rows_of, a.first_of);
        status = over_sources(&a, place_source, error);
    }
    if (status == MOE_OK) {
        status = list_returns(&a, error);
    }
    free(a.first_of);
    free(a.next_row);
    if (status != MOE_OK) {
        free(a.rows_of);
        return status;
    }
    *rows_of = a.rows_of;
    return MOE_OK;
}

void tokens_in_order_of_ranks(const moe_sizes_t *sizes, const size_t *rows_of, size_t *first_of)
{
    size_t row = 0;
    for (size_t p = 0; p < sizes->placement->ranks; p++) {
        first_of[p] = row;
        row += rows_of[p];
    }
}

/* ---- Index and weight ---- */

size_t tokens_index_and_weight_bytes(const moe_sizes_t *sizes)
{
    return sizes->top_k * (sizeof(int32_t) + sizeof(float));
}

void tokens_index_and_weight(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, size_t k,
                             void *out)
{
    (void)k;
    unsigned char *to = out;
    for (size_t i = 0; i < sizes->top_k; i++) {
        const size_t at = t * sizes->top_k + i;
        const int32_t expert = batch->kept[at] ? batch->table.expert[at] : MOE_NO_EXPERT;
        const float weight = batch->kept[at] ? batch->table.weight[at] : 0;
        memcpy(to + i * sizeof expert, &expert, sizeof expert);
        memcpy(to + sizes->top_k * sizeof expert + i * sizeof weight, &weight, sizeof weight);
    }
}
