/* Links: messages that are slow beyond what their sender and receiver explain. */
#ifndef MOE_OUTLIERS_LINKS_H
#define MOE_OUTLIERS_LINKS_H

#include "findings.h"

typedef struct moe_link_judge {
    const moe_pair_times_t *times;
    moe_reach_t reach;
    const moe_outlier_rule_t *rule;
    const moe_verdicts_t *sending, *receiving; /* nobody is slow where only links are judged */
} moe_link_judge_t;

/* Whether the message was measured, and is of that reach. */
bool moe_pair_belongs(const moe_pair_times_t *times, moe_reach_t reach, size_t from, size_t to);

/* Appends what stands out; sets the findings' center where it is 0. */
moe_status_t moe_judge_links(const moe_link_judge_t *judge, moe_findings_t *findings,
                             moe_error_t *error);

#endif
