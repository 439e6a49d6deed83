/* Rows that ranks have to send: of all ranks, or of some that stand for all. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "moe/predict.h"
#include "moe/system.h"

/* A gate may look at every expert of a token: with many experts fewer tokens are routed. */
#define FULL_SAMPLE_EXPERTS 256

size_t moe_sample_ranks(const moe_workload_t *workload, size_t tokens)
{
    const size_t ranks = workload->placement->ranks, experts = workload->placement->experts;
    const size_t budget =
        experts > FULL_SAMPLE_EXPERTS ? tokens / (experts / FULL_SAMPLE_EXPERTS) : tokens;
    size_t most = 1;
    for (size_t r = 0; r < ranks; r++)
        most = workload->tokens[r] > most ? workload->tokens[r] : most;
    size_t wanted = budget / most;
    wanted = wanted < MOE_LEAST_SAMPLE ? MOE_LEAST_SAMPLE : wanted;
    if (wanted >= ranks && ranks <= MOE_MOST_COUNTED)
        return ranks;
    wanted = wanted < ranks ? wanted : ranks - 1;
    return wanted < MOE_MOST_COUNTED ? wanted : MOE_MOST_COUNTED;
}

size_t moe_sample_rank(size_t ranks, size_t sampled, size_t i)
{
    return (size_t)((double)i * (double)ranks / (double)sampled);
}

/* ---- Sums over the ranks of the sample ---- */

/* While ranks are added, mean and variance hold the sums of rows and of their squares. */
static void spread_add(moe_spread_t *s, size_t rank, const size_t *rows)
{
    for (size_t u = 0; u < s->units; u++) {
        const double n = (double)rows[u];
        s->mean[u] += n;
        s->variance[u] += n * n;
        if (s->rows != NULL)
            s->rows[rank * s->units + u] = (float)rows[u];
    }
}

/* Means of units that get rows differ by chance, too: by the mean variance over the number of samples. What
 * they differ beyond that is theirs (Efron and Morris, JASA 70, 1975: the estimate by both). */
static void draw_together(moe_spread_t *s, double sampled)
{
    double n = 0, sum = 0, squares = 0, noise = 0;
    for (size_t u = 0; u < s->units; u++) {
        if (s->mean[u] > 0) {
            n++;
            sum += s->mean[u];
            squares += s->mean[u] * s->mean[u];
            noise += s->variance[u] / sampled;
        }
    }
    if (n < 3)
        return;
    const double mean = sum / n, scatter = squares / n - mean * mean;
    const double keep = scatter > 0 ? fmax(0, 1 - noise / n / scatter) : 1;
    for (size_t u = 0; u < s->units; u++) {
        if (s->mean[u] > 0)
            s->mean[u] = mean + keep * (s->mean[u] - mean);
    }
}

static void spread_end(moe_spread_t *s, size_t sampled)
{
    const double n = (double)sampled;
    for (size_t u = 0; u < s->units; u++) {
        const double mean = s->mean[u] / n;
        s->variance[u] = sampled > 1 ? fmax(0, (s->variance[u] - n * mean * mean) / (n - 1)) : mean;
        s->mean[u] = mean;
    }
    if (s->rows == NULL)
        draw_together(s, n);
}

static moe_status_t spread_create(size_t units, size_t counted, moe_spread_t *out,
                                  moe_error_t *error)
{
    out->units = units;
    moe_status_t status =
        moe_alloc("expected loads", units, sizeof(double), (void **)&out->mean, error);
    if (status == MOE_OK)
        status = moe_alloc("expected loads", units, sizeof(double), (void **)&out->variance, error);
    if (status == MOE_OK && counted > 0)
        status =
            moe_alloc("counted rows", counted * units, sizeof(float), (void **)&out->rows, error);
    return status;
}

static void spread_destroy(moe_spread_t *s)
{
    free(s->mean);
    free(s->variance);
    free(s->rows);
    *s = (moe_spread_t){0};
}

/* ---- One rank ---- */

/* Marks of the units that the token at hand has reached: stamps, so that nothing has to be cleared. */
typedef struct counting {
    const moe_placement_t *placement;
    size_t node_ranks;
    size_t *rank_rows, *rank_tokens, *node_tokens; /* [ranks], [ranks], [nodes] */
    uint64_t *rank_stamp, *node_stamp;
    uint64_t stamp;
} counting_t;

static void count_token(counting_t *c, const moe_batch_t *batch, size_t t)
{
    const size_t top_k = batch->table.top_k;
    c->stamp++;
    for (size_t i = t * top_k; i < (t + 1) * top_k; i++) {
        if (!batch->kept[i])
            continue;
        const size_t rank = (size_t)c->placement->rank_of[batch->table.expert[i]];
        const size_t node = rank / c->node_ranks;
        c->rank_rows[rank]++;
        c->rank_tokens[rank] += c->rank_stamp[rank] != c->stamp;
        c->node_tokens[node] += c->node_stamp[node] != c->stamp;
        c->rank_stamp[rank] = c->node_stamp[node] = c->stamp;
    }
}

