/* One all-to-all-v with known bytes, for tests of algorithms on any transport: every rank makes its
 * part of the matrix from the case alone, fills it, and checks every byte that arrives, the gaps
 * between the blocks too. */
#ifndef TESTS_ALLTOALLV_CASE_H
#define TESTS_ALLTOALLV_CASE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/exchange.h"

typedef enum matrix {
    MATRIX_RANDOM,     /* a third of the blocks empty */
    MATRIX_UNIFORM,    /* all blocks alike, side by side */
    MATRIX_NOTHING,    /* no rows at all, NULL buffers; uniform where the seed is odd */
    MATRIX_EMPTY_RANK, /* the last rank neither sends nor receives */
    MATRIX_OWN_ONLY,   /* nothing leaves a rank */
    MATRIX_HOT         /* all rows go to rank 0 */
} matrix_t;

typedef struct alltoallv_case {
    matrix_t matrix;
    unsigned seed;
    size_t row_bytes, max_rows;
    size_t ranks_per_node;
} alltoallv_case_t;

#define CASE_TEXT 256

static inline unsigned case_mix(unsigned a, unsigned b, unsigned c, unsigned d)
{
    unsigned h = a * 2654435761u ^ b * 2246822519u ^ c * 3266489917u ^ d * 668265263u;
    h ^= h >> 15;
    h *= 2246822519u;
    return h ^ h >> 13;
}

static inline size_t case_rows(const alltoallv_case_t *c, size_t ranks, size_t from, size_t to)
{
    const unsigned h = case_mix(c->seed, (unsigned)from, (unsigned)to, 1);
    const size_t random = h % 3 == 0 ? 0 : 1 + h / 3 % c->max_rows;
    switch (c->matrix) {
    case MATRIX_RANDOM:
        return random;
    case MATRIX_UNIFORM:
        return c->max_rows;
    case MATRIX_NOTHING:
        return 0;
    case MATRIX_EMPTY_RANK:
        return from + 1 == ranks || to + 1 == ranks ? 0 : random;
    case MATRIX_OWN_ONLY:
        return from == to ? random : 0;
    case MATRIX_HOT:
        return to == 0 ? c->max_rows : 0;
    }
    return 0;
}

static inline unsigned char case_byte(const alltoallv_case_t *c, size_t from, size_t to, size_t at)
{
    return (unsigned char)(case_mix(c->seed, (unsigned)from, (unsigned)to, (unsigned)at) & 0x7f);
}

#define CASE_POISON 0xee /* no case_byte() is as large */

/* Buffers and arrays of one rank. Blocks have gaps of one row in cases that are not uniform. The
 * exchange works on send and recv themselves, or where there is a device, on memory of its own. */
typedef struct case_buffers {
    size_t *arrays; /* [4][ranks] */
    unsigned char *send, *recv;
    size_t recv_bytes;
    moe_device_t *device;
    moe_alltoallv_t x;
} case_buffers_t;

static inline size_t case_place(const alltoallv_case_t *c, size_t ranks, size_t own, bool sends,
                                size_t *rows, size_t *first)
{
    const size_t gap = c->matrix == MATRIX_UNIFORM || c->matrix == MATRIX_NOTHING ? 0 : 1;
    size_t sum = 0;
    for (size_t peer = 0; peer < ranks; peer++) {
        rows[peer] = sends ? case_rows(c, ranks, own, peer) : case_rows(c, ranks, peer, own);
        first[peer] = sum;
        sum += rows[peer] + gap;
    }
    return sum;
}

