/* A common clock, after HCA3 (Hunold and Carpen-Amarie, Hierarchical Clock Synchronization in MPI, IEEE
 * CLUSTER 2018, doi 10.1109/CLUSTER.2018.00050): in round d = 1, 2, 4, ... rank r below d serves rank
 * r + d, which learns its own clock as a line of r's and, joined with r's line, of rank 0's. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "clock_fit.h"
#include "moe/measure.h"
#include "moe/system.h"
#include "sorted.h"

/* At first so many points, a pause before each, so that a drift has time to show: some 70 ms a round. */
#define FIRST_POINTS      60
#define PAUSE_NANOSECONDS 1000000
/* A busy machine may stretch ping-pongs to milliseconds: a round then ends with fewer points. */
#define ROUND_SECONDS 0.2
#define LEAST_POINTS  8
/* Later so many, at once. */
#define MORE_POINTS 10
/* Points that a line is made of. Older ones go: clocks are slewed, and warm up. */
#define POINTS_KEPT 256
/* Ping-pongs of a point: the least delayed ones in each direction bound the offset. */
#define PINGS 10
/* Ping-pongs with rank 0 that the error is measured by, and with so many ranks at most. */
#define CHECK_PINGS 20
#define CHECK_RANKS 64
#define BROADCASTS  21

struct moe_clock {
    moe_transport_t *transport;
    moe_time_fn now;
    void *context;
    moe_bounds_t points[POINTS_KEPT]; /* of this clock to the parent's, in order of time */
    size_t count;
    moe_line_t line; /* to the clock of rank 0 */
    double seconds;  /* that creating took */
};

static double monotonic(void *context)
{
    (void)context;
    return moe_now();
}

double moe_clock_now(const moe_clock_t *clock)
{
    return clock->now(clock->context);
}

double moe_clock_common(const moe_clock_t *clock, double own)
{
    return moe_line_other(&clock->line, own);
}

double moe_clock_own(const moe_clock_t *clock, double common)
{
    return moe_line_mine(&clock->line, common);
}

/* ---- Ping-pongs ---- */

/* What a ping says. */
#define ANSWER 1.0
#define ENOUGH 0.0

/* Answers with the own clock until the other has enough. */
static moe_status_t serve(const moe_clock_t *clock, size_t child, moe_error_t *error)
{
    moe_transport_t *t = clock->transport;
    double ping = ANSWER;
    moe_status_t status = MOE_OK;
    while (status == MOE_OK && ping != ENOUGH) {
        status = t->ops->exchange_bytes(t, child, NULL, &ping, sizeof ping, error);
        const double mine = moe_clock_now(clock);
        if (status == MOE_OK && ping != ENOUGH) {
            status = t->ops->exchange_bytes(t, child, &mine, NULL, sizeof mine, error);
        }
    }
    return status;
}

static moe_status_t have_enough(const moe_clock_t *clock, size_t server, moe_error_t *error)
{
    const double ping = ENOUGH;
    return clock->transport->ops->exchange_bytes(clock->transport, server, &ping, NULL, sizeof ping,
                                                 error);
}

/* How far the server's clock is ahead of this one. */
static moe_status_t ask(const moe_clock_t *clock, size_t server, size_t pings, moe_bounds_t *out,
                        moe_error_t *error)
{
    moe_transport_t *t = clock->transport;
    const double ping = ANSWER;
    moe_bounds_t bounds = {.low = -INFINITY, .high = INFINITY};
    moe_status_t status = MOE_OK;
    double first = 0, back = 0;
    for (size_t i = 0; i < pings && status == MOE_OK; i++) {
        double theirs = 0;
        const double sent = moe_clock_now(clock);
        status = t->ops->exchange_bytes(t, server, &ping, NULL, sizeof ping, error);
        if (status == MOE_OK) {
            status = t->ops->exchange_bytes(t, server, NULL, &theirs, sizeof theirs, error);
        }
        back = moe_clock_now(clock);
        first = i == 0 ? sent : first;
        moe_bounds_narrow(&bounds, sent, theirs, back);
    }
    bounds.at = first + (back - first) / 2;
    *out = bounds;
    return status;
}

/* ---- The tree ---- */

static void forget(moe_clock_t *clock, size_t points)
{
    const size_t over =
        clock->count + points > POINTS_KEPT ? clock->count + points - POINTS_KEPT : 0;
    for (size_t i = over; i < clock->count; i++) {
        clock->points[i - over] = clock->points[i];
    }
    clock->count -= over;
}

static moe_status_t learn(moe_clock_t *clock, size_t parent, size_t points, bool pause,
                          moe_error_t *error)
{
    const struct timespec while_clocks_drift = {.tv_nsec = PAUSE_NANOSECONDS};
    moe_transport_t *t = clock->transport;
    moe_status_t status = MOE_OK;
    const double out_of_time = moe_now() + ROUND_SECONDS;
    size_t made = 0;
    forget(clock, points);
    while (status == MOE_OK && made < points && (made < LEAST_POINTS || moe_now() < out_of_time)) {
        if (pause) {
            nanosleep(&while_clocks_drift, NULL);
        }
        status = ask(clock, parent, PINGS, &clock->points[clock->count], error);
        clock->count += status == MOE_OK;
        made++;
    }
    moe_line_t theirs;
    if (status == MOE_OK) {
        status = have_enough(clock, parent, error);
    }
    if (status == MOE_OK) {
        status = t->ops->exchange_bytes(t, parent, NULL, &theirs, sizeof theirs, error);
    }
    if (status == MOE_OK) {
        const moe_line_t line = moe_clock_fit(clock->points, clock->count, made);
        clock->line = moe_line_join(&line, &theirs);
    }
    return status;
}