static void count_rank(counting_t *c, const moe_batch_t *batch, size_t rank, moe_sample_t *s)
{
    memset(c->rank_rows, 0, s->rank.units * sizeof(size_t));
    memset(c->rank_tokens, 0, s->token.units * sizeof(size_t));
    memset(c->node_tokens, 0, s->node.units * sizeof(size_t));
    for (size_t t = 0; t < batch->table.tokens; t++)
        count_token(c, batch, t);
    spread_add(&s->expert, rank, batch->counts);
    spread_add(&s->rank, rank, c->rank_rows);
    spread_add(&s->token, rank, c->rank_tokens);
    spread_add(&s->node, rank, c->node_tokens);
    for (size_t e = 0; e < s->expert.units; e++)
        s->count_max = fmax(s->count_max, (double)batch->counts[e]);
    s->tokens += batch->table.tokens;
}

/* Of the ranks that were not routed, too: every one is as likely to have the fullest expert. */
static moe_status_t expect_fullest(const moe_workload_t *workload, moe_sample_t *s,
                                   moe_error_t *error)
{
    const size_t experts = s->expert.units;
    const moe_capacity_spec_t *capacity = &workload->capacity;
    double *mean = NULL;
    size_t tokens = 0;
    moe_status_t status =
        moe_alloc("expected loads", 2 * experts, sizeof *mean, (void **)&mean, error);
    if (status != MOE_OK)
        return status;
    double *const sigma = mean + experts;
    for (size_t e = 0; e < experts; e++) {
        mean[e] = s->expert.mean[e];
        sigma[e] = sqrt(s->expert.variance[e]);
    }
    const double most = moe_largest(mean, sigma, experts, (double)s->ranks, NULL);
    free(mean);
    for (size_t r = 0; r < s->ranks; r++)
        tokens = workload->tokens[r] > tokens ? workload->tokens[r] : tokens;
    const size_t slots =
        capacity->factor > 0
            ? moe_capacity_slots(tokens, experts, moe_router_spec(workload->router)->top_k,
                                 capacity->factor, capacity->min)
            : tokens;
    s->count_max = fmin(fmax(most, s->count_max), (double)(slots < tokens ? slots : tokens));
    return MOE_OK;
}

/* ---- All of it ---- */

static moe_status_t counting_create(const moe_sample_t *s, counting_t *c, moe_error_t *error)
{
    const size_t ranks = s->rank.units, nodes = s->node.units;
    struct {
        size_t count;
        void **out;
    } arrays[] = {{ranks, (void **)&c->rank_rows},
                  {ranks, (void **)&c->rank_tokens},
                  {nodes, (void **)&c->node_tokens},
                  {ranks, (void **)&c->rank_stamp},
                  {nodes, (void **)&c->node_stamp}};
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < sizeof arrays / sizeof *arrays; i++)
        status = moe_alloc("counts of one rank", arrays[i].count, sizeof(uint64_t), arrays[i].out,
                           error);
    return status;
}

static void counting_destroy(counting_t *c)
{
    free(c->rank_rows);
    free(c->rank_tokens);
    free(c->node_tokens);
    free(c->rank_stamp);
    free(c->node_stamp);
}

static moe_status_t create_spreads(moe_sample_t *s, size_t experts, size_t nodes,
                                   moe_error_t *error)
{
    const size_t counted = s->sampled == s->ranks ? s->ranks : 0;
    moe_status_t status = spread_create(experts, counted, &s->expert, error);
    if (status == MOE_OK)
        status = spread_create(s->ranks, counted, &s->rank, error);
    if (status == MOE_OK)
        status = spread_create(s->ranks, counted, &s->token, error);
    return status == MOE_OK ? spread_create(nodes, counted, &s->node, error) : status;
}

static void end_spreads(moe_sample_t *s)
{
    spread_end(&s->expert, s->sampled);
    spread_end(&s->rank, s->sampled);
    spread_end(&s->token, s->sampled);
    spread_end(&s->node, s->sampled);
}

moe_status_t moe_sample_create(const moe_workload_t *workload, size_t tokens,
                               void (*look)(void *context, size_t rank, const moe_batch_t *batch),
                               void *context, moe_sample_t *out, moe_error_t *error)
{
    const moe_placement_t *placement = workload->placement;
    moe_sizes_t sizes;
    moe_sizes_of(workload, 0, &sizes);
    moe_sample_t s = {.ranks = placement->ranks, .sampled = moe_sample_ranks(workload, tokens)};
    counting_t counting = {.placement = placement, .node_ranks = moe_sizes_node_ranks(&sizes)};
    moe_status_t status = create_spreads(&s, placement->experts, moe_sizes_nodes(&sizes), error);
    if (status == MOE_OK)
        status = counting_create(&s, &counting, error);
    for (size_t i = 0; status == MOE_OK && i < s.sampled; i++) {
        const size_t rank = moe_sample_rank(s.ranks, s.sampled, i);
        moe_batch_t *batch = NULL;
        status = moe_batch_create(workload, rank, &batch, error);
        if (status == MOE_OK) {
            count_rank(&counting, batch, rank, &s);
            if (look != NULL)
                look(context, rank, batch);
            moe_batch_destroy(batch);
        }
    }
    counting_destroy(&counting);
    if (status == MOE_OK) {
        end_spreads(&s);
        if (s.sampled < s.ranks)
            status = expect_fullest(workload, &s, error);
    }
    if (status != MOE_OK) {
        moe_sample_destroy(&s);
        return status;
    }
    *out = s;
    return MOE_OK;
}

void moe_sample_destroy(moe_sample_t *sample)
{
    spread_destroy(&sample->expert);
    spread_destroy(&sample->rank);
    spread_destroy(&sample->token);
    spread_destroy(&sample->node);
    *sample = (moe_sample_t){0};
}
