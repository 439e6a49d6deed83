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

typedef struct moe_algorithm_ops {
    const char *name;
    const char *summary; /* one line for help */
    const char *source;
    /* Local; what need not be in the timed call. NULL: nothing. */
    moe_status_t (*prepare)(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error);
    moe_status_t (*run)(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                        moe_error_t *error);
} moe_algorithm_ops_t;

size_t moe_algorithm_count(void);
const moe_algorithm_ops_t *moe_algorithm_at(size_t index);
moe_status_t moe_algorithm_find(const char *name, const moe_algorithm_ops_t **out,
                                moe_error_t *error);

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
moe_status_t moe_workspace_create(moe_layer_t *const *layers, size_t count, moe_workspace_t **out,
                                  moe_error_t *error);
void moe_workspace_destroy(moe_workspace_t *workspace);
/* Joins a layer to its buffers and prepares its calls. Local. */
moe_status_t moe_layer_bind(moe_layer_t *layer, moe_workspace_t *workspace, moe_error_t *error);

/* The steps of a layer, in this order; each is one phase of the records. */
moe_status_t moe_layer_metadata(moe_layer_t *layer, moe_error_t *error); /* metadata */
moe_status_t moe_layer_permute(moe_layer_t *layer, moe_error_t *error);  /* permute: pack */
moe_status_t moe_layer_dispatch(moe_layer_t *layer, moe_error_t *error); /* dispatch */
moe_status_t moe_layer_arrange(moe_layer_t *layer, moe_error_t *error);  /* permute: by expert */
/* ... the experts work on moe_layer_expert_rows() ... */
moe_status_t moe_layer_restore(moe_layer_t *layer, moe_error_t *error); /* unpermute: as arrived */
moe_status_t moe_layer_combine(moe_layer_t *layer, moe_error_t *error); /* combine */
moe_status_t moe_layer_unpermute(moe_layer_t *layer,
                                 moe_error_t *error); /* unpermute: weigh, sum */

/* Rows of local expert l, as they arrived (padding included): `in` of `dtype`, `out` of
 * combine_dtype. *rows may be 0. */
void moe_layer_expert_rows(const moe_layer_t *layer, size_t local_expert, size_t *rows,
                           const void **in, void **out);
size_t moe_layer_local_experts(const moe_layer_t *layer);

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

#ifdef __cplusplus
}
#endif
#endif
