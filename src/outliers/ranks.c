/* Who is slow by each rank's own time in a phase. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "findings.h"
#include "moe/system.h"

typedef struct judge {
    const moe_rank_times_t *times;
    double *value; /* [ranks] time for a median load */
    moe_verdicts_t verdicts;
} judge_t;

/* Time over what more than the median of the load explains. value[] is the work space at first. */
static void weigh(judge_t *j)
{
    const moe_rank_times_t *t = j->times;
    double median = 0;
    if (t->load != NULL) {
        memcpy(j->value, t->load, t->ranks * sizeof *j->value);
        median = moe_lower_median(j->value, t->ranks);
    }
    for (size_t r = 0; r < t->ranks; r++) {
        const double more = t->load != NULL && median > 0 ? fmax(1, t->load[r] / median) : 1;
        j->value[r] = t->seconds[r] / more;
    }
}

static moe_status_t name(const judge_t *j, moe_findings_t *findings, moe_error_t *error)
{
    const moe_rank_times_t *t = j->times;
    const moe_verdicts_t *v = &j->verdicts;
    moe_status_t status = MOE_OK;
    for (size_t r = 0; status == MOE_OK && r < t->ranks; r++) {
        size_t count, lowest = 0;
        if (!v->slow[r]) {
            continue;
        }
        const bool host = moe_verdicts_node(v, t->node, t->ranks, t->node[r], &count) && count > 1;
        while (t->node[lowest] != t->node[r]) {
            lowest++;
        }
        if (host && lowest != r) {
            continue;
        }
        moe_finding_t f = {.what = host ? MOE_SLOW_HOST : MOE_SLOW_RANK,
                           .rank = r,
                           .to = r,
                           .ranks = host ? count : 1,
                           .pairs = 1};
        moe_finding_set(&f, j->value[r], &v->spread, v->limit);
        status = moe_findings_add(findings, &f, error);
    }
    return status;
}

static moe_status_t judge_all(judge_t *j, const moe_outlier_rule_t *rule, moe_findings_t *findings,
                              moe_error_t *error)
{
    const size_t ranks = j->times->ranks;
    moe_status_t status =
        moe_alloc("times of ranks", ranks, sizeof *j->value, (void **)&j->value, error);
    if (status == MOE_OK) {
        status = moe_alloc("verdicts", ranks, sizeof *j->verdicts.slow, (void **)&j->verdicts.slow,
                           error);
    }
    if (status == MOE_OK) {
        weigh(j);
        j->verdicts.value = j->value;
        status = moe_spread_of(j->value, ranks, &j->verdicts.spread, error);
    }
    if (status == MOE_OK) {
        moe_verdicts_judge(&j->verdicts, ranks, rule);
        findings->judged = MOE_JUDGED_ALL;
        findings->center = j->verdicts.spread.center;
        status = name(j, findings, error);
    }
    return status;
}

moe_status_t moe_outliers_of_ranks(const moe_rank_times_t *times, const moe_outlier_rule_t *rule,
                                   moe_findings_t *out, moe_error_t *error)
{
    moe_findings_t findings = {.ranks = times->ranks};
    judge_t j = {.times = times};
    moe_status_t status = MOE_OK;
    if (times->ranks >= MOE_OUTLIER_RANKS) {
        status = judge_all(&j, rule, &findings, error);
    }
    free(j.value);
    free(j.verdicts.slow);
    if (status != MOE_OK) {
        moe_findings_destroy(&findings);
        return status;
    }
    *out = findings;
    return MOE_OK;
}
