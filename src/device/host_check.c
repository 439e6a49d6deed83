#include "host.h"

#include <stdbool.h>
#include <string.h>

#include "formats.h"
#include "oracle.h"

/* Bytes of a panel in the widest format, fp32; an FP8 panel with its scales is shorter. */
#define PANEL_BYTES (MOE_PANEL * sizeof(float))

/* ---- Known rows ---- */

void moe_host_fill_tokens(moe_device_t *d, void *to, moe_dtype_t dtype, uint64_t seed,
                          uint64_t first_token, size_t rows, size_t hidden)
{
    (void)d;
    const size_t bytes = moe_row_bytes(dtype, hidden);
    float panel[MOE_PANEL];
    for (size_t r = 0; r < rows; r++) {
        const uint64_t key = moe_oracle_token_key(seed, first_token + r);
        for (size_t first = 0; first < hidden; first += MOE_PANEL) {
            const size_t width = moe_panel_width(hidden, first);
            moe_oracle_fill(panel, key, first, width);
            moe_format_encode(dtype, (char *)to + r * bytes, panel, hidden, first, width);
        }
    }
}

void moe_host_apply_expert(moe_device_t *d, void *out, moe_dtype_t out_dtype, const void *in,
                           moe_dtype_t in_dtype, size_t expert, size_t rows, size_t hidden)
{
    (void)d;
    const size_t in_bytes = moe_row_bytes(in_dtype, hidden);
    const size_t out_bytes = moe_row_bytes(out_dtype, hidden);
    const uint64_t key = moe_oracle_expert_key(expert);
    float panel[MOE_PANEL];
    for (size_t r = 0; r < rows; r++) {
        for (size_t first = 0; first < hidden; first += MOE_PANEL) {
            const size_t width = moe_panel_width(hidden, first);
            moe_format_decode(in_dtype, panel, (const char *)in + r * in_bytes, hidden, first,
                              width);
            moe_oracle_add(panel, key, first, width);
            moe_format_encode(out_dtype, (char *)out + r * out_bytes, panel, hidden, first, width);
        }
    }
}

/* ---- Comparing ---- */

/* Columns [first, first + width) of a row that was received. `expected` holds the same columns as a
 * row of its own. */
typedef struct moe_panel {
    const unsigned char *row;
    const unsigned char *expected;
    moe_dtype_t dtype;
    size_t hidden, first, width;
    size_t row_number;
    uint64_t token;
} moe_panel_t;

static void report(const moe_panel_t *panel, size_t column, moe_mismatch_t *result)
{
    if (result->count++ > 0) {
        return;
    }
    float expected, got;
    moe_format_decode(panel->dtype, &expected, panel->expected, panel->width, column, 1);
    moe_format_decode(panel->dtype, &got, panel->row, panel->hidden, panel->first + column, 1);
    result->row = panel->row_number;
    result->column = panel->first + column;
    result->token = panel->token;
    result->expected = (double)expected;
    result->got = (double)got;
}

/* A wrong scale makes every element of its block wrong, zeros too. */
static bool scale_is_wrong(const moe_panel_t *panel, size_t column)
{
    const size_t scale_bytes = sizeof(float);
    if (panel->dtype != MOE_FP8) {
        return false;
    }
    const size_t block = column / MOE_FP8_BLOCK;
    const size_t row_block = panel->first / MOE_FP8_BLOCK + block;
    return memcmp(panel->row + panel->hidden + row_block * scale_bytes,
                  panel->expected + panel->width + block * scale_bytes, scale_bytes) != 0;
}

/* Bits are compared, not numbers: every number of the oracle has one encoding, and a flipped sign of
 * a zero is an error as any other. */
