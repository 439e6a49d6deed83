#include "series.h"

#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* ---- Room ---- */

/* A new array [columns][to] with what array[columns][from] holds in the first `used` of each. */
static moe_status_t stretched(const void *array, size_t columns, size_t used, size_t from,
                              size_t to, size_t element, void **out, moe_error_t *error)
{
    void *grown;
    const moe_status_t status =
        moe_alloc("the series of repetitions", to, columns * element, &grown, error);
    if (status != MOE_OK) {
        return status;
    }
    for (size_t c = 0; used > 0 && c < columns; c++) {
        memcpy((char *)grown + c * to * element, (const char *)array + c * from * element,
               used * element);
    }
    *out = grown;
    return MOE_OK;
}

moe_status_t moe_series_reserve(moe_series_t *series, size_t repetitions, size_t most,
                                moe_error_t *error)
{
    if (repetitions <= series->capacity) {
        return MOE_OK;
    }
    const size_t half_more = series->capacity + series->capacity / 2;
    size_t capacity = repetitions > half_more ? repetitions : half_more;
    capacity = capacity < most ? capacity : most;
    double **const doubles[] = {&series->max,  &series->min,      &series->mean, &series->own,
                                &series->wait, &series->transfer, &series->late};
    enum { DOUBLES = sizeof doubles / sizeof doubles[0] };
    void *grown[DOUBLES + 1] = {NULL};
    const size_t used = series->warmup + series->reps, columns = series->columns;
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < DOUBLES; i++) {
        status = stretched(*doubles[i], columns, used, series->capacity, capacity, sizeof(double),
                           &grown[i], error);
    }
    if (status == MOE_OK) {
        status = stretched(series->slowest, columns, used, series->capacity, capacity,
                           sizeof *series->slowest, &grown[DOUBLES], error);
    }
    if (status != MOE_OK) {
        for (size_t i = 0; i < DOUBLES; i++) {
            free(grown[i]);
        }
        return status;
    }
    for (size_t i = 0; i < DOUBLES; i++) {
        free(*doubles[i]);
        *doubles[i] = grown[i];
    }
    free(series->slowest);
    series->slowest = grown[DOUBLES];
    series->capacity = capacity;
    return MOE_OK;
}

void moe_series_batch_destroy(moe_series_batch_t *batch)
{
    free(batch->own);
    free(batch->began);
    free(batch->work);
    free(batch->ranks);
    *batch = (moe_series_batch_t){0};
}

