/* One message at a time between the ranks of each pair. */
#include <stdio.h>
#include <stdlib.h>

#include "moe/pairs.h"
#include "moe/system.h"

/* Small messages: "I am ready" and "I have it". */
#define SIGNAL_BYTES ((size_t)8)
/* Elements of the known message: the device's own oracle fills and checks them where they lie. */
#define ELEMENT      MOE_BF16
#define ELEMENT_SIZE ((size_t)2)
#define SEED         UINT64_C(0x70616972) /* "pair" */
/* No element that the oracle makes has these bytes. */
#define POISON 0xff

struct moe_pairs {
    moe_transport_t *transport;
    moe_device_t *device;
    size_t bytes;
    moe_pair_schedule_t schedule;
    moe_row_type_t message, signal;
    void *send, *recv;            /* [bytes] */
    char *signal_out, *signal_in; /* [SIGNAL_BYTES] */
};

size_t moe_pairs_memory(size_t bytes)
{
    return 2 * (bytes + SIGNAL_BYTES);
}

/* ---- Life ---- */

static moe_status_t make_buffers(moe_pairs_t *p, moe_error_t *error)
{
    moe_device_t *d = p->device;
    const struct {
        const char *what;
        size_t bytes;
        void **out;
    } buffers[] = {{"a message to send", p->bytes, &p->send},
                   {"a message to receive", p->bytes, &p->recv},
                   {"a signal to send", SIGNAL_BYTES, (void **)&p->signal_out},
                   {"a signal to receive", SIGNAL_BYTES, (void **)&p->signal_in}};
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < sizeof buffers / sizeof *buffers; i++) {
        status = d->ops->alloc(d, buffers[i].what, buffers[i].bytes, buffers[i].out, error);
        if (status == MOE_OK) {
            d->ops->fill_bytes(d, *buffers[i].out, 0, buffers[i].bytes);
        }
    }
    return status;
}

moe_status_t moe_pairs_create(const moe_pairs_spec_t *spec, moe_pairs_t **out, moe_error_t *error)
{
    moe_transport_t *t = spec->transport;
    if (spec->bytes == 0 || spec->bytes % ELEMENT_SIZE != 0 || spec->bytes > MOE_PAIRS_BYTES_MAX) {
        return moe_fail(
            error, MOE_BAD_INPUT,
            "a message of %zu bytes between pairs: it must be an even number from %zu to %zu",
            spec->bytes, ELEMENT_SIZE, MOE_PAIRS_BYTES_MAX);
    }
    moe_pairs_t *p = NULL;
    moe_status_t status = moe_alloc("pairs", 1, sizeof *p, (void **)&p, error);
    if (status != MOE_OK) {
        return status;
    }
    p->transport = t;
    p->device = spec->device;
    p->bytes = spec->bytes;
    status = moe_pair_schedule_create(spec->node, t->size, &p->schedule, error);
    if (status == MOE_OK) {
        status = t->ops->row_type(t, p->bytes, &p->message, error);
    }
    if (status == MOE_OK) {
        status = t->ops->row_type(t, SIGNAL_BYTES, &p->signal, error);
    }
    if (status == MOE_OK) {
        status = make_buffers(p, error);
    }
    if (status != MOE_OK) {
        moe_pairs_destroy(p);
        return status;
    }
    *out = p;
    return MOE_OK;
}

void moe_pairs_destroy(moe_pairs_t *pairs)
{
    if (pairs == NULL) {
        return;
    }
    void *const buffers[] = {pairs->send, pairs->recv, pairs->signal_out, pairs->signal_in};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        if (buffers[i] != NULL) {
            pairs->device->ops->release(pairs->device, buffers[i]);
        }
    }
    moe_pair_schedule_destroy(&pairs->schedule);
    free(pairs);
}

/* ---- Columns ---- */

size_t moe_pairs_columns(const moe_pairs_t *pairs)
{
    return 2 * pairs->schedule.rounds;
}