static void compare_panel(const moe_panel_t *panel, moe_mismatch_t *result)
{
    const size_t size = moe_dtype_bytes(panel->dtype);
    const unsigned char *got = panel->row + panel->first * size;
    for (size_t start = 0; start < panel->width; start += MOE_FP8_BLOCK) {
        const size_t left = panel->width - start;
        const size_t width = left < MOE_FP8_BLOCK ? left : MOE_FP8_BLOCK;
        const bool bad_scale = scale_is_wrong(panel, start);
        if (!bad_scale &&
            memcmp(got + start * size, panel->expected + start * size, width * size) == 0) {
            continue;
        }
        for (size_t j = start; j < start + width; j++) {
            if (bad_scale || memcmp(got + j * size, panel->expected + j * size, size) != 0) {
                report(panel, j, result);
            }
        }
    }
}

/* ---- After dispatch ---- */

static void check_row(moe_panel_t panel, uint64_t seed, moe_mismatch_t *result)
{
    const uint64_t key = moe_oracle_token_key(seed, panel.token);
    float values[MOE_PANEL];
    _Alignas(float) unsigned char expected[PANEL_BYTES];
    for (size_t first = 0; first < panel.hidden; first += MOE_PANEL) {
        panel.first = first;
        panel.width = moe_panel_width(panel.hidden, first);
        panel.expected = expected;
        if (panel.token == MOE_TOKEN_PADDING) {
            memset(expected, 0, sizeof expected);
        } else {
            moe_oracle_fill(values, key, first, panel.width);
            moe_format_encode(panel.dtype, expected, values, panel.width, 0, panel.width);
        }
        compare_panel(&panel, result);
    }
}

void moe_host_check_rows(moe_device_t *d, const void *rows, moe_dtype_t dtype, uint64_t seed,
                         const uint64_t *tokens, size_t count, size_t stride, size_t hidden,
                         size_t row_base, moe_mismatch_t *result)
{
    (void)d;
    const size_t bytes = moe_row_bytes(dtype, hidden);
    for (size_t r = 0; r < count; r += stride) {
        moe_panel_t panel = {.row = (const unsigned char *)rows + r * bytes,
                             .dtype = dtype,
                             .hidden = hidden,
                             .row_number = row_base + r,
                             .token = tokens[r]};
        check_row(panel, seed, result);
    }
}

/* ---- After combine ---- */

/* What a token chose. */
typedef struct moe_choice {
    const int32_t *expert;
    const float *weight;
    const uint8_t *kept;
    const int32_t *inner, *outer; /* partial sums that they belong to, or NULL */
    moe_dtype_t partial_dtype;
    size_t top_k;
} moe_choice_t;

/* Rounds a panel of sums to a dtype, as if it had travelled in it. */
static void round_sums(double *sums, moe_dtype_t dtype, size_t width)
{
    float values[MOE_PANEL] = {0}; /* or compilers that do not look through the call warn */
    unsigned char row[PANEL_BYTES];
    for (size_t j = 0; j < width; j++) {
        values[j] = (float)sums[j];
    }
    moe_format_encode(dtype, row, values, width, 0, width);
    moe_format_decode(dtype, values, row, width, 0, width);
    for (size_t j = 0; j < width; j++) {
        sums[j] = values[j];
    }
}

/* Whether selection k is the first kept one with its number in `numbers`. */
static bool leads(const moe_choice_t *choice, const int32_t *numbers, size_t k)
{
    for (size_t j = 0; j < k; j++) {
        if (choice->kept[j] && numbers[j] == numbers[k]) {
            return false;
        }
    }
    return choice->kept[k];
}

/* In doubles, where weight * y is exact for every fp32 weight, and the sum for those of gates; no
 * code of reduce() is used. Adds the selections with the inner number of selection k (inner NULL:
 * all of them). */
static void sum_inner(double *sums, const moe_choice_t *choice, size_t k, uint64_t token_key,
                      size_t first, size_t width)
{
    for (size_t i = 0; i < choice->top_k; i++) {
        if (choice->kept[i] && (choice->inner == NULL || choice->inner[i] == choice->inner[k])) {
            const uint64_t expert_key = moe_oracle_expert_key((size_t)choice->expert[i]);
            moe_oracle_sum(sums, (double)choice->weight[i], token_key, expert_key, first, width);
        }
    }
}

