/* Who stood out in the runs that results come from, as those runs concluded. */
#ifndef BENCH_WHO_IS_SLOW_H
#define BENCH_WHO_IS_SLOW_H

#include "outputs.h"

/* A line for each rank, host or link that stands out; "nothing stands out" where findings say so, and
 * nothing where there are none. The findings go to the records too, each with file and line. */
moe_status_t tell_who_is_slow(const outputs_t *outputs, const moe_results_t *results,
                              moe_error_t *error);

#endif
