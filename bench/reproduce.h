/* Kinds of published figures, and how each is reckoned. */
#ifndef BENCH_REPRODUCE_H
#define BENCH_REPRODUCE_H

#include "figures.h"
#include "outputs.h"

/* An entry: a file of patterns/reproduce (docs/predict.md has the form). */
typedef struct entry {
    const char *path;
    json_t *object;
} entry_t;

/* "FILE: case 3: ..." */
moe_status_t entry_fail(const entry_t *entry, size_t number, moe_error_t *error, const char *format,
                        ...) MOE_PRINTF(4, 5);
const char *entry_text(const entry_t *entry, const char *name); /* "" where there is none */

/* Arithmetic: kind "exact". */
moe_status_t reproduce_exact(const entry_t *entry, figures_t *out, moe_error_t *error);
/* Predictions: kind "measured". */
moe_status_t reproduce_measured(const entry_t *entry, figures_t *out, moe_error_t *error);
/* Which configurations have a share in a range: kind "range". Prints by itself. */
moe_status_t reproduce_range(const entry_t *entry, const outputs_t *outputs, moe_error_t *error);

/* Reads --simulated FILE: a list, released by the caller. */
moe_status_t reproduce_read_simulated(const char *path, json_t **out, moe_error_t *error);
/* Sets what was simulated of an entry's figures; whether anything was. simulated: may be NULL. */
bool reproduce_set_simulated(const entry_t *entry, const json_t *simulated, figures_t *figures);
/* Of them, those that belonged to no figure so far. */
size_t reproduce_unused(const json_t *simulated);

/* Predicts by the options of `predict`, and the members of a shape that have none. */
typedef struct reproduction {
    double iteration, a2a, compute, dispatch, combine; /* seconds of the iteration */
    double share;
    double dispatch_layer, combine_layer; /* seconds of one exchange */
    double sent_rows, row_bytes,
        combine_row_bytes;            /* of a rank by the first hop, itself included */
    double padding_share, drop_share; /* of the census; padding_share -1 without capacity */
} reproduction_t;
moe_status_t reproduce_predict(const entry_t *entry, size_t number, char *const *options,
                               size_t option_count, const json_t *shape, reproduction_t *out,
                               moe_error_t *error);
/* Texts of two arrays of the entry, one behind the other: their count; SIZE_MAX where they are no texts, or
 * too many. */
size_t entry_options(const json_t *first, const json_t *second, char **out, size_t most);

#define MOST_OPTIONS 64

#endif
