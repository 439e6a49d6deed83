#include "predict_fit.h"
moe_status_t predict_fit(config_t *config, moe_error_t *error)
{
    (void)config;
    return moe_fail(error, MOE_BAD_INPUT, "todo");
}