moe_status_t moe_series_batch_reserve(moe_series_batch_t *batch, size_t columns, size_t count,
                                      moe_error_t *error)
{
    if (count <= batch->room) {
        return MOE_OK;
    }
    moe_series_batch_destroy(batch);
    const char *what = "a batch of repetitions";
    const size_t values = columns * sizeof(double);
    moe_status_t status = moe_alloc(what, count, values, (void **)&batch->own, error);
    if (status == MOE_OK) {
        status = moe_alloc(what, count, values, (void **)&batch->began, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc(what, count, values, (void **)&batch->work, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc(what, count, columns * sizeof(size_t), (void **)&batch->ranks, error);
    }
    if (status != MOE_OK) {
        moe_series_batch_destroy(batch);
        return status;
    }
    batch->room = count;
    memset(batch->own, 0, count * values); /* no page faults between repetitions */
    memset(batch->began, 0, count * values);
    return MOE_OK;
}

/* ---- Values ---- */

/* Copies [count][columns] into the columns of array[columns][capacity], behind what is there. */
static void scatter(const moe_series_t *series, double *array, const double *values, size_t count)
{
    const size_t at = series->warmup + series->reps;
    for (size_t r = 0; r < count; r++) {
        for (size_t c = 0; c < series->columns; c++) {
            array[c * series->capacity + at + r] = values[r * series->columns + c];
        }
    }
}

static moe_status_t reduce_into(moe_series_t *series, double *array, moe_transport_t *transport,
                                moe_series_batch_t *batch, moe_reduce_t how, moe_error_t *error)
{
    const size_t values = batch->count * series->columns;
    memcpy(batch->work, batch->own, values * sizeof *batch->own);
    const moe_status_t status =
        transport->ops->reduce_doubles(transport, batch->work, values, how, error);
    if (status != MOE_OK) {
        return status;
    }
    for (size_t i = 0; how == MOE_SUM && i < values; i++) {
        batch->work[i] /= (double)transport->size;
    }
    scatter(series, array, batch->work, batch->count);
    return MOE_OK;
}

/* The lowest rank whose own time is the maximum, which batch->work still holds. */
static moe_status_t find_slowest(moe_series_t *series, moe_transport_t *transport,
                                 moe_series_batch_t *batch, moe_error_t *error)
{
    const size_t values = batch->count * series->columns;
    const size_t at = series->warmup + series->reps;
    for (size_t i = 0; i < values; i++) {
        batch->ranks[i] = batch->own[i] < batch->work[i] ? transport->size : transport->rank;
    }
    const moe_status_t status =
        transport->ops->reduce_sizes(transport, batch->ranks, values, MOE_MIN, error);
    if (status != MOE_OK) {
        return status;
    }
    for (size_t r = 0; r < batch->count; r++) {
        for (size_t c = 0; c < series->columns; c++) {
            series->slowest[c * series->capacity + at + r] =
                (uint32_t)batch->ranks[r * series->columns + c];
        }
    }
    return MOE_OK;
}

/* Reduces `values` into `out`, both [count][columns] of the batch. */
static moe_status_t extreme(const double *values, double *out, size_t count,
                            moe_transport_t *transport, moe_reduce_t how, moe_error_t *error)
{
    memcpy(out, values, count * sizeof *values);
    return transport->ops->reduce_doubles(transport, out, count, how, error);
}

/* Out of when columns began and how long they took. Times of the common clock are below 1e9 s: as doubles
 * they differ by 0.1 us at most, those of a host that is up for 12 days by 0.2 ns. */
static moe_status_t append_arrivals(moe_series_t *series, moe_transport_t *transport,
                                    moe_series_batch_t *batch, moe_error_t *error)
{
    const size_t values = batch->count * series->columns;
    double *memory, *const began = batch->began;
    moe_status_t status =
        moe_alloc("arrivals", values, 3 * sizeof *memory, (void **)&memory, error);
    if (status != MOE_OK) {
        return status;
    }
    double *const first = memory, *const last = first + values, *const end = last + values;
    for (size_t i = 0; i < values; i++) {
        batch->work[i] = began[i] + batch->own[i];
    }
    status = extreme(batch->work, end, values, transport, MOE_MAX, error);
    if (status == MOE_OK) {
        status = extreme(began, first, values, transport, MOE_MIN, error);
    }
    if (status == MOE_OK) {
        status = extreme(began, last, values, transport, MOE_MAX, error);
    }
    for (size_t i = 0; i < values; i++) {
        began[i] -= first[i];
        end[i] -= last[i];
        last[i] -= first[i];
    }
    if (status == MOE_OK) {
        scatter(series, series->late, began, batch->count);
        scatter(series, series->transfer, end, batch->count);
        scatter(series, series->wait, last, batch->count);
    }
    free(memory);
    return status;
}

moe_status_t moe_series_append(moe_series_t *series, moe_transport_t *transport,
                               moe_series_batch_t *batch, moe_error_t *error)
{
    moe_status_t status = reduce_into(series, series->max, transport, batch, MOE_MAX, error);
    if (status == MOE_OK) {
        status = find_slowest(series, transport, batch, error);
    }
    if (status == MOE_OK) {
        status = reduce_into(series, series->min, transport, batch, MOE_MIN, error);
    }
    if (status == MOE_OK) {
        status = reduce_into(series, series->mean, transport, batch, MOE_SUM, error);
    }
    if (status == MOE_OK && series->arrivals) {
        status = append_arrivals(series, transport, batch, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    scatter(series, series->own, batch->own, batch->count);
    *(batch->warm ? &series->warmup : &series->reps) += batch->count;
    return MOE_OK;
}

/* ---- Reading ---- */

void moe_series_destroy(moe_series_t *series)
{
    if (series == NULL) {
        return;
    }
    free(series->max);
    free(series->min);
    free(series->mean);
    free(series->slowest);
    free(series->own);
    free(series->wait);
    free(series->transfer);
    free(series->late);
    *series = (moe_series_t){0};
}

const double *moe_series_column(const moe_series_t *series, const double *array, size_t column)
{
    return array + column * series->capacity + series->warmup;
}

size_t moe_series_slowest(const moe_series_t *series, size_t column, size_t *times)
{
    const uint32_t *rank = series->slowest + column * series->capacity + series->warmup;
    const uint64_t none = UINT64_MAX;
    size_t most_often = 0, most = 0;
    uint64_t candidate = 0;
    do { /* a pass for each rank that occurs, ascending: needs no memory, and they are few */
        size_t count = 0;
        uint64_t next = none;
        for (size_t r = 0; r < series->reps; r++) {
            count += rank[r] == candidate;
            next = rank[r] > candidate && rank[r] < next ? rank[r] : next;
        }
        if (count > most) {
            most = count;
            most_often = (size_t)candidate;
        }
        candidate = next;
    } while (candidate != none);
    *times = most;
    return most_often;
}
