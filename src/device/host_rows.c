#include "host.h"

#include <string.h>

#include "formats.h"
#include "prefetch.h"

/* ---- Pack ---- */

/* One row, while the row after next is on its way: rows of a plan follow each other in no order that
 * a processor could foresee, and a row is too short for it to catch up. Line by line, because a burst
 * of prefetches waits for the few that are served at a time. */
static void copy_row(char *to, const char *from, const char *ahead, size_t bytes)
{
    size_t i = 0;
    for (; i + MOE_CACHE_LINE <= bytes; i += MOE_CACHE_LINE) {
        MOE_PREFETCH(ahead + i);
        memcpy(to + i, from + i, MOE_CACHE_LINE);
    }
    memcpy(to + i, from + i, bytes - i);
}

static void copy_rows(char *to, const char *from, const size_t *index, size_t rows, size_t bytes)
{
    const size_t distance = moe_rows_ahead(bytes);
    for (size_t r = 0; r < rows; r++) {
        if (index[r] == MOE_ROW_ZERO) {
            memset(to + r * bytes, 0, bytes);
            continue;
        }
        const size_t after = rows - r > distance ? index[r + distance] : MOE_ROW_ZERO;
        const size_t ahead = after == MOE_ROW_ZERO ? index[r] : after;
        copy_row(to + r * bytes, from + index[r] * bytes, from + ahead * bytes, bytes);
    }
}

static void convert_row(void *to, moe_dtype_t to_dtype, const void *from, moe_dtype_t from_dtype,
                        size_t hidden)
{
    float panel[MOE_PANEL];
    for (size_t first = 0; first < hidden; first += MOE_PANEL) {
        const size_t width = moe_panel_width(hidden, first);
        moe_format_decode(from_dtype, panel, from, hidden, first, width);
        moe_format_encode(to_dtype, to, panel, hidden, first, width);
    }
}

static void convert_rows(char *to, moe_dtype_t to_dtype, const char *from, moe_dtype_t from_dtype,
                         const size_t *index, size_t rows, size_t hidden)
{
    const size_t to_bytes = moe_row_bytes(to_dtype, hidden);
    const size_t from_bytes = moe_row_bytes(from_dtype, hidden);
    for (size_t r = 0; r < rows; r++) {
        const size_t source = index == NULL ? r : index[r];
        if (source == MOE_ROW_ZERO) {
            memset(to + r * to_bytes, 0, to_bytes);
        } else {
            convert_row(to + r * to_bytes, to_dtype, from + source * from_bytes, from_dtype,
                        hidden);
        }
    }
}

/* Rows of zeros are zeros in every byte: +0 in all formats, FP8 scales of 0 too (a quantised row
 * never has one, so padding can be told from a token of zeros). */
void moe_host_gather(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                     moe_dtype_t from_dtype, const size_t *index, size_t rows, size_t hidden)
{
    (void)d;
    if (rows == 0) {
        return;
    }
    if (to_dtype != from_dtype) {
        convert_rows(to, to_dtype, from, from_dtype, index, rows, hidden);
    } else if (index == NULL) {
        memcpy(to, from, rows * moe_row_bytes(to_dtype, hidden));
    } else {
        copy_rows(to, from, index, rows, moe_row_bytes(to_dtype, hidden));
    }
}

/* ---- To and from matrices of fp32 ---- */

void moe_host_widen(moe_device_t *d, float *to, const void *from, moe_dtype_t dtype, size_t rows,
                    size_t hidden)
{
    (void)d;
    const size_t bytes = moe_row_bytes(dtype, hidden);
    for (size_t r = 0; r < rows; r++) {
        moe_format_decode(dtype, to + r * hidden, (const char *)from + r * bytes, hidden, 0,
                          hidden);
    }
}

void moe_host_narrow(moe_device_t *d, void *to, moe_dtype_t dtype, const float *from, size_t rows,
                     size_t hidden)
{
    (void)d;
    const size_t bytes = moe_row_bytes(dtype, hidden);
    for (size_t r = 0; r < rows; r++) {
        moe_format_encode(dtype, (char *)to + r * bytes, from + r * hidden, hidden, 0, hidden);
    }
}
