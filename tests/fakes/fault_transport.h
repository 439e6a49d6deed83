/* A transport that lies once. It stands before another one, whose state it uses (that must not care
 * for the address of its handle: loopback does not), and plants one fault in what passes. */
#ifndef TESTS_FAULT_TRANSPORT_H
#define TESTS_FAULT_TRANSPORT_H

#include <stdlib.h>
#include <string.h>

#include "moe/transport.h"

typedef enum fault_kind {
    FAULT_NONE,
    /* In rows that this rank receives: */
    FAULT_FLIP,      /* the bits of `mask` in byte `byte` of row `at` are turned over */
    FAULT_SWAP,      /* rows `at` and `other` change places */
    FAULT_LOSE,      /* row `at` is never written: what lay there before stays */
    FAULT_SLIDE,     /* the block lands one row too early: its first row is lost */
    FAULT_DUPLICATE, /* row `other` arrives in the place of `at` too */
    /* In rows that it sends: */
    FAULT_SHIFT, /* the block to at.peer starts one row too late */
    /* In the metadata that it receives: */
    FAULT_COUNTS, /* alltoall_sizes: element `more` is one too large, `less` one too small */
    FAULT_LARGEST /* max_size, reduce_sizes: the (first) value is one too large */
} fault_kind_t;

#define FAULT_NO_ELEMENT SIZE_MAX

/* Row `row` of the block that comes from `peer`. */
typedef struct fault_place {
    size_t peer, row;
} fault_place_t;

/* A layer of two hops splits off its node, then the ranks of its number in all nodes. */
typedef enum fault_part { FAULT_IN_GROUP, FAULT_IN_NODE, FAULT_IN_RAIL } fault_part_t;
#define FAULT_PARTS 2

typedef struct fault {
    fault_kind_t kind;
    fault_part_t part; /* of which transport; peers are counted there */
    size_t exchange;   /* which block from (to) that peer, empty ones not counted: 0 the next one */
    fault_place_t at, other;
    size_t byte;
    unsigned char mask;
    size_t more, less; /* FAULT_NO_ELEMENT: none */
    bool every_time;   /* metadata: in every call, not in the next one only */
} fault_t;

/* A block on its way. */
typedef struct fault_block {
    char *rows; /* NULL: not seen yet */
    size_t count, row_bytes;
    size_t seen; /* blocks of that peer so far */
} fault_block_t;

typedef struct fault_transport {
    moe_transport_t transport; /* first: its address is that of the whole */
    moe_transport_ops_t ops;
    const moe_transport_ops_t *real;
    fault_t fault;
    size_t planted;          /* how often the fault has happened */
    fault_block_t at, other; /* received, or (at) sent */
    char *before;            /* of FAULT_LOSE: what lay in the row's place */
    /* What was split off it, before the same lies: */
    struct fault_transport *part[FAULT_PARTS], *whole;
    moe_transport_t *own; /* of a part: the handle that it stands before */
} fault_transport_t;

static inline fault_transport_t *fault_of(moe_transport_t *t)
{
    return (fault_transport_t *)t;
}

static inline char *fault_row(const fault_block_t *block, size_t row)
{
    if (row >= block->count)
        abort(); /* the test asks for a row that is not there */
    return block->rows + row * block->row_bytes;
}

/* ---- Rows received ---- */

static inline bool fault_is_in_received_rows(const fault_transport_t *f)
{
    return f->fault.kind >= FAULT_FLIP && f->fault.kind <= FAULT_DUPLICATE;
}

static inline bool fault_needs_other(const fault_transport_t *f)
{
    return f->fault.kind == FAULT_SWAP || f->fault.kind == FAULT_DUPLICATE;
}

static inline void fault_note(const fault_transport_t *f, fault_block_t *block, void *rows,
                              size_t count, size_t row_bytes)
{
    if (count > 0 && block->seen++ == f->fault.exchange) {
        block->rows = rows;
        block->count = count;
        block->row_bytes = row_bytes;
    }
}

/* Before a block is received: afterwards nobody knows what lay there. */
static inline void fault_before(fault_transport_t *f, size_t from, void *rows, size_t count,
                                size_t row_bytes)
{
    if (!fault_is_in_received_rows(f))
        return;
    if (from == f->fault.at.peer) {
        fault_note(f, &f->at, rows, count, row_bytes);
        if (f->fault.kind == FAULT_LOSE && f->at.rows != NULL && f->before == NULL) {
            f->before = malloc(row_bytes);
            if (f->before == NULL)
                abort();
            memcpy(f->before, fault_row(&f->at, f->fault.at.row), row_bytes);
        }
    }
    if (from == f->fault.other.peer)
        fault_note(f, &f->other, rows, count, row_bytes);
}