static inline bool case_create(const alltoallv_case_t *c, moe_transport_t *t, case_buffers_t *b,
                               moe_error_t *error)
{
    moe_row_type_t row;
    if (t->ops->row_type(t, c->row_bytes, &row, error) != MOE_OK)
        return false;
    b->arrays = calloc(4 * t->size, sizeof *b->arrays);
    size_t *const send_rows = b->arrays, *const send_first = send_rows + t->size;
    size_t *const recv_rows = send_first + t->size, *const recv_first = recv_rows + t->size;
    const size_t send = case_place(c, t->size, t->rank, true, send_rows, send_first);
    b->recv_bytes = case_place(c, t->size, t->rank, false, recv_rows, recv_first) * c->row_bytes;
    const bool none = c->matrix == MATRIX_NOTHING;
    b->send = none ? NULL : calloc(send + 1, c->row_bytes);
    b->recv = none ? NULL : calloc(b->recv_bytes + 1, 1);
    b->x = (moe_alltoallv_t){.row = row,
                             .send = b->send,
                             .send_rows = send_rows,
                             .send_first = send_first,
                             .recv = b->recv,
                             .recv_rows = recv_rows,
                             .recv_first = recv_first,
                             .ranks_per_node = c->ranks_per_node,
                             .uniform = c->matrix == MATRIX_UNIFORM || (none && c->seed % 2 == 1)};
    b->device = NULL;
    for (size_t to = 0; to < t->size; to++) {
        unsigned char *block = none ? NULL : b->send + send_first[to] * c->row_bytes;
        for (size_t at = 0; at < send_rows[to] * c->row_bytes; at++)
            block[at] = case_byte(c, t->rank, to, at);
    }
    return true;
}

/* The same with the rows in memory of the device. */
static inline bool case_create_on(const alltoallv_case_t *c, moe_transport_t *t, moe_device_t *d,
                                  case_buffers_t *b, moe_error_t *error)
{
    if (!case_create(c, t, b, error))
        return false;
    if (b->send == NULL)
        return true;
    const size_t last = t->size - 1;
    const size_t bytes = (b->x.send_first[last] + b->x.send_rows[last]) * c->row_bytes;
    void *send, *recv;
    if (d->ops->alloc(d, "rows to send", bytes + 1, &send, error) != MOE_OK ||
        d->ops->alloc(d, "rows to receive", b->recv_bytes + 1, &recv, error) != MOE_OK)
        return false;
    d->ops->copy(d, send, b->send, bytes);
    b->device = d;
    b->x.send = send;
    b->x.recv = recv;
    return true;
}

static inline void case_destroy(case_buffers_t *b)
{
    if (b->device != NULL) {
        b->device->ops->release(b->device, (void *)b->x.send);
        b->device->ops->release(b->device, b->x.recv);
    }
    free(b->arrays);
    free(b->send);
    free(b->recv);
}

/* What has arrived, for the host to look at. */
static inline moe_status_t case_fetch(const case_buffers_t *b, moe_error_t *error)
{
    if (b->device == NULL)
        return MOE_OK;
    b->device->ops->copy(b->device, b->recv, b->x.recv, b->recv_bytes);
    return b->device->ops->finish(b->device, error);
}

static inline bool case_arrived(const alltoallv_case_t *c, const moe_transport_t *t,
                                const case_buffers_t *b, char *text)
{
    size_t at = 0;
    for (size_t from = 0; from < t->size && b->recv != NULL; from++) {
        const size_t begin = b->x.recv_first[from] * c->row_bytes;
        const size_t end = begin + b->x.recv_rows[from] * c->row_bytes;
        const size_t gap =
            from + 1 < t->size ? b->x.recv_first[from + 1] * c->row_bytes : b->recv_bytes;
        for (at = begin; at < gap; at++) {
            const unsigned expected =
                at < end ? case_byte(c, from, t->rank, at - begin) : CASE_POISON;
            if (b->recv[at] != expected) {
                snprintf(text, CASE_TEXT,
                         "rank %zu: byte %zu of %zu of rank %zu: expected %u, got %u", t->rank,
                         at - begin, end - begin, from, expected, b->recv[at]);
                return false;
            }
        }
    }
    return true;
}

static inline moe_status_t case_prepare(const moe_algorithm_ops_t *algorithm, moe_transport_t *t,
                                        moe_device_t *d, moe_alltoallv_t *x, moe_error_t *error)
{
    return algorithm->prepare != NULL ? algorithm->prepare(t, d, x, error) : MOE_OK;
}

