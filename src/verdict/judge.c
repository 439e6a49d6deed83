/* A verdict is reached on intervals: PASS where all of the interval meets the condition, FAIL where none
 * of it does, and INCONCLUSIVE between. */
#include "judge.h"

#include <math.h>
#include <stdio.h>

const char *moe_verdict_name(moe_verdict_t verdict)
{
    static const char *const names[] = {
        [MOE_PASS] = "PASS", [MOE_FAIL] = "FAIL", [MOE_UNDECIDED] = "INCONCLUSIVE"};
    return names[verdict];
}

typedef struct bounds {
    double low, high;
} bounds_t;

/* All of the one, or none of the other; `all` wins, and they exclude each other. */
static moe_verdict_t between(bool all, bool none)
{
    return all ? MOE_PASS : none ? MOE_FAIL : MOE_UNDECIDED;
}

/* limit: where the limit itself may lie, low = high where it is known. */
static moe_verdict_t compare(moe_operator_t op, bounds_t value, bounds_t limit)
{
    switch (op) {
    case MOE_AT_LEAST:
        return between(value.low >= limit.high, value.high < limit.low);
    case MOE_ABOVE:
        return between(value.low > limit.high, value.high <= limit.low);
    case MOE_AT_MOST:
        return between(value.high <= limit.low, value.low > limit.high);
    case MOE_BELOW:
        return between(value.high < limit.low, value.low >= limit.high);
    case MOE_EQUAL:
        return between(value.low == value.high && limit.low == limit.high && value.low == limit.low,
                       value.high < limit.low || value.low > limit.high);
    case MOE_NOT_EQUAL:
        return between(value.high < limit.low || value.low > limit.high,
                       value.low == value.high && limit.low == limit.high &&
                           value.low == limit.low);
    case MOE_WITHIN:
        break;
    }
    return MOE_UNDECIDED;
}

static moe_verdict_t decide(const moe_condition_t *condition, bounds_t value, bounds_t reference)
{
    const double f = condition->factor;
    if (condition->op != MOE_WITHIN)
        return compare(condition->op, value, (bounds_t){f * reference.low, f * reference.high});
    const double down = f * (1 - condition->share), up = f * (1 + condition->share);
    const moe_verdict_t above =
        compare(MOE_AT_LEAST, value, (bounds_t){down * reference.low, down * reference.high});
    const moe_verdict_t below =
        compare(MOE_AT_MOST, value, (bounds_t){up * reference.low, up * reference.high});
    if (above == MOE_FAIL || below == MOE_FAIL)
        return MOE_FAIL;
    return above == MOE_PASS && below == MOE_PASS ? MOE_PASS : MOE_UNDECIDED;
}

static bounds_t bounds_of(const moe_estimate_t *estimate)
{
    return (bounds_t){estimate->low, estimate->high};
}

/* Against a measured baseline the ratio is judged: its interval is narrower than what the ends of the
 * two would leave. A ratio needs figures above 0; counts are compared as they are. */
static moe_verdict_t against_baseline(moe_judgement_t *j)
{
    moe_ratio_of(&j->value, &j->baseline, MOE_RECORDED_CONFIDENCE, &j->ratio);
    if (j->ratio.method == MOE_RATIO_INTERVALS || j->ratio.method == MOE_RATIO_SAMPLES)
        return decide(&j->rule->condition, (bounds_t){j->ratio.low, j->ratio.high},
                      (bounds_t){1, 1});
    return decide(&j->rule->condition, bounds_of(&j->value), bounds_of(&j->baseline));
}

/* Ranks that share a GPU show that it works; a count is as good as any. */
static bool means_nothing(const moe_judgement_t *j)
{
    return !j->value.exact && json_is_true(moe_result_at(j->result, "run.functional_only"));
}

static const char *why_undecidable(const moe_judgement_t *j)
{
    const bool compared = j->baseline.launches > 0;
    if (means_nothing(j))
        return "ranks shared a GPU: times mean nothing";
    if (!j->value.has_interval)
        return "there is no interval: fewer than 6 repetitions";
    if (compared && !j->baseline.has_interval)
        return "the baseline has no interval: fewer than 6 repetitions";
    if (j->rule->judge_unconverged)
        return NULL;
    if (!j->value.converged)
        return "not converged";
    return compared && !j->baseline.converged ? "the baseline has not converged" : NULL;
}

void moe_judge(moe_judgement_t *j)
{
    static const char *const reasons[] = {[MOE_PASS] = "",
                                          [MOE_FAIL] = "beyond the limit",
                                          [MOE_UNDECIDED] = "the interval straddles the limit"};
    const char *why = why_undecidable(j);
    const moe_verdict_t decided =
        j->baseline.launches > 0
            ? against_baseline(j)
            : decide(&j->rule->condition, bounds_of(&j->value), (bounds_t){1, 1});
    j->verdict = why != NULL ? MOE_UNDECIDED : decided;
    snprintf(j->why, sizeof j->why, "%s", why != NULL ? why : reasons[decided]);
}
