/* Philox in the forms that this room needs: many counters at once, and a stream of one counter. */
#ifndef MOE_ROUTING_RANDOM_H
#define MOE_ROUTING_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "moe/routing.h"

/* Words of one block. */
#define MOE_RANDOM_WORDS 4

/* What draws of one kind have in common. */
typedef struct moe_source {
    uint64_t seed;
    moe_purpose_t purpose;
    size_t layer;
    uint32_t step;
} moe_source_t;

/* Word w of the block of item first_item + i to words[w * stride + i], for i < items. The same
 * words as moe_random() gives. */
void moe_random_items(const moe_source_t *source, uint64_t first_item, size_t items, uint32_t block,
                      size_t stride, uint32_t *words);

/* One word for every expert of an item, by groups: expert first + j takes words[j]. */
#define MOE_RANDOM_GROUP 256
/* first: a multiple of MOE_RANDOM_GROUP. */
void moe_random_group(const moe_source_t *source, uint64_t item, size_t first,
                      uint32_t words[MOE_RANDOM_GROUP]);

/* Words one after another: the blocks of an item from a first one on. */
typedef struct moe_stream {
    moe_source_t source;
    uint64_t item;
    uint32_t block; /* the next one */
    size_t left;    /* words not used yet, at the end of `words` */
    uint32_t words[MOE_RANDOM_WORDS];
} moe_stream_t;

moe_stream_t moe_stream_start(const moe_source_t *source, uint64_t item, uint32_t first_block);
uint32_t moe_stream_next(moe_stream_t *stream);
/* A whole number below `bound`, bound <= 2^32. */
uint32_t moe_stream_below(moe_stream_t *stream, uint64_t bound);
/* Two independent N(0, 1). */
void moe_stream_normals(moe_stream_t *stream, double pair[2]);
/* The logarithm of a Gamma(alpha, 1). */
double moe_stream_log_gamma(moe_stream_t *stream, double alpha);
/* A uniformly random permutation of 0 ... n - 1; n <= MOE_MAX_EXPERTS. */
void moe_stream_shuffle(moe_stream_t *stream, size_t n, uint16_t *permutation);

#endif
