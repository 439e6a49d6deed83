/* One partner to send to and one to receive from in each step: pairwise. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "ports.h"
#include "predictors.h"

/* ---- Counted: every rank's steps, each as soon as its two partners are there ---- */

/* A message is through when both its ranks have ended the step before, and the time that it takes is over. */
static void through(const moe_way_t *way, const moe_machine_t *machine, const size_t *member,
                    size_t from, size_t to, double row_bytes, const moe_cost_t *at, moe_cost_t *out)
{
    const double rows = (double)way->rows[member[from] * way->ranks + member[to]];
    const bool receiver_is_late = moe_terms_sum(&at[to].terms) > moe_terms_sum(&at[from].terms);
    if (rows <= 0) {
        *out = at[from];
        return;
    }
    const size_t tier = moe_tier_between(machine, member[from], member[to]);
    *out = at[receiver_is_late ? to : from];
    moe_cost_message(machine, tier, rows / (double)way->rounds * row_bytes,
                     moe_tier_sharing(machine, tier, way->node_ranks), 1, out);
}

static void one_step(const moe_way_t *way, const moe_machine_t *machine, const size_t *member,
                     size_t n, size_t step, double row_bytes, const moe_cost_t *before,
                     moe_cost_t *after)
{
    for (size_t k = 0; k < n; k++)
        after[k] = before[k];
    for (size_t k = 0; k < n; k++) {
        const size_t to = (k + step) % n;
        moe_cost_t message;
        through(way, machine, member, k, to, row_bytes, before, &message);
        const double end = moe_terms_sum(&message.terms);
        if (end > moe_terms_sum(&after[k].terms))
            after[k] = message;
        if (way->rows[member[k] * way->ranks + member[to]] > 0 &&
            end > moe_terms_sum(&after[to].terms))
            after[to] = message;
    }
}

/* The members at places [first, last). */
static moe_status_t counted(const moe_way_t *way, const moe_machine_t *machine, size_t first,
                            size_t last, double row_bytes, moe_cost_t *out, moe_error_t *error)
{
    const size_t n = last - first;
    moe_cost_t *at = NULL, *latest;
    size_t *member = NULL;
    moe_status_t status = moe_alloc("steps of ranks", 2 * n, sizeof *at, (void **)&at, error);
    if (status == MOE_OK)
        status = moe_alloc("steps of ranks", n, sizeof *member, (void **)&member, error);
    for (size_t k = 0; status == MOE_OK && k < n; k++)
        member[k] = moe_way_rank(way, first + k);
    for (size_t round = 0; status == MOE_OK && round < way->rounds; round++) {
        for (size_t step = 1; step < n; step++) {
            one_step(way, machine, member, n, step, row_bytes, at, at + n);
            memcpy(at, at + n, n * sizeof *at);
        }
    }
    if (status == MOE_OK) {
        latest = at;
        for (size_t k = 1; k < n; k++)
            latest = moe_terms_sum(&at[k].terms) > moe_terms_sum(&latest->terms) ? &at[k] : latest;
        *out = *latest;
    }
    free(member);
    free(at);
    return status;
}

static moe_status_t longest_group(const moe_way_t *way, const moe_machine_t *machine,
                                  double row_bytes, moe_cost_t *out, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    moe_cost_t longest = {0};
    for (size_t first = 0, last; status == MOE_OK && first < way->ranks; first = last) {
        moe_cost_t cost = {0};
        size_t begin;
        moe_way_members(way, first, &begin, &last);
        status = counted(way, machine, begin, last, row_bytes, &cost, error);
        if (moe_terms_sum(&cost.terms) > moe_terms_sum(&longest.terms))
            longest = cost;
    }
    if (status == MOE_OK)
        moe_cost_add(out, &longest, 1);
    return status;
}

/* ---- Expected: every step lasts as long as its largest block ---- */

/* In every step some pair crosses the widest tier of the scope. */
static moe_status_t expected(const moe_way_t *way, const moe_machine_t *machine, double row_bytes,
                             moe_cost_t *out, moe_error_t *error)
{
    double *sigma = NULL;
    size_t first, last;
    moe_way_members(way, 0, &first, &last);
    const size_t n = last - first;
    if (n < 2)
        return MOE_OK;
    const moe_status_t status =
        moe_alloc("blocks", way->ranks, sizeof *sigma, (void **)&sigma, error);
    if (status != MOE_OK)
        return status;
    for (size_t r = 0; r < way->ranks; r++)
        sigma[r] = sqrt(way->variance[r]);
    const double rows = moe_largest(way->mean, sigma, way->ranks, 1, NULL);
    free(sigma);
    const size_t tier =
        moe_tier_between(machine, moe_way_rank(way, first), moe_way_rank(way, last - 1));
    if (rows > 0)
        moe_cost_message(machine, tier, rows / (double)way->rounds * row_bytes,
                         moe_tier_sharing(machine, tier, way->node_ranks),
                         (double)((n - 1) * way->rounds), out);
    return MOE_OK;
}

moe_status_t moe_predict_pairwise(const moe_predictor_t *predictor, const moe_way_t *way,
                                  const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                                  moe_error_t *error)
{
    (void)predictor;
    return way->rows != NULL ? longest_group(way, machine, row_bytes, out, error)
                             : expected(way, machine, row_bytes, out, error);
}
