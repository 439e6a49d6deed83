/* Exchange: carrying a plan out over a transport, by an algorithm, in a device's memory, and checking
 * every byte of it. */
#ifndef MOE_EXCHANGE_H
#define MOE_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/device.h"
#include "moe/model.h"
#include "moe/status.h"
#include "moe/traffic.h"
#include "moe/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Algorithms: how one all-to-all-v is made of messages. One file each. ---- */

/* Calls are collective in the same order on all ranks of the group. `x` and what it points to stay as
 * they are from prepare() to release(). */
typedef struct moe_algorithm_ops {
    const char *name;
    const char *summary; /* one line for help */
    const char *source;
    /* Not timed: memory, converted counts; what it makes lies in x->state. Refuses on this rank only,
     * if at all: the caller agrees with the other ranks. NULL: nothing to prepare. */
    moe_status_t (*prepare)(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x,
                            moe_error_t *error);
    /* Timed apart, before each run: what has to be found out from counts of other ranks whenever
     * routing changes (a schedule). NULL: none. */
    moe_status_t (*schedule)(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error);
    moe_status_t (*run)(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                        moe_error_t *error);
    /* run() in two halves, as start_alltoallv() of transports; both NULL, or *can_start() false: the
     * algorithm has only run(). */
    bool (*can_start)(const moe_transport_t *t, const moe_alltoallv_t *x);
    moe_status_t (*start)(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error);
    moe_status_t (*finish)(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error);
    /* Local. Not prepared: no effect. NULL: nothing to release. */
    void (*release)(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x);
} moe_algorithm_ops_t;

size_t moe_algorithm_count(void);
const moe_algorithm_ops_t *moe_algorithm_at(size_t index);
moe_status_t moe_algorithm_find(const char *name, const moe_algorithm_ops_t **out,
                                moe_error_t *error);
/* Name of the algorithm that really runs for a prepared exchange: of the one that `best` keeps, else
 * the algorithm's own. */
const char *moe_algorithm_chosen(const moe_algorithm_ops_t *algorithm, const moe_alltoallv_t *x);

/* ---- One MoE layer's exchange on this rank ---- */

typedef struct moe_layer_spec {
    moe_transport_t *transport; /* the expert-parallel group */
    moe_device_t *device;
    const moe_style_ops_t *style;
    const moe_algorithm_ops_t *algorithm; /* see moe_layer_use() */
    const moe_workload_t *workload;       /* borrowed for the life of the layer */
    size_t hidden;
    moe_dtype_t dtype, combine_dtype; /* on the wire */
    uint64_t data_seed;               /* of the oracle's rows */
    bool graph; /* run each exchange as a graph of the device, recorded in its first run */
    /* Another layer of the same style, group and nodes, whose split transports this one uses: it must
     * live longer. NULL: it splits its own. */
    const struct moe_layer *like;
    size_t chunk; /* among layers whose exchanges overlap: see moe_layer_start_dispatch() */
} moe_layer_spec_t;

typedef struct moe_layer moe_layer_t;

/* Routes, plans, and exchanges what the plan needs (collective). Allocates no rows. */
moe_status_t moe_layer_create(const moe_layer_spec_t *spec, moe_layer_t **out, moe_error_t *error);
void moe_layer_destroy(moe_layer_t *layer);
const moe_plan_t *moe_layer_plan(const moe_layer_t *layer);
const moe_batch_t *moe_layer_batch(const moe_layer_t *layer);
const moe_layer_spec_t *moe_layer_spec(const moe_layer_t *layer);
/* Changes the algorithm, prepared anew if the layer is bound. Local. */
moe_status_t moe_layer_use(moe_layer_t *layer, const moe_algorithm_ops_t *algorithm,
                           moe_error_t *error);

/* Bytes, of rows and of index lists, that a layer of this specification takes at the least on this
 * rank (rows exactly for `padded`; counts that depend on routing as if they were even): known before
 * anything is allocated. SIZE_MAX past the range. */
