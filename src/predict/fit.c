/* Calibration: constants of a machine from measured exchanges. */
#include <math.h>
#include <stdlib.h>

#include "moe/measure.h"
#include "moe/predict.h"
#include "moe/system.h"

/* Latency, overhead and seconds a byte of every tier. */
enum { LATENCY, OVERHEAD, PER_BYTE, OF_A_TIER };
#define CONSTANTS (MOE_MOST_TIERS * OF_A_TIER)

/* The busiest port may be another one with other constants. */
#define LINEARISATIONS 10
#define SWEEPS         20000
/* What observations do not tell stays near where it was: as if one observation in ten thousand said so. Exchanges
 * of one size cannot tell overhead from bandwidth. */
#define INERTIA 1e-4
/* Constants that are 0 move on this scale, in seconds. */
#define LEAST_SCALE 1e-9
/* No link is faster than so many times what the description said. */
#define MOST_FASTER 1e3

typedef struct problem {
    const moe_machine_t *machine; /* as it is now */
    size_t unknowns;
    double scale[CONSTANTS], start[CONSTANTS]; /* in units of scale */
    double matrix[CONSTANTS][CONSTANTS], right[CONSTANTS];
} problem_t;

static double constant_of(const moe_machine_t *m, size_t i)
{
    const moe_tier_t *tier = &m->tier[i / OF_A_TIER];
    return i % OF_A_TIER == LATENCY    ? tier->latency
           : i % OF_A_TIER == OVERHEAD ? tier->overhead
                                       : 1 / tier->bandwidth;
}

static void set_constant(moe_machine_t *m, size_t i, double value)
{
    moe_tier_t *tier = &m->tier[i / OF_A_TIER];
    switch (i % OF_A_TIER) {
    case LATENCY:
        tier->latency = value;
        break;
    case OVERHEAD:
        tier->overhead = value;
        break;
    default:
        tier->bandwidth = 1 / value;
        break;
    }
}

static double feature_of(const moe_cost_t *cost, size_t i)
{
    const size_t t = i / OF_A_TIER;
    return i % OF_A_TIER == LATENCY    ? cost->steps[t]
           : i % OF_A_TIER == OVERHEAD ? cost->messages[t]
                                       : cost->bytes[t];
}

static moe_status_t cost_of(const moe_machine_t *machine, const moe_observation_t *o,
                            moe_cost_t *out, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    *out = (moe_cost_t){.terms = {.latency = 0}};
    for (size_t w = 0; status == MOE_OK && w < o->ways; w++)
        status = moe_predict_exchange(o->algorithm, &o->way[w], machine, o->row_bytes, out, error);
    return status;
}

/* ---- Least squares ---- */

static void add_observation(problem_t *p, const moe_observation_t *o, const moe_cost_t *cost)
{
    double row[CONSTANTS];
    const double target = (o->seconds - cost->terms.memory) / o->seconds;
    for (size_t i = 0; i < p->unknowns; i++)
        row[i] = feature_of(cost, i) * p->scale[i] / o->seconds;
    for (size_t i = 0; i < p->unknowns; i++) {
        p->right[i] += row[i] * target;
        for (size_t j = 0; j < p->unknowns; j++)
            p->matrix[i][j] += row[i] * row[j];
    }
}

/* Coordinate by coordinate, each to its best value that is not negative: the problem is convex, so that
 * this ends at the least squares (Luo and Tseng 1992). */
static void descend(const problem_t *p, double *x)
{
    for (size_t sweep = 0; sweep < SWEEPS; sweep++) {
        double moved = 0;
        for (size_t i = 0; i < p->unknowns; i++) {
            double best = p->right[i];
            for (size_t j = 0; j < p->unknowns; j++)
                best -= j == i ? 0 : p->matrix[i][j] * x[j];
            best /= p->matrix[i][i];
            best = fmax(best, i % OF_A_TIER == PER_BYTE ? p->start[i] / MOST_FASTER : 0);
            moved = fmax(moved, fabs(best - x[i]));
            x[i] = best;
        }
        if (moved < 1e-12)
            return;
    }
}

