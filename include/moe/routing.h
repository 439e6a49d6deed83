/* Routing: which experts a token chooses, and with what weight.
 *
 * Everything is drawn from Philox4x32-10 (Salmon et al., SC'11; Random123) keyed by the seed and
 * counted by (token, layer, step, purpose), so a token's choices depend on (spec, layer, step, global
 * token number) and on nothing else: not on the number of ranks, threads or calls. With a scenario they
 * depend on the rank that holds the token too, and on the placement that it speaks of. */
#ifndef MOE_ROUTING_H
#define MOE_ROUTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"
#include "moe/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MOE_NO_EXPERT (-1)

/* Gate weights are multiples of 1 / MOE_WEIGHT_ONE and a token's weights sum to at most 1: sums of
 * weight * small integer are then exact in fp32 in any order, which the oracle relies on. */
#define MOE_WEIGHT_ONE 65536

/* Limits of the counters and of the id type. */
#define MOE_MAX_EXPERTS 65536
#define MOE_MAX_TOP_K   1024
#define MOE_MAX_GROUPS  1024
#define MOE_MAX_LAYERS  65535
#define MOE_MAX_TOKENS  ((uint64_t)1 << 47) /* global, all ranks */

/* ---- Random numbers ---- */

/* What a draw is for: keeps streams apart. One constant for each use. */
typedef enum moe_purpose {
    MOE_FOR_CHOICE = 1, /* experts of a token, by the race */
    MOE_FOR_SCORE = 2,  /* arrival times of the chosen */
    MOE_FOR_REST = 3,   /* arrival times of those not chosen */
    MOE_FOR_LOGITS = 4, /* gates that perturb every expert */
    MOE_FOR_NOISE = 5,  /* jitter of switch and noisy */
    MOE_FOR_SECOND = 6, /* whether gshard keeps the second expert */
    MOE_FOR_POPULARITY = 7,
    MOE_FOR_PERMUTATION = 8,
    MOE_FOR_BALANCE = 9,
    MOE_FOR_DROP = 10, /* capacity, --drop random */
    MOE_FOR_DATA = 11,
    MOE_FOR_WORD = 12,   /* of a token, for the gate hash */
    MOE_FOR_REPLICA = 13 /* which replica of an expert */
} moe_purpose_t;

/* Four 32-bit words for (seed, purpose, layer, step, item, block). item < 2^48, layer < 2^16,
 * block < 2^24. */
void moe_random(uint64_t seed, moe_purpose_t purpose, size_t layer, uint32_t step, uint64_t item,
                uint32_t block, uint32_t out[4]);

/* ---- Popularity of experts ---- */

#define MOE_SKEW_TEXT      80   /* of those with parameters */
#define MOE_SKEW_FILE_TEXT 1024 /* of those that read a file */

/* How popular the experts are. Made by moe_skew_parse(); copies are made freely. */
typedef struct moe_skew {
    size_t kind; /* row of the table of distributions (popularity.c) */
    double a, b; /* its parameters; 0 where it has none */
    /* What its file holds, read-only; NULL: it has none. The moe_skew_t that moe_skew_parse() filled owns it,
     * until moe_skew_destroy(); copies, and routers made of them, borrow it and must not outlive that. */
    moe_trace_t *trace;
    char text[MOE_SKEW_FILE_TEXT]; /* as the user wrote it: "zipf:1.0" */
} moe_skew_t;

/* "balanced", "uniform", "zipf:S", "hot:N,SHARE", "lognormal:SIGMA", "dirichlet:ALPHA", "counts:FILE",
 * "trace:FILE". The last two read the file. */
moe_status_t moe_skew_parse(const char *what, const char *text, moe_skew_t *out,
                            moe_error_t *error);
/* Frees what it owns, not itself; zeroed is allowed. */
void moe_skew_destroy(moe_skew_t *skew);
/* Refuses what only the number of experts and of choices can tell: more hot experts than there are, a file of
 * another number of experts or of choices. */
moe_status_t moe_skew_check(const moe_skew_t *skew, size_t experts, size_t top_k,
                            moe_error_t *error);
/* Are the choices those of a trace? Then no gate is asked. */
bool moe_skew_is_traced(const moe_skew_t *skew);
/* Names and one line each, for help: index from 0, NULL past the end. */
const char *moe_skew_syntax(size_t index, const char **summary);

/* ---- Gates ---- */

typedef struct moe_gate_ops moe_gate_ops_t; /* one file each: src/routing/gate_*.c */
/* NULL and MOE_BAD_INPUT with the nearest names where there is none of that name. */
moe_status_t moe_gate_find(const char *name, const moe_gate_ops_t **out, moe_error_t *error);
const moe_gate_ops_t *moe_gate_at(size_t index); /* NULL past the end */
const char *moe_gate_name(const moe_gate_ops_t *gate);
const char *moe_gate_summary(const moe_gate_ops_t *gate);