/* This rank's partner in a column, and whether it sends to it; false where it rests. */
static bool part_in(const moe_pairs_t *p, size_t column, size_t *partner, bool *sends)
{
    const size_t rank = p->transport->rank;
    *partner = moe_pair_schedule_partner(&p->schedule, column / 2, rank);
    *sends = moe_pair_schedule_first(&p->schedule, rank, *partner) == (column % 2 == 0);
    return *partner != rank;
}

bool moe_pairs_to(const moe_pairs_t *pairs, size_t column, size_t *to)
{
    bool sends;
    return part_in(pairs, column, to, &sends) && sends;
}

/* ---- One message ---- */

/* Until the messages have arrived, on devices that work behind the caller's back too. */
static moe_status_t complete(moe_pairs_t *p, moe_error_t *error)
{
    const moe_status_t status = p->transport->ops->finish(p->transport, error);
    return status == MOE_OK ? p->device->ops->finish(p->device, error) : status;
}

/* The message, and the acknowledgement of all of it. One after the other on both sides: a transport that
 * groups messages then has the same groups on both. */
static moe_status_t send_message(moe_pairs_t *p, size_t to, double *seconds, moe_error_t *error)
{
    moe_transport_t *t = p->transport;
    const double start = moe_now();
    moe_status_t status = t->ops->start_send(t, p->send, 1, p->message, to, error);
    if (status == MOE_OK) {
        status = t->ops->finish(t, error);
    }
    if (status == MOE_OK) {
        status = t->ops->start_recv(t, p->signal_in, 1, p->signal, to, error);
    }
    if (status == MOE_OK) {
        status = complete(p, error);
    }
    *seconds = moe_now() - start;
    return status;
}

static moe_status_t receive_message(moe_pairs_t *p, size_t from, moe_error_t *error)
{
    moe_transport_t *t = p->transport;
    moe_status_t status = t->ops->finish(t, error);
    if (status == MOE_OK) {
        status = t->ops->start_send(t, p->signal_out, 1, p->signal, from, error);
    }
    return status == MOE_OK ? complete(p, error) : status;
}

/* All receives are posted before any rank sends; all senders start together. */
static moe_status_t exchange_column(moe_pairs_t *p, size_t column, double *seconds,
                                    moe_error_t *error)
{
    moe_transport_t *t = p->transport;
    size_t partner;
    bool sends;
    const bool takes_part = part_in(p, column, &partner, &sends);
    moe_status_t status = MOE_OK;
    *seconds = 0;
    if (takes_part && !sends) {
        status = t->ops->start_recv(t, p->recv, 1, p->message, partner, error);
    }
    if (status == MOE_OK) {
        status = t->ops->barrier(t, error);
    }
    if (status != MOE_OK || !takes_part) {
        return status;
    }
    return sends ? send_message(p, partner, seconds, error) : receive_message(p, partner, error);
}

moe_status_t moe_pairs_repeat(void *pairs, double *seconds, moe_error_t *error)
{
    moe_pairs_t *p = pairs;
    moe_status_t status = MOE_OK;
    for (size_t c = 0; status == MOE_OK && c < moe_pairs_columns(p); c++) {
        status = exchange_column(p, c, &seconds[c], error);
    }
    return status;
}

/* ---- Check ---- */

static uint64_t token_of(const moe_pairs_t *p, size_t from, size_t to)
{
    return (uint64_t)from * p->schedule.ranks + to;
}

