#include "random.h"

#include <Random123/philox.h>
#include <assert.h>
#include <math.h>

#include "../system/clones.h"
#include "real.h"

/* The 128 bits of the counter: item 48, layer 16, step 32, block 24, purpose 8. */
static inline philox4x32_ctr_t counter(const moe_source_t *source, uint64_t item, uint32_t block)
{
    const philox4x32_ctr_t c = {{(uint32_t)item,
                                 (uint32_t)(item >> 32) | (uint32_t)source->layer << 16,
                                 source->step, block | (uint32_t)source->purpose << 24}};
    return c;
}

static inline philox4x32_key_t key(const moe_source_t *source)
{
    const philox4x32_key_t k = {{(uint32_t)source->seed, (uint32_t)(source->seed >> 32)}};
    return k;
}

static void random_block(const moe_source_t *source, uint64_t item, uint32_t block,
                         uint32_t out[MOE_RANDOM_WORDS])
{
    assert(item < (uint64_t)1 << 48 && source->layer < 1 << 16 && block < 1 << 24);
    const philox4x32_ctr_t words = philox4x32(counter(source, item, block), key(source));
    memcpy(out, words.v, sizeof words.v);
}

void moe_random(uint64_t seed, moe_purpose_t purpose, size_t layer, uint32_t step, uint64_t item,
                uint32_t block, uint32_t out[4])
{
    const moe_source_t source = {.seed = seed, .purpose = purpose, .layer = layer, .step = step};
    random_block(&source, item, block, out);
}

/* Vectorised over counters: rows of 32-bit words, no dependence between columns. */
MOE_CLONES
void moe_random_items(const moe_source_t *source, uint64_t first_item, size_t items, uint32_t block,
                      size_t stride, uint32_t *words)
{
    const philox4x32_key_t k = key(source);
    uint32_t *restrict w0 = words, *restrict w1 = words + stride;
    uint32_t *restrict w2 = words + 2 * stride, *restrict w3 = words + 3 * stride;
    const philox4x32_ctr_t constant = counter(source, 0, block);
    for (size_t i = 0; i < items; i++) {
        const uint64_t item = first_item + i;
        philox4x32_ctr_t c = constant;
        c.v[0] = (uint32_t)item;
        c.v[1] |= (uint32_t)(item >> 32);
        const philox4x32_ctr_t r = philox4x32(c, k);
        w0[i] = r.v[0];
        w1[i] = r.v[1];
        w2[i] = r.v[2];
        w3[i] = r.v[3];
    }
}

MOE_CLONES
void moe_random_group(const moe_source_t *source, uint64_t item, size_t first,
                      uint32_t words[MOE_RANDOM_GROUP])
{
    enum { BLOCKS = MOE_RANDOM_GROUP / MOE_RANDOM_WORDS };
    const philox4x32_key_t k = key(source);
    const philox4x32_ctr_t constant = counter(source, item, (uint32_t)(first / MOE_RANDOM_WORDS));
    for (uint32_t i = 0; i < BLOCKS; i++) {
        philox4x32_ctr_t c = constant;
        c.v[3] += i;
        const philox4x32_ctr_t r = philox4x32(c, k);
        words[i] = r.v[0];
        words[BLOCKS + i] = r.v[1];
        words[2 * BLOCKS + i] = r.v[2];
        words[3 * BLOCKS + i] = r.v[3];
    }
}

/* ---- Streams ---- */

moe_stream_t moe_stream_start(const moe_source_t *source, uint64_t item, uint32_t first_block)
{
    const moe_stream_t stream = {.source = *source, .item = item, .block = first_block};
    return stream;
}

uint32_t moe_stream_next(moe_stream_t *stream)
{
    if (stream->left == 0) {
        random_block(&stream->source, stream->item, stream->block++, stream->words);
        stream->left = MOE_RANDOM_WORDS;
    }
    return stream->words[MOE_RANDOM_WORDS - stream->left--];
}

uint32_t moe_stream_below(moe_stream_t *stream, uint64_t bound)
{
    /* The upper half of a 64-bit word times bound: no value is likelier than another by more than
     * one part in 2^32. */
    const uint64_t high = moe_stream_next(stream), low = moe_stream_next(stream);
    return (uint32_t)((high * bound + (low * bound >> 32)) >> 32);
}

void moe_stream_normals(moe_stream_t *stream, double pair[2])
{
    /* The polar method (Marsaglia and Bray, SIAM Review 6, 1964): no sine, whose bits differ
     * between C libraries. */
    double x, y, r2;
    do {
        x = 2 * moe_real_uniform(moe_stream_next(stream)) - 1;
        y = 2 * moe_real_uniform(moe_stream_next(stream)) - 1;
        r2 = x * x + y * y;
    } while (r2 >= 1);
    const double factor = sqrt(-2 * moe_real_log(r2) / r2);
    pair[0] = x * factor;
    pair[1] = y * factor;
}

double moe_stream_log_gamma(moe_stream_t *stream, double alpha)
{
    /* Marsaglia and Tsang (ACM TOMS 26, 2000), doi 10.1145/358407.358414; for alpha < 1 by
     * Gamma(alpha) = Gamma(alpha + 1) * U^(1/alpha), in logarithms: small alphas underflow. */
    double boost = 0;
    if (alpha < 1) {
        boost = -moe_real_exponential(moe_stream_next(stream)) / alpha;
        alpha += 1;
    }
    const double d = alpha - 1.0 / 3;
    const double c = 1 / sqrt(9 * d);
    for (;;) {
        double pair[2];
        moe_stream_normals(stream, pair);
        const double root = 1 + c * pair[0];
        const double log_u = -moe_real_exponential(moe_stream_next(stream));
        if (root <= 0)
            continue;
        const double v = root * root * root;
        const double log_v = moe_real_log(v);
        if (log_u < pair[0] * pair[0] / 2 + d - d * v + d * log_v)
            return moe_real_log(d) + log_v + boost;
    }
}

void moe_stream_shuffle(moe_stream_t *stream, size_t n, uint16_t *permutation)
{
    /* Fisher and Yates, from the inside out. */
    for (size_t i = 0; i < n; i++) {
        const size_t j = moe_stream_below(stream, i + 1);
        permutation[i] = permutation[j];
        permutation[j] = (uint16_t)i;
    }
}
