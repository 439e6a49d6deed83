/* Seconds of compute, by arithmetic: a rate of FLOP, and the time in which operands are read. */
#ifndef MOE_PREDICT_WORK_H
#define MOE_PREDICT_WORK_H

#include "moe/predict.h"

/* One expert on so many rows, forward. */
double work_expert_seconds(const moe_forecast_spec_t *spec, double rows);
/* One more row of an expert that has enough of them. */
double work_row_seconds(const moe_forecast_spec_t *spec);

/* Forward seconds of a rank without routed experts: of one MoE layer, one dense layer, and once. */
typedef struct work {
    double moe, dense, once;
} work_t;
moe_status_t work_of_rank(const moe_forecast_spec_t *spec, work_t *out, moe_error_t *error);

#endif