/* ---- Routing of one layer ---- */

typedef struct moe_scenario moe_scenario_t;   /* moe/scenario.h */
typedef struct moe_placement moe_placement_t; /* below */

typedef struct moe_routing_spec {
    size_t experts; /* E */
    size_t top_k;   /* K <= E */
    /* Groups of consecutive experts, E / n_group in each, and how many of them a token may use: for
     * group-limited, which needs them, and sigmoid; other gates do not look at them. 0: not limited. */
    size_t n_group, topk_group;
    const moe_gate_ops_t *gate;
    moe_skew_t skew;
    uint64_t seed;
    /* For skews that read a file: which layers have experts (layer l is number (l - first_moe_layer) /
     * moe_every of them; both 0: all have), and on which ranks tokens are. */
    size_t first_moe_layer, moe_every;
    moe_trace_run_t run;
    /* A scenario stands in place of the skew: popularity may then depend on the rank that holds a
     * token and on the step. All borrowed; NULL and 0 without one. */
    const moe_scenario_t *scenario;
    const moe_placement_t *home; /* the placement whose ranks the scenario speaks of */
    size_t ranks_per_node;       /* 0: all ranks share a node */
} moe_routing_spec_t;

/* Places of a token in the table of a spec: top_k, or more where experts choose tokens. */
size_t moe_routing_slots(const moe_routing_spec_t *spec);
/* Bytes that routing `tokens` tokens of a rank takes beside the table; SIZE_MAX past the range. */
size_t moe_routing_bytes(const moe_routing_spec_t *spec, size_t tokens);

/* Refuses impossible specs (K > E, switch with K != 1, gshard with K != 2, group-limited with
 * n_group 0 or no divisor of E, topk_group > n_group, K > topk_group * E / n_group ...). */
moe_status_t moe_routing_check(const moe_routing_spec_t *spec, moe_error_t *error);

/* Choices of consecutive tokens of one rank, one layer, one step. */
typedef struct moe_table {
    uint64_t first_token; /* global number of the first */
    size_t tokens;
    size_t top_k; /* places of a token: moe_routing_slots() */
    int32_t
        *expert; /* [tokens][top_k], heaviest first, distinct; MOE_NO_EXPERT: the gate chose none */
    float
        *weight; /* [tokens][top_k], multiples of 1/MOE_WEIGHT_ONE, descending; 0 with NO_EXPERT */
} moe_table_t;

moe_status_t moe_table_create(size_t tokens, size_t top_k, moe_table_t *out, moe_error_t *error);
void moe_table_destroy(moe_table_t *table); /* frees what it holds, not itself; zeroed is allowed */

/* A layer's router: its popularity vector, permuted by (seed, layer), and tables for drawing. Made
 * once for a layer, read-only afterwards (many threads may route with one). */
typedef struct moe_router moe_router_t;
moe_status_t moe_router_create(const moe_routing_spec_t *spec, size_t layer, moe_router_t **out,
                               moe_error_t *error);
void moe_router_destroy(moe_router_t *router);
const moe_routing_spec_t *moe_router_spec(const moe_router_t *router);
size_t moe_router_layer(const moe_router_t *router);
/* [experts], sums to 1: the popularity of each expert in this layer (with a scenario: for the tokens
 * that the router is of, see moe_router_open()). */
const double *moe_router_popularity(const moe_router_t *router);

/* With a scenario tokens of different ranks and steps differ: the router of the tokens that rank
 * `source` of the group holds at a step. Made from `router`, which must outlive it, and closed by the
 * caller; where all tokens are alike it is `router` itself. moe_router_create() gives that of rank
 * 0 at step 0. */
moe_status_t moe_router_open(const moe_router_t *router, uint32_t step, size_t source,
                             const moe_router_t **out, moe_error_t *error);
void moe_router_close(const moe_router_t *router, const moe_router_t *opened); /* NULL is allowed */

/* Fills `table` (made for tokens and moe_routing_slots()) for tokens first_token ... of step `step`: all tokens that
 * one rank holds, where the gate looks at all of them together. */
moe_status_t moe_router_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                              moe_table_t *table, moe_error_t *error);

/* The whole gate distribution of one token, probability[experts], sums to 1, consistent with what
 * moe_router_route() chose for it (chosen experts are the most probable; with group-limited, of the
 * groups that the token uses; sigmoid, sinkhorn and expert-choice choose by more than it). For loss
 * figures. */
void moe_router_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                              double *probability);

/* A hash of choices (experts, in order; not of weights) that is a sum over tokens: the parts of
 * several ranks, added modulo 2^64, give the hash of all. */
uint64_t moe_table_hash(const moe_table_t *table, size_t layer, uint32_t step);

/* ---- Placement of experts on ranks ---- */

