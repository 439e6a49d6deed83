/* Unpack and weigh: weighted sums of rows, in fp32, in the order of the terms. */
#include "host.h"

#include <string.h>

#include "../system/clones.h"
#include "formats.h"
#include "prefetch.h"

/* The terms of one sum. */
typedef struct moe_terms {
    const char *from; /* row 0 of the rows that are summed */
    size_t row_bytes;
    size_t count;
    const size_t *row;
    const size_t *ahead; /* [count] rows of a later sum, to be fetched meanwhile */
    const float *weight;
} moe_terms_t;

/* Two bf16 in one 32-bit word: low and high halves are summed apart, which needs no rearrangement
 * between vectors. 16 words are a cache line, and their 32 sums stay in vector registers of any width
 * until all terms are in. (Of fewer, gcc 12 unrolls the loops before it looks for vectors.) */
enum { WORDS = 16, STRIP = 2 * WORDS };

#define UPPER_HALF UINT32_C(0xffff0000)

static inline uint32_t load_word(const char *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void store_word(char *to, uint32_t word)
{
    memcpy(to, &word, sizeof word);
}

/* bf16 to bf16, all whole strips of a row; returns the first column that is left. One pass: each row
 * is read once and the result is written once. Word by word, because a block that is copied first is
 * written and read back in different widths, which stalls. */
MOE_CLONES static size_t weigh_bf16(char *restrict to, const moe_terms_t *terms, size_t hidden)
{
    const size_t *const row = terms->row, *const ahead = terms->ahead;
    const float *const weight = terms->weight;
    const size_t row_bytes = terms->row_bytes, count = terms->count;
    size_t column = 0;
    for (; column + STRIP <= hidden; column += STRIP) {
        const char *const restrict from = terms->from + column * sizeof(uint16_t);
        float low[WORDS] = {0}, high[WORDS] = {0};
        for (size_t i = 0; i < count; i++) {
            const char *const term = from + row[i] * row_bytes;
            const float w = weight[i];
            MOE_PREFETCH(from + ahead[i] * row_bytes);
            for (size_t j = 0; j < WORDS; j++) {
                const uint32_t word = load_word(term + j * sizeof word);
                low[j] += w * moe_float_of(word << 16);
                high[j] += w * moe_float_of(word & UPPER_HALF);
            }
        }
        for (size_t j = 0; j < WORDS; j++) {
            const uint32_t word =
                (moe_bf16_round(low[j]) >> 16) | (moe_bf16_round(high[j]) & UPPER_HALF);
            store_word(to + column * sizeof(uint16_t) + j * sizeof word, word);
        }
    }
    return column;
}

static void fetch_panel(const moe_terms_t *terms, size_t term, moe_dtype_t dtype, size_t column,
                        size_t width)
{
    const size_t size = moe_dtype_bytes(dtype);
    const char *from = terms->from + terms->ahead[term] * terms->row_bytes + column * size;
    for (size_t i = 0; i < width * size; i += MOE_CACHE_LINE) {
        MOE_PREFETCH(from + i);
    }
}

/* Any dtypes, from column `done` on: a panel of sums stays in the first-level cache while the terms
 * stream by. */
static void weigh_any(void *to, moe_dtype_t to_dtype, const moe_terms_t *terms,
                      moe_dtype_t from_dtype, size_t done, size_t hidden)
{
    float sums[MOE_PANEL];
    for (size_t column = done; column < hidden; column += MOE_PANEL) {
        const size_t width = moe_panel_width(hidden, column);
        memset(sums, 0, width * sizeof *sums);
        for (size_t i = 0; i < terms->count; i++) {
            fetch_panel(terms, i, from_dtype, column, width);
            moe_format_add(from_dtype, sums, terms->weight[i],
                           terms->from + terms->row[i] * terms->row_bytes, hidden, column, width);
        }
        moe_format_encode(to_dtype, to, sums, hidden, column, width);
    }
}

void moe_host_reduce(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                     moe_dtype_t from_dtype, const size_t *first, const size_t *row,
                     const float *weight, size_t rows, size_t hidden)
{
    (void)d;
    const size_t to_bytes = moe_row_bytes(to_dtype, hidden);
    const size_t from_bytes = moe_row_bytes(from_dtype, hidden);
    for (size_t b = 0; b < rows; b++) {
        const size_t count = first[b + 1] - first[b];
        const size_t distance = count * moe_rows_ahead(count * from_bytes);
        const bool last = first[rows] - first[b + 1] < distance;
        const moe_terms_t terms = {.from = from,
                                   .row_bytes = from_bytes,
                                   .count = count,
                                   .row = row + first[b],
                                   .ahead = row + first[b] + (last ? 0 : distance),
                                   .weight = weight + first[b]};
        char *const sum = (char *)to + b * to_bytes;
        const bool both_bf16 = to_dtype == MOE_BF16 && from_dtype == MOE_BF16;
        const size_t done = both_bf16 ? weigh_bf16(sum, &terms, hidden) : 0;
        weigh_any(sum, to_dtype, &terms, from_dtype, done, hidden);
    }
}