size_t moe_layer_least_bytes(const moe_layer_spec_t *spec);

/* What this layer moves, summed over the group (collective), metadata apart. *dispatch and *combine
 * are created here and destroyed by the caller. */
moe_status_t moe_layer_flows(const moe_layer_t *layer, size_t ranks_per_node, moe_flow_t *dispatch,
                             moe_flow_t *combine, size_t *metadata_bytes, moe_error_t *error);

/* Row buffers, large enough for every layer that uses them. Layers share one workspace. */
typedef struct moe_workspace moe_workspace_t;
/* Device bytes that a workspace for these layers takes on this rank; SIZE_MAX past the range. */
size_t moe_workspace_bytes(moe_layer_t *const *layers, size_t count);
/* Collective where the transport gives memory for rows (alloc_rows), as destroying it is. */
moe_status_t moe_workspace_create(moe_layer_t *const *layers, size_t count, moe_workspace_t **out,
                                  moe_error_t *error);
void moe_workspace_destroy(moe_workspace_t *workspace);
/* Joins a layer to its buffers and prepares its calls. Collective. */
moe_status_t moe_layer_bind(moe_layer_t *layer, moe_workspace_t *workspace, moe_error_t *error);

/* The steps of a layer, in this order; each is one phase of the records. On a device that works behind
 * the caller's back they return before they are done (device.h). */
moe_status_t moe_layer_metadata(moe_layer_t *layer, moe_error_t *error); /* metadata */
/* schedule: what the algorithm finds out from counts of other ranks; nothing with most. */
moe_status_t moe_layer_schedule(moe_layer_t *layer, moe_error_t *error);
moe_status_t moe_layer_permute(moe_layer_t *layer, moe_error_t *error);  /* permute: pack */
moe_status_t moe_layer_dispatch(moe_layer_t *layer, moe_error_t *error); /* dispatch */
moe_status_t moe_layer_arrange(moe_layer_t *layer, moe_error_t *error);  /* permute: by expert */
/* ... the experts work on moe_layer_expert_rows() ... */
moe_status_t moe_layer_restore(moe_layer_t *layer, moe_error_t *error); /* unpermute: as arrived */
moe_status_t moe_layer_combine(moe_layer_t *layer, moe_error_t *error); /* combine */
moe_status_t moe_layer_unpermute(moe_layer_t *layer,
                                 moe_error_t *error); /* unpermute: weigh, sum */

/* Dispatch and combine in two halves: between the two the exchange goes on in a lane of the device
 * (MOE_LANE_EXCHANGE) or in the transport, where they can, and the caller computes. Layers with
 * different numbers (spec.chunk) may have exchanges under way together, and finish them in any order
 * that is the same on all ranks; the algorithm's run() is then in start_dispatch(), unless it can wait. */
moe_status_t moe_layer_start_dispatch(moe_layer_t *layer, moe_error_t *error);
moe_status_t moe_layer_finish_dispatch(moe_layer_t *layer, moe_error_t *error);
moe_status_t moe_layer_start_combine(moe_layer_t *layer, moe_error_t *error);
moe_status_t moe_layer_finish_combine(moe_layer_t *layer, moe_error_t *error);

/* Rows of local expert l, as they arrived (padding included): `in` of `dtype`, `out` of
 * combine_dtype. *rows may be 0. */
void moe_layer_expert_rows(const moe_layer_t *layer, size_t local_expert, size_t *rows,
                           const void **in, void **out);
size_t moe_layer_local_experts(const moe_layer_t *layer);
/* The (first) exchange of dispatch and its transport, once bound; valid until bound or used anew. */
const moe_alltoallv_t *moe_layer_first_exchange(const moe_layer_t *layer, moe_transport_t **t);
/* The algorithm that really carries the (first) exchange of dispatch: what `best` has chosen. */
const char *moe_layer_chosen(const moe_layer_t *layer);

/* ---- Check ---- */