/* Adds the rounded inner sums of those inner numbers that have the outer number of selection k
 * (outer NULL: all of them). */
static void sum_outer(double *sums, const moe_choice_t *choice, size_t k, uint64_t token_key,
                      size_t first, size_t width)
{
    for (size_t i = 0; i < choice->top_k; i++) {
        double inner[MOE_PANEL];
        if (!leads(choice, choice->inner, i) ||
            (choice->outer != NULL && choice->outer[i] != choice->outer[k])) {
            continue;
        }
        memset(inner, 0, sizeof inner);
        sum_inner(inner, choice, i, token_key, first, width);
        round_sums(inner, choice->partial_dtype, width);
        for (size_t j = 0; j < width; j++) {
            sums[j] += inner[j];
        }
    }
}

static void expect_combined(float *values, const moe_choice_t *choice, uint64_t token_key,
                            size_t first, size_t width)
{
    double sums[MOE_PANEL];
    memset(sums, 0, sizeof sums);
    if (choice->inner == NULL) {
        sum_inner(sums, choice, 0, token_key, first, width);
    } else if (choice->outer == NULL) {
        sum_outer(sums, choice, 0, token_key, first, width);
    }
    for (size_t k = 0; choice->outer != NULL && k < choice->top_k; k++) {
        double outer[MOE_PANEL];
        if (!leads(choice, choice->outer, k)) {
            continue;
        }
        memset(outer, 0, sizeof outer);
        sum_outer(outer, choice, k, token_key, first, width);
        round_sums(outer, choice->partial_dtype, width);
        for (size_t j = 0; j < width; j++) {
            sums[j] += outer[j];
        }
    }
    for (size_t j = 0; j < width; j++) {
        values[j] = (float)sums[j];
    }
}

static void check_token(moe_panel_t panel, uint64_t seed, const moe_choice_t *choice,
                        moe_mismatch_t *result)
{
    const uint64_t key = moe_oracle_token_key(seed, panel.token);
    float values[MOE_PANEL];
    _Alignas(float) unsigned char expected[PANEL_BYTES];
    for (size_t first = 0; first < panel.hidden; first += MOE_PANEL) {
        panel.first = first;
        panel.width = moe_panel_width(panel.hidden, first);
        panel.expected = expected;
        expect_combined(values, choice, key, first, panel.width);
        moe_format_encode(panel.dtype, expected, values, panel.width, 0, panel.width);
        compare_panel(&panel, result);
    }
}

void moe_host_check_combined(moe_device_t *d, const void *out, moe_dtype_t dtype, uint64_t seed,
                             uint64_t first_token, const int32_t *expert, const float *weight,
                             const uint8_t *kept, const moe_partial_sums_t *sums, size_t tokens,
                             size_t top_k, size_t stride, size_t hidden, moe_mismatch_t *result)
{
    (void)d;
    const size_t bytes = moe_row_bytes(dtype, hidden);
    for (size_t t = 0; t < tokens; t += stride) {
        moe_choice_t choice = {.expert = expert + t * top_k,
                               .weight = weight + t * top_k,
                               .kept = kept + t * top_k,
                               .top_k = top_k};
        if (sums != NULL) {
            choice.inner = sums->inner + t * top_k;
            choice.outer = sums->outer != NULL ? sums->outer + t * top_k : NULL;
            choice.partial_dtype = sums->dtype;
        }
        moe_panel_t panel = {.row = (const unsigned char *)out + t * bytes,
                             .dtype = dtype,
                             .hidden = hidden,
                             .row_number = t,
                             .token = first_token + t};
        check_token(panel, seed, &choice, result);
    }
}
