/* A raw exchange: buffers for a matrix of bytes, and the check that every byte came to its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algorithm.h"
#include "moe/system.h"

struct moe_raw {
    moe_raw_spec_t spec;
    const moe_algorithm_ops_t *algorithm; /* prepared; NULL: none */
    moe_alltoallv_t x;
    size_t *arrays; /* [4][ranks] */
    void *send, *recv;
    moe_graph_t *graph; /* with spec.graph, after the first run */
    uint64_t
        turned; /* all bits set: what is sent now is the known bytes with every bit turned over */
};

/* Bytes that are made at a time in host memory, on their way to and from the device. */
#define PIECE ((size_t)65536)
#define WORD  sizeof(uint64_t)

/* ---- Known bytes ---- */

/* The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA'14). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15) /* 2^64 / golden ratio: SplitMix64's step */

static uint64_t block_key(size_t source, size_t destination)
{
    return mix(mix((uint64_t)source + GOLDEN) + (uint64_t)destination + GOLDEN);
}

/* Bytes [first, first + count) of a block; first is a multiple of 8, count at most PIECE. */
static void make_bytes(uint64_t key, uint64_t turned, size_t first, size_t count,
                       unsigned char *out)
{
    for (size_t at = 0; at < count; at += WORD) {
        const uint64_t word = mix(key + (uint64_t)((first + at) / WORD) * GOLDEN) ^ turned;
        memcpy(out + at, &word, count - at < WORD ? count - at : WORD);
    }
}

static void fill_block(moe_device_t *d, char *to, uint64_t key, uint64_t turned, size_t bytes)
{
    unsigned char piece[PIECE];
    for (size_t first = 0; first < bytes; first += PIECE) {
        const size_t count = bytes - first < PIECE ? bytes - first : PIECE;
        make_bytes(key, turned, first, count, piece);
        d->ops->copy(d, to + first, piece, count);
    }
}

static void fill_send(moe_raw_t *raw)
{
    const size_t row = raw->spec.row_bytes;
    for (size_t to = 0; to < raw->spec.transport->size; to++)
        fill_block(raw->spec.device, (char *)raw->send + raw->x.send_first[to] * row,
                   block_key(raw->spec.transport->rank, to), raw->turned,
                   raw->x.send_rows[to] * row);
}

/* Every bit is another than the one to come. */
static void poison(moe_raw_t *raw)
{
    const size_t row = raw->spec.row_bytes;
    for (size_t from = 0; from < raw->spec.transport->size; from++)
        fill_block(raw->spec.device, (char *)raw->recv + raw->x.recv_first[from] * row,
                   block_key(from, raw->spec.transport->rank), ~raw->turned,
                   raw->x.recv_rows[from] * row);
}

/* ---- Life ---- */

size_t moe_raw_bytes(const moe_matrix_t *matrix, size_t rank)
{
    size_t sum;
    return __builtin_add_overflow(moe_matrix_sent(matrix, rank), moe_matrix_received(matrix, rank),
                                  &sum)
               ? SIZE_MAX
               : sum;
}

static moe_status_t lay_out(moe_raw_t *raw, moe_error_t *error)
{
    const moe_matrix_t *m = raw->spec.matrix;
    const size_t ranks = m->ranks, own = raw->spec.transport->rank, row = raw->spec.row_bytes;
    moe_status_t status = moe_alloc("rows of a raw exchange", 4 * ranks, sizeof(size_t),
                                    (void **)&raw->arrays, error);
    if (status != MOE_OK)
        return status;
    size_t *const send_rows = raw->arrays, *const send_first = send_rows + ranks;
    size_t *const recv_rows = send_first + ranks, *const recv_first = recv_rows + ranks;
    size_t sent = 0, got = 0;
    for (size_t peer = 0; peer < ranks; peer++) {
        const size_t out = m->bytes[own * ranks + peer], in = m->bytes[peer * ranks + own];
        if (out % row != 0 || in % row != 0)
            return moe_fail(error, MOE_BAD_INPUT,
                            "blocks of %zu and %zu bytes are not made of whole rows of %zu", out,
                            in, row);
        send_rows[peer] = out / row;
        recv_rows[peer] = in / row;
        send_first[peer] = sent;
        recv_first[peer] = got;
        sent += send_rows[peer];
        got += recv_rows[peer];
    }
    raw->x = (moe_alltoallv_t){.send_rows = send_rows,
                               .send_first = send_first,
                               .recv_rows = recv_rows,
                               .recv_first = recv_first,
                               .ranks_per_node = raw->spec.ranks_per_node};
    return MOE_OK;
}

