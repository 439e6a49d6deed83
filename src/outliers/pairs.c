/* Who is slow by the times of pairs: senders and receivers, then hosts of them, then links. */
#include <math.h>
#include <stdlib.h>

#include "findings.h"
#include "links.h"
#include "moe/system.h"

typedef struct judge {
    const moe_pair_times_t *times;
    moe_reach_t reach;
    const moe_outlier_rule_t *rule;
    moe_findings_t *findings;
    double *work; /* [2 * ranks] */
    double *sending_time, *receiving_time;
    moe_verdicts_t sending, receiving;
} judge_t;

bool moe_pair_belongs(const moe_pair_times_t *times, moe_reach_t reach, size_t from, size_t to)
{
    return from != to && times->seconds[from * times->ranks + to] > 0 &&
           (times->node[from] == times->node[to]) == (reach == MOE_REACH_WITHIN);
}

/* ---- Senders and receivers ---- */

/* Of a rank's row, or of its column; 0 where it has too few messages. */
static double median_of_messages(const judge_t *j, size_t rank, bool sent)
{
    const size_t ranks = j->times->ranks;
    size_t n = 0;
    for (size_t peer = 0; peer < ranks; peer++) {
        const size_t from = sent ? rank : peer, to = sent ? peer : rank;
        if (moe_pair_belongs(j->times, j->reach, from, to)) {
            j->work[n++] = j->times->seconds[from * ranks + to];
        }
    }
    j->findings->pairs += sent ? n : 0;
    return n >= MOE_OUTLIER_MESSAGES ? moe_lower_median(j->work, n) : 0;
}

static void find_times(judge_t *j)
{
    for (size_t r = 0; r < j->times->ranks; r++) {
        const double sent = median_of_messages(j, r, true);
        const double got = median_of_messages(j, r, false);
        if (sent > 0 && got > 0) {
            j->sending_time[r] = sent;
            j->receiving_time[r] = got;
            j->findings->ranks++;
        }
    }
}

static moe_status_t judge_roles(judge_t *j, moe_error_t *error)
{
    const size_t ranks = j->times->ranks;
    size_t n = 0;
    for (size_t r = 0; r < ranks; r++) {
        if (j->sending_time[r] > 0) {
            j->work[n++] = j->sending_time[r];
            j->work[n++] = j->receiving_time[r];
        }
    }
    const moe_status_t status = moe_spread_of(j->work, n, &j->sending.spread, error);
    if (status == MOE_OK) {
        j->receiving.spread = j->sending.spread;
        moe_verdicts_judge(&j->sending, ranks, j->rule);
        moe_verdicts_judge(&j->receiving, ranks, j->rule);
        j->findings->center = j->sending.spread.center;
    }
    return status;
}

/* ---- Naming them ---- */

/* In which directions the rank's host is to be named. */
static moe_finding_t host_of(const judge_t *j, size_t rank)
{
    const moe_pair_times_t *t = j->times;
    moe_finding_t host = {.what = MOE_SLOW_HOST, .rank = rank, .to = rank, .pairs = 1};
    host.sending = moe_verdicts_node(&j->sending, t->node, t->ranks, t->node[rank], &host.ranks);
    host.receiving =
        moe_verdicts_node(&j->receiving, t->node, t->ranks, t->node[rank], &host.ranks);
    if (host.ranks == 1 && !(host.sending && host.receiving)) {
        host.sending = host.receiving = false;
    }
    return host;
}

static double host_time(const judge_t *j, const moe_verdicts_t *verdicts, size_t rank)
{
    size_t n = 0;
    for (size_t r = 0; r < j->times->ranks; r++) {
        if (j->times->node[r] == j->times->node[rank] && verdicts->value[r] > 0) {
            j->work[n++] = verdicts->value[r];
        }
    }
    return moe_lower_median(j->work, n);
}

static bool is_lowest_of_its_node(const moe_pair_times_t *times, size_t rank)
{
    for (size_t r = 0; r < rank; r++) {
        if (times->node[r] == times->node[rank]) {
            return false;
        }
    }
    return true;
}

