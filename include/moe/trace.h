/* Traces: what others have written of the choices of their routers, or of the loads of their experts,
 * read into one form. docs/formats.md describes every format.
 *
 * Files are not trusted. Sizes that a file states are held against what it can hold before anything is
 * allocated; no reader takes more memory than MOE_TRACE_MEMORY_FACTOR bytes for each byte of the file (as
 * unpacked) and MOE_TRACE_MEMORY_FREE more; a refusal (MOE_BAD_INPUT) names the file with line and column,
 * or with the byte of a binary file. Files packed by gzip are unpacked on the way. */
#ifndef MOE_TRACE_H
#define MOE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers of experts go from 0 to one below; the last value of 16 bits stands for no expert. */
#define MOE_TRACE_MAX_EXPERTS 65535
#define MOE_TRACE_NO_EXPERT   UINT16_MAX
#define MOE_TRACE_MAX_TOP_K   1024
#define MOE_TRACE_MAX_LAYERS  65535
#define MOE_TRACE_MAX_RANKS   ((size_t)1 << 20)
#define MOE_TRACE_MAX_STEPS   ((size_t)1 << 31)

/* Weights are whole numbers of 1 / MOE_TRACE_WEIGHT_ONE; those of a token sum to at most 1. */
#define MOE_TRACE_WEIGHT_ONE 65536

#define MOE_TRACE_MEMORY_FACTOR 64
#define MOE_TRACE_MEMORY_FREE   ((size_t)8 << 20)
/* Bytes that one byte of a gzip file may become, and what may come on top of that; real traces stay below
 * 30, and deflate ends at 1032. */
#define MOE_TRACE_UNPACK_FACTOR 200
#define MOE_TRACE_UNPACK_FREE   ((size_t)1 << 20)

/* What a file is about; bits, so that a caller can say what it can use. */
typedef enum moe_trace_kind {
    MOE_TRACE_CHOICES = 1, /* which experts each token chose */
    MOE_TRACE_COUNTS = 2,  /* how often each expert was chosen */
    MOE_TRACE_MAPS = 4     /* which expert sits in which slot */
} moe_trace_kind_t;
#define MOE_TRACE_ANY (MOE_TRACE_CHOICES | MOE_TRACE_COUNTS | MOE_TRACE_MAPS)

/* Read-only once it is made: many threads may use one. */
typedef struct moe_trace {
    moe_trace_kind_t kind;
    const char *format; /* its name in the table of formats */
    char *path;         /* as given */
    bool packed;        /* by gzip */

    size_t steps, layers, ranks; /* 1 each where the format has none */
    bool has_steps, has_ranks;   /* it has */
    size_t experts;      /* one more than the largest number where the format does not tell */
    bool experts_known;  /* it does */
    size_t empty_layers; /* of counts: layers without any, left out of `layers` */

    /* Choices. A cell is one (step, layer, rank); cells stand in that order. */
    size_t top_k;
    size_t tokens; /* of all cells */
    size_t *first; /* [steps * layers * ranks + 1] first token of each cell; ends with `tokens` */
    uint16_t
        *expert; /* [tokens][top_k] distinct; MOE_TRACE_NO_EXPERT behind them: none was chosen */
    uint32_t *weight; /* [tokens][top_k] descending; NULL: the format has none */

    /* Counts: [steps][layers][experts], none negative, some above 0 in every layer. */
    double *count;
    /* Selections that go from rank to rank, [ranks][ranks], row = source; NULL: the format has none. */
    size_t *sent;

    /* Maps: [layers][slots] the expert in each slot of all ranks together. */
    size_t slots;
    uint16_t *map;

    uint64_t hash; /* of all of the above but path, format and packing */
} moe_trace_t;

/* ---- Formats ---- */

typedef struct moe_trace_format moe_trace_format_t; /* one file each: src/trace/ */

/* NULL past the end. */
const moe_trace_format_t *moe_trace_format_at(size_t index);
const char *moe_trace_format_name(const moe_trace_format_t *format);
const char *moe_trace_format_summary(const moe_trace_format_t *format);
unsigned moe_trace_format_kinds(const moe_trace_format_t *format);
/* The format of that name; NULL: there is none. */
const moe_trace_format_t *moe_trace_format_find(const char *name);

/* Reads a file. format: NULL looks at the file's beginning for what it is, among those formats that give
 * one of the kinds wanted. The caller destroys *out. */
moe_status_t moe_trace_read(const char *path, const moe_trace_format_t *format, unsigned wanted,
                            moe_trace_t **out, moe_error_t *error);
void moe_trace_destroy(moe_trace_t *trace); /* NULL is allowed */

/* The format that a file has by its beginning, NULL: none; for callers with formats of their own. *other: where
 * counts may be choices as well, the format that they then have; else NULL. */
const moe_trace_format_t *moe_trace_recognise(const char *path, const moe_trace_format_t **other);

/* Writes choices in the format `moe`, anew. MOE_BAD_INPUT where the file cannot be made, MOE_FAILED where
 * it cannot be written. */
moe_status_t moe_trace_write(const moe_trace_t *choices, const char *path, moe_error_t *error);

/* Choices with room for so many tokens in each cell, first[steps * layers * ranks] = 0 ...: everything else is
 * zero, for a caller to fill and to hand to moe_trace_write(). tokens[cells]. */
moe_status_t moe_trace_create(size_t steps, size_t layers, size_t ranks, const size_t *tokens,
                              size_t top_k, bool weights, moe_trace_t **out, moe_error_t *error);

/* ---- What follows from it ---- */

/* How often each expert was chosen in a layer, all steps and ranks together: count[trace->experts]. */
void moe_trace_layer_counts(const moe_trace_t *trace, size_t layer, double *count);

/* Where the tokens of a run are: token t belongs to rank t / tokens_per_rank. 0 and 0: not known. */
typedef struct moe_trace_run {
    size_t ranks, tokens_per_rank;
} moe_trace_run_t;

/* Does a run of this layout take choices rank by rank? It does where it has as many ranks as the trace;
 * else, and for a rank that has none in the trace, the choices of all ranks are dealt out in order. */
bool moe_trace_by_rank(const moe_trace_t *choices, const moe_trace_run_t *run);

/* The token of the trace, counted as in `expert`, whose choices token `token` of a run takes in the layer-th
 * MoE layer of step `step`. What the trace has less of than the run is repeated from its beginning; of a
 * format without steps, a step goes on where the last one ended. */
size_t moe_trace_token(const moe_trace_t *choices, const moe_trace_run_t *run, size_t step,
                       size_t layer, uint64_t token);

#ifdef __cplusplus
}
#endif
#endif
