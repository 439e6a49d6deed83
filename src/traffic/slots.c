/* Every row straight into a slot that is fixed whatever the counts: nothing has to be learnt before.
 * Padding is a cost of memory (tokens_max slots for each local expert and source), not of the wire.
 * MPI matches messages by size, so ranks here know the counts from set-up; a one-sided transport does
 * not need them either. */
#include <string.h>

#include "style.h"

static size_t block_rows(const moe_sizes_t *sizes, size_t kept)
{
    (void)sizes;
    return kept;
}

/* DeepEP's low-latency header: 16 B (an int4) with the source's number of the token. */
#define HEADER_BYTES 16

static size_t side_bytes(const moe_sizes_t *sizes)
{
    (void)sizes;
    return HEADER_BYTES;
}

static void side(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, size_t k, void *out)
{
    unsigned char *to = out;
    const uint64_t token = batch->table.first_token + t;
    const int32_t expert = batch->table.expert[t * sizes->top_k + k];
    const uint32_t choice = (uint32_t)k;
    memcpy(to, &token, sizeof token);
    memcpy(to + sizeof token, &expert, sizeof expert);
    memcpy(to + sizeof token + sizeof expert, &choice, sizeof choice);
}

const moe_style_ops_t moe_style_slots = {
    .name = "slots",
    .summary = "only rows with tokens, each into a slot fixed beforehand: no counts, more memory",
    .source = "DeepEP low-latency",
    .metadata = MOE_METADATA_NONE,
    .block_rows = block_rows,
    .fixed_slots = true,
    .side_bytes = side_bytes,
    .side = side,
};