static inline void fault_swap(char *a, char *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const char byte = a[i];
        a[i] = b[i];
        b[i] = byte;
    }
}

/* When all that was noted has arrived. */
static inline void fault_after(fault_transport_t *f)
{
    if (!fault_is_in_received_rows(f) || f->planted > 0 || f->at.rows == NULL ||
        (fault_needs_other(f) && f->other.rows == NULL))
        return;
    char *at = fault_row(&f->at, f->fault.at.row);
    const size_t bytes = f->at.row_bytes;
    switch (f->fault.kind) {
    case FAULT_FLIP:
        at[f->fault.byte] = (char)((unsigned char)at[f->fault.byte] ^ f->fault.mask);
        break;
    case FAULT_SWAP:
        fault_swap(at, fault_row(&f->other, f->fault.other.row), bytes);
        break;
    case FAULT_LOSE:
        memcpy(at, f->before, bytes);
        break;
    case FAULT_SLIDE:
        memmove(f->at.rows, f->at.rows + bytes, (f->at.count - 1) * bytes);
        break;
    case FAULT_DUPLICATE:
        memcpy(at, fault_row(&f->other, f->fault.other.row), bytes);
        break;
    default:
        break;
    }
    f->planted++;
}

static inline moe_status_t fault_start_recv(moe_transport_t *t, void *rows, size_t count,
                                            moe_row_type_t row, size_t from, moe_error_t *error)
{
    fault_before(fault_of(t), from, rows, count, row.bytes);
    return fault_of(t)->real->start_recv(t, rows, count, row, from, error);
}

static inline moe_status_t fault_finish(moe_transport_t *t, moe_error_t *error)
{
    const moe_status_t status = fault_of(t)->real->finish(t, error);
    if (status == MOE_OK)
        fault_after(fault_of(t));
    return status;
}

/* While messages are under way, what was noted may not have arrived: the fault waits. */
static inline moe_status_t fault_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error)
{
    return latest == 0 ? fault_finish(t, error) : fault_of(t)->real->finish_but(t, latest, error);
}

/* ---- Rows sent ---- */

/* Rows that the block to `to` starts too late. */
static inline size_t fault_shift(fault_transport_t *f, size_t to, size_t count)
{
    if (f->fault.kind != FAULT_SHIFT || to != f->fault.at.peer || count == 0 ||
        f->at.seen++ != f->fault.exchange)
        return 0;
    f->planted++;
    return 1;
}

static inline moe_status_t fault_start_send(moe_transport_t *t, const void *rows, size_t count,
                                            moe_row_type_t row, size_t to, moe_error_t *error)
{
    const char *from = (const char *)rows + fault_shift(fault_of(t), to, count) * row.bytes;
    return fault_of(t)->real->start_send(t, from, count, row, to, error);
}

static inline moe_status_t fault_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                           moe_error_t *error)
{
    fault_transport_t *f = fault_of(t);
    size_t *first = malloc((t->size + 1) * sizeof *first);
    if (first == NULL)
        abort();
    for (size_t peer = 0; peer < t->size; peer++) {
        fault_before(f, peer, (char *)x->recv + x->recv_first[peer] * x->row.bytes,
                     x->recv_rows[peer], x->row.bytes);
        first[peer] = x->send_first[peer] + fault_shift(f, peer, x->send_rows[peer]);
    }
    moe_alltoallv_t sent = *x;
    sent.send_first = first;
    const moe_status_t status = f->real->alltoallv(t, &sent, error);
    free(first);
    if (status == MOE_OK)
        fault_after(f);
    return status;
}

/* ---- Metadata ---- */

static inline bool fault_in_this_call(fault_transport_t *f, fault_kind_t kind)
{
    if (f->fault.kind != kind || (f->planted > 0 && !f->fault.every_time))
        return false;
    f->planted++;
    return true;
}

static inline moe_status_t fault_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                                const size_t *send_count, size_t *recv,
                                                const size_t *recv_count, moe_error_t *error)
{
    fault_transport_t *f = fault_of(t);
    const moe_status_t status =
        f->real->alltoall_sizes(t, send, send_count, recv, recv_count, error);
    if (status == MOE_OK && fault_in_this_call(f, FAULT_COUNTS)) {
        if (f->fault.more != FAULT_NO_ELEMENT)
            recv[f->fault.more]++;
        if (f->fault.less != FAULT_NO_ELEMENT)
            recv[f->fault.less]--;
    }
    return status;
}

