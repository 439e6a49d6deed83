/* Verdicts: results against results, and results against rules. docs/verdicts.md has the formulas. */
#ifndef MOE_VERDICT_H
#define MOE_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

#include "moe/record.h"
#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- A figure and its interval ---- */

/* Confidence of the intervals in records, and of an acceptance. */
#define MOE_RECORDED_CONFIDENCE 0.95
/* Of a comparison, where many rows are called at once: of 100 rows without a difference one is called
 * by chance, and not five. */
#define MOE_COMPARED_CONFIDENCE 0.99

/* A figure, with its 95 % interval where it is a statistic. All >= 0. */
typedef struct moe_estimate {
    double value;
    bool exact; /* counted, not measured: low = high = value */
    bool has_interval;
    double low, high;
    bool converged;
    size_t launches; /* that it was made of */
    double *sample;  /* [n] ascending: the repetitions that value is the median of; NULL: unknown.
                        Owned: moe_estimate_destroy() */
    size_t n;
} moe_estimate_t;

void moe_estimate_destroy(moe_estimate_t *estimate);

typedef enum moe_ratio_method {
    MOE_RATIO_NONE,      /* no interval: too few repetitions, or a figure that is 0 */
    MOE_RATIO_INTERVALS, /* from the two intervals */
    MOE_RATIO_SAMPLES,   /* from the repetitions of both */
    MOE_RATIO_EXACT      /* of two counts */
} moe_ratio_method_t;

const char *moe_ratio_method_name(moe_ratio_method_t method);

typedef struct moe_ratio {
    double ratio; /* top / bottom; NaN where bottom is 0 */
    moe_ratio_method_t method;
    double low, high; /* where there is a method */
} moe_ratio_t;

/* How many times `bottom` the figure `top` is. Exchanging the two gives the reciprocal of all. */
void moe_ratio_of(const moe_estimate_t *top, const moe_estimate_t *bottom, double confidence,
                  moe_ratio_t *out);

/* ---- Metrics: figures of a record that can be judged ---- */

typedef enum moe_metric_type {
    MOE_METRIC_COUNT,  /* exact: counted, or computed from what was counted */
    MOE_METRIC_MEDIAN, /* a median with an interval */
    MOE_METRIC_RATE    /* computed from median_us: falls as it rises */
} moe_metric_type_t;

typedef struct moe_metric {
    const char *kind, *path; /* of the record; the field, dotted ("run." leads into the run) */
    moe_metric_type_t type;
    const char *low, *high; /* fields of the interval */
    double per_us; /* of the repetitions in `raw`, what one microsecond is; 0: they are not its */
} moe_metric_t;

/* NULL: no figure of such records, or none that has an interval. */
const moe_metric_t *moe_metric_find(const char *kind, const char *path);
/* Their names, for messages: "a, b, c". */
void moe_metric_list(const char *kind, char *text, size_t size);

/* The figure of `count` launches of the same thing (1 or more results). *found: it is in all of them.
 * Several launches: the median of their medians, in the interval of these where there are 6 or more;
 * below that in one from the lowest to the highest end of their own. */
moe_status_t moe_estimate_read(const moe_result_t *const *launch, size_t count,
                               const moe_metric_t *metric, bool *found, moe_estimate_t *out,
                               moe_error_t *error);

/* ---- What is the same thing ---- */

/* Results of the same work on the same number of ranks: equal in every field of moe_key_path(). */
typedef struct moe_group {
    const moe_result_t **launch; /* [launches]: one a run, in the order in which they were read */
    size_t launches, room;
    char **key; /* [moe_key_count()], texts; "" for what is absent or does not matter */
} moe_group_t;

typedef struct moe_groups {
    moe_group_t *group; /* [count] in the order in which they appear */
    size_t count, room;
    json_t *index; /* joined key -> number of the group */
    const moe_results_t *results;
    size_t *of_result; /* [results->count] numbers of their groups; SIZE_MAX: in none */
} moe_groups_t;

size_t moe_key_count(void);
const char *moe_key_path(size_t field);

/* `results` must outlive the groups. Rank records are left out. */
moe_status_t moe_groups_create(const moe_results_t *results, moe_groups_t *out, moe_error_t *error);
void moe_groups_destroy(moe_groups_t *groups);
/* The group that one of the results is in; NULL: in none. */
const moe_group_t *moe_groups_of(const moe_groups_t *groups, const moe_result_t *result);
/* The group of another file with the same key; NULL: there is none. */
const moe_group_t *moe_groups_find(const moe_groups_t *groups, const moe_group_t *like);
/* Why there is none: the nearest group and the fields in which it differs, into `text`. */
void moe_groups_why_not(const moe_groups_t *groups, const moe_group_t *like, char *text,
                        size_t size);

/* ---- Comparing ---- */

typedef enum moe_call { MOE_NO_DIFFERENCE, MOE_FASTER, MOE_SLOWER } moe_call_t;
const char *moe_call_name(moe_call_t call); /* "no difference shown", "faster", "slower" */

typedef struct moe_comparison_row {
    const moe_group_t *a, *b;
    moe_estimate_t time_a, time_b; /* microseconds */
    moe_ratio_t ratio;             /* how many times as fast as A: time of A / time of B */
    moe_call_t call;               /* of B: its interval lies beyond 1 */
} moe_comparison_row_t;

