/* The hops of a style, from what ranks have to send. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moe/predict.h"
#include "moe/system.h"

static moe_status_t way_create(const moe_sizes_t *sizes, moe_scope_t scope, bool counted,
                               moe_way_t *out, moe_error_t *error)
{
    const size_t ranks = sizes->placement->ranks;
    *out = (moe_way_t){
        .scope = scope, .ranks = ranks, .node_ranks = moe_sizes_node_ranks(sizes), .rounds = 1};
    moe_status_t status =
        moe_alloc("expected rows", ranks, sizeof(double), (void **)&out->mean, error);
    if (status == MOE_OK)
        status = moe_alloc("expected rows", ranks, sizeof(double), (void **)&out->variance, error);
    if (status == MOE_OK && counted)
        status =
            moe_alloc("counted rows", ranks * ranks, sizeof(float), (void **)&out->rows, error);
    return status;
}

void moe_way_destroy(moe_way_t *way)
{
    free(way->rows);
    free(way->mean);
    free(way->variance);
    *way = (moe_way_t){0};
}

moe_status_t moe_way_uniform(size_t ranks, size_t node_ranks, moe_scope_t scope, double rows,
                             moe_way_t *out, moe_error_t *error)
{
    const moe_placement_t placement = {.ranks = ranks};
    const moe_sizes_t sizes = {.placement = &placement, .ranks_per_node = node_ranks};
    const moe_status_t status = way_create(&sizes, scope, false, out, error);
    for (size_t r = 0; status == MOE_OK && r < ranks; r++)
        out->mean[r] = rows;
    return status;
}

/* ---- What one rank sends to another, without hops ---- */

/* Rows to a rank, from each source or from one of those that were counted. */
typedef struct direct {
    const double *mean, *variance;
    const float *rows; /* [ranks][ranks] or NULL */
    double *own;       /* memory of mean, where the rows do not depend on routing */
} direct_t;

static double rows_of(const direct_t *d, size_t ranks, size_t from, size_t to)
{
    return d->rows != NULL ? (double)d->rows[from * ranks + to] : d->mean[to];
}

static direct_t direct_of(const moe_spread_t *spread)
{
    return (direct_t){.mean = spread->mean, .variance = spread->variance, .rows = spread->rows};
}

/* Blocks whose size does not depend on what is kept. */
static bool blocks_are_constant(const moe_style_ops_t *style, const moe_sizes_t *sizes)
{
    return style->block_rows(sizes, 0) == style->block_rows(sizes, 1);
}

static moe_status_t blocks(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                           const moe_sample_t *sample, direct_t *out, moe_error_t *error)
{
    const moe_placement_t *p = sizes->placement;
    if (!blocks_are_constant(style, sizes)) {
        *out = direct_of(&sample->rank);
        return MOE_OK;
    }
    *out = (direct_t){.mean = NULL};
    const moe_status_t status =
        moe_alloc("rows of blocks", p->ranks, sizeof(double), (void **)&out->own, error);
    for (size_t r = 0; status == MOE_OK && r < p->ranks; r++)
        out->own[r] = (double)(p->first[r + 1] - p->first[r]) * (double)style->block_rows(sizes, 0);
    out->mean = out->own;
    return status;
}

/* ---- Straight to the ranks ---- */

static moe_status_t straight(const moe_sizes_t *sizes, const direct_t *d, moe_way_t *out,
                             moe_error_t *error)
{
    const size_t ranks = sizes->placement->ranks;
    const moe_status_t status = way_create(sizes, MOE_SCOPE_GROUP, d->rows != NULL, out, error);
    if (status != MOE_OK)
        return status;
    memcpy(out->mean, d->mean, ranks * sizeof *out->mean);
    if (d->variance != NULL)
        memcpy(out->variance, d->variance, ranks * sizeof *out->variance);
    if (d->rows != NULL)
        memcpy(out->rows, d->rows, ranks * ranks * sizeof *out->rows);
    return MOE_OK;
}

static moe_status_t ways_of_blocks(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                                   const moe_sample_t *sample, moe_way_t *out, size_t *count,
                                   moe_error_t *error)
{
    direct_t d;
    moe_status_t status = blocks(style, sizes, sample, &d, error);
    *count = 0;
    if (status == MOE_OK) {
        *count = 1;
        status = straight(sizes, &d, &out[0], error);
        const size_t ranks = sizes->placement->ranks;
        if (style->round_per_expert && ranks > 0)
            out[0].rounds = (sizes->placement->experts + ranks - 1) / ranks;
    }
    free(d.own);
    return status;
}

static moe_status_t ways_of_tokens(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                                   const moe_sample_t *sample, moe_way_t *out, size_t *count,
                                   moe_error_t *error)
{
    (void)style;
    const direct_t d = direct_of(&sample->token);
    *count = 1;
    return straight(sizes, &d, &out[0], error);
}

