/* Traffic: what a dispatch style puts on the wire for given choices. No communication happens here.
 *
 *   router + capacity -> batch (one rank's choices, what was kept, counts per expert)
 *   batch + style     -> rows to each peer (counting: any scale, for reports)
 *                     -> plan (index lists that the exchange room carries out)
 *
 * Everything is counted in rows of one token; bytes are made at the edge by moe_row_bytes().
 * Dispatch goes from the rank that holds a token to the ranks that hold its experts; combine carries
 * the same rows back, in the combine dtype. */
#ifndef MOE_TRAFFIC_H
#define MOE_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/model.h"
#include "moe/routing.h"
#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Capacity ---- */

typedef enum moe_drop { MOE_DROP_POSITION, MOE_DROP_PROBABILITY, MOE_DROP_RANDOM } moe_drop_t;
moe_status_t moe_drop_parse(const char *what, const char *text, moe_drop_t *out,
                            moe_error_t *error);
const char *moe_drop_name(moe_drop_t drop);

typedef struct moe_capacity_spec {
    double factor; /* 0: nothing is dropped */
    size_t min;    /* DeepSpeed's min_capacity; 4 there */
    moe_drop_t drop;
} moe_capacity_spec_t;

/* C = max(ceil(S/E * K * factor), min): slots of an expert for the S tokens that one gate sees
 * (GShard; DeepSpeed sharded_moe.py). Saturates at SIZE_MAX. Call it with factor > 0 only. */
size_t moe_capacity_slots(size_t tokens, size_t experts, size_t top_k, double factor, size_t min);

/* ---- A batch: one rank's tokens at one layer and step ---- */

/* What decides the batches of all ranks of an expert-parallel group. Pointers are borrowed. */
typedef struct moe_workload {
    const moe_router_t *router;
    const moe_placement_t *placement; /* placement->ranks = size of the group */
    const size_t *tokens;             /* [ranks] tokens that each rank holds */
    const uint64_t *first_token;      /* [ranks] global number of its first */
    moe_capacity_spec_t capacity;
    uint32_t step;
    size_t ranks_per_node; /* see moe_sizes_t */
} moe_workload_t;

typedef struct moe_batch {
    const moe_router_t *router;      /* of these tokens; closed with the batch */
    const moe_router_t *opened_from; /* the workload's: borrowed */
    moe_table_t table;
    uint8_t *kept;    /* [tokens][top_k] 1: sent and computed; 0: over capacity, or no expert */
    size_t *selected; /* [experts] selections before drops */
    size_t *counts;   /* [experts] selections kept */
    size_t selections, kept_selections; /* sums of the two */
    size_t slots; /* capacity of an expert on this rank; 0 where nothing is dropped */
} moe_batch_t;

/* Routes rank's tokens and applies the capacity. Same result on whichever rank it is called: the
 * oracle uses that. */
moe_status_t moe_batch_create(const moe_workload_t *workload, size_t rank, moe_batch_t **out,
                              moe_error_t *error);
void moe_batch_destroy(moe_batch_t *batch);
/* Host bytes of a batch, to be asked before making it; SIZE_MAX past the range. */
size_t moe_batch_bytes(size_t tokens, size_t top_k, size_t experts);

/* ---- Census: load figures over all ranks of a run ---- */

/* Sums over batches. `sums` and `gates` may be added element by element over ranks (hash included:
 * modulo 2^64), so that every rank adds its own batch and one reduction makes the census of all. */
typedef struct moe_census {
    size_t experts, ranks; /* ranks of the whole run, all expert-parallel groups */
    size_t count;          /* entries of sums */
    size_t *sums; /* [experts] selections of each expert, before drops; [ranks] of the experts
                              on each rank; then tokens, selections, kept selections, hash, slots */
    moe_gate_sums_t gates;
    /* Where experts are replicated (`experts` are the physical ones): see moe_placement_t; else 0. */
    size_t logical, group_ranks;
    const int32_t *logical_of; /* borrowed */
} moe_census_t;
moe_status_t moe_census_create(size_t experts, size_t ranks, moe_census_t *out, moe_error_t *error);
/* For the experts of a placement, which must outlive it where these are replicated. */
moe_status_t moe_census_create_placed(const moe_placement_t *placement, size_t ranks,
                                      moe_census_t *out, moe_error_t *error);
