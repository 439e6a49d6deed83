/* predict --fit: a machine's constants from measured exchanges. */
#ifndef BENCH_PREDICT_FIT_H
#define BENCH_PREDICT_FIT_H

#include "config.h"

moe_status_t predict_fit(config_t *config, moe_error_t *error);
/* The command whose options a prediction takes. */
const command_t *predict_options(void);

#endif