static moe_status_t teach(const moe_clock_t *clock, size_t child, moe_error_t *error)
{
    moe_transport_t *t = clock->transport;
    const moe_status_t status = serve(clock, child, error);
    return status == MOE_OK
               ? t->ops->exchange_bytes(t, child, &clock->line, NULL, sizeof clock->line, error)
               : status;
}

static moe_status_t go_round(moe_clock_t *clock, size_t points, bool pause, moe_error_t *error)
{
    const size_t rank = clock->transport->rank, size = clock->transport->size;
    moe_status_t status = MOE_OK;
    for (size_t d = 1; d < size && status == MOE_OK; d *= 2) {
        if (rank < d && rank + d < size) {
            status = teach(clock, rank + d, error);
        } else if (rank >= d && rank < 2 * d) {
            status = learn(clock, rank - d, points, pause, error);
        }
    }
    return status;
}

moe_status_t moe_clock_create(moe_transport_t *transport, moe_time_fn now, void *context,
                              moe_clock_t **out, moe_error_t *error)
{
    void *memory;
    moe_status_t status = moe_alloc("the common clock", 1, sizeof **out, &memory, error);
    if (status != MOE_OK) {
        return status;
    }
    moe_clock_t *clock = memory;
    clock->transport = transport;
    clock->now = now != NULL ? now : monotonic;
    clock->context = context;
    status = transport->ops->barrier(transport, error);
    const double start = moe_now();
    if (status == MOE_OK) {
        status = go_round(clock, FIRST_POINTS, true, error);
    }
    if (status == MOE_OK) {
        status = transport->ops->barrier(transport, error);
    }
    if (status != MOE_OK) {
        free(clock);
        return status;
    }
    clock->seconds = moe_now() - start;
    *out = clock;
    return MOE_OK;
}

moe_status_t moe_clock_refresh(moe_clock_t *clock, moe_error_t *error)
{
    return go_round(clock, MORE_POINTS, false, error);
}

void moe_clock_destroy(moe_clock_t *clock)
{
    free(clock);
}

/* ---- How good it is ---- */

/* Fresh ping-pongs of rank 0 with ranks one after another, evenly chosen where there are many. */
static moe_status_t measure_error(const moe_clock_t *clock, moe_clock_quality_t *out,
                                  moe_error_t *error)
{
    const size_t rank = clock->transport->rank, others = clock->transport->size - 1;
    const size_t checked = others < CHECK_RANKS ? others : CHECK_RANKS;
    moe_status_t status = MOE_OK;
    for (size_t i = 1; i <= checked && status == MOE_OK; i++) {
        const size_t peer = i * others / checked;
        moe_bounds_t seen;
        if (rank == 0) {
            status = serve(clock, peer, error);
        } else if (rank == peer) {
            status = ask(clock, 0, CHECK_PINGS, &seen, error);
            status = status == MOE_OK ? have_enough(clock, 0, error) : status;
            const double believed = moe_clock_common(clock, seen.at) - seen.at;
            out->error = fabs(seen.low + (seen.high - seen.low) / 2 - believed);
            out->message = (seen.high - seen.low) / 2;
            out->bound = fmax(fabs(seen.high - believed), fabs(seen.low - believed));
        }
    }
    return status;
}

moe_status_t moe_clock_check(moe_clock_t *clock, moe_clock_quality_t *out, moe_error_t *error)
{
    moe_transport_t *t = clock->transport;
    moe_clock_quality_t quality = {.drift = fabs(clock->line.drift), .seconds = clock->seconds};
    moe_status_t status = measure_error(clock, &quality, error);
    double values[] = {quality.error, quality.bound, quality.message, quality.drift,
                       quality.seconds};
    if (status == MOE_OK) {
        status = t->ops->reduce_doubles(t, values, sizeof values / sizeof *values, MOE_MAX, error);
    }
    if (status == MOE_OK) {
        *out = (moe_clock_quality_t){.error = values[0],
                                     .bound = values[1],
                                     .message = values[2],
                                     .drift = values[3],
                                     .seconds = values[4]};
        for (size_t d = 1; d < t->size; d *= 2) {
            out->rounds++;
        }
    }
    return status;
}

moe_status_t moe_clock_broadcast(moe_clock_t *clock, double *seconds, moe_error_t *error)
{
    moe_transport_t *t = clock->transport;
    double times[BROADCASTS];
    moe_status_t status = MOE_OK;
    for (size_t i = 0; i < BROADCASTS && status == MOE_OK; i++) {
        status = t->ops->barrier(t, error);
        double sent = moe_clock_common(clock, moe_clock_now(clock));
        if (status == MOE_OK) {
            status = t->ops->broadcast(t, &sent, sizeof sent, 0, error);
        }
        times[i] = moe_clock_common(clock, moe_clock_now(clock)) - sent;
    }
    if (status == MOE_OK) {
        status = t->ops->reduce_doubles(t, times, BROADCASTS, MOE_MAX, error);
    }
    moe_sorted_t sorted = {0};
    if (status == MOE_OK) {
        status = moe_sorted_add(&sorted, times, BROADCASTS, error);
    }
    if (status == MOE_OK) {
        *seconds = fmax(moe_sorted_median(&sorted), 0);
    }
    moe_sorted_destroy(&sorted);
    return status;
}