typedef enum moe_check { MOE_CHECK_OFF, MOE_CHECK_SAMPLE, MOE_CHECK_FULL } moe_check_t;
/* Of MOE_CHECK_SAMPLE: every n-th row. */
#define MOE_CHECK_STRIDE 16

typedef struct moe_check_result {
    size_t errors;   /* wrong elements on all ranks; 0: all right */
    size_t rank;     /* of the first: lowest rank that found any after dispatch, else in combine */
    bool in_combine; /* found after combine (else after dispatch) */
    moe_mismatch_t at;
} moe_check_result_t;

/* One repetition with known data through every step, checked after dispatch (every row is the right
 * token's, padding is zero) and after combine (every element of every token). Buffers are poisoned
 * before, so that what did not arrive is seen. Collective; all ranks get the same result. */
moe_status_t moe_layer_check(moe_layer_t *layer, moe_check_t how, moe_check_result_t *out,
                             moe_error_t *error);
/* "rank 2: dispatch: row 17, token 513, column 4: expected 3, got -1 (412 wrong elements in all)" */
void moe_check_describe(const moe_check_result_t *result, char *text, size_t size);

/* ---- A raw exchange: bytes by a matrix, without tokens ---- */

typedef struct moe_raw_spec {
    moe_transport_t *transport;
    moe_device_t *device;
    const moe_matrix_t *matrix; /* the same on all ranks; not needed after moe_raw_create() */
    size_t row_bytes;           /* divides every block; see moe_matrix_row_bytes() */
    size_t ranks_per_node;      /* as in moe_alltoallv_t */
    bool graph;                 /* as in moe_layer_spec_t */
} moe_raw_spec_t;

typedef struct moe_raw moe_raw_t;

/* Device bytes that the exchange takes on a rank, without what an algorithm adds; SIZE_MAX past the
 * range. To be asked before it is made. */
size_t moe_raw_bytes(const moe_matrix_t *matrix, size_t rank);
/* Buffers, and known bytes to send. Collective where the transport gives memory for rows. Blocks lie side by side in order of ranks. Never called
 * uniform: equal blocks too are an all-to-all-v, as in osu_alltoallv. */
moe_status_t moe_raw_create(const moe_raw_spec_t *spec, moe_raw_t **out, moe_error_t *error);
void moe_raw_destroy(moe_raw_t *raw);
/* Changes the algorithm and prepares it: as prepare() of moe_algorithm_ops_t. */
moe_status_t moe_raw_use(moe_raw_t *raw, const moe_algorithm_ops_t *algorithm, moe_error_t *error);
/* As moe_algorithm_chosen(). */
const char *moe_raw_chosen(const moe_raw_t *raw);
/* schedule() of the algorithm, where it has one, and run(), after which the device has finished:
 * collective. */
moe_status_t moe_raw_schedule(moe_raw_t *raw, moe_error_t *error);
moe_status_t moe_raw_run(moe_raw_t *raw, moe_error_t *error);

typedef struct moe_raw_result {
    size_t errors;               /* wrong bytes on all ranks; 0: all right */
    size_t rank, source, offset; /* the first: receiver, sender, byte of their block */
    unsigned expected, got;
} moe_raw_result_t;

/* One exchange, schedule included, held against what every byte must be: a hash of (source,
 * destination, offset). Before, every bit of what is sent is turned over, and the receive buffer is
 * filled with other bytes than those to come, so that nothing passes that did not arrive in this very
 * run. MOE_CHECK_SAMPLE looks at every MOE_CHECK_STRIDE-th row of a block. Collective; all ranks get
 * the same result. */
moe_status_t moe_raw_check(moe_raw_t *raw, moe_check_t how, moe_raw_result_t *out,
                           moe_error_t *error);
/* "rank 2: from rank 1, byte 17: expected 0x3f, got 0xc0 (412 wrong bytes in all)" */
void moe_raw_describe(const moe_raw_result_t *result, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