void moe_census_destroy(moe_census_t *census);
/* first_rank: the run's number of the group's rank 0. Every stride-th token enters the gate sums. */
void moe_census_add(moe_census_t *census, const moe_workload_t *workload, const moe_batch_t *batch,
                    size_t first_rank, size_t stride);

typedef struct moe_census_report {
    moe_load_t expert, rank;         /* replicas count as the one expert that they are */
    double block_rank_max_over_mean; /* with replicas: of ranks, had each expert lain once, in
                                        blocks (of all groups together); else 0 */
    double aux_loss, importance_cv2;
    size_t gate_tokens; /* tokens that these two were made of */
    size_t tokens, selections, kept;
    double drop_share;    /* of the selections */
    double padding_share; /* of the slots of `padded` under a capacity; -1 without one */
    uint64_t hash;        /* of the choices */
} moe_census_report_t;
void moe_census_summarise(const moe_census_t *census, moe_census_report_t *out);
/* Of several layers: load and loss figures are means (each layer has hot experts of its own: sums of
 * their counts would hide the skew), counts and hash are sums. n > 0. */
void moe_census_mean(const moe_census_report_t *layers, size_t n, moe_census_report_t *out);

/* ---- Styles ---- */

/* What a style has to learn from other ranks before it can send rows. */
typedef enum moe_metadata {
    MOE_METADATA_NONE,   /* sizes follow from the configuration */
    MOE_METADATA_MAX,    /* the largest count of any rank and expert: an 8 B all-reduce */
    MOE_METADATA_COUNTS, /* 8 B for each expert of the receiver, to each peer */
    MOE_METADATA_ROWS    /* 8 B to each peer of each hop: the rows to come */
} moe_metadata_t;

/* Constants of a style's sizes in one layer, the same on all ranks of the group. */
typedef struct moe_sizes {
    const moe_placement_t *placement;
    size_t top_k;      /* places of a token in the routing table */
    size_t tokens_max; /* largest number of tokens on a rank */
    size_t slots;      /* capacity where one is set (of tokens_max tokens), else 0 */
    size_t count_max;  /* largest kept count of any rank and expert; needed for METADATA_MAX only */
    size_t ranks_per_node; /* ranks r and s share a node where r / it == s / it; 0: all do */
} moe_sizes_t;
/* Ranks of a node, and nodes. */
size_t moe_sizes_node_ranks(const moe_sizes_t *sizes);
size_t moe_sizes_nodes(const moe_sizes_t *sizes);

/* The sizes of a workload. count_max: see above; 0 where it is not needed. */
void moe_sizes_of(const moe_workload_t *workload, size_t count_max, moe_sizes_t *out);

/* Where the results of a token's experts are weighed and summed; partial sums are rounded to the
 * combine dtype before they travel on. */
typedef enum moe_sum_at {
    MOE_SUM_AT_SOURCE,    /* all results travel; weighed and summed by the token's own rank */
    MOE_SUM_AT_EXPERTS,   /* weighed and summed by each rank of experts, then by the source */
    MOE_SUM_AT_FORWARDERS /* the same, summed once more by the forwarder of each node in between */
} moe_sum_at_t;

typedef struct moe_plan moe_plan_t;
typedef struct moe_flow moe_flow_t;
typedef struct moe_style_ops moe_style_ops_t;
struct moe_style_ops {
    const char *name;    /* "padded" */
    const char *summary; /* one line for help */
    const char *source;  /* whose style it is */
    moe_metadata_t metadata;
    moe_sum_at_t sum_at;
    /* Rows that a rank sends for one expert when `kept` of its selections are kept. NULL: the style
     * is not made of blocks per expert; it then has plan() and count(). */
    size_t (*block_rows)(const moe_sizes_t *sizes, size_t kept);
    /* Variants of blocks: one exchange for each local expert in turn; arrivals in slots that are
     * fixed whatever the counts, tokens_max of them for each (local expert, source). */
    bool round_per_expert, fixed_slots;
    /* Bytes that travel behind each row of dispatch (index, weight, header), and what they are for
     * selection k of token t: written to out[side_bytes]. NULL: none. */
    size_t (*side_bytes)(const moe_sizes_t *sizes);
    void (*side)(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, size_t k, void *out);
    /* Whether ranks have to fill their nodes evenly. */
    bool by_node;
    /* What follows stands in place of what blocks per expert share; both NULL with them.
     * plan(): everything of a plan, from the batches of all ranks. count(): adds the rows of one
     * rank's batch to both flows, those that others forward for it included. */
    moe_status_t (*plan)(const moe_style_ops_t *style, const moe_workload_t *workload,
                         const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                         moe_plan_t *out, moe_error_t *error);
    void (*count)(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                  size_t first_rank, moe_flow_t *dispatch, moe_flow_t *combine);
};

