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

static void copy_rows(char *to, size_t to_stride, const char *from, size_t from_stride,
                      size_t bytes, const size_t *index, size_t rows)
{
    const size_t distance = moe_rows_ahead(bytes);
    for (size_t r = 0; r < rows; r++) {
        if (index[r] == MOE_ROW_ZERO) {
            memset(to + r * to_stride, 0, bytes);
            continue;
        }
        const size_t after = rows - r > distance ? index[r + distance] : MOE_ROW_ZERO;
        const size_t ahead = after == MOE_ROW_ZERO ? index[r] : after;
        copy_row(to + r * to_stride, from + index[r] * from_stride, from + ahead * from_stride,
                 bytes);
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

static void convert_rows(char *to, size_t to_stride, moe_dtype_t to_dtype, const char *from,
                         size_t from_stride, moe_dtype_t from_dtype, const size_t *index,
                         size_t rows, size_t hidden)
{
    const size_t to_bytes = moe_row_bytes(to_dtype, hidden);
    for (size_t r = 0; r < rows; r++) {
        const size_t source = index == NULL ? r : index[r];
        if (source == MOE_ROW_ZERO) {
            memset(to + r * to_stride, 0, to_bytes);
        } else {
            convert_row(to + r * to_stride, to_dtype, from + source * from_stride, from_dtype,
                        hidden);
        }
    }
}

/* Rows of zeros are zeros in every byte: +0 in all formats, FP8 scales of 0 too (a quantised row
 * never has one, so padding can be told from a token of zeros). */
void moe_host_gather(moe_device_t *d, void *to, size_t to_stride, moe_dtype_t to_dtype,
                     const void *from, size_t from_stride, moe_dtype_t from_dtype,
                     const size_t *index, size_t rows, size_t hidden)
{
    if (to_dtype != from_dtype) {
        convert_rows(to, to_stride, to_dtype, from, from_stride, from_dtype, index, rows, hidden);
    } else {
        moe_host_copy_parts(d, to, to_stride, from, from_stride, moe_row_bytes(to_dtype, hidden),
                            index, rows);
    }
}

void moe_host_copy_parts(moe_device_t *d, void *to, size_t to_stride, const void *from,
                         size_t from_stride, size_t bytes, const size_t *index, size_t rows)
{
    (void)d;
    if (rows == 0 || bytes == 0) {
        return;
    }
    if (index != NULL) {
        copy_rows(to, to_stride, from, from_stride, bytes, index, rows);
    } else if (to_stride == bytes && from_stride == bytes) {
        memcpy(to, from, rows * bytes);
    } else {
        for (size_t r = 0; r < rows; r++) {
            memcpy((char *)to + r * to_stride, (const char *)from + r * from_stride, bytes);
        }
    }
}
