/* The table of popularity distributions. A new one is a row of popularity.c. */
#ifndef MOE_ROUTING_POPULARITY_H
#define MOE_ROUTING_POPULARITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/routing.h"
#include "random.h"

/* One parameter behind the colon. */
typedef struct moe_skew_parameter {
    const char *name; /* as in the syntax: "SHARE" */
    double min, max;
    bool whole; /* a whole number */
} moe_skew_parameter_t;

#define MOE_SKEW_PARAMETERS 2

typedef struct moe_distribution {
    const char *name;
    const char *syntax;
    const char *summary;
    size_t parameters; /* how many */
    moe_skew_parameter_t parameter[MOE_SKEW_PARAMETERS];
    bool counts_experts; /* parameter a counts experts: at most all of them */
    /* Nothing is drawn: experts take turns (balanced.c). */
    bool takes_turns;
    /* It reads a file: kinds of traces that it can use (moe_trace_kind_t); 0: it reads none. Experts keep their
     * places then (traced.c), and fill() is NULL. */
    unsigned reads;
    /* Logarithms (to any common constant; minus infinity is allowed) of the popularity of experts
     * by rank, hottest first where there is an order. */
    void (*fill)(const moe_skew_t *skew, size_t experts, const moe_source_t *source,
                 double *log_popularity);
} moe_distribution_t;

/* NULL past the end. */
const moe_distribution_t *moe_distribution_at(size_t index);

/* Popularity is kept in units of 2^-32: it sums to MOE_MASS, and every expert has at least one, so
 * that there are always K experts to choose. */
#define MOE_MASS ((uint64_t)1 << 32)

/* units[experts] of the layer: the distribution, permuted by (seed, layer). */
moe_status_t moe_popularity_create(const moe_routing_spec_t *spec, size_t layer, uint64_t **units,
                                   moe_error_t *error);

#endif