static moe_status_t improve(moe_machine_t *machine, const moe_machine_t *from,
                            const moe_observation_t *observation, size_t count, moe_error_t *error)
{
    problem_t p = {.machine = machine, .unknowns = machine->tiers * OF_A_TIER};
    double x[CONSTANTS];
    for (size_t i = 0; i < p.unknowns; i++) {
        p.scale[i] = fmax(constant_of(from, i), i % OF_A_TIER == PER_BYTE ? 0 : LEAST_SCALE);
        p.start[i] = constant_of(from, i) / p.scale[i];
        p.matrix[i][i] = INERTIA * (double)count;
        p.right[i] = INERTIA * (double)count * p.start[i];
        x[i] = constant_of(machine, i) / p.scale[i];
    }
    for (size_t k = 0; k < count; k++) {
        moe_cost_t cost;
        const moe_status_t status = cost_of(machine, &observation[k], &cost, error);
        if (status != MOE_OK)
            return status;
        add_observation(&p, &observation[k], &cost);
    }
    descend(&p, x);
    for (size_t i = 0; i < p.unknowns; i++)
        set_constant(machine, i, x[i] * p.scale[i]);
    return MOE_OK;
}

/* ---- How well it fits ---- */

typedef struct residual {
    double squares;
    double *deviation; /* [count] */
    bool crossed[MOE_MOST_TIERS];
} residual_t;

static moe_status_t measure_fit(const moe_machine_t *machine, const moe_observation_t *observation,
                                size_t count, residual_t *r, moe_error_t *error)
{
    r->squares = 0;
    for (size_t k = 0; k < count; k++) {
        moe_cost_t cost;
        const moe_status_t status = cost_of(machine, &observation[k], &cost, error);
        if (status != MOE_OK)
            return status;
        r->deviation[k] = moe_terms_sum(&cost.terms) / observation[k].seconds - 1;
        r->squares += r->deviation[k] * r->deviation[k];
        for (size_t t = 0; t < machine->tiers; t++)
            r->crossed[t] =
                r->crossed[t] || cost.steps[t] > 0 || cost.messages[t] > 0 || cost.bytes[t] > 0;
    }
    return MOE_OK;
}

static moe_status_t summarise(residual_t *r, size_t count, moe_fit_t *out, moe_error_t *error)
{
    double *size = NULL;
    moe_summary_t summary;
    moe_status_t status = moe_alloc("deviations", count, sizeof *size, (void **)&size, error);
    for (size_t k = 0; status == MOE_OK && k < count; k++)
        size[k] = fabs(r->deviation[k]);
    if (status == MOE_OK)
        status = moe_summarise(size, count, &summary, error);
    if (status == MOE_OK) {
        *out = (moe_fit_t){.used = count, .median = summary.median};
        for (size_t k = 0; k < count; k++)
            out->largest = fmax(out->largest, size[k]);
        for (size_t t = 0; t < MOE_MOST_TIERS; t++)
            out->fitted[t] = r->crossed[t];
    }
    free(size);
    return status;
}

moe_status_t moe_machine_compare(const moe_machine_t *machine, const moe_observation_t *observation,
                                 size_t count, double *deviation, moe_fit_t *out,
                                 moe_error_t *error)
{
    residual_t r = {.squares = 0};
    moe_status_t status =
        moe_alloc("deviations", count, sizeof *r.deviation, (void **)&r.deviation, error);
    if (status == MOE_OK)
        status = measure_fit(machine, observation, count, &r, error);
    if (status == MOE_OK)
        status = summarise(&r, count, out, error);
    for (size_t k = 0; status == MOE_OK && deviation != NULL && k < count; k++)
        deviation[k] = r.deviation[k];
    free(r.deviation);
    return status;
}

moe_status_t moe_machine_fit(moe_machine_t *machine, const moe_observation_t *observation,
                             size_t count, double *deviation, moe_fit_t *out, moe_error_t *error)
{
    const moe_machine_t from = *machine;
    moe_machine_t now = from, best = from;
    double least = INFINITY;
    residual_t r = {.squares = 0};
    if (count == 0)
        return moe_fail(error, MOE_BAD_INPUT, "there is no exchange to fit a machine to");
    moe_status_t status =
        moe_alloc("deviations", count, sizeof *r.deviation, (void **)&r.deviation, error);
    for (int i = 0; status == MOE_OK && i < LINEARISATIONS; i++) {
        status = improve(&now, &from, observation, count, error);
        if (status == MOE_OK)
            status = measure_fit(&now, observation, count, &r, error);
        if (status == MOE_OK && r.squares < least) {
            least = r.squares;
            best = now;
        }
    }
    if (status == MOE_OK)
        status = moe_machine_compare(&best, observation, count, deviation, out, error);
    if (status == MOE_OK)
        *machine = best;
    free(r.deviation);
    return status;
}
