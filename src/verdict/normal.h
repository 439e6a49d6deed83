/* Quantiles of the normal distribution. */
#ifndef MOE_VERDICT_NORMAL_H
#define MOE_VERDICT_NORMAL_H

/* z with P(-z < N(0, 1) < z) = confidence, for 0 < confidence < 1. */
double moe_normal_quantile(double confidence);

#endif