static moe_status_t make_buffers(moe_raw_t *raw, moe_error_t *error)
{
    moe_device_t *d = raw->spec.device;
    const size_t own = raw->spec.transport->rank;
    moe_transport_t *t = raw->spec.transport;
    moe_status_t status = moe_exchange_alloc_rows(
        t, d, "bytes to send", moe_matrix_sent(raw->spec.matrix, own), &raw->send, error);
    if (status == MOE_OK)
        status =
            moe_exchange_alloc_rows(t, d, "bytes to receive",
                                    moe_matrix_received(raw->spec.matrix, own), &raw->recv, error);
    if (status != MOE_OK)
        return status;
    raw->x.send = raw->send;
    raw->x.recv = raw->recv;
    fill_send(raw);
    return MOE_OK;
}

moe_status_t moe_raw_create(const moe_raw_spec_t *spec, moe_raw_t **out, moe_error_t *error)
{
    moe_transport_t *t = spec->transport;
    if (spec->matrix->ranks != t->size)
        return moe_fail(error, MOE_BAD_INPUT, "a matrix of %zu ranks, and there are %zu",
                        spec->matrix->ranks, t->size);
    if (moe_raw_bytes(spec->matrix, t->rank) == SIZE_MAX)
        return moe_fail(error, MOE_BAD_INPUT,
                        "the bytes of rank %zu do not fit any memory: lower the matrix", t->rank);
    moe_raw_t *raw = NULL;
    moe_status_t status = moe_alloc("a raw exchange", 1, sizeof *raw, (void **)&raw, error);
    if (status != MOE_OK)
        return status;
    raw->spec = *spec;
    status = lay_out(raw, error);
    if (status == MOE_OK)
        status = t->ops->row_type(t, spec->row_bytes, &raw->x.row, error);
    if (status == MOE_OK)
        status = make_buffers(raw, error);
    if (status != MOE_OK) {
        moe_raw_destroy(raw);
        return status;
    }
    raw->spec.matrix = NULL;
    *out = raw;
    return MOE_OK;
}

static void release(moe_raw_t *raw)
{
    moe_device_t *d = raw->spec.device;
    if (raw->graph != NULL)
        d->ops->drop_graph(d, raw->graph);
    raw->graph = NULL;
    if (raw->algorithm != NULL && raw->algorithm->release != NULL)
        raw->algorithm->release(raw->spec.transport, raw->spec.device, &raw->x);
    raw->algorithm = NULL;
}

void moe_raw_destroy(moe_raw_t *raw)
{
    if (raw == NULL)
        return;
    moe_device_t *d = raw->spec.device;
    release(raw);
    if (raw->send != NULL)
        moe_exchange_release_rows(raw->spec.transport, d, raw->send);
    if (raw->recv != NULL)
        moe_exchange_release_rows(raw->spec.transport, d, raw->recv);
    free(raw->arrays);
    free(raw);
}

/* ---- Carrying it out ---- */

moe_status_t moe_raw_use(moe_raw_t *raw, const moe_algorithm_ops_t *algorithm, moe_error_t *error)
{
    release(raw);
    raw->algorithm = algorithm;
    return algorithm->prepare != NULL
               ? algorithm->prepare(raw->spec.transport, raw->spec.device, &raw->x, error)
               : MOE_OK;
}

const char *moe_raw_chosen(const moe_raw_t *raw)
{
    return moe_algorithm_chosen(raw->algorithm, &raw->x);
}

moe_status_t moe_raw_schedule(moe_raw_t *raw, moe_error_t *error)
{
    return raw->algorithm->schedule != NULL
               ? raw->algorithm->schedule(raw->spec.transport, &raw->x, error)
               : MOE_OK;
}

moe_status_t moe_raw_run(moe_raw_t *raw, moe_error_t *error)
{
    moe_device_t *d = raw->spec.device;
    raw->spec.transport->doing = "alltoallv";
    const moe_status_t status = moe_exchange_run(raw->algorithm, raw->spec.transport, d, &raw->x,
                                                 raw->spec.graph ? &raw->graph : NULL, error);
    return status == MOE_OK ? d->ops->finish(d, error) : status;
}