static inline void case_release(const moe_algorithm_ops_t *algorithm, moe_transport_t *t,
                                moe_device_t *d, moe_alltoallv_t *x)
{
    if (algorithm->release != NULL)
        algorithm->release(t, d, x);
}

/* One exchange into poisoned memory; a rank that finds wrong data says so in *right, and goes on:
 * the others wait for it. */
static inline moe_status_t case_exchange(const alltoallv_case_t *c,
                                         const moe_algorithm_ops_t *algorithm, moe_transport_t *t,
                                         moe_device_t *d, case_buffers_t *b, bool *right,
                                         char *text, moe_error_t *error)
{
    if (b->recv != NULL)
        memset(b->recv, CASE_POISON, b->recv_bytes);
    if (b->device != NULL)
        d->ops->copy(d, b->x.recv, b->recv, b->recv_bytes);
    moe_status_t status = MOE_OK;
    if (algorithm->schedule != NULL)
        status = algorithm->schedule(t, &b->x, error);
    if (status == MOE_OK)
        status = algorithm->run(t, d, &b->x, error);
    if (status == MOE_OK)
        status = case_fetch(b, error);
    *right = status == MOE_OK && *right && case_arrived(c, t, b, text);
    return status;
}

/* Prepares, runs twice (the second run must not live on what the first left), checks, releases
 * (twice: the second must have no effect). */
static inline bool case_run(const alltoallv_case_t *c, const moe_algorithm_ops_t *algorithm,
                            moe_transport_t *t, moe_device_t *d, char *text)
{
    moe_error_t error = {.status = MOE_OK};
    case_buffers_t b;
    if (!case_create_on(c, t, d, &b, &error)) {
        snprintf(text, CASE_TEXT, "rank %zu: %.200s", t->rank, error.text);
        return false;
    }
    bool right = true;
    moe_status_t status = case_prepare(algorithm, t, d, &b.x, &error);
    for (int run = 0; status == MOE_OK && run < 2; run++)
        status = case_exchange(c, algorithm, t, d, &b, &right, text, &error);
    if (status != MOE_OK)
        snprintf(text, CASE_TEXT, "rank %zu: %s: %.200s", t->rank, algorithm->name, error.text);
    else if (!right)
        snprintf(text + strlen(text), CASE_TEXT - strlen(text), " (%s, %zu ranks, %zu a node)",
                 algorithm->name, t->size, c->ranks_per_node);
    case_release(algorithm, t, d, &b.x);
    case_release(algorithm, t, d, &b.x);
    case_destroy(&b);
    return status == MOE_OK && right;
}

/* ---- The least device that an algorithm needs ---- */

static inline void case_device_copy(moe_device_t *d, void *to, const void *from, size_t bytes)
{
    (void)d;
    memcpy(to, from, bytes);
}

/* No byte before or behind what was asked for, and no byte known. */
static inline moe_status_t case_device_alloc(moe_device_t *d, const char *what, size_t bytes,
                                             void **out, moe_error_t *error)
{
    (void)d;
    void *memory = malloc(bytes);
    if (memory == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "%s: %zu bytes do not fit memory", what, bytes);
    memset(memory, CASE_POISON, bytes);
    *out = memory;
    return MOE_OK;
}

static inline void case_device_release(moe_device_t *d, void *memory)
{
    (void)d;
    free(memory);
}

static inline moe_status_t case_device_finish(moe_device_t *d, moe_error_t *error)
{
    (void)d, (void)error;
    return MOE_OK;
}

static const moe_device_ops_t case_device_ops = {.name = "memory and copies",
                                                 .finish = case_device_finish,
                                                 .alloc = case_device_alloc,
                                                 .release = case_device_release,
                                                 .copy = case_device_copy};

static inline moe_device_t case_device(void)
{
    return (moe_device_t){.ops = &case_device_ops};
}

#endif
