/* Tries the other algorithms on this very exchange, and keeps the fastest: what is fastest depends on
 * the matrix, the rows' size, the library and the network, and a short trial beats a guess (STAR-MPI:
 * A. Faraj, X. Yuan, D. Lowenthal, ICS 2006). All of it happens in prepare(), which here is
 * collective and writes into the receive buffer. A repetition lasts as long as its slowest rank; the
 * median of the repetitions counts; schedules are made before and do not count. All ranks reach the
 * same choice, as all see the same times. */
#include <stdlib.h>

#include "algorithm.h"

#include "moe/measure.h"
#include "moe/system.h"

#define WARM_UP     3
#define REPETITIONS 5

typedef struct best {
    const moe_algorithm_ops_t *chosen;
    moe_alltoallv_t x; /* the exchange as the chosen one prepared it */
} best_t;

/* The worst that any rank has to say. */
static moe_status_t agree(moe_transport_t *t, moe_status_t mine, moe_error_t *error)
{
    size_t worst = mine;
    const moe_status_t status = t->ops->reduce_sizes(t, &worst, 1, MOE_MAX, error);
    if (status != MOE_OK || worst == mine)
        return status != MOE_OK ? status : mine;
    return moe_fail(error, (moe_status_t)worst, "best: another rank could not prepare an exchange");
}

static void release_one(moe_transport_t *t, moe_device_t *d, best_t *b)
{
    if (b->chosen != NULL && b->chosen->release != NULL)
        b->chosen->release(t, d, &b->x);
    b->chosen = NULL;
}

/* Prepared on all ranks or on none. */
static moe_status_t prepare_one(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                                const moe_algorithm_ops_t *candidate, best_t *out,
                                moe_error_t *error)
{
    best_t b = {.chosen = candidate, .x = *x};
    b.x.state = b.x.prepared = NULL;
    moe_status_t status = MOE_OK;
    if (candidate->prepare != NULL)
        status = candidate->prepare(t, d, &b.x, error);
    status = agree(t, status, error);
    if (status == MOE_OK && candidate->schedule != NULL)
        status = agree(t, candidate->schedule(t, &b.x, error), error);
    if (status == MOE_OK)
        *out = b;
    else
        release_one(t, d, &b);
    return status;
}

static moe_status_t time_run(moe_transport_t *t, moe_device_t *d, const best_t *b, double *seconds,
                             moe_error_t *error)
{
    moe_status_t status = t->ops->barrier(t, error);
    const double begin = moe_now();
    if (status == MOE_OK)
        status = b->chosen->run(t, d, &b->x, error);
    if (status == MOE_OK)
        status = d->ops->finish(d, error);
    *seconds = moe_now() - begin;
    return status;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median over repetitions of the maximum over ranks, the same on all ranks. */
static moe_status_t time_one(moe_transport_t *t, moe_device_t *d, const best_t *b, double *seconds,
                             moe_error_t *error)
{
    double times[REPETITIONS];
    moe_status_t status = MOE_OK;
    for (int i = 0; status == MOE_OK && i < WARM_UP; i++)
        status = time_run(t, d, b, &times[0], error);
    for (int i = 0; status == MOE_OK && i < REPETITIONS; i++)
        status = time_run(t, d, b, &times[i], error);
    if (status == MOE_OK)
        status = t->ops->reduce_doubles(t, times, REPETITIONS, MOE_MAX, error);
    qsort(times, REPETITIONS, sizeof times[0], ascending);
    *seconds = times[REPETITIONS / 2];
    return status;
}

/* Keeps the candidate in *kept if it is faster than what is there. One that any rank refuses is
 * passed over; a run that fails is an error, as the other ranks may hang in it. */
static moe_status_t try_one(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                            const moe_algorithm_ops_t *candidate, best_t *kept, double *fastest,
                            moe_error_t *error)
{
    best_t b;
    double seconds = 0.0;
    moe_error_t refusal = {.status = MOE_OK};
    moe_status_t status = prepare_one(t, d, x, candidate, &b, &refusal);
    if (status == MOE_BAD_INPUT)
        return MOE_OK;
    if (status != MOE_OK)
        return moe_fail(error, status, "%s", refusal.text);
    status = time_one(t, d, &b, &seconds, error);
    if (status == MOE_OK && (kept->chosen == NULL || seconds < *fastest)) {
        release_one(t, d, kept);
        *kept = b;
        *fastest = seconds;
    } else {
        release_one(t, d, &b);
    }
    return status;
}

static moe_status_t prepare(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x,
                            moe_error_t *error)
{
    best_t kept = {.chosen = NULL};
    double fastest = 0.0;
    void *memory = NULL;
    moe_status_t status = agree(t, moe_alloc("a choice", 1, sizeof kept, &memory, error), error);
    for (size_t i = 0; status == MOE_OK && i < moe_algorithm_count(); i++) {
        if (moe_algorithm_at(i) != &moe_algorithm_best)
            status = try_one(t, d, x, moe_algorithm_at(i), &kept, &fastest, error);
    }
    if (status == MOE_OK && kept.chosen == NULL)
        status = moe_fail(error, MOE_BAD_INPUT, "no algorithm can carry this exchange out");
    if (status != MOE_OK) {
        release_one(t, d, &kept);
        free(memory);
        return status;
    }
    best_t *b = memory;
    *b = kept;
    x->state = b;
    return MOE_OK;
}

static moe_status_t fail_unprepared(const moe_transport_t *t, moe_error_t *error)
{
    return moe_fail(error, MOE_FAILED, "rank %zu: an exchange before prepare()", t->rank);
}

static moe_status_t schedule(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error)
{
    best_t *b = x->state;
    if (b == NULL)
        return fail_unprepared(t, error);
    return b->chosen->schedule != NULL ? b->chosen->schedule(t, &b->x, error) : MOE_OK;
}

static moe_status_t run(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                        moe_error_t *error)
{
    const best_t *b = x->state;
    return b != NULL ? b->chosen->run(t, d, &b->x, error) : fail_unprepared(t, error);
}

static bool can_start(const moe_transport_t *t, const moe_alltoallv_t *x)
{
    const best_t *b = x->state;
    return b != NULL && b->chosen->can_start != NULL && b->chosen->can_start(t, &b->x);
}

static moe_status_t start(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error)
{
    const best_t *b = x->state;
    return b->chosen->start(t, &b->x, error);
}

static moe_status_t finish(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error)
{
    const best_t *b = x->state;
    return b->chosen->finish(t, &b->x, error);
}

static void release(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x)
{
    best_t *b = x->state;
    if (b == NULL)
        return;
    release_one(t, d, b);
    free(b);
    x->state = NULL;
}

const char *moe_algorithm_chosen(const moe_algorithm_ops_t *algorithm, const moe_alltoallv_t *x)
{
    const best_t *b = algorithm == &moe_algorithm_best ? x->state : NULL;
    return b != NULL ? b->chosen->name : algorithm->name;
}

const moe_algorithm_ops_t moe_algorithm_best = {
    .name = "best",
    .summary = "tries the others on this exchange and keeps the fastest",
    .source = "STAR-MPI: Faraj, Yuan and Lowenthal 2006 (ICS, p. 199)",
    .prepare = prepare,
    .schedule = schedule,
    .run = run,
    .can_start = can_start,
    .start = start,
    .finish = finish,
    .release = release,
};
