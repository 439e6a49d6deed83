/* Iteration: the timeline of one pass through a model, compute and exchanges in turn, and the share of
 * it that is communication. */
#ifndef MOE_ITERATION_H
#define MOE_ITERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/device.h"
#include "moe/exchange.h"
#include "moe/measure.h"
#include "moe/model.h"
#include "moe/status.h"
#include "moe/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Compute engines: none, gemm, model, gpu. One file each (src/iteration/compute_*.c). ---- */

/* One layer's share of a rank: GEMM shapes in order. */
typedef struct moe_gemm_list {
    size_t count, capacity;
    moe_gemm_t *shape;
    size_t *times; /* beside shape: how often in a row (heads, sequences) */
} moe_gemm_list_t;
void moe_gemm_list_destroy(moe_gemm_list_t *list);
double moe_gemm_list_flops(const moe_gemm_list_t *list); /* 2 * m * n * k of each */

/* Forward GEMMs of one rank for `tokens` tokens in sequences of `sequence` (the last may be
 * shorter). Shapes: see docs/measuring.md. *out is made anew and destroyed by the caller; it is
 * empty where there are no tokens. */
moe_status_t moe_gemms_attention(const moe_model_t *model, size_t tokens, size_t sequence,
                                 moe_gemm_list_t *out, moe_error_t *error);
moe_status_t moe_gemms_ffn(size_t tokens, size_t hidden, size_t inner, bool glu,
                           moe_gemm_list_t *out,
                           moe_error_t *error); /* dense, shared, one expert */
moe_status_t moe_gemms_router(const moe_model_t *model, size_t tokens, moe_gemm_list_t *out,
                              moe_error_t *error);
moe_status_t moe_gemms_head(const moe_model_t *model, size_t tokens, moe_gemm_list_t *out,
                            moe_error_t *error);

/* Rows of one expert: [rows][hidden], packed. */
typedef struct moe_expert {
    size_t rows; /* may be 0 */
    const void *in;
    void *out;
} moe_expert_t;

typedef struct moe_compute moe_compute_t;

typedef struct moe_compute_ops {
    const char *name;   /* "gemm" */
    const char *syntax; /* "model:FLOPS,EFFICIENCY" */
    const char *summary;
    /* arguments: what stands behind the colon, or NULL. */
    moe_status_t (*create)(moe_compute_t *c, const char *arguments, moe_error_t *error);
    /* Runs (or waits for) the list; backward: twice the work, two GEMMs for each. */
    void (*run)(moe_compute_t *c, const moe_gemm_list_t *list, bool backward);
    /* Runs experts on the rows that arrived and writes their output rows (engines that compute
     * nothing leave them as they are). list[count] are moe_gemms_ffn()'s, of the rows of each. */
    void (*experts)(moe_compute_t *c, const moe_gemm_list_t *list, const moe_expert_t *expert,
                    size_t count, moe_dtype_t in_dtype, moe_dtype_t out_dtype, size_t hidden,
                    bool backward);
    /* Device bytes that it needs for the largest list it will be given. */
    size_t (*memory)(const moe_compute_t *c, const moe_gemm_list_t *lists, size_t count);
    moe_status_t (*prepare)(moe_compute_t *c, const moe_gemm_list_t *lists, size_t count,
                            moe_error_t *error);
    void (*destroy)(moe_compute_t *c);
} moe_compute_ops_t;

struct moe_compute {
    const moe_compute_ops_t *ops;
    moe_device_t *device;
    double flops_per_second; /* of model and gpu: rate times efficiency; 0 else */
    char description[160];   /* "989 TFLOP/s x 0.80 (modelled: h100)" */
    void *state;
};

size_t moe_compute_count(void);
const moe_compute_ops_t *moe_compute_at(size_t index);
/* Parses "none", "gemm", "model:FLOPS,EFFICIENCY", "gpu:NAME". device may be NULL to check only. */
moe_status_t moe_compute_create(const char *what, const char *text, moe_device_t *device,
                                moe_compute_t **out, moe_error_t *error);
void moe_compute_destroy(moe_compute_t *compute);

/* ---- The phases of one layer ---- */

/* Columns of a repetition of a layer without its experts. Exchanges are aligned: a barrier stands
 * before each of them, outside its time. The total is a second pass through all steps without
 * barriers inside, as a model would run them. */
