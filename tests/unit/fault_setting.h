/* The layer that faults are planted in. Include after cmocka.h. */
#ifndef MOE_TESTS_FAULT_SETTING_H
#define MOE_TESTS_FAULT_SETTING_H

#include "../common/layer_rank.h"
#include "../fakes/fault_transport.h"
#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define RANKS  ((size_t)4)
#define FAULTY (RANKS - 1) /* not the first: what follows from the fault shows up on lower ranks */
#define PEER   ((size_t)0)
#define OTHER  ((size_t)1)
#define HIDDEN ((size_t)33)

static const world_spec_t traffic = {.skew = "zipf:0.5",
                                     .experts = 10,
                                     .top_k = 2,
                                     .tokens = 32,
                                     .ranks = RANKS,
                                     .ranks_per_node = 2,
                                     .seed = 3};

/* Every message that they send is one block between two ranks, so that faults can be aimed. Others
 * carry rows by way of third ranks. */
static const char *const direct_algorithms[] = {"native", "linear", "pairwise"};

static inline const moe_algorithm_ops_t *direct_algorithm(size_t index)
{
    const moe_algorithm_ops_t *algorithm = NULL;
    if (moe_algorithm_find(direct_algorithms[index], &algorithm, NULL) != MOE_OK)
        abort();
    return algorithm;
}

static inline moe_layer_spec_t faulty_spec(const world_t *w, moe_transport_t *t,
                                           const moe_style_ops_t *style, dtype_pair_t dtypes)
{
    return (moe_layer_spec_t){.transport = t,
                              .style = style,
                              .algorithm = moe_algorithm_at(0),
                              .workload = &w->workload,
                              .hidden = HIDDEN,
                              .dtype = dtypes.dispatch,
                              .combine_dtype = dtypes.combine,
                              .data_seed = DATA_SEED};
}

#endif