/* Refuses styles that cannot be with these sizes (nodes that are not filled evenly) or this dtype of
 * combine (FP8 where sums are rounded on the way: rows are scaled by their own largest element). */
moe_status_t moe_style_check(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                             moe_dtype_t combine_dtype, moe_error_t *error);
/* Bytes behind each row of dispatch. */
size_t moe_style_side_bytes(const moe_style_ops_t *style, const moe_sizes_t *sizes);
/* Rows by expert that a batch with `kept` selections for an expert makes there. */
size_t moe_style_expert_rows(const moe_style_ops_t *style, const moe_sizes_t *sizes, size_t kept);

size_t moe_style_count(void);
const moe_style_ops_t *moe_style_at(size_t index);
moe_status_t moe_style_find(const char *name, const moe_style_ops_t **out, moe_error_t *error);

/* ---- Counting ---- */

/* What one rank sends in dispatch. Arrays [placement->ranks], owned by the caller. */
typedef struct moe_sent {
    size_t *rows;   /* rows to each peer (itself too), padding included */
    size_t *tokens; /* of them, rows that carry a token */
} moe_sent_t;
/* counts[experts]: the rank's kept selections. Rows stop at SIZE_MAX. For styles with block_rows. */
void moe_style_count_rows(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                          const size_t *counts, moe_sent_t *out);
/* Metadata bytes that one rank sends to others (self excluded). */
size_t moe_style_metadata_bytes(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                                size_t rank);

typedef struct moe_bytes {
    size_t useful;  /* kept selections * row */
    size_t logical; /* all rows, the local rank's included */
    size_t wire;    /* rows to other ranks, padding included (and metadata where stated) */
    size_t padding; /* wire bytes that carry no token */
} moe_bytes_t;

typedef struct moe_tiers {
    size_t self, intra_node, inter_node; /* bytes; the same rows as logical */
} moe_tiers_t;

/* Cells on a side of what a flow keeps of its matrix, at most: beyond so many ranks a cell holds
 * several (a matrix of thousands of ranks is no picture, and no line of a file). */
#define MOE_FLOW_CELLS ((size_t)64)

/* Totals of one direction (dispatch or combine), and what each port carries. Add the ranks one by
 * one with moe_flow_add(). Sums of bytes stop at SIZE_MAX instead of wrapping. */
struct moe_flow {
    size_t ranks, ranks_per_node, row_bytes;
    moe_bytes_t bytes;
    moe_tiers_t tiers;
    size_t *sent;     /* [ranks] bytes that a rank sends to others */
    size_t *received; /* [ranks] bytes that it receives from others */
    size_t *arriving; /* [ranks] bytes that it receives, its own included */
    uint64_t hash;    /* of the matrix of bytes: a sum over its cells modulo 2^64 */
    /* From whom to whom: cell[f * cells + t] has the bytes from the ranks f * ranks_per_cell, ... to
     * t * ranks_per_cell, ..., their own included; ranks_per_cell is the least that makes
     * MOE_FLOW_CELLS or fewer. */
    size_t ranks_per_cell, cells;
    size_t *cell; /* [cells][cells], row = sender */
};
moe_status_t moe_flow_create(size_t ranks, size_t ranks_per_node, size_t row_bytes, moe_flow_t *out,
                             moe_error_t *error);
void moe_flow_destroy(moe_flow_t *flow);
/* backward false: `rank` sends `sent` (dispatch). true: the same rows travel back to it (combine). */
void moe_flow_add(moe_flow_t *flow, size_t rank, const moe_sent_t *sent, size_t useful_rows,
                  bool backward);
/* Rows that travel from one rank to another, `padding` of them without a token. */
void moe_flow_add_rows(moe_flow_t *flow, size_t from, size_t to, size_t rows, size_t padding);
/* Rows that the algorithm had to move, of so many bytes without what travels beside them. */
void moe_flow_add_useful(moe_flow_t *flow, size_t rows, size_t row_bytes);
/* Adds one rank's batch in a style to the flows of dispatch and combine. Ranks are those of the
 * group, counted from first_rank in the flows. */
void moe_flow_add_batch(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                        const moe_batch_t *batch, size_t rank, size_t first_rank,
                        moe_flow_t *dispatch, moe_flow_t *combine);
