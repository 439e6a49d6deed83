/* Plans of styles that send one block of rows to each expert.
 *
 * The send buffer holds blocks in order of peers and, within a peer, of its experts, ascending. A
 * block holds the kept tokens of its expert, ascending, then padding. */
#include <stdlib.h>

#include "hop.h"
#include "moe/system.h"

static moe_status_t rows_do_not_fit(const moe_plan_t *plan, const char *direction,
                                    moe_error_t *error)
{
    return moe_fail(error, MOE_BAD_INPUT,
                    "style %s: the rows that rank %zu would %s do not fit: more than %zu; lower "
                    "the tokens or the capacity factor",
                    plan->style->name, plan->rank, direction, SIZE_MAX);
}

/* Blocks of all ranks are alike where their size follows from no rank's own counts, and all ranks
 * hold as many experts. */
static bool is_uniform(const moe_style_ops_t *style, const moe_placement_t *placement)
{
    for (size_t p = 1; p < placement->ranks; p++) {
        if (placement->first[p + 1] - placement->first[p] != placement->first[1]) {
            return false;
        }
    }
    return style->metadata != MOE_METADATA_COUNTS && !style->fixed_slots;
}

/* ---- The sender's half ---- */

/* Lays the blocks out: rows to each peer, and where each expert's block starts. */
static moe_status_t lay_out(moe_plan_t *plan, const moe_sizes_t *sizes, const size_t *counts,
                            size_t *block_first, moe_error_t *error)
{
    const moe_placement_t *placement = sizes->placement;
    moe_hop_t *hop = &plan->hop;
    size_t row = 0;
    for (size_t p = 0; p < hop->peers; p++) {
        hop->send_first[p] = row;
        for (size_t i = placement->first[p]; i < placement->first[p + 1]; i++) {
            const size_t e = (size_t)placement->expert_at[i];
            const size_t block = plan->style->block_rows(sizes, counts[e]);
            if (block < counts[e]) {
                return moe_fail(error, MOE_BAD_INPUT,
                                "style %s: expert %zu keeps %zu tokens of rank %zu, but a block "
                                "has %zu rows; the sizes are not those of this batch",
                                plan->style->name, e, counts[e], plan->rank, block);
            }
            block_first[e] = row;
            if (__builtin_add_overflow(row, block, &row)) {
                return rows_do_not_fit(plan, "send", error);
            }
        }
        hop->send_rows[p] = row - hop->send_first[p];
    }
    hop->send_first[hop->peers] = row;
    return MOE_OK;
}

