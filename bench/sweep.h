/* --sweep: one option, several values. */
#ifndef BENCH_SWEEP_H
#define BENCH_SWEEP_H

#include "options.h"

typedef struct sweep {
    option_t option;
    size_t count;
    char **word; /* [count] "--ranks=64" */
} sweep_t;

/* Parses NAME=VALUES; NULL: one point, without a word. MOE_BAD_INPUT for options that cannot be swept, and
 * for no or too many values. Destroyed by the caller. */
moe_status_t sweep_parse(const char *text, sweep_t *out, moe_error_t *error);
void sweep_destroy(sweep_t *sweep);

#endif