/* All sums of a flow, in an order of their own, so that the parts of several ranks may be added:
 * moe_flow_sums() of them. */
size_t moe_flow_sums(const moe_flow_t *flow);
void moe_flow_export(const moe_flow_t *flow, size_t *sums);
void moe_flow_import(moe_flow_t *flow, const size_t *sums);
/* Largest of sent and received over ranks: what the busiest port carries. *rank may be NULL. */
size_t moe_flow_busiest(const moe_flow_t *flow, size_t *rank);
/* Largest of `arriving`: the numerator of algbw. */
size_t moe_flow_most_arriving(const moe_flow_t *flow);

/* Bytes a second of an exchange that took `seconds` (maximum over ranks); 0 where seconds is 0.
 * algbw = bytes that the rank receives that receives most, its own included / t
 * busbw = bytes that the busiest port carries in its busier direction, self excluded / t; for a
 *         uniform exchange that is S/t * (P-1)/P, the busbw of the collective benchmarks. */
double moe_flow_algbw(const moe_flow_t *flow, double seconds);
double moe_flow_busbw(const moe_flow_t *flow, double seconds);

/* ---- Matrices: bytes from every rank to every rank, whatever they are ---- */

typedef struct moe_matrix {
    size_t ranks;
    size_t *bytes; /* [ranks][ranks], row = source */
} moe_matrix_t;

/* All 0. */
moe_status_t moe_matrix_create(size_t ranks, moe_matrix_t *out, moe_error_t *error);
void moe_matrix_destroy(moe_matrix_t *matrix);
/* Formats of files, one table: src/traffic/matrix_*.c; docs/formats.md describes them. */
typedef struct moe_matrix_format moe_matrix_format_t;
const moe_matrix_format_t *moe_matrix_format_at(size_t index);       /* NULL past the end */
const moe_matrix_format_t *moe_matrix_format_find(const char *name); /* NULL: there is none */
const char *moe_matrix_format_name(const moe_matrix_format_t *format);
const char *moe_matrix_format_summary(const moe_matrix_format_t *format);
/* By the beginning of the file; never NULL. */
const moe_matrix_format_t *moe_matrix_format_of(const char *path);

/* What is to be read. */
typedef struct moe_matrix_file {
    const char *path;
    const moe_matrix_format_t *format; /* NULL: by the beginning of the file */
    size_t ranks;                      /* that the matrix must have; 0: any number */
    size_t fraction_bytes;             /* what 1 is in files of fractions; 0: they are refused */
} moe_matrix_file_t;
/* Files are not trusted: MOE_BAD_INPUT with file, line and column where a value is no number of bytes or is more
 * than the memory of this host, where lines differ in length, and where the matrix is not square or not of that
 * many ranks. The memory taken is at most 32 times the size of the file. */
moe_status_t moe_matrix_read(const moe_matrix_file_t *file, moe_matrix_t *out, moe_error_t *error);
/* Writes a file anew. MOE_BAD_INPUT where it cannot be made or the format does not hold such values, MOE_FAILED
 * where it cannot be written. */
moe_status_t moe_matrix_write(const moe_matrix_t *matrix, const moe_matrix_format_t *format,
                              const char *path, moe_error_t *error);
/* Largest size of a row that divides all blocks into whole rows: the largest divisor of their
 * greatest common divisor up to MOE_MATRIX_ROW_LIMIT, or that divisor itself where rows up to the
 * limit would be more than INT_MAX on a rank. 1 where there are no bytes. */
#define MOE_MATRIX_ROW_LIMIT ((size_t)64 << 10)
size_t moe_matrix_row_bytes(const moe_matrix_t *matrix);
/* Bytes that a rank sends, and that it receives, its own block included; they stop at SIZE_MAX. */
size_t moe_matrix_sent(const moe_matrix_t *matrix, size_t rank);
size_t moe_matrix_received(const moe_matrix_t *matrix, size_t rank);
/* What ports carry, in rows of `row_bytes`, which divides every block; everything is useful, nothing is
 * padding. The caller destroys *out. */
moe_status_t moe_matrix_flow(const moe_matrix_t *matrix, size_t ranks_per_node, size_t row_bytes,
                             moe_flow_t *out, moe_error_t *error);

/* ---- Plans ---- */