struct moe_placement {
    size_t experts, ranks;
    int32_t *rank_of;  /* [experts] */
    int32_t *local_of; /* [experts] number of the expert among those of its rank */
    size_t *first; /* [ranks + 1] rank r holds expert_at[first[r]] ... expert_at[first[r+1] - 1] */
    int32_t *expert_at; /* [experts] ascending within a rank */
    /* Where experts are replicated: `experts` counts what lies on ranks, the physical ones; a gate
     * chooses among the logical ones. 0 and NULL: each is there once. */
    size_t logical;
    int32_t *logical_of;   /* [experts] */
    size_t *replica_first; /* [logical + 1] replicas of l: replica_at[replica_first[l]] ... */
    int32_t *replica_at;   /* [experts] */
};

/* "block" (the first experts % ranks ranks hold one more), "round-robin", or the name of a file: one
 * rank per expert, in order of experts, separated by white space; # starts a comment. */
moe_status_t moe_placement_create(const char *what, size_t experts, size_t ranks,
                                  moe_placement_t *out, moe_error_t *error);
void moe_placement_destroy(moe_placement_t *placement);

/* Replicas: arrays for `logical` experts, zeroed; then, logical_of being filled in, the rest. A placement
 * for which the first has failed can be destroyed. */
moe_status_t moe_placement_make_replicas(moe_placement_t *placement, size_t logical,
                                         moe_error_t *error);
void moe_placement_index_replicas(moe_placement_t *placement);
/* Turns the table's logical experts into physical ones: replicas take even shares, by a draw for each
 * (token, place). Leaves it as it is where nothing is replicated. */
void moe_placement_share(const moe_placement_t *placement, const moe_router_t *router,
                         uint32_t step, moe_table_t *table);

/* ---- Redundant experts (EPLB) ---- */

/* Is a --placement "eplb" or "eplb:REDUNDANT"? */
bool moe_eplb_asked(const char *placement);
/* How many redundant experts it asks for; without a number one a rank, or what fills ranks evenly.
 * Refuses numbers that do not divide among ranks. */
moe_status_t moe_eplb_redundant(const char *placement, size_t experts, size_t ranks, size_t *out,
                                moe_error_t *error);

typedef struct moe_eplb {
    size_t experts, redundant, ranks;
    size_t groups, nodes; /* of experts, of ranks; 0: none. Used where they divide evenly */
} moe_eplb_t;
/* Places experts with load[experts], in proportion, and replicas of the heaviest, by the greedy of
 * DeepSeek's EPLB (github.com/deepseek-ai/EPLB). The caller destroys *out. */
moe_status_t moe_eplb_place(const double *load, const moe_eplb_t *shape, moe_placement_t *out,
                            moe_error_t *error);
/* load[experts], sums to 1: the share of each expert in the selections that a router's popularity lets
 * expect: what EPLB is given. Gates that balance by themselves do not follow it. */
void moe_router_loads(const moe_router_t *router, double *load);

/* ---- Load figures ---- */

/* Of counts over n bins (experts, or ranks). All 0 where nothing is counted. */
typedef struct moe_load {
    double max_over_mean;
    double cv; /* population standard deviation over mean */
    double gini;
    double hottest_share; /* largest bin over the sum */
} moe_load_t;
void moe_load_of(const size_t *counts, size_t bins, moe_load_t *out);

/* Sums from which the losses of the gating literature follow; partial sums of ranks may be added
 * element by element (they are doubles). */
typedef struct moe_gate_sums {
    size_t experts;
    double tokens;             /* S: tokens seen */
    double *first_choice;      /* [experts] c_e: tokens whose first choice is e */
    double *probability;       /* [experts] sum over tokens of the gate probability of e */
    double *one_token;         /* [experts] scratch of moe_gate_sums_add(); no sum */
    const int32_t *logical_of; /* of the tables' experts, borrowed; NULL: they are logical */
} moe_gate_sums_t;
moe_status_t moe_gate_sums_create(size_t experts, moe_gate_sums_t *out, moe_error_t *error);
void moe_gate_sums_destroy(moe_gate_sums_t *sums);
/* Adds every stride-th token of the table (stride 1: all). router: as the table was routed with. */
void moe_gate_sums_add(moe_gate_sums_t *sums, const moe_router_t *router, uint32_t step,
                       const moe_table_t *table, size_t stride);
/* l_aux = (1/E) * sum_e (c_e/S) * m_e, m_e = mean gate probability (GShard, arXiv 2006.16668). */
double moe_aux_loss(const moe_gate_sums_t *sums);
/* CV(importance)^2, importance_e = sum of gate probabilities (Shazeer et al., arXiv 1701.06538). */
double moe_importance_cv2(const moe_gate_sums_t *sums);

#ifdef __cplusplus
}
#endif
#endif
