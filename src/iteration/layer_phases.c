#include "moe/iteration.h"

const char *moe_layer_column_name(moe_layer_column_t column)
{
    static const char *const names[MOE_LAYER_COLUMNS] = {
        [MOE_LAYER_DISPATCH] = "dispatch",  [MOE_LAYER_COMBINE] = "combine",
        [MOE_LAYER_TOTAL] = "total",        [MOE_LAYER_METADATA] = "metadata",
        [MOE_LAYER_SCHEDULE] = "schedule",  [MOE_LAYER_PERMUTE] = "permute",
        [MOE_LAYER_UNPERMUTE] = "unpermute"};
    return names[column];
}

/* The steps in order, the column of each, and whether ranks meet before it. */
typedef struct step {
    moe_status_t (*run)(moe_layer_t *layer, moe_error_t *error);
    moe_layer_column_t column;
    bool meet; /* the first step starts after the barrier of the repetition itself */
} step_t;

static const step_t steps[] = {
    {moe_layer_metadata, MOE_LAYER_METADATA, false},
    {moe_layer_schedule, MOE_LAYER_SCHEDULE, true},
    {moe_layer_permute, MOE_LAYER_PERMUTE, false},
    {moe_layer_dispatch, MOE_LAYER_DISPATCH, true},
    {moe_layer_arrange, MOE_LAYER_PERMUTE, false},
    {moe_layer_restore, MOE_LAYER_UNPERMUTE, false},
    {moe_layer_combine, MOE_LAYER_COMBINE, true},
    {moe_layer_unpermute, MOE_LAYER_UNPERMUTE, false},
};
#define STEPS (sizeof steps / sizeof *steps)

moe_status_t moe_layer_repeat(void *context, double *seconds, moe_error_t *error)
{
    moe_layer_t *layer = context;
    moe_transport_t *t = moe_layer_spec(layer)->transport;
    moe_device_t *d = moe_layer_spec(layer)->device;
    double mark[2 * STEPS];
    moe_status_t status = MOE_OK;
    (void)d->ops->read_marks(d, NULL, 0, NULL); /* those of a repetition that failed */
    for (int c = 0; c < MOE_LAYER_COLUMNS; c++) {
        seconds[c] = 0;
    }
    for (size_t s = 0; s < STEPS && status == MOE_OK; s++) {
        if (steps[s].meet) {
            status = t->ops->barrier(t, error);
        }
        d->ops->mark(d);
        if (status == MOE_OK) {
            status = steps[s].run(layer, error);
        }
        d->ops->mark(d);
    }
    if (status != MOE_OK) {
        return status;
    }
    status = d->ops->read_marks(d, mark, 2 * STEPS, error);
    for (size_t s = 0; s < STEPS && status == MOE_OK; s++) {
        seconds[steps[s].column] += mark[2 * s + 1] - mark[2 * s];
    }
    if (status == MOE_OK) {
        status = t->ops->barrier(t, error);
    }
    const double start = moe_now();
    for (size_t s = 0; s < STEPS && status == MOE_OK; s++) {
        status = steps[s].run(layer, error);
    }
    if (status == MOE_OK) {
        status = d->ops->finish(d, error);
    }
    seconds[MOE_LAYER_TOTAL] = moe_now() - start;
    return status;
}
