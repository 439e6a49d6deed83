/* Inside of a layer's exchange, for the files of this room. */
#ifndef MOE_EXCHANGE_LAYER_H
#define MOE_EXCHANGE_LAYER_H

#include "moe/exchange.h"

/* Row buffers of a layer, in the order in which rows pass them. "Wide" rows are wire rows of dispatch
 * with their side data behind them. */
typedef enum moe_buffer {
    BUFFER_TOKENS,       /* [tokens] this rank's tokens, in memory dtype */
    BUFFER_SIDE,         /* side data, of each token or each selection; every layer's own */
    BUFFER_SEND,         /* [send rows] packed for dispatch, wide */
    BUFFER_RECV,         /* [recv rows] as they arrived by the first hop, wide */
    BUFFER_FORWARD_SEND, /* two hops: packed for the second, wide */
    BUFFER_FORWARD_RECV, /* two hops: as they arrived by the second, wide */
    BUFFER_EXPERT_IN,    /* [expert rows] in order of experts */
    BUFFER_EXPERT_OUT,   /* [expert rows] what the experts made of them, in combine dtype */
    BUFFER_RETURN,       /* [recv rows of the last hop] the same, in order of arrival */
    BUFFER_FORWARD_BACK, /* two hops: come back by the second */
    BUFFER_FORWARD_SUM,  /* two hops: summed for the first */
    BUFFER_RETURNED,     /* [send rows] back at the source */
    BUFFER_COMBINED,     /* [tokens] weighed and summed, in memory dtype */
    BUFFERS
} moe_buffer_t;

struct moe_workspace {
    moe_device_t *device;
    moe_transport_t *transport;
    void *buffer[BUFFERS];
    size_t bytes[BUFFERS];
};

/* Largest side data of a row: a bit and a probability for each of MOE_MAX_EXPERTS experts. */
#define MOE_SIDE_BYTES_MAX (MOE_MAX_EXPERTS / 8 + MOE_MAX_EXPERTS * sizeof(float))

/* Lists of the plan, as the device reads them. */
typedef enum moe_layer_list {
    LIST_GATHER, /* of the first hop, and so the next four */
    LIST_SIDE_ROW,
    LIST_REDUCE_FIRST,
    LIST_REDUCE_ROW,
    LIST_REDUCE_WEIGHT,
    LIST_FORWARD_GATHER, /* of the second, and so the next three */
    LIST_FORWARD_FIRST,
    LIST_FORWARD_ROW,
    LIST_FORWARD_WEIGHT,
    LIST_EXPERT_GATHER,
    LIST_EXPERT_RETURN,
    LIST_RETURN_FIRST,
    LIST_RETURN_ROW,
    LIST_RETURN_WEIGHT,
    LISTS
} moe_layer_list_t;

/* One all-to-all-v of a hop, in both directions. */
typedef struct moe_layer_exchange {
    moe_transport_t *transport; /* of the hop's scope */
    moe_alltoallv_t dispatch, combine;
    moe_graph_t *dispatch_graph, *combine_graph; /* with spec.graph, after the first run */
} moe_layer_exchange_t;

struct moe_layer {
    moe_layer_spec_t spec;
    moe_sizes_t sizes;
    moe_batch_t *batch;
    moe_plan_t plan;
    size_t local_experts;
    size_t side_bytes;
    size_t side_first; /* byte of BUFFER_SIDE where this layer's begin; set with the workspace */
    moe_transport_t *scope[3]; /* by moe_scope_t; NULL where no hop reaches so */
    /* Counts as the metadata phase exchanges them: of experts, or of rows. */
    size_t *counts_sent;    /* by peer, then by expert of the peer */
    size_t *counts_sent_n;  /* [peers] experts of each peer */
    size_t *counts_got;     /* [peers][local_experts] */
    size_t *counts_got_n;   /* [peers] local_experts each */
    size_t *counts_planned; /* [peers][local_experts] as got at set-up: what the plan expects */
    size_t *ones;           /* [peers] 1 each */
    size_t *rows_got;       /* [peers] rows that the peers of a hop announce */
    size_t count_max;       /* largest kept count of this rank */
    const moe_workspace_t *workspace;      /* NULL until bound */
    const void *list[LISTS];               /* NULL until bound, or where the plan has none */
    const moe_algorithm_ops_t *prepared;   /* which the exchanges are prepared for, or NULL */
    size_t exchanges, first_hop_exchanges; /* the first hop's, then the second's one */
    moe_layer_exchange_t *exchange;
};

/* The hop by which rows reach the experts. */
static inline const moe_hop_t *moe_layer_last_hop(const moe_layer_t *layer)
{
    return layer->plan.two_hops ? &layer->plan.forward : &layer->plan.hop;
}

/* A list of the plan in host memory, and its bytes; NULL and 0 where it has none. */
const void *moe_layer_plan_list(const moe_layer_t *layer, moe_layer_list_t which, size_t *bytes);
/* Gives all of them to the device, and takes them back. */
moe_status_t moe_layer_take_lists(moe_layer_t *layer, moe_error_t *error);
void moe_layer_drop_lists(moe_layer_t *layer);
/* Bytes of the device's memory that they take. */
size_t moe_layer_list_bytes(const moe_layer_t *layer);

/* Writes the side data of all tokens (or selections) into its buffer. */
moe_status_t moe_layer_fill_side(moe_layer_t *layer, moe_error_t *error);

/* Rows and bytes of a row in one of the layer's buffers. */
size_t moe_layer_buffer_rows(const moe_layer_t *layer, moe_buffer_t buffer);
size_t moe_layer_buffer_row_bytes(const moe_layer_t *layer, moe_buffer_t buffer);
/* The buffer itself; those that a layer does without stand for the one before them. */
void *moe_layer_buffer(const moe_layer_t *layer, moe_buffer_t buffer);

#endif
