/* Predict: what exchanges and iterations would take on a machine that is described in a file, at any number
 * of ranks. Nothing is sent. docs/predict.md has the formulas, their sources, and what is assumed.
 *
 *   workload -> sample (batches of all ranks, or of some) -> ways (rows of each hop of a style)
 *            -> cost of an algorithm on the machine: alpha-beta, the busiest port of each tier decides
 *            -> forecast: the timeline of an iteration
 */
#ifndef MOE_PREDICT_H
#define MOE_PREDICT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "moe/iteration.h"
#include "moe/model.h"
#include "moe/status.h"
#include "moe/traffic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Machines ---- */

#define MOE_MACHINE_NAME 64
#define MOE_MOST_TIERS   4

/* A network between ranks. A message crosses the first tier that joins its two ranks. */
typedef struct moe_tier {
    char name[MOE_MACHINE_NAME]; /* "NVLink" */
    size_t ranks;                /* so many consecutive ranks are joined; 0: all (the last tier) */
    double latency;              /* seconds until a message of no bytes has arrived */
    double overhead;             /* seconds that a message takes of its port beside its bytes */
    double bandwidth;      /* bytes a second of a port in each direction, as exchanges reach it */
    size_t ranks_per_port; /* so many consecutive ranks share a port */
} moe_tier_t;

typedef struct moe_machine {
    char name[MOE_MACHINE_NAME];
    size_t nodes; /* 0: as many as are asked for */
    size_t ranks_per_node;
    size_t tiers;
    moe_tier_t tier[MOE_MOST_TIERS]; /* nearest first */
    double memory;                   /* bytes a second that permutation reaches, read and written */
    double flops[MOE_DTYPES];        /* peak, FLOP/s, by moe_dtype_t; 0: not given */
    double efficiency;               /* share of the peak that GEMMs reach */
} moe_machine_t;

/* Reads a description: docs/predict.md has the form. *document, where it is not NULL, is the whole file, to
 * be released by the caller. MOE_BAD_INPUT, with the file and the field, for what is no description: not
 * JSON, unknown, missing or repeated fields, values out of range, tiers that do not widen. */
moe_status_t moe_machine_read(const char *path, moe_machine_t *out, json_t **document,
                              moe_error_t *error);
/* Another number of ranks on a node: the tier that joins a node follows. */
void moe_machine_set_node(moe_machine_t *machine, size_t ranks_per_node);
/* Refuses more ranks than there are, and ports that the ranks of a node cannot share evenly. */
moe_status_t moe_machine_check(const moe_machine_t *machine, size_t ranks, moe_error_t *error);
/* Seconds that FLOP of this type take; moe_machine_flops() is 0 where the machine does not tell: of fp8 and
 * fp16 the rate of bf16. */
double moe_machine_flops(const moe_machine_t *machine, moe_dtype_t dtype);
/* Writes the machine with so many ranks as a platform of SimGrid (docs/simulation.md). MOE_BAD_INPUT for more than two tiers or too many
 * ranks, MOE_FAILED where `out` cannot be written. */
moe_status_t moe_machine_platform(const moe_machine_t *machine, size_t ranks, FILE *out,
                                  moe_error_t *error);

/* ---- What ranks have to send ---- */

/* Rows of one source rank to each of `units` (experts, ranks or nodes), over the ranks of a sample. */
typedef struct moe_spread {
    size_t units;
    double *mean, *variance; /* [units] of one source's rows, over sources */
    float *rows;             /* [ranks][units] where all ranks were counted, else NULL */
} moe_spread_t;

/* Rows of the ranks of a group in one layer and step. Where not all ranks are routed, means are drawn
 * towards each other by as much as their scatter is that of the sample (docs/predict.md). */
typedef struct moe_sample {
    size_t ranks, sampled; /* sampled == ranks: counted, nothing is estimated */
    size_t tokens;         /* that were routed */
    moe_spread_t expert;   /* kept selections */
    moe_spread_t rank;     /* the same, summed over the experts of a rank */
    moe_spread_t token;    /* tokens with kept experts on a rank */
    moe_spread_t node;     /* tokens with kept experts on a node */
    double count_max;      /* kept selections of the fullest expert and rank (expected) */
} moe_sample_t;