typedef enum moe_layer_column {
    MOE_LAYER_DISPATCH,
    MOE_LAYER_COMBINE,
    MOE_LAYER_TOTAL,
    MOE_LAYER_DECIDING, /* the columns before this one decide on convergence */
    MOE_LAYER_METADATA = MOE_LAYER_DECIDING,
    MOE_LAYER_SCHEDULE,  /* of algorithms that make one from counts of other ranks */
    MOE_LAYER_PERMUTE,   /* pack, and by expert after arrival */
    MOE_LAYER_UNPERMUTE, /* back in order of arrival, and weigh and sum */
    MOE_LAYER_COLUMNS
} moe_layer_column_t;
const char *moe_layer_column_name(moe_layer_column_t column);
/* A moe_repeat_fn; context is a bound moe_layer_t. */
moe_status_t moe_layer_repeat(void *layer, double *seconds, moe_error_t *error);

/* ---- The timeline ---- */

typedef enum moe_pass { MOE_FORWARD, MOE_TRAINING } moe_pass_t;

/* Where the time of an iteration goes. */
typedef enum moe_part {
    MOE_PART_COMPUTE,
    MOE_PART_METADATA,
    MOE_PART_PERMUTE, /* pack, arrange, restore, unpack and weigh */
    MOE_PART_DISPATCH,
    MOE_PART_COMBINE,
    MOE_PART_ALLREDUCE,
    MOE_PARTS
} moe_part_t;
const char *moe_part_name(moe_part_t part);

typedef struct moe_iteration_spec {
    const moe_model_t *model;
    moe_pass_t pass;
    size_t tokens;   /* of this rank */
    size_t sequence; /* for attention */
    moe_compute_t *compute;
    moe_transport_t *world;    /* all ranks: dense gradients */
    moe_transport_t *replicas; /* ranks that hold the same experts: expert gradients */
    bool gradients;            /* training with --dp > 1 */
    size_t local_experts;
    /* [measured_moe][chunks], each its own routing, bound. A layer's tokens may be cut into chunks
     * whose exchanges overlap with the experts' work on others: layers with spec.chunk 0, 1, ..., of
     * workspaces of their own. 1: nothing overlaps. */
    moe_layer_t *const *moe_layers;
    size_t measured_moe, chunks;
    size_t measured_dense;         /* dense layers really run */
    size_t total_moe, total_dense; /* of the model: what is extrapolated to */
} moe_iteration_spec_t;

typedef struct moe_iteration moe_iteration_t;
/* `spec` is copied, what it points to is borrowed. Allocates no device memory. */
moe_status_t moe_iteration_create(const moe_iteration_spec_t *spec, moe_iteration_t **out,
                                  moe_error_t *error);
/* Device bytes that moe_iteration_prepare() will take on this rank. */
size_t moe_iteration_bytes(const moe_iteration_t *iteration);
moe_status_t moe_iteration_prepare(moe_iteration_t *iteration, moe_error_t *error);
void moe_iteration_destroy(moe_iteration_t *iteration);
bool moe_iteration_is_extrapolated(const moe_iteration_spec_t *spec);

/* Columns of a repetition: the whole, the parts, and the compute alone (run by itself right after,
 * in the same repetition, started together). Extrapolated to the whole model where need be. */
enum {
    MOE_COLUMN_ITERATION = 0,
    MOE_COLUMN_COMPUTE_ONLY = 1,
    MOE_COLUMN_PART0 = 2, /* + moe_part_t */
    MOE_ITERATION_COLUMNS = MOE_COLUMN_PART0 + MOE_PARTS
};
/* A moe_repeat_fn; context is the moe_iteration_t. */
moe_status_t moe_iteration_repeat(void *iteration, double *seconds, moe_error_t *error);

/* Shares per repetition of a series of those columns, n = series->reps values each:
 *   a2a     = (metadata + dispatch + combine) / iteration     means over ranks
 *   serial  = (that + allreduce) / iteration                  means over ranks
 *   exposed = (iteration - compute alone - permute) / iteration   maxima over ranks: what overlap
 *             could not hide; 0 where noise made the compute alone longer. */
void moe_iteration_shares(const moe_series_t *series, double *a2a, double *serial, double *exposed);

/* Seconds of each part, seconds[MOE_PARTS], that add up to the median over repetitions of the iteration
 * (mean over ranks): the median times each part's mean share in the repetitions of the median's
 * interval. Medians of the parts alone would not add up where noise hits one part or another. */
moe_status_t moe_iteration_parts(const moe_series_t *series, double *seconds, moe_error_t *error);

#ifdef __cplusplus
}
#endif
#endif