static inline moe_status_t fault_reduce_sizes(moe_transport_t *t, size_t *values, size_t count,
                                              moe_reduce_t how, moe_error_t *error)
{
    fault_transport_t *f = fault_of(t);
    const moe_status_t status = f->real->reduce_sizes(t, values, count, how, error);
    if (status == MOE_OK && count > 0 && fault_in_this_call(f, FAULT_LARGEST))
        values[0]++;
    return status;
}

static inline moe_status_t fault_max_size(moe_transport_t *t, size_t *value, moe_error_t *error)
{
    fault_transport_t *f = fault_of(t);
    const moe_status_t status = f->real->max_size(t, value, error);
    if (status == MOE_OK && fault_in_this_call(f, FAULT_LARGEST))
        ++*value;
    return status;
}

/* ---- The handle ---- */

static inline moe_status_t fault_split(moe_transport_t *t, int color, moe_transport_t **out,
                                       moe_error_t *error);

/* *f must stay where it is; `real` is destroyed by its owner, after the last use of *f. */
static inline void fault_transport_init(fault_transport_t *f, const moe_transport_t *real)
{
    *f = (fault_transport_t){.transport = *real, .ops = *real->ops, .real = real->ops};
    f->ops.alltoallv = fault_alltoallv;
    f->ops.start_alltoallv = NULL; /* all exchanges are to pass by here */
    f->ops.finish_alltoallv = NULL;
    f->ops.start_send = fault_start_send;
    f->ops.start_recv = fault_start_recv;
    f->ops.finish = fault_finish;
    f->ops.finish_but = fault_finish_but;
    f->ops.alltoall_sizes = fault_alltoall_sizes;
    f->ops.max_size = fault_max_size;
    f->ops.reduce_sizes = fault_reduce_sizes;
    f->ops.split = fault_split;
    f->transport.ops = &f->ops;
}

static inline void fault_part_destroy(moe_transport_t *t)
{
    fault_transport_t *f = fault_of(t);
    for (size_t i = 0; i < FAULT_PARTS; i++)
        f->whole->part[i] = f->whole->part[i] == f ? NULL : f->whole->part[i];
    f->own->ops->destroy(f->own);
    free(f->before);
    free(f);
}

static inline moe_status_t fault_split(moe_transport_t *t, int color, moe_transport_t **out,
                                       moe_error_t *error)
{
    fault_transport_t *whole = fault_of(t);
    moe_transport_t *own = NULL;
    const moe_status_t status = whole->real->split(t, color, &own, error);
    if (status != MOE_OK)
        return status;
    *out = own;
    for (size_t i = 0; i < FAULT_PARTS && *out == own; i++) {
        if (whole->part[i] != NULL)
            continue;
        fault_transport_t *f = malloc(sizeof *f);
        if (f == NULL)
            abort();
        fault_transport_init(f, own);
        f->own = own;
        f->whole = whole;
        f->ops.split = own->ops->split;
        f->ops.destroy = fault_part_destroy;
        whole->part[i] = f;
        *out = &f->transport;
    }
    return MOE_OK;
}

static inline void fault_arm_one(fault_transport_t *f, const fault_t *fault)
{
    free(f->before);
    f->before = NULL;
    f->fault = fault != NULL ? *fault : (fault_t){.kind = FAULT_NONE};
    f->planted = 0;
    f->at = f->other = (fault_block_t){0};
}

/* The fault to come; NULL: none. */
static inline void fault_arm(fault_transport_t *f, const fault_t *fault)
{
    const fault_part_t part = fault != NULL ? fault->part : FAULT_IN_GROUP;
    if (part != FAULT_IN_GROUP && f->part[part - 1] == NULL)
        abort(); /* the test asks for a transport that is not there */
    fault_arm_one(f, part == FAULT_IN_GROUP ? fault : NULL);
    for (size_t i = 0; i < FAULT_PARTS; i++) {
        if (f->part[i] != NULL)
            fault_arm_one(f->part[i], part == i + 1 ? fault : NULL);
    }
}

/* How often the fault has happened, wherever it is. */
static inline size_t fault_planted(const fault_transport_t *f)
{
    size_t planted = f->planted;
    for (size_t i = 0; i < FAULT_PARTS; i++)
        planted += f->part[i] != NULL ? f->part[i]->planted : 0;
    return planted;
}

#endif
