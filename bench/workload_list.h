/* The workloads that come with the program. */
#ifndef BENCH_WORKLOAD_LIST_H
#define BENCH_WORKLOAD_LIST_H

#include "config.h"

/* --list, and --list --names. */
moe_status_t workload_list(const config_t *config, moe_error_t *error);

#endif