/* ---- Check ---- */

static void count_wrong(moe_raw_result_t *result, size_t source, size_t offset, unsigned expected,
                        unsigned got)
{
    if (result->errors++ == 0) {
        result->source = source;
        result->offset = offset;
        result->expected = expected;
        result->got = got;
    }
}

/* Bytes [begin, end) of a block. */
static void check_bytes(moe_raw_t *raw, size_t source, size_t begin, size_t end,
                        moe_raw_result_t *result)
{
    unsigned char expected[PIECE], got[PIECE];
    const uint64_t key = block_key(source, raw->spec.transport->rank);
    const char *block = (const char *)raw->recv + raw->x.recv_first[source] * raw->spec.row_bytes;
    moe_device_t *d = raw->spec.device;
    for (size_t first = begin - begin % WORD; first < end; first += PIECE) {
        const size_t count = end - first < PIECE ? end - first : PIECE;
        const size_t skip = first < begin ? begin - first : 0;
        make_bytes(key, raw->turned, first, count, expected);
        d->ops->copy(d, got, block + first, count);
        if (memcmp(expected + skip, got + skip, count - skip) == 0)
            continue;
        for (size_t i = skip; i < count; i++) {
            if (expected[i] != got[i])
                count_wrong(result, source, first + i, expected[i], got[i]);
        }
    }
}

static void check_block(moe_raw_t *raw, moe_check_t how, size_t source, moe_raw_result_t *result)
{
    const size_t row = raw->spec.row_bytes, rows = raw->x.recv_rows[source];
    if (how == MOE_CHECK_FULL) {
        check_bytes(raw, source, 0, rows * row, result);
        return;
    }
    for (size_t r = 0; r < rows; r += MOE_CHECK_STRIDE)
        check_bytes(raw, source, r * row, (r + 1) * row, result);
}

static moe_status_t agree(moe_transport_t *t, const moe_raw_result_t *mine, moe_raw_result_t *out,
                          moe_error_t *error)
{
    moe_raw_result_t *all = NULL;
    moe_status_t status = moe_alloc("findings", t->size, sizeof *all, (void **)&all, error);
    if (status != MOE_OK)
        return status;
    status = t->ops->allgather(t, mine, sizeof *mine, all, error);
    if (status == MOE_OK) {
        size_t errors = 0;
        *out = (moe_raw_result_t){0};
        for (size_t r = t->size; r-- > 0;) {
            errors += all[r].errors;
            if (all[r].errors > 0)
                *out = all[r];
        }
        out->errors = errors;
    }
    free(all);
    return status;
}

moe_status_t moe_raw_check(moe_raw_t *raw, moe_check_t how, moe_raw_result_t *out,
                           moe_error_t *error)
{
    moe_transport_t *t = raw->spec.transport;
    moe_raw_result_t mine = {.rank = t->rank};
    if (how == MOE_CHECK_OFF) {
        *out = (moe_raw_result_t){0};
        return MOE_OK;
    }
    /* Other bytes than before: what an algorithm still holds of an earlier run is wrong too. */
    raw->turned = ~raw->turned;
    fill_send(raw);
    poison(raw);
    /* No rank may write into a buffer that is still being filled. */
    moe_status_t status = t->ops->barrier(t, error);
    if (status == MOE_OK)
        status = moe_raw_schedule(raw, error);
    if (status == MOE_OK)
        status = moe_raw_run(raw, error);
    if (status != MOE_OK)
        return status;
    for (size_t from = 0; from < t->size; from++)
        check_block(raw, how, from, &mine);
    status = raw->spec.device->ops->finish(raw->spec.device, error);
    if (status != MOE_OK)
        return status;
    return agree(t, &mine, out, error);
}

void moe_raw_describe(const moe_raw_result_t *result, char *text, size_t size)
{
    snprintf(text, size,
             "rank %zu: from rank %zu, byte %zu: expected 0x%02x, got 0x%02x (%zu wrong bytes in "
             "all)",
             result->rank, result->source, result->offset, result->expected, result->got,
             result->errors);
}