/* Sent and received in known elements; adds what is wrong to *mine. */
static moe_status_t check_column(moe_pairs_t *p, size_t column, moe_pairs_result_t *mine,
                                 moe_error_t *error)
{
    moe_device_t *d = p->device;
    const size_t elements = p->bytes / ELEMENT_SIZE, own = p->transport->rank;
    size_t partner;
    bool sends;
    double seconds;
    const bool takes_part = part_in(p, column, &partner, &sends);
    const uint64_t token = token_of(p, partner, own);
    moe_mismatch_t wrong = {0};
    if (takes_part && sends) {
        d->ops->fill_tokens(d, p->send, ELEMENT, SEED, token_of(p, own, partner), 1, elements);
    } else if (takes_part) {
        d->ops->fill_bytes(d, p->recv, POISON, p->bytes);
    }
    moe_status_t status = exchange_column(p, column, &seconds, error);
    if (status == MOE_OK && takes_part && !sends) {
        d->ops->check_rows(d, p->recv, ELEMENT, SEED, &token, 1, 1, elements, 0, &wrong);
        status = d->ops->finish(d, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    if (mine->errors == 0 && wrong.count > 0) {
        *mine = (moe_pairs_result_t){.from = partner, .to = own, .mismatch = wrong};
    }
    mine->errors += wrong.count;
    return MOE_OK;
}

/* The sum of errors, and the first finding by rank, on all ranks. */
static moe_status_t agree(moe_transport_t *t, const moe_pairs_result_t *mine,
                          moe_pairs_result_t *out, moe_error_t *error)
{
    moe_pairs_result_t *all = NULL;
    moe_status_t status = moe_alloc("findings", t->size, sizeof *all, (void **)&all, error);
    if (status == MOE_OK) {
        status = t->ops->allgather(t, mine, sizeof *mine, all, error);
    }
    if (status == MOE_OK) {
        size_t errors = 0;
        *out = (moe_pairs_result_t){0};
        for (size_t r = t->size; r-- > 0;) {
            errors += all[r].errors;
            if (all[r].errors > 0) {
                *out = all[r];
            }
        }
        out->errors = errors;
    }
    free(all);
    return status;
}

moe_status_t moe_pairs_check(moe_pairs_t *pairs, moe_check_t how, moe_pairs_result_t *out,
                             moe_error_t *error)
{
    moe_pairs_result_t mine = {0};
    moe_status_t status = MOE_OK;
    *out = mine;
    if (how == MOE_CHECK_OFF) {
        return MOE_OK;
    }
    for (size_t c = 0; status == MOE_OK && c < moe_pairs_columns(pairs); c++) {
        status = check_column(pairs, c, &mine, error);
    }
    return status == MOE_OK ? agree(pairs->transport, &mine, out, error) : status;
}

void moe_pairs_describe(const moe_pairs_result_t *result, char *text, size_t size)
{
    snprintf(
        text, size,
        "from rank %zu to rank %zu, element %zu: expected %g, got %g (%zu wrong elements in all)",
        result->from, result->to, result->mismatch.column, result->mismatch.expected,
        result->mismatch.got, result->errors);
}

/* ---- Results ---- */

moe_status_t moe_pairs_times(const moe_pairs_t *pairs, const moe_series_t *series,
                             moe_pair_time_t *out, moe_error_t *error)
{
    moe_transport_t *t = pairs->transport;
    moe_pair_time_t *mine = NULL;
    moe_status_t status = moe_alloc("times of pairs", t->size, sizeof *mine, (void **)&mine, error);
    for (size_t c = 0; status == MOE_OK && c < moe_pairs_columns(pairs); c++) {
        moe_summary_t s;
        size_t to;
        if (!moe_pairs_to(pairs, c, &to)) {
            continue;
        }
        status = moe_summarise(moe_series_column(series, series->own, c), series->reps, &s, error);
        if (status == MOE_OK) {
            mine[to] = (moe_pair_time_t){.median = s.median, .min = s.min};
            mine[to].low = s.has_interval ? s.low : 0;
            mine[to].high = s.has_interval ? s.high : 0;
        }
    }
    if (status == MOE_OK) {
        status = t->ops->allgather(t, mine, t->size * sizeof *mine, out, error);
    }
    free(mine);
    return status;
}
