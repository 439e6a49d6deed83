/* Matrices of bytes between ranks, and what follows from them. */
#include <limits.h>
#include <stdlib.h>

#include "moe/system.h"
#include "moe/traffic.h"
#include "saturate.h"

moe_status_t moe_matrix_create(size_t ranks, moe_matrix_t *out, moe_error_t *error)
{
    if (ranks == 0)
        return moe_fail(error, MOE_BAD_INPUT, "a matrix of 0 ranks: it needs at least 1");
    void *bytes;
    const moe_status_t status =
        moe_alloc("a matrix of bytes between ranks", ranks,
                  moe_saturating_multiply(ranks, sizeof(size_t)), &bytes, error);
    if (status == MOE_OK)
        *out = (moe_matrix_t){.ranks = ranks, .bytes = bytes};
    return status;
}

void moe_matrix_destroy(moe_matrix_t *matrix)
{
    free(matrix->bytes);
    *matrix = (moe_matrix_t){0};
}

/* ---- What follows from it ---- */

size_t moe_matrix_sent(const moe_matrix_t *matrix, size_t rank)
{
    size_t sum = 0;
    for (size_t to = 0; to < matrix->ranks; to++)
        sum = moe_saturating_add(sum, matrix->bytes[rank * matrix->ranks + to]);
    return sum;
}

size_t moe_matrix_received(const moe_matrix_t *matrix, size_t rank)
{
    size_t sum = 0;
    for (size_t from = 0; from < matrix->ranks; from++)
        sum = moe_saturating_add(sum, matrix->bytes[from * matrix->ranks + rank]);
    return sum;
}

static size_t common_divisor(size_t a, size_t b)
{
    while (b != 0) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

size_t moe_matrix_row_bytes(const moe_matrix_t *matrix)
{
    size_t common = 0, most = 0;
    for (size_t i = 0; i < matrix->ranks * matrix->ranks; i++)
        common = common_divisor(common, matrix->bytes[i]);
    for (size_t rank = 0; rank < matrix->ranks; rank++) {
        const size_t sent = moe_matrix_sent(matrix, rank), got = moe_matrix_received(matrix, rank);
        most = sent > most ? sent : most;
        most = got > most ? got : most;
    }
    if (common == 0)
        return 1;
    size_t row = common < MOE_MATRIX_ROW_LIMIT ? common : MOE_MATRIX_ROW_LIMIT;
    while (common % row != 0)
        row--;
    return most / row > INT_MAX ? common : row;
}

moe_status_t moe_matrix_flow(const moe_matrix_t *matrix, size_t ranks_per_node, size_t row_bytes,
                             moe_flow_t *out, moe_error_t *error)
{
    moe_flow_t flow;
    const moe_status_t status =
        moe_flow_create(matrix->ranks, ranks_per_node, row_bytes, &flow, error);
    if (status != MOE_OK)
        return status;
    for (size_t from = 0; from < matrix->ranks; from++) {
        for (size_t to = 0; to < matrix->ranks; to++) {
            const size_t rows = matrix->bytes[from * matrix->ranks + to] / row_bytes;
            moe_flow_add_rows(&flow, from, to, rows, 0);
            moe_flow_add_useful(&flow, rows, row_bytes);
        }
    }
    *out = flow;
    return MOE_OK;
}
