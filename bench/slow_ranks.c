#include "slow_ranks.h"

#include <stdlib.h>

#include "findings.h"
#include "moe/system.h"

/* What rank 0 needs to know of each rank. */
typedef struct rank_figure {
    double median;
    size_t slowest; /* repetitions in which it was the last */
} rank_figure_t;

/* ---- Load ---- */

static double port(const moe_flow_t *flow, size_t rank)
{
    const size_t sent = flow->sent[rank], received = flow->received[rank];
    return (double)(sent > received ? sent : received);
}

/* Its own rows are packed and unpacked too. */
static double rows(const moe_flow_t *flow, size_t rank)
{
    const size_t own = flow->arriving[rank] - flow->received[rank];
    return (double)flow->sent[rank] + (double)own + (double)flow->arriving[rank];
}

/* false: the phase is not judged. */
static bool load_of(const slow_ranks_t *about, moe_layer_column_t column, size_t rank, double *load)
{
    const bool blocks = about->style->block_rows != NULL;
    switch (column) {
    case MOE_LAYER_PERMUTE:
        *load = rows(about->dispatch, rank);
        return blocks;
    case MOE_LAYER_DISPATCH:
        *load = port(about->dispatch, rank);
        return true;
    case MOE_LAYER_COMBINE:
        *load = port(about->combine, rank);
        return true;
    case MOE_LAYER_UNPERMUTE:
        *load = rows(about->combine, rank);
        return blocks;
    default:
        return false;
    }
}

/* ---- Figures of all ranks ---- */

static moe_status_t gather(const slow_ranks_t *about, moe_layer_column_t column,
                           const moe_series_t *series, rank_figure_t *all, moe_error_t *error)
{
    moe_transport_t *t = about->world->all;
    const double *own = moe_series_column(series, series->own, column);
    const uint32_t *slowest = series->slowest + column * series->capacity + series->warmup;
    moe_summary_t summary;
    rank_figure_t mine = {0};
    const moe_status_t status = moe_summarise(own, series->reps, &summary, error);
    if (status != MOE_OK) {
        return status;
    }
    mine.median = summary.median;
    for (size_t r = 0; r < series->reps; r++) {
        mine.slowest += slowest[r] == t->rank;
    }
    return t->ops->allgather(t, &mine, sizeof mine, all, error);
}

typedef struct work {
    rank_figure_t *figure; /* [ranks], as are all */
    double *seconds, *load;
    size_t *slowest, *node;
} work_t;

static moe_status_t judge(const slow_ranks_t *about, moe_layer_column_t column,
                          const moe_series_t *series, const work_t *work, moe_error_t *error)
{
    const size_t ranks = about->world->all->size;
    moe_findings_t findings = {0};
    for (size_t r = 0; r < ranks; r++) {
        work->seconds[r] = work->figure[r].median;
        work->slowest[r] = work->figure[r].slowest;
        (void)load_of(about, column, r, &work->load[r]);
    }
    const moe_rank_times_t times = {
        .ranks = ranks, .seconds = work->seconds, .load = work->load, .node = work->node};
    const findings_source_t source = {.node = work->node,
                                      .style = about->style->name,
                                      .algorithm = about->algorithm,
                                      .phase = moe_layer_column_name(column),
                                      .slowest = work->slowest,
                                      .reps = series->reps};
    moe_status_t status = moe_outliers_of_ranks(&times, &moe_outlier_rule, &findings, error);
    if (status == MOE_OK) {
        status = findings_report(about->world, &source, &findings, error);
    }
    moe_findings_destroy(&findings);
    return status;
}

moe_status_t slow_ranks_find(const slow_ranks_t *about, moe_layer_column_t column,
                             const moe_series_t *series, moe_error_t *error)
{
    const size_t ranks = about->world->all->size;
    work_t work = {0};
    double load;
    if (!about->world->config.per_rank || about->dispatch->ranks != ranks ||
        !load_of(about, column, 0, &load)) {
        return MOE_OK;
    }
    moe_status_t status =
        moe_alloc("rank figures", ranks, sizeof *work.figure, (void **)&work.figure, error);
    if (status == MOE_OK) {
        status =
            moe_alloc("rank figures", ranks, 2 * sizeof(double), (void **)&work.seconds, error);
    }
    if (status == MOE_OK) {
        status =
            moe_alloc("rank figures", ranks, 2 * sizeof(size_t), (void **)&work.slowest, error);
    }
    if (status == MOE_OK) {
        work.load = work.seconds + ranks;
        work.node = work.slowest + ranks;
        status = gather(about, column, series, work.figure, error);
    }
    if (status == MOE_OK) {
        status = findings_nodes(about->world, work.node, error);
    }
    if (status == MOE_OK && about->world->all->rank == 0) {
        status = judge(about, column, series, &work, error);
    }
    free(work.figure);
    free(work.seconds);
    free(work.slowest);
    return status;
}