static moe_status_t make_send_arrays(moe_plan_t *plan, const moe_batch_t *batch, moe_error_t *error)
{
    moe_hop_t *hop = &plan->hop;
    const size_t rows = hop->send_first[hop->peers], kept = batch->kept_selections;
    moe_status_t status = new_sizes("the rows to send", rows, &hop->gather, error);
    if (status == MOE_OK) {
        status = new_sizes("a plan", hop->before + 1, &hop->reduce_first, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("a plan", kept, &hop->reduce_row, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("a plan", kept, sizeof(float), (void **)&hop->reduce_weight, error);
    }
    return status;
}

/* Gives every kept selection the next row of its expert's block. */
static void place_tokens(moe_hop_t *hop, const moe_batch_t *batch, size_t *next_row)
{
    const moe_table_t *table = &batch->table;
    const size_t rows = hop->send_first[hop->peers];
    for (size_t r = 0; r < rows; r++) {
        hop->gather[r] = MOE_ROW_ZERO;
    }
    size_t terms = 0;
    for (size_t t = 0; t < table->tokens; t++) {
        hop->reduce_first[t] = terms;
        for (size_t i = t * table->top_k; i < (t + 1) * table->top_k; i++) {
            if (!batch->kept[i]) {
                continue;
            }
            const size_t row = next_row[table->expert[i]]++;
            hop->gather[row] = t;
            hop->reduce_row[terms] = row;
            hop->reduce_weight[terms] = table->weight[i];
            terms++;
        }
    }
    hop->reduce_first[table->tokens] = terms;
}

static moe_status_t make_send_half(moe_plan_t *plan, const moe_sizes_t *sizes,
                                   const moe_batch_t *batch, moe_error_t *error)
{
    moe_hop_t *hop = &plan->hop;
    size_t *block_first = NULL;
    moe_status_t status = new_sizes("a plan", sizes->placement->experts, &block_first, error);
    if (status == MOE_OK) {
        status = new_sizes("rows to each peer", hop->peers, &hop->send_rows, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("rows to each peer", hop->peers + 1, &hop->send_first, error);
    }
    if (status == MOE_OK) {
        status = lay_out(plan, sizes, batch->counts, block_first, error);
    }
    if (status == MOE_OK) {
        status = make_send_arrays(plan, batch, error);
    }
    if (status == MOE_OK) {
        place_tokens(hop, batch, block_first);
    }
    free(block_first);
    return status;
}

moe_status_t moe_plan_send(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                           const moe_batch_t *batch, size_t rank, moe_plan_t *out,
                           moe_error_t *error)
{
    const moe_placement_t *placement = sizes->placement;
    if (style->block_rows == NULL) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "style %s is not made of one block of rows per expert: it has no such plan",
                        style->name);
    }
    moe_plan_t plan = {.style = style,
                       .rank = rank,
                       .local_experts = placement->first[rank + 1] - placement->first[rank],
                       .hop = {.peers = placement->ranks,
                               .before = batch->table.tokens,
                               .uniform = is_uniform(style, placement)}};
    const moe_status_t status = make_send_half(&plan, sizes, batch, error);
    if (status != MOE_OK) {
        moe_plan_destroy(&plan);
        return status;
    }
    *out = plan;
    return MOE_OK;
}

/* ---- The receiver's half ---- */

/* What arrives: the peers' blocks side by side, each peer's in order of local experts. */
typedef struct arrivals {
    const moe_plan_t *plan;
    const moe_sizes_t *sizes;
    const size_t *counts; /* [peers][local_experts], or NULL */
} arrivals_t;

static size_t block_from(const arrivals_t *a, size_t peer, size_t local_expert)
{
    const size_t at = peer * a->plan->local_experts + local_expert;
    return a->plan->style->block_rows(a->sizes, a->counts != NULL ? a->counts[at] : 0);
}

static moe_status_t add_up(const arrivals_t *a, size_t *recv_rows, size_t *recv_first,
                           size_t *expert_first, moe_error_t *error)
{
    const size_t peers = a->plan->hop.peers, experts = a->plan->local_experts;
    size_t row = 0;
    for (size_t p = 0; p < peers; p++) {
        recv_first[p] = row;
        for (size_t l = 0; l < experts; l++) {
            const size_t block = block_from(a, p, l);
            if (__builtin_add_overflow(row, block, &row)) {
                return rows_do_not_fit(a->plan, "receive", error);
            }
            expert_first[l + 1] += block; /* not more than all rows: cannot overflow either */
        }
        recv_rows[p] = row - recv_first[p];
    }
    recv_first[peers] = row;
    for (size_t l = 0; l < experts; l++) {
        expert_first[l + 1] += expert_first[l];
    }
    return MOE_OK;
}

/* Arrived: (peer, local expert, row). By expert: (local expert, peer, row). */
static moe_status_t sort_by_expert(const arrivals_t *a, size_t rows, const size_t *expert_first,
                                   size_t **expert_gather, size_t **expert_return,
                                   moe_error_t *error)
{
    const size_t peers = a->plan->hop.peers, experts = a->plan->local_experts;
    if (peers == 1 || experts <= 1) {
        return MOE_OK; /* already in that order */
    }
    size_t *next_row = NULL;
    moe_status_t status = new_sizes("a plan", experts, &next_row, error);
    if (status == MOE_OK) {
        status = new_sizes("the rows to receive", rows, expert_gather, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("the rows to receive", rows, expert_return, error);
    }
    for (size_t l = 0; status == MOE_OK && l < experts; l++) {
        next_row[l] = expert_first[l];
    }
    size_t arrived = 0;
    for (size_t p = 0; status == MOE_OK && p < peers; p++) {
        for (size_t l = 0; l < experts; l++) {
            const size_t block = block_from(a, p, l);
            for (size_t n = 0; n < block; n++, arrived++) {
                const size_t sorted = next_row[l]++;
                (*expert_gather)[sorted] = arrived;
                (*expert_return)[arrived] = sorted;
            }
        }
    }
    free(next_row);
    return status;
}

moe_status_t moe_plan_receive(moe_plan_t *plan, const moe_sizes_t *sizes, const size_t *counts,
                              moe_error_t *error)
{
    const size_t peers = plan->hop.peers, experts = plan->local_experts;
    if (counts == NULL && plan->style->metadata == MOE_METADATA_COUNTS) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "style %s: what arrives is not known without the counts of the peers",
                        plan->style->name);
    }
    const arrivals_t arrivals = {.plan = plan, .sizes = sizes, .counts = counts};
    size_t *recv_rows = NULL, *recv_first = NULL, *expert_first = NULL;
    size_t *expert_gather = NULL, *expert_return = NULL;
    moe_status_t status = new_sizes("rows from each peer", peers, &recv_rows, error);
    if (status == MOE_OK) {
        status = new_sizes("rows from each peer", peers + 1, &recv_first, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("rows of each expert", experts + 1, &expert_first, error);
    }
    if (status == MOE_OK) {
        status = add_up(&arrivals, recv_rows, recv_first, expert_first, error);
    }
    if (status == MOE_OK) {
        status = sort_by_expert(&arrivals, recv_first[peers], expert_first, &expert_gather,
                                &expert_return, error);
    }
    if (status != MOE_OK) {
        free(recv_rows);
        free(recv_first);
        free(expert_first);
        free(expert_gather);
        free(expert_return);
        return status;
    }
    plan->hop.recv_rows = recv_rows;
    plan->hop.recv_first = recv_first;
    plan->expert_first = expert_first;
    plan->expert_gather = expert_gather;
    plan->expert_return = expert_return;
    return MOE_OK;
}

/* ---- Variants of blocks ---- */

/* Arrivals of peer p start at its first slot, whatever came before. */
static moe_status_t fix_slots(moe_plan_t *plan, const moe_sizes_t *sizes, moe_error_t *error)
{
    moe_hop_t *hop = &plan->hop;
    const size_t slots = plan->local_experts * sizes->tokens_max;
    const size_t rows = hop->recv_first[hop->peers];
    size_t end;
    if (__builtin_mul_overflow(hop->peers, slots, &end)) {
        return rows_do_not_fit(plan, "receive", error);
    }
    moe_status_t status = new_sizes("slots", hop->peers + 1, &hop->slot_first, error);
    if (status == MOE_OK && plan->expert_gather == NULL) {
        status = new_sizes("the rows to receive", rows, &plan->expert_gather, error);
        for (size_t r = 0; status == MOE_OK && r < rows; r++) {
            plan->expert_gather[r] = r;
        }
    }
    if (status != MOE_OK) {
        return status;
    }
    for (size_t p = 0; p <= hop->peers; p++) {
        hop->slot_first[p] = p * slots;
    }
    for (size_t r = 0; r < rows; r++) { /* rows of one peer stay together: a search would do too */
        size_t low = 0, high = hop->peers;
        while (high - low > 1) {
            const size_t middle = low + (high - low) / 2;
            *(hop->recv_first[middle] <= plan->expert_gather[r] ? &low : &high) = middle;
        }
        while (hop->recv_rows[low] == 0 || plan->expert_gather[r] >= hop->recv_first[low + 1]) {
            low++; /* peers without rows share their first with the next */
        }
        plan->expert_gather[r] += hop->slot_first[low] - hop->recv_first[low];
    }
    return MOE_OK;
}

/* Side data of one row per selection: its number. */
static moe_status_t number_selections(moe_plan_t *plan, const moe_batch_t *batch,
                                      const moe_sizes_t *sizes, moe_error_t *error)
{
    moe_hop_t *hop = &plan->hop;
    moe_status_t status =
        new_sizes("the rows to send", moe_hop_send_rows(hop), &hop->side_row, error);
    if (status != MOE_OK) {
        return status;
    }
    for (size_t r = 0; r < moe_hop_send_rows(hop); r++) {
        hop->side_row[r] = MOE_ROW_ZERO;
    }
    for (size_t t = 0, term = 0; t < batch->table.tokens; t++) {
        for (size_t i = t * sizes->top_k; i < (t + 1) * sizes->top_k; i++) {
            if (batch->kept[i]) {
                hop->side_row[hop->reduce_row[term++]] = i;
            }
        }
    }
    return MOE_OK;
}

static moe_status_t new_round(size_t peers, moe_round_t *out, moe_error_t *error)
{
    size_t *block = NULL;
    moe_status_t status = new_sizes("rounds", 4 * peers, &block, error);
    if (status == MOE_OK) {
        *out = (moe_round_t){.send_rows = block,
                             .recv_rows = block + peers,
                             .send_first = block + 2 * peers,
                             .recv_first = block + 3 * peers};
    }
    return status;
}

/* Round l carries the blocks of the l-th expert of every rank. */
static void fill_round(const moe_plan_t *plan, const moe_sizes_t *sizes, const moe_batch_t *batch,
                       const size_t *counts, size_t l, moe_round_t *round)
{
    const moe_placement_t *placement = sizes->placement;
    const moe_hop_t *hop = &plan->hop;
    for (size_t p = 0; p < hop->peers; p++) {
        const size_t experts = placement->first[p + 1] - placement->first[p];
        size_t send = hop->send_first[p], recv = hop->recv_first[p];
        for (size_t i = 0; i < l && i < experts; i++) {
            const int32_t e = placement->expert_at[placement->first[p] + i];
            send += plan->style->block_rows(sizes, batch->counts[e]);
        }
        for (size_t i = 0; i < l && i < plan->local_experts; i++) {
            recv += plan->style->block_rows(sizes, counts[p * plan->local_experts + i]);
        }
        const int32_t e = l < experts ? placement->expert_at[placement->first[p] + l] : -1;
        round->send_first[p] = send;
        round->recv_first[p] = recv;
        round->send_rows[p] = e >= 0 ? plan->style->block_rows(sizes, batch->counts[e]) : 0;
        round->recv_rows[p] =
            l < plan->local_experts
                ? plan->style->block_rows(sizes, counts[p * plan->local_experts + l])
                : 0;
    }
}

static moe_status_t cut_rounds(moe_plan_t *plan, const moe_sizes_t *sizes, const moe_batch_t *batch,
                               const size_t *counts, moe_error_t *error)
{
    const moe_placement_t *placement = sizes->placement;
    moe_hop_t *hop = &plan->hop;
    size_t rounds = 0;
    for (size_t p = 0; p < hop->peers; p++) {
        const size_t experts = placement->first[p + 1] - placement->first[p];
        rounds = experts > rounds ? experts : rounds;
    }
    moe_status_t status =
        moe_alloc("rounds", rounds, sizeof *hop->round, (void **)&hop->round, error);
    for (size_t l = 0; status == MOE_OK && l < rounds; l++) {
        status = new_round(hop->peers, &hop->round[l], error);
        if (status == MOE_OK) {
            hop->rounds = l + 1;
            fill_round(plan, sizes, batch, counts, l, &hop->round[l]);
        }
    }
    return status;
}

/* ---- Any style ---- */

static moe_status_t create_blocks(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                                  const moe_batch_t *batch, size_t rank, const size_t *counts,
                                  moe_plan_t *plan, moe_error_t *error)
{
    moe_status_t status = moe_plan_send(style, sizes, batch, rank, plan, error);
    if (status == MOE_OK) {
        status = moe_plan_receive(plan, sizes, counts, error);
    }
    if (status == MOE_OK && style->round_per_expert) {
        status = cut_rounds(plan, sizes, batch, counts, error);
    }
    if (status == MOE_OK && style->fixed_slots) {
        status = fix_slots(plan, sizes, error);
    }
    if (status == MOE_OK && style->side != NULL) {
        status = number_selections(plan, batch, sizes, error);
    }
    return status;
}

moe_status_t moe_plan_create(const moe_style_ops_t *style, const moe_workload_t *workload,
                             const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                             const size_t *counts, moe_plan_t *out, moe_error_t *error)
{
    moe_plan_t plan = {0};
    moe_status_t status = moe_style_check(style, sizes, MOE_BF16, error);
    if (status == MOE_OK) {
        status = style->plan != NULL
                     ? style->plan(style, workload, sizes, batch, rank, &plan, error)
                     : create_blocks(style, sizes, batch, rank, counts, &plan, error);
    }
    if (status != MOE_OK) {
        moe_plan_destroy(&plan);
        return status;
    }
    *out = plan;
    return MOE_OK;
}

void moe_plan_destroy(moe_plan_t *plan)
{
    hop_destroy(&plan->hop);
    hop_destroy(&plan->forward);
    free(plan->expert_first);
    free(plan->expert_gather);
    free(plan->expert_return);
    free(plan->return_first);
    free(plan->return_row);
    free(plan->return_weight);
    *plan = (moe_plan_t){0};
}