/* At most so many ranks are counted one by one, and no more than about `tokens` tokens are routed (but of at
 * least MOE_LEAST_SAMPLE ranks). */
#define MOE_MOST_COUNTED 512
#define MOE_LEAST_SAMPLE 4
/* Ranks that will be routed, and the number of the i-th of them. */
size_t moe_sample_ranks(const moe_workload_t *workload, size_t tokens);
size_t moe_sample_rank(size_t ranks, size_t sampled, size_t i);
/* `look`, where it is not NULL, is shown every batch. *out is destroyed by the caller. */
moe_status_t moe_sample_create(const moe_workload_t *workload, size_t tokens,
                               void (*look)(void *context, size_t rank, const moe_batch_t *batch),
                               void *context, moe_sample_t *out, moe_error_t *error);
void moe_sample_destroy(moe_sample_t *sample);

/* ---- Exchanges ---- */

/* One hop of a dispatch: rows from every rank to those in its scope. Combine carries the same rows back. */
typedef struct moe_way {
    moe_scope_t scope;
    size_t ranks, node_ranks;
    size_t rounds;    /* exchanges one after another that share the rows evenly; 1 in most styles */
    float *rows;      /* [ranks][ranks] row = source, or NULL: the same from every source, */
    double *mean;     /* [ranks] expected rows from each source in scope to a rank, and */
    double *variance; /* [ranks] the variance of each of them, independent of the others */
    bool forwarded;   /* its rows are gathered and summed in memory by ranks in between */
    bool back;        /* combine: the same rows, from where they went to where they came from */
} moe_way_t;

#define MOE_MOST_WAYS 2
/* The hops of a style. *count of out[MOE_MOST_WAYS], destroyed by the caller. */
moe_status_t moe_ways_create(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                             const moe_sample_t *sample, moe_way_t *out, size_t *count,
                             moe_error_t *error);
/* The same rows between all pairs of ranks. */
moe_status_t moe_way_uniform(size_t ranks, size_t node_ranks, moe_scope_t scope, double rows,
                             moe_way_t *out, moe_error_t *error);
void moe_way_destroy(moe_way_t *way);

/* What time goes to: terms of a cost. */
typedef struct moe_terms {
    double latency, overhead, memory; /* memory: rows that are copied on the way */
    double bytes[MOE_MOST_TIERS];     /* at the bandwidth of a tier's busiest port */
} moe_terms_t;
double moe_terms_sum(const moe_terms_t *terms);
void moe_terms_add(moe_terms_t *sum, const moe_terms_t *part, double times);

/* The cost is linear in the machine's constants as long as the same port is the busiest: seconds =
 * sum over tiers of steps * latency + messages * overhead + bytes / bandwidth. */
typedef struct moe_cost {
    moe_terms_t terms;
    double steps[MOE_MOST_TIERS], messages[MOE_MOST_TIERS], bytes[MOE_MOST_TIERS];
} moe_cost_t;
void moe_cost_add(moe_cost_t *sum, const moe_cost_t *part, double times);

/* How one algorithm's cost follows from a way. One file each, or a few. */
typedef struct moe_predictor moe_predictor_t;
struct moe_predictor {
    const char *name; /* of the algorithm */
    /* Adds to *out. */
    moe_status_t (*cost)(const moe_predictor_t *predictor, const moe_way_t *way,
                         const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                         moe_error_t *error);
    size_t radix; /* of bruck */
};
size_t moe_predictor_count(void);
const moe_predictor_t *moe_predictor_at(size_t index);
/* "best" is the least of the others; MOE_BAD_INPUT where an algorithm has no model. */
moe_status_t moe_predict_exchange(const char *algorithm, const moe_way_t *way,
                                  const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                                  moe_error_t *error);

/* Expected largest of n independent normal variables: where their distribution functions multiply to
 * exp(-exp(-gamma)), the mean of the Gumbel law that maxima tend to. mean[n], sigma[n] >= 0; n > 0; each stands
 * for `copies` alike. *which, where it is not NULL: the one of the largest mean. */
