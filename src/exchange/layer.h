/* Inside of a layer's exchange, for the files of this room. */
#ifndef MOE_EXCHANGE_LAYER_H
#define MOE_EXCHANGE_LAYER_H

#include "moe/exchange.h"

/* Row buffers of a layer, in the order in which rows pass them. */
typedef enum moe_buffer {
    BUFFER_TOKENS,     /* [tokens] this rank's tokens, in memory dtype */
    BUFFER_SEND,       /* [send rows] packed for dispatch, on the wire */
    BUFFER_RECV,       /* [recv rows] as they arrived */
    BUFFER_EXPERT_IN,  /* [recv rows] in order of experts */
    BUFFER_EXPERT_OUT, /* [recv rows] what the experts made of them, in combine dtype */
    BUFFER_RETURN,     /* [recv rows] the same, in order of arrival */
    BUFFER_RETURNED,   /* [send rows] back at the source */
    BUFFER_COMBINED,   /* [tokens] weighed and summed, in memory dtype */
    BUFFERS
} moe_buffer_t;

struct moe_workspace {
    moe_device_t *device;
    void *buffer[BUFFERS];
    size_t bytes[BUFFERS];
};

struct moe_layer {
    moe_layer_spec_t spec;
    moe_sizes_t sizes;
    moe_batch_t *batch;
    moe_plan_t plan;
    size_t local_experts;
    /* Counts as the metadata phase exchanges them. */
    size_t *counts_sent;              /* by peer, then by expert of the peer */
    size_t *counts_sent_n;            /* [peers] experts of each peer */
    size_t *counts_planned;           /* [peers][local_experts], at set-up */
    size_t *counts_got;               /* the same, each time anew */
    size_t *counts_got_n;             /* [peers] local_experts each */
    size_t count_max;                 /* largest kept count of this rank */
    const moe_workspace_t *workspace; /* NULL until bound */
    moe_alltoallv_t dispatch, combine;
};

/* Rows and bytes of a row in one of the layer's buffers. */
size_t moe_layer_buffer_rows(const moe_layer_t *layer, moe_buffer_t buffer);
size_t moe_layer_buffer_row_bytes(const moe_layer_t *layer, moe_buffer_t buffer);
/* The buffer itself; those that a layer does without stand for the one before them. */
void *moe_layer_buffer(const moe_layer_t *layer, moe_buffer_t buffer);

#endif
