#include "round_time.h"

#include <math.h>
#include <sched.h>

#include "moe/simulated.h"

/* A broadcast that takes less than the clock can show must not make a lead of nothing. */
#define LEAST_BROADCAST_SECONDS 1e-7
/* So long before the start a rank stops to let others run. */
#define SPIN_SECONDS 2e-5
/* What the clock shows is so much behind at most. */
#define TICK_SECONDS 1e-9

moe_status_t moe_round_create(moe_clock_t *clock, moe_round_t *out, moe_error_t *error)
{
    double seconds;
    const moe_status_t status = moe_clock_broadcast(clock, &seconds, error);
    if (status == MOE_OK) {
        *out = (moe_round_t){.clock = clock,
                             .broadcast = fmax(seconds, LEAST_BROADCAST_SECONDS),
                             .ahead = MOE_ROUND_FIRST};
    }
    return status;
}

static double lead_of(const moe_round_t *round)
{
    return fmin(round->ahead * round->broadcast, MOE_ROUND_LEAD_SECONDS);
}

moe_status_t moe_round_start(const moe_round_t *round, moe_transport_t *t, double *late,
                             moe_error_t *error)
{
    double start = moe_clock_common(round->clock, moe_clock_now(round->clock)) + lead_of(round);
    const moe_status_t status = t->ops->broadcast(t, &start, sizeof start, 0, error);
    if (status != MOE_OK) {
        return status;
    }
    const double mine = moe_clock_own(round->clock, start);
    double left = mine - moe_clock_now(round->clock);
    *late = left < 0 ? -left : 0;
    while (left > 0) {
        if (moe_simulated()) {
            moe_simulated_wait(left + TICK_SECONDS);
        } else if (left > SPIN_SECONDS) {
            sched_yield();
        }
        left = mine - moe_clock_now(round->clock);
    }
    return MOE_OK;
}

static void adapt(moe_round_t *round, double late)
{
    round->good = late > 0 ? 0 : round->good + 1;
    round->bad = late > 0 ? round->bad + 1 : 0;
    if (late > 0) {
        const double enough = (lead_of(round) + late) / round->broadcast;
        round->ahead = fmin(fmax(2 * round->ahead, enough), MOE_ROUND_MOST);
    } else if (round->good % MOE_ROUND_GOOD == 0) {
        round->ahead = fmax(0.9 * round->ahead, MOE_ROUND_LEAST);
    }
}

moe_status_t moe_round_end(moe_round_t *round, moe_transport_t *t, double late, bool out_of_time,
                           bool *invalid, bool *stop, moe_error_t *error)
{
    double most[] = {late, out_of_time};
    const moe_status_t status = t->ops->reduce_doubles(t, most, 2, MOE_MAX, error);
    if (status == MOE_OK) {
        *invalid = most[0] > 0;
        *stop = most[1] > 0;
        adapt(round, most[0]);
    }
    return status;
}