static moe_status_t ways_of_all(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                                const moe_sample_t *sample, moe_way_t *out, size_t *count,
                                moe_error_t *error)
{
    (void)style, (void)sample;
    *count = 1;
    return moe_way_uniform(sizes->placement->ranks, moe_sizes_node_ranks(sizes), MOE_SCOPE_GROUP,
                           (double)sizes->tokens_max, &out[0], error);
}

/* ---- By way of forwarders ---- */

/* A token once to each node, to the rank of the same number there, and from it to the ranks. */
static moe_status_t ways_of_forwarders(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                                       const moe_sample_t *sample, moe_way_t *out, size_t *count,
                                       moe_error_t *error)
{
    (void)style;
    const size_t ranks = sizes->placement->ranks, g = moe_sizes_node_ranks(sizes);
    const size_t nodes = moe_sizes_nodes(sizes);
    const bool counted = sample->token.rows != NULL;
    *count = 2;
    moe_status_t status = way_create(sizes, MOE_SCOPE_RAIL, counted, &out[0], error);
    if (status == MOE_OK)
        status = way_create(sizes, MOE_SCOPE_NODE, counted, &out[1], error);
    if (status != MOE_OK)
        return status;
    out[1].forwarded = true;
    for (size_t r = 0; r < ranks; r++) {
        out[0].mean[r] = sample->node.mean[r / g];
        out[0].variance[r] = sample->node.variance[r / g];
        out[1].mean[r] = (double)nodes * sample->token.mean[r];
        out[1].variance[r] = (double)nodes * sample->token.variance[r];
    }
    for (size_t i = 0; counted && i < ranks; i++) {
        for (size_t n = 0; n < nodes; n++)
            out[0].rows[i * ranks + n * g + i % g] = sample->node.rows[i * nodes + n];
        for (size_t r = 0; r < ranks; r++)
            out[1].rows[(r / g * g + i % g) * ranks + r] += sample->token.rows[i * ranks + r];
    }
    return MOE_OK;
}

/* Blocks first within the node, to the rank of the receiver's number, then between nodes. */
static moe_status_t ways_by_node(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                                 const moe_sample_t *sample, moe_way_t *out, size_t *count,
                                 moe_error_t *error)
{
    const size_t ranks = sizes->placement->ranks, g = moe_sizes_node_ranks(sizes);
    direct_t d;
    moe_status_t status = blocks(style, sizes, sample, &d, error);
    *count = 0;
    if (status == MOE_OK) {
        *count = 2;
        status = way_create(sizes, MOE_SCOPE_NODE, d.rows != NULL, &out[0], error);
    }
    if (status == MOE_OK)
        status = way_create(sizes, MOE_SCOPE_RAIL, d.rows != NULL, &out[1], error);
    for (size_t r = 0; status == MOE_OK && r < ranks; r++) {
        out[0].mean[r % g] += d.mean[r];
        out[1].mean[r] = (double)g * d.mean[r];
        if (d.variance != NULL) {
            out[0].variance[r % g] += d.variance[r];
            out[1].variance[r] = (double)g * d.variance[r];
        }
        for (size_t i = 0; d.rows != NULL && i < ranks; i++) {
            const size_t via = i / g * g + r % g;
            out[0].rows[i * ranks + via] += (float)rows_of(&d, ranks, i, r);
            out[1].rows[via * ranks + r] += (float)rows_of(&d, ranks, i, r);
        }
    }
    for (size_t r = g; status == MOE_OK && r < ranks; r++) {
        out[0].mean[r] = out[0].mean[r % g];
        out[0].variance[r] = out[0].variance[r % g];
    }
    if (status == MOE_OK)
        out[1].forwarded = true;
    free(d.own);
    return status;
}

/* ---- By style ---- */

typedef moe_status_t (*ways_fn)(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                                const moe_sample_t *sample, moe_way_t *out, size_t *count,
                                moe_error_t *error);

/* Styles that are not straight blocks per expert. */
static const struct {
    const char *style;
    ways_fn ways;
} others[] = {
    {"allgather", ways_of_all},
    {"dedup", ways_of_tokens},
    {"two-hop", ways_of_forwarders},
    {"hier", ways_by_node},
};

moe_status_t moe_ways_create(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                             const moe_sample_t *sample, moe_way_t *out, size_t *count,
                             moe_error_t *error)
{
    ways_fn ways = style->count == NULL && style->plan == NULL ? ways_of_blocks : NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ways = strcmp(others[i].style, style->name) == 0 ? others[i].ways : ways;
    if (ways == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "style %s: there is no cost model for it",
                        style->name);
    moe_sizes_t known = *sizes;
    known.count_max = (size_t)ceil(sample->count_max);
    for (size_t i = 0; i < MOE_MOST_WAYS; i++)
        out[i] = (moe_way_t){0};
    const moe_status_t status = ways(style, &known, sample, out, count, error);
    for (size_t i = 0; status != MOE_OK && i < MOE_MOST_WAYS; i++)
        moe_way_destroy(&out[i]);
    return status;
}
