/* Inside of a scenario: what its file says, read and checked. */
#ifndef MOE_ROUTING_SCENARIO_H
#define MOE_ROUTING_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/scenario.h"

/* ---- Laws: weights of experts, heaviest first ---- */

#define MOE_LAW_PARAMETERS 2

typedef struct moe_law {
    const char *name;
    struct {
        const char *name; /* key in the file */
        double min, max;
    } parameter[MOE_LAW_PARAMETERS]; /* name NULL: no more of them */
    bool counts_hot;                 /* it has a key `hot`: a number of experts */
    /* weight[experts], in proportion; hot: where the law counts them. */
    void (*fill)(const double *parameter, size_t hot, size_t experts, double *weight);
} moe_law_t;

/* NULL past the end. */
const moe_law_t *moe_law_at(size_t index);

/* ---- Orders: which expert is the heaviest, and which come after ---- */

typedef struct moe_order {
    const char *name;
    bool by_rank; /* starts at a rank, and may be turned from step to step */
    /* expert[experts]: the expert with the r-th largest weight at [r]. */
    void (*fill)(const moe_routing_spec_t *spec, size_t layer, size_t first_rank, uint16_t *expert);
} moe_order_t;

const moe_order_t *moe_order_at(size_t index);

/* ---- Sets of ranks, as seen from a rank ---- */

typedef struct moe_reach {
    size_t ranks, node_ranks;
    size_t source; /* the rank that holds the tokens */
} moe_reach_t;

typedef struct moe_rank_set {
    const char *name;
    bool numbered; /* "node N" */
    bool by_node;  /* nodes matter */
    bool others;   /* what the sets beside it in a rule leave */
    bool (*holds)(const moe_reach_t *reach, size_t number, size_t rank);
} moe_rank_set_t;

const moe_rank_set_t *moe_rank_set_at(size_t index);

typedef struct moe_some_ranks {
    const moe_rank_set_t *set;
    size_t number;
} moe_some_ranks_t;

#define MOE_RULE_PARTS 8

typedef struct moe_part_of_rule {
    moe_some_ranks_t to;
    double share;
} moe_part_of_rule_t;

/* Where the tokens of some ranks go. */
typedef struct moe_rank_rule {
    moe_some_ranks_t from;
    moe_part_of_rule_t part[MOE_RULE_PARTS];
    size_t parts;
} moe_rank_rule_t;

/* ---- All of it ---- */

#define MOE_SCENARIO_RULES 16
#define MOE_SCENARIO_NAME  40

struct moe_scenario {
    char name[MOE_SCENARIO_NAME + 1];
    char *isolates, *source;
    uint64_t hash;
    const moe_law_t *law;
    double parameter[MOE_LAW_PARAMETERS];
    size_t hot; /* 0: the experts of a rank */
    const moe_order_t *order;
    size_t at, rotate; /* the order's first rank, and ranks that it moves on with each step */
    moe_rank_rule_t rule[MOE_SCENARIO_RULES]; /* the first whose `from` holds the source */
    size_t rules;
    double *by_rank, *by_step; /* [ranks_listed], [steps_listed]: tokens held, of --tokens */
    size_t ranks_listed, steps_listed;
};

/* units[experts] (see popularity.h) whose top-K draw realises moe_scenario_loads(); experts without a
 * load have none. */
moe_status_t moe_scenario_units(const moe_routing_spec_t *spec, size_t layer, uint32_t step,
                                size_t source, uint64_t *units, moe_error_t *error);

#endif
