/* What differs between the runs of two files, beside the work that they did. */
#ifndef MOE_VERDICT_DIFFERENCES_H
#define MOE_VERDICT_DIFFERENCES_H

#include "moe/verdict.h"

/* Fills c->difference. */
moe_status_t moe_find_differences(const moe_results_t *a, const moe_results_t *b,
                                  moe_comparison_t *c, moe_error_t *error);

#endif
