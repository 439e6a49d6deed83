/* The interval of a ratio of medians from the repetitions of both. */
#ifndef MOE_VERDICT_RATIO_SAMPLES_H
#define MOE_VERDICT_RATIO_SAMPLES_H

#include "moe/verdict.h"

/* The lower end of the interval of top / bottom with that confidence on both sides; false where the
 * samples are too small for one. Both have a sample of values above 0. */
bool moe_samples_ratio_low(const moe_estimate_t *top, const moe_estimate_t *bottom,
                           double confidence, double *low);

#endif
