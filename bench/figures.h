/* Published figures, and ours beside them. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "moe/status.h"

#define FIGURE_TEXT 64

typedef enum figure_verdict {
    FIGURE_EQUAL, /* to the digits that were published */
    FIGURE_UNEQUAL,
    FIGURE_WITHIN, /* what the entry allows */
    FIGURE_OUTSIDE,
    FIGURE_BESIDE /* shown, with its deviation, and not judged */
} figure_verdict_t;

typedef struct figure {
    char label[FIGURE_TEXT], quantity[FIGURE_TEXT];
    char published[FIGURE_TEXT]; /* as it was printed */
    double value, computed;
    double simulated; /* NAN: it was not */
    int decimals;     /* of published */
    figure_verdict_t verdict;
} figure_t;

typedef struct figures {
    figure_t *figure;
    size_t count, room;
} figures_t;

/* An allowance: in points (the same unit) or percent of the published value; negative: not stated. */
typedef struct allowance {
    double points, percent;
} allowance_t;

/* Adds one. Exact figures are equal where they round to the published digits; with an allowance they may
 * differ by it. */
moe_status_t figures_add(figures_t *figures, const char *label, const char *quantity,
                         const char *published, double computed, bool exact, allowance_t allowance,
                         moe_error_t *error);
void figures_destroy(figures_t *figures);
const char *figure_verdict_name(figure_verdict_t verdict);
bool figure_is_bad(const figure_t *figure);
/* Deviation of ours, computed or simulated, from the published one, as a share of it. */
double figure_deviation(const figure_t *figure, double ours);

#endif
