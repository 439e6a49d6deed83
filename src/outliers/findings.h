/* What the judges of pairs and of ranks share. */
#ifndef MOE_OUTLIERS_FINDINGS_H
#define MOE_OUTLIERS_FINDINGS_H

#include "moe/outliers.h"

/* The lower of the two in the middle of an even number. Sorts the values. n > 0. */
double moe_lower_median(double *values, size_t n);

/* A figure of each rank (sending or receiving time) that was held against a population. */
typedef struct moe_verdicts {
    const double *value; /* [ranks]; 0: not looked at */
    bool *slow;          /* [ranks] */
    moe_spread_t spread;
    double limit;
} moe_verdicts_t;

/* Fills slow[] and limit from value[] and spread. */
void moe_verdicts_judge(moe_verdicts_t *verdicts, size_t ranks, const moe_outlier_rule_t *rule);

/* Whether every rank of that node that was looked at is slow; *ranks: how many those are. */
bool moe_verdicts_node(const moe_verdicts_t *verdicts, const size_t *node, size_t ranks,
                       size_t which, size_t *count);

/* Evidence for a finding from value and spread. */
void moe_finding_set(moe_finding_t *finding, double value, const moe_spread_t *spread,
                     double limit);

/* Appends; takes room for at least one more. */
moe_status_t moe_findings_add(moe_findings_t *findings, const moe_finding_t *finding,
                              moe_error_t *error);

#endif