double moe_largest(const double *mean, const double *sigma, size_t n, double copies, size_t *which);

/* ---- One layer, one iteration ---- */

typedef struct moe_layer_forecast {
    moe_cost_t metadata, dispatch, combine;
    double expert_mean,
        expert_max;   /* seconds of experts' GEMMs, forward: mean and maximum over ranks */
    double sent_rows; /* of a rank by the first hop, itself included */
    double permute_mean, permute_max; /* seconds of permutation, forward; backward takes as long */
    size_t busiest;                   /* rank whose experts have most to do */
} moe_layer_forecast_t;

typedef struct moe_forecast_spec {
    const moe_machine_t *machine;
    const moe_model_t *model;
    const moe_style_ops_t *style;
    const char *algorithm;
    moe_dtype_t dtype, combine_dtype;
    moe_pass_t pass;
    size_t tokens, sequence;
    size_t ep, dp;
    size_t chunks;
    double flops;  /* a second, as reached; 0: compute takes no time */
    bool roofline; /* GEMMs of weights take at least the time in which their operands are read */
} moe_forecast_spec_t;

moe_status_t moe_predict_layer(const moe_forecast_spec_t *spec, const moe_workload_t *workload,
                               const moe_sample_t *sample, moe_layer_forecast_t *out,
                               moe_error_t *error);

/* Seconds of a whole iteration. */
typedef struct moe_forecast {
    double part
        [MOE_PARTS]; /* mean over ranks, adding up to the iteration; the wait for the rank with most
                               rows for its experts is in combine, as in a measured iteration */
    double part_max[MOE_PARTS]; /* of the busiest rank, each by itself */
    double iteration;
    double compute_only, compute_only_max;
    double wait; /* in combine: for experts of the busiest rank */
    double share_a2a, share_serial, share_exposed;
    bool overlapped;   /* parts are what compute waits for, and share_serial is not known */
    moe_terms_t terms; /* of dispatch, combine and metadata, before any overlap */
    double sent_rows;  /* as in moe_layer_forecast_t, mean over layers */
    size_t busiest;
} moe_forecast_t;

/* layers[count]: forecasts of MoE layers, which stand for all of them. */
moe_status_t moe_predict_iteration(const moe_forecast_spec_t *spec,
                                   const moe_layer_forecast_t *layers, size_t count,
                                   moe_forecast_t *out, moe_error_t *error);

/* The largest term of a forecast, "InfiniBand bandwidth", into text[size]; returns its seconds. */
double moe_forecast_dominating(const moe_forecast_t *forecast, const moe_machine_t *machine,
                               char *text, size_t size);

/* ---- Calibration ---- */

/* One measured exchange: what was measured, and which way it went. */
typedef struct moe_observation {
    double seconds;
    const char *algorithm;
    moe_way_t *way; /* [ways] */
    size_t ways;
    double row_bytes;
} moe_observation_t;

typedef struct moe_fit {
    size_t used;
    double median, largest;      /* of |predicted / measured - 1| */
    bool fitted[MOE_MOST_TIERS]; /* tiers that an observation crosses */
} moe_fit_t;

/* How far the machine as it is is from the observations; count > 0. deviation[count], where it is not NULL:
 * predicted / measured - 1 of each. */
moe_status_t moe_machine_compare(const moe_machine_t *machine, const moe_observation_t *observation,
                                 size_t count, double *deviation, moe_fit_t *out,
                                 moe_error_t *error);
/* Changes latency, overhead and bandwidth of the tiers to those, none of them negative, that make the sum of squared relative
 * residuals least, linearised anew a few times. deviation[count], where it is not NULL: predicted / measured
 * - 1 of each afterwards. */
moe_status_t moe_machine_fit(moe_machine_t *machine, const moe_observation_t *observation,
                             size_t count, double *deviation, moe_fit_t *out, moe_error_t *error);

#ifdef __cplusplus
}
#endif
#endif