typedef struct moe_unmatched {
    const moe_group_t *group;
    bool in_a;
    char *why;
} moe_unmatched_t;

/* A geometric mean of ratios that are of one kind. */
typedef struct moe_comparison_mean {
    const char *phase;
    size_t rows;
    bool sound; /* else the rest tells nothing */
    moe_ratio_t ratio;
    double least, most;
} moe_comparison_mean_t;

typedef struct moe_difference {
    char *field;   /* of the run records */
    json_t *a, *b; /* lists of the values that occur on each side, in order */
} moe_difference_t;

typedef struct moe_comparison {
    moe_groups_t a, b;
    moe_comparison_row_t *row;
    size_t rows;
    size_t calls[3]; /* by moe_call_t */
    moe_unmatched_t *unmatched;
    size_t unmatched_count;
    moe_comparison_mean_t *mean;
    size_t means;
    moe_difference_t *difference;
    size_t differences;
} moe_comparison_t;

/* B against A. Both must outlive the comparison. MOE_OK also where nothing matches: rows is then 0. */
moe_status_t moe_compare(const moe_results_t *a, const moe_results_t *b, moe_comparison_t *out,
                         moe_error_t *error);
void moe_comparison_destroy(moe_comparison_t *comparison);

/* ---- Rules ---- */

typedef enum moe_operator {
    MOE_AT_LEAST,  /* >= */
    MOE_ABOVE,     /* > */
    MOE_AT_MOST,   /* <= */
    MOE_BELOW,     /* < */
    MOE_EQUAL,     /* == */
    MOE_NOT_EQUAL, /* != */
    MOE_WITHIN     /* within P % of */
} moe_operator_t;

typedef struct moe_condition {
    moe_operator_t op;
    bool baseline; /* the reference is the baseline, else 1 */
    double factor; /* the limit is factor * reference */
    double share;  /* of MOE_WITHIN: 0.05 for 5 % */
} moe_condition_t;

/* "[METRIC] >= 40", "<= 1.05 * baseline", "within 5 % of baseline", ...: docs/verdicts.md has the
 * grammar. `what` names the place for messages; metric: what stands before the operator, "" where
 * nothing does. */
moe_status_t moe_condition_parse(const char *what, const char *text, char *metric, size_t size,
                                 moe_condition_t *out, moe_error_t *error);

typedef struct moe_rule {
    char *name, *metric;
    const char *text;     /* the condition as written */
    const char *why;      /* NULL: not said */
    const char *kind;     /* of the records that it is about */
    const json_t *select; /* field -> value, or a list of values of which one must hold */
    moe_condition_t condition;
    bool warning;           /* what it finds does not decide */
    bool missing_fails;     /* a rule that matches nothing is a missing measurement, not an error */
    bool judge_unconverged; /* by the interval all the same */
} moe_rule_t;

typedef struct moe_rules {
    char *file;
    json_t *root; /* that texts above belong to */
    moe_rule_t *rule;
    size_t count;
} moe_rules_t;

/* Files of rules are as little trusted as results. */
#define MOE_RULES_BYTES ((size_t)4 << 20)

moe_status_t moe_rules_read(const char *path, moe_rules_t *out, moe_error_t *error);
void moe_rules_destroy(moe_rules_t *rules);

/* Rules that these results would pass: times may be `margin` (0.05) above the upper end of their
 * interval, errors 0. *left_out: results without an interval, which no rule can be made of. */
moe_status_t moe_rules_make(const moe_results_t *results, double margin, json_t **out,
                            size_t *left_out, moe_error_t *error);

/* ---- Accepting ---- */

typedef enum moe_verdict { MOE_PASS, MOE_FAIL, MOE_UNDECIDED } moe_verdict_t;
const char *moe_verdict_name(moe_verdict_t verdict); /* "PASS", "FAIL", "INCONCLUSIVE" */

#define MOE_WHY_TEXT 512

/* One rule on one result. */
typedef struct moe_judgement {
    const moe_rule_t *rule;
    const moe_result_t *result; /* of the baseline where it is missing here; NULL: of neither */
    bool missing;               /* it was to be measured, and was not */
    moe_verdict_t verdict;
    moe_estimate_t value, baseline; /* launches 0: none */
    moe_ratio_t ratio;              /* value / baseline */
    char why[MOE_WHY_TEXT];
} moe_judgement_t;

typedef struct moe_acceptance {
    moe_judgement_t *judgement;
    size_t count, room;
    moe_verdict_t *of_rule; /* [rules->count] */
    moe_verdict_t verdict;
    size_t verdicts[3];                   /* judgements by moe_verdict_t, warnings left out */
    moe_groups_t groups, baseline_groups; /* what is the same thing */
} moe_acceptance_t;

/* baseline: NULL where there is none. All must outlive the acceptance. MOE_BAD_INPUT where a rule
 * cannot be applied: it matches nothing, its metric or a field is in no record, it wants a baseline. */
moe_status_t moe_accept(const moe_rules_t *rules, const moe_results_t *results,
                        const moe_results_t *baseline, moe_acceptance_t *out, moe_error_t *error);
void moe_acceptance_destroy(moe_acceptance_t *acceptance);

#ifdef __cplusplus
}
#endif
#endif