static moe_status_t name_hosts(const judge_t *j, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t r = 0; status == MOE_OK && r < j->times->ranks; r++) {
        moe_finding_t host = host_of(j, r);
        if (!is_lowest_of_its_node(j->times, r) || (!host.sending && !host.receiving)) {
            continue;
        }
        const double sent = host.sending ? host_time(j, &j->sending, r) : 0;
        const double got = host.receiving ? host_time(j, &j->receiving, r) : 0;
        moe_finding_set(&host, fmax(sent, got), &j->sending.spread, j->sending.limit);
        status = moe_findings_add(j->findings, &host, error);
    }
    return status;
}

static moe_status_t name_ranks(const judge_t *j, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t r = 0; status == MOE_OK && r < j->times->ranks; r++) {
        const moe_finding_t host = host_of(j, r);
        moe_finding_t f = {.rank = r, .to = r, .ranks = 1, .pairs = 1};
        f.sending = j->sending.slow[r] && !host.sending;
        f.receiving = j->receiving.slow[r] && !host.receiving;
        if (!f.sending && !f.receiving) {
            continue;
        }
        f.what = f.sending && f.receiving ? MOE_SLOW_RANK
                 : f.sending              ? MOE_SLOW_SENDER
                                          : MOE_SLOW_RECEIVER;
        moe_finding_set(
            &f, fmax(f.sending ? j->sending_time[r] : 0, f.receiving ? j->receiving_time[r] : 0),
            &j->sending.spread, j->sending.limit);
        status = moe_findings_add(j->findings, &f, error);
    }
    return status;
}

/* ---- All of it ---- */

static moe_status_t make_room(judge_t *j, moe_error_t *error)
{
    const size_t ranks = j->times->ranks;
    moe_status_t status =
        moe_alloc("times of ranks", ranks, 4 * sizeof(double), (void **)&j->work, error);
    if (status == MOE_OK) {
        status = moe_alloc("verdicts", ranks, 2, (void **)&j->sending.slow, error);
    }
    if (status == MOE_OK) {
        j->sending_time = j->work + 2 * ranks;
        j->receiving_time = j->sending_time + ranks;
        j->sending.value = j->sending_time;
        j->receiving.value = j->receiving_time;
        j->receiving.slow = j->sending.slow + ranks;
    }
    return status;
}

static moe_status_t judge_all(judge_t *j, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    find_times(j);
    if (j->findings->ranks >= MOE_OUTLIER_RANKS) {
        j->findings->judged = MOE_JUDGED_ALL;
        status = judge_roles(j, error);
        if (status == MOE_OK) {
            status = name_hosts(j, error);
        }
        if (status == MOE_OK) {
            status = name_ranks(j, error);
        }
    } else if (j->findings->pairs >= 2 * MOE_OUTLIER_PAIRS) {
        j->findings->judged = MOE_JUDGED_LINKS;
    }
    if (status == MOE_OK && j->findings->judged != MOE_JUDGED_NOTHING) {
        const moe_link_judge_t links = {.times = j->times,
                                        .reach = j->reach,
                                        .rule = j->rule,
                                        .sending = &j->sending,
                                        .receiving = &j->receiving};
        status = moe_judge_links(&links, j->findings, error);
    }
    return status;
}

moe_status_t moe_outliers_of_pairs(const moe_pair_times_t *times, moe_reach_t reach,
                                   const moe_outlier_rule_t *rule, moe_findings_t *out,
                                   moe_error_t *error)
{
    moe_findings_t findings = {0};
    judge_t j = {.times = times, .reach = reach, .rule = rule, .findings = &findings};
    moe_status_t status = make_room(&j, error);
    if (status == MOE_OK) {
        status = judge_all(&j, error);
    }
    free(j.work);
    free(j.sending.slow);
    if (status != MOE_OK) {
        moe_findings_destroy(&findings);
        return status;
    }
    *out = findings;
    return MOE_OK;
}
