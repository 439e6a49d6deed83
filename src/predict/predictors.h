/* Models of algorithms: one file each, or a few. */
#ifndef MOE_PREDICT_PREDICTORS_H
#define MOE_PREDICT_PREDICTORS_H

#include "moe/predict.h"

moe_status_t moe_predict_at_once(const moe_predictor_t *predictor, const moe_way_t *way,
                                 const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                                 moe_error_t *error);
moe_status_t moe_predict_pairwise(const moe_predictor_t *predictor, const moe_way_t *way,
                                  const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                                  moe_error_t *error);
moe_status_t moe_predict_bruck(const moe_predictor_t *predictor, const moe_way_t *way,
                               const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                               moe_error_t *error);
moe_status_t moe_predict_hierarchical(const moe_predictor_t *predictor, const moe_way_t *way,
                                      const moe_machine_t *machine, double row_bytes,
                                      moe_cost_t *out, moe_error_t *error);
moe_status_t moe_predict_birkhoff(const moe_predictor_t *predictor, const moe_way_t *way,
                                  const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                                  moe_error_t *error);

#endif
