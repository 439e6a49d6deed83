#include "links.h"

#include <math.h>
#include <stdlib.h>

#include "moe/system.h"

/* Messages between two hosts in one direction. */
typedef struct bundle {
    size_t messages, slow;
    bool named;
} bundle_t;

typedef struct links {
    const moe_link_judge_t *judge;
    double center;       /* of messages whose sender and receiver do not stand out */
    double *ratio;       /* [messages] time / expected time */
    moe_spread_t spread; /* of them */
    double limit;
    bundle_t *bundle; /* [from node][to node] */
} links_t;

static double seconds_of(const moe_link_judge_t *judge, size_t from, size_t to)
{
    return judge->times->seconds[from * judge->times->ranks + to];
}

static bool explained(const moe_link_judge_t *judge, size_t from, size_t to)
{
    return judge->sending->slow[from] || judge->receiving->slow[to];
}

static double expected(const links_t *l, size_t from, size_t to)
{
    const moe_verdicts_t *s = l->judge->sending, *r = l->judge->receiving;
    return explained(l->judge, from, to)
               ? fmax(s->slow[from] ? s->value[from] : 0, r->slow[to] ? r->value[to] : 0)
               : l->center;
}

static bool is_slow(const links_t *l, size_t from, size_t to)
{
    return moe_pair_belongs(l->judge->times, l->judge->reach, from, to) &&
           seconds_of(l->judge, from, to) / expected(l, from, to) > l->limit;
}

static bundle_t *bundle_of(const links_t *l, size_t from, size_t to)
{
    const moe_pair_times_t *t = l->judge->times;
    return &l->bundle[t->node[from] * t->ranks + t->node[to]];
}

/* ---- The population ---- */

static moe_status_t find_center(links_t *l, double fallback, moe_error_t *error)
{
    const moe_link_judge_t *judge = l->judge;
    const size_t ranks = judge->times->ranks;
    size_t n = 0;
    for (size_t from = 0; from < ranks; from++) {
        for (size_t to = 0; to < ranks; to++) {
            if (moe_pair_belongs(judge->times, judge->reach, from, to) &&
                !explained(judge, from, to)) {
                l->ratio[n++] = seconds_of(judge, from, to);
            }
        }
    }
    l->center = fallback;
    if (n == 0) {
        return MOE_OK;
    }
    moe_spread_t spread;
    const moe_status_t status = moe_spread_of(l->ratio, n, &spread, error);
    l->center = status == MOE_OK ? spread.center : fallback;
    return status;
}

static moe_status_t find_limit(links_t *l, moe_error_t *error)
{
    const moe_link_judge_t *judge = l->judge;
    const size_t ranks = judge->times->ranks;
    size_t n = 0;
    for (size_t from = 0; from < ranks; from++) {
        for (size_t to = 0; to < ranks; to++) {
            if (moe_pair_belongs(judge->times, judge->reach, from, to)) {
                l->ratio[n++] = seconds_of(judge, from, to) / expected(l, from, to);
            }
        }
    }
    const moe_status_t status = moe_spread_of(l->ratio, n, &l->spread, error);
    if (status == MOE_OK) {
        l->limit = moe_spread_limit(&l->spread, judge->rule);
    }
    return status;
}

static void count_bundles(links_t *l)
{
    const moe_link_judge_t *judge = l->judge;
    for (size_t from = 0; from < judge->times->ranks; from++) {
        for (size_t to = 0; to < judge->times->ranks; to++) {
            bundle_t *b = bundle_of(l, from, to);
            b->messages += moe_pair_belongs(judge->times, judge->reach, from, to);
            b->slow += is_slow(l, from, to);
        }
    }
}

/* ---- Naming ---- */

static bool whole(const bundle_t *b)
{
    return b->messages > 1 && b->slow == b->messages;
}

/* One finding for both directions of a pair (a < b), turned so that it begins where it is slow. */
static moe_status_t name_link(const links_t *l, size_t a, size_t b, bool there, bool back,
                              size_t pairs, moe_findings_t *findings, moe_error_t *error)
{
    moe_finding_t f = {.what = MOE_SLOW_LINK,
                       .sending = true,
                       .receiving = there && back,
                       .rank = there ? a : b,
                       .to = there ? b : a,
                       .ranks = 1,
                       .pairs = pairs};
    size_t from = f.rank, to = f.to;
    if (f.receiving && seconds_of(l->judge, b, a) > seconds_of(l->judge, a, b)) {
        from = b; /* the evidence is that of the slower direction */
        to = a;
    }
    const double should = expected(l, from, to);
    moe_finding_set(&f, seconds_of(l->judge, from, to) / should, &l->spread, l->limit);
    f.value *= should;
    f.others *= should;
    f.limit *= should;
    return moe_findings_add(findings, &f, error);
}

static moe_status_t name_pair(links_t *l, size_t a, size_t b, moe_findings_t *findings,
                              moe_error_t *error)
{
    const bool between = l->judge->reach == MOE_REACH_BETWEEN;
    bundle_t *there = bundle_of(l, a, b), *back = bundle_of(l, b, a);
    const bool all_there = between && whole(there), all_back = between && whole(back);
    moe_status_t status = MOE_OK;
    if ((all_there || all_back) && !there->named) {
        there->named = back->named = true;
        status = name_link(l, a, b, all_there, all_back, there->messages, findings, error);
    }
    const bool slow_there = is_slow(l, a, b) && !all_there;
    const bool slow_back = is_slow(l, b, a) && !all_back;
    if (status == MOE_OK && (slow_there || slow_back)) {
        status = name_link(l, a, b, slow_there, slow_back, 1, findings, error);
    }
    return status;
}

static moe_status_t judge_and_name(links_t *l, moe_findings_t *findings, moe_error_t *error)
{
    moe_status_t status = find_center(l, findings->center, error);
    if (status == MOE_OK) {
        status = find_limit(l, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    findings->center = findings->center > 0 ? findings->center : l->center;
    count_bundles(l);
    for (size_t a = 0; a < l->judge->times->ranks; a++) {
        for (size_t b = a + 1; status == MOE_OK && b < l->judge->times->ranks; b++) {
            status = name_pair(l, a, b, findings, error);
        }
    }
    return status;
}

moe_status_t moe_judge_links(const moe_link_judge_t *judge, moe_findings_t *findings,
                             moe_error_t *error)
{
    const size_t ranks = judge->times->ranks;
    links_t l = {.judge = judge};
    moe_status_t status =
        moe_alloc("times of links", findings->pairs, sizeof *l.ratio, (void **)&l.ratio, error);
    if (status == MOE_OK) {
        status = moe_alloc("links between hosts", ranks, ranks * sizeof *l.bundle,
                           (void **)&l.bundle, error);
    }
    if (status == MOE_OK) {
        status = judge_and_name(&l, findings, error);
    }
    free(l.ratio);
    free(l.bundle);
    return status;
}
