/* Algorithms that go by nodes: hierarchical and birkhoff. */
#include <math.h>
#include <stdlib.h>

#include "moe/system.h"
#include "ports.h"
#include "predictors.h"

static bool has_levels(const moe_way_t *way)
{
    return way->scope == MOE_SCOPE_GROUP && way->node_ranks > 1 && way->ranks > way->node_ranks;
}

/* ---- Hierarchical ---- */

static moe_status_t new_way(const moe_way_t *like, moe_scope_t scope, moe_way_t *out,
                            moe_error_t *error)
{
    moe_status_t status = moe_way_uniform(like->ranks, like->node_ranks, scope, 0, out, error);
    out->rounds = like->rounds;
    if (status == MOE_OK && like->rows != NULL)
        status = moe_alloc("counted rows", like->ranks * like->ranks, sizeof(float),
                           (void **)&out->rows, error);
    return status;
}

/* Rows for a rank of another node go to the rank of its number in the own node, and from there as one message
 * to it; rows for a rank of the same node go to it. On the way back it is the source of dispatch whose number
 * counts, so that a rank with rows for many has them leave its node on all rails.
 *
 * Expected rows: `cross` is symmetrical in both directions, as ports are. */
static void add_rows(moe_way_t *sum, size_t to, double times, const moe_way_t *way, size_t rank)
{
    sum->mean[to] += times * way->mean[rank];
    sum->variance[to] += times * way->variance[rank];
}

static void lay_expected(const moe_way_t *way, moe_way_t *gather, moe_way_t *cross)
{
    const size_t n = way->ranks, g = way->node_ranks;
    for (size_t r = 0; r < n; r++) {
        const size_t node = r / g * g;
        add_rows(way->back ? gather : cross, r, (double)(way->back ? n / g : g), way, r);
        for (size_t same = node; way->back && same < node + g && same < n; same++)
            add_rows(cross, r, 1, way, same);
        for (size_t same = r % g; !way->back && same < n; same += g)
            add_rows(gather, r, 1, way, same);
    }
}

static void lay_counted(const moe_way_t *way, moe_way_t *gather, moe_way_t *cross)
{
    const size_t n = way->ranks, g = way->node_ranks;
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < n; r++) {
            const size_t from = way->back ? r : i, to = way->back ? i : r;
            const size_t via = from / g * g + to % g;
            gather->rows[from * n + via] += way->rows[i * n + r];
            if (from / g != to / g)
                cross->rows[via * n + to] += way->rows[i * n + r];
        }
    }
}

moe_status_t moe_predict_hierarchical(const moe_predictor_t *predictor, const moe_way_t *way,
                                      const moe_machine_t *machine, double row_bytes,
                                      moe_cost_t *out, moe_error_t *error)
{
    if (way->scope == MOE_SCOPE_NODE || way->ranks <= way->node_ranks)
        return moe_predict_at_once(predictor, way, machine, row_bytes, out, error);
    if (!has_levels(way))
        return moe_predict_pairwise(predictor, way, machine, row_bytes, out, error);
    moe_way_t gather = {0}, cross = {0};
    moe_status_t status = new_way(way, MOE_SCOPE_NODE, &gather, error);
    if (status == MOE_OK)
        status = new_way(way, MOE_SCOPE_RAIL, &cross, error);
    if (status == MOE_OK) {
        (way->rows != NULL ? lay_counted : lay_expected)(way, &gather, &cross);
        status = moe_predict_at_once(predictor, &gather, machine, row_bytes, out, error);
    }
    if (status == MOE_OK)
        status = moe_predict_pairwise(predictor, &cross, machine, row_bytes, out, error);
    moe_way_destroy(&gather);
    moe_way_destroy(&cross);
    return status;
}

/* ---- Birkhoff ---- */

/* The ports of a node as one, of as much bandwidth as all of them: rows are dealt evenly to its ranks. */
static moe_machine_t pooled(const moe_machine_t *machine, const moe_way_t *way)
{
    moe_machine_t m = *machine;
    for (size_t t = 0; t < m.tiers; t++) {
        const size_t g = way->node_ranks, port = m.tier[t].ranks_per_port;
        m.tier[t].overhead = 0;
        if (port < g && (m.tier[t].ranks == 0 || m.tier[t].ranks > g)) {
            m.tier[t].bandwidth *= (double)g / (double)port;
            m.tier[t].ranks_per_port = g;
        }
    }
    return m;
}

static bool inside_node(const moe_machine_t *machine, const moe_way_t *way, size_t t)
{
    return machine->tier[t].ranks != 0 && machine->tier[t].ranks <= way->node_ranks;
}

/* No port idles while the busiest works. Stages are taken to be as many as there are nodes, each with its
 * latency and overhead; where nodes have several ranks, rows are dealt in them before and after. */
moe_status_t moe_predict_birkhoff(const moe_predictor_t *predictor, const moe_way_t *way,
                                  const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                                  moe_error_t *error)
{
    const bool levels = has_levels(way);
    const moe_machine_t m = levels ? pooled(machine, way) : *machine;
    moe_ports_t ports;
    moe_cost_t within = {0}, between = {0};
    unsigned inner = 0;
    (void)predictor;
    for (size_t t = 0; levels && t < m.tiers; t++)
        inner |= inside_node(machine, way, t) ? 1U << t : 0;
    moe_status_t status = moe_ports_create(way, &m, &ports, error);
    if (status != MOE_OK)
        return status;
    status = moe_ports_cost(&ports, &m, ~inner, row_bytes, 0, &between, error);
    if (status == MOE_OK && inner != 0)
        status = moe_ports_cost(&ports, &m, inner, row_bytes, 1, &within, error);
    moe_ports_destroy(&ports);
    if (status != MOE_OK)
        return status;
    size_t first, last;
    moe_way_members(way, 0, &first, &last);
    const size_t g = way->node_ranks, stages = levels ? (last - first) / g : last - first;
    const size_t tier =
        moe_tier_between(machine, moe_way_rank(way, first), moe_way_rank(way, last - 1));
    double node_bytes = 0;
    for (size_t t = 0; t < m.tiers; t++) {
        node_bytes += between.bytes[t];
        between.bytes[t] *=
            machine->tier[t].bandwidth / m.tier[t].bandwidth; /* of one port again */
    }
    moe_cost_add(out, &within, 1);
    moe_cost_add(out, &between, 1);
    if (moe_terms_sum(&between.terms) > 0 && stages > 1)
        moe_cost_message(machine, tier, 0, 1, (double)((stages - 1) * way->rounds), out);
    for (size_t t = 0; t < m.tiers && inner != 0; t++) {
        if (inner >> t & 1 && !(inner >> (t + 1) & 1)) { /* the widest tier within a node */
            /* Of a node's bytes all but 1/g are another rank's, before and after. */
            const double dealt = 2 * node_bytes / (double)g * (double)(g - 1) / (double)g;
            moe_cost_message(machine, t, dealt, 1, 1, out);
        }
    }
    return MOE_OK;
}