/* One all-to-all-v of rows, and how the rows around it are gathered and summed, as one rank sees it.
 * Dispatch: send[r] = before[gather[r]]. Combine goes the other way: the rows come back to their
 * places in the send buffer, and
 *     before[b] = sum over i in [reduce_first[b], reduce_first[b+1]) of
 *                 reduce_weight[i] * returned[reduce_row[i]]. */
/* Whom a hop reaches: all ranks of the group, those of the node, or those of the same number in
 * every node. Peers are counted in order of their ranks. */
typedef enum moe_scope { MOE_SCOPE_GROUP, MOE_SCOPE_NODE, MOE_SCOPE_RAIL } moe_scope_t;

/* A hop carried out as several exchanges, one after another: the part of one of them. */
typedef struct moe_round {
    size_t *send_rows, *recv_rows;   /* [peers] */
    size_t *send_first, *recv_first; /* [peers] */
} moe_round_t;

typedef struct moe_hop {
    moe_scope_t scope;
    size_t peers;
    size_t *send_rows, *recv_rows;   /* [peers] */
    size_t *send_first, *recv_first; /* [peers + 1] running sums */
    bool uniform;                    /* every block of every rank has the same number of rows */
    size_t before;                   /* rows of the stage before the hop (tokens, for the first) */
    size_t *gather;                  /* [send_first[peers]] rows of it, or MOE_ROW_ZERO */
    size_t *reduce_first;            /* [before + 1] */
    size_t *reduce_row;              /* [reduce_first[before]] rows of the send buffer */
    float *reduce_weight;            /* beside reduce_row */
    /* What few styles have; NULL or 0 else. */
    size_t *slot_first; /* [peers + 1] where blocks arrive in dispatch, if not at recv_first */
    size_t *back_first; /* [peers + 1] where they come back in combine, if not at send_first;
                           reduce_row then counts there */
    size_t *side_row;   /* [send rows] side data of each row: a token's number, or a selection's
                           (t * top_k + k) in styles of one row per selection; MOE_ROW_ZERO: none */
    size_t rounds;      /* 0: the hop is one exchange */
    moe_round_t *round; /* [rounds] */
} moe_hop_t;

/* Rows in the buffers around a hop: packed, arrived (slots included), come back. */
size_t moe_hop_send_rows(const moe_hop_t *hop);
size_t moe_hop_recv_rows(const moe_hop_t *hop);
size_t moe_hop_back_rows(const moe_hop_t *hop);

/* How one rank carries a batch out in one style. */
struct moe_plan {
    const moe_style_ops_t *style;
    size_t rank, local_experts;
    moe_hop_t hop; /* from the tokens */
    bool two_hops;
    moe_hop_t forward; /* from what has arrived by the first hop, with two of them */
    /* Rows that have arrived by the last hop, in order of (local expert, source rank, token): */
    size_t *expert_first;  /* [local_experts + 1] rows of local expert l: expert_first[l] ... */
    size_t *expert_gather; /* [expert_first[L]] arrived rows; NULL: they arrive in that order */
    size_t *expert_return; /* [recv rows] expert row that goes back in each arrived row's place;
                              NULL where expert_gather is, or where rows are summed: */
    size_t *return_first;  /* [recv rows + 1] arrived row a goes back as the sum over i in */
    size_t *return_row;    /* [return_first[a], return_first[a+1]) of */
    float *return_weight;  /* return_weight[i] * expert row return_row[i]; NULL: one to one */
};

/* The whole plan of `rank`, from the batches of all ranks where need be; untimed, on any rank. counts
 * as for moe_plan_receive(). */
moe_status_t moe_plan_create(const moe_style_ops_t *style, const moe_workload_t *workload,
                             const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                             const size_t *counts, moe_plan_t *out, moe_error_t *error);

/* With blocks per expert a plan is made in two steps, because what arrives is known only when the
 * counts of the other ranks are: moe_plan_send(), then moe_plan_receive(). */
/* The sender's half. `batch` and `sizes` are borrowed during the call. */
moe_status_t moe_plan_send(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                           const moe_batch_t *batch, size_t rank, moe_plan_t *out,
                           moe_error_t *error);
/* The receiver's half. counts[peers][local_experts]: kept selections of each peer's tokens for each
 * of this rank's experts (styles without METADATA_COUNTS do not look at it: NULL is allowed). */
moe_status_t moe_plan_receive(moe_plan_t *plan, const moe_sizes_t *sizes, const size_t *counts,
                              moe_error_t *error);
void moe_plan_destroy(moe_plan_t *plan);

#ifdef __cplusplus
}
#endif
#endif
