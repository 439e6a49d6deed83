/* The compute engines; compute.c registers them. A new one is one file and one line there. */
#ifndef MOE_ITERATION_COMPUTE_ENGINES_H
#define MOE_ITERATION_COMPUTE_ENGINES_H

#include "moe/iteration.h"

extern const moe_compute_ops_t moe_compute_none_ops;
extern const moe_compute_ops_t moe_compute_gemm_ops;
extern const moe_compute_ops_t moe_compute_model_ops;
extern const moe_compute_ops_t moe_compute_gpu_ops;

/* For engines that need no memory: the ops of that name. */
size_t moe_compute_no_memory(const moe_compute_t *c, const moe_gemm_list_t *lists, size_t count);
moe_status_t moe_compute_no_preparation(moe_compute_t *c, const moe_gemm_list_t *lists,
                                        size_t count, moe_error_t *error);
void moe_compute_nothing_to_destroy(moe_compute_t *c);

#endif
