#include "ports.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* ---- Scopes ---- */

/* Ranks in an order in which those of a scope lie together: by rank, or by rail, then node. */
size_t moe_way_place(const moe_way_t *way, size_t rank)
{
    const size_t g = way->node_ranks, nodes = way->ranks / g;
    return way->scope == MOE_SCOPE_RAIL ? rank % g * nodes + rank / g : rank;
}

size_t moe_way_rank(const moe_way_t *way, size_t place)
{
    const size_t g = way->node_ranks, nodes = way->ranks / g;
    return way->scope == MOE_SCOPE_RAIL ? place % nodes * g + place / nodes : place;
}

void moe_way_members(const moe_way_t *way, size_t place, size_t *first, size_t *last)
{
    const size_t g = way->node_ranks;
    const size_t size = way->scope == MOE_SCOPE_GROUP  ? way->ranks
                        : way->scope == MOE_SCOPE_NODE ? g
                                                       : way->ranks / g;
    *first = place / size * size;
    *last = *first + size < way->ranks ? *first + size : way->ranks;
}

double moe_way_sends(const moe_way_t *way, size_t rank)
{
    const double mean = way->mean[rank];
    return way->variance[rank] > 0 ? -expm1(-mean) : mean > 0;
}

size_t moe_tier_between(const moe_machine_t *machine, size_t a, size_t b)
{
    size_t t = 0;
    while (t + 1 < machine->tiers && a / machine->tier[t].ranks != b / machine->tier[t].ranks)
        t++;
    return t;
}

/* Places [*first, *last) of those within the scope of `rank` that tiers up to t join with it. */
static void joined(const moe_way_t *way, const moe_machine_t *machine, size_t t, size_t rank,
                   size_t *first, size_t *last)
{
    const size_t place = moe_way_place(way, rank), span = machine->tier[t].ranks;
    moe_way_members(way, place, first, last);
    if (span == 0)
        return;
    const size_t begin = rank / span * span;
    size_t low = begin, high = begin + span;
    if (way->scope == MOE_SCOPE_RAIL) { /* one rank a node */
        const size_t g = way->node_ranks;
        low = span < g ? place : place - (rank / g - begin / g);
        high = span < g ? place + 1 : low + span / g;
    }
    *first = low > *first ? low : *first;
    *last = high < *last ? high : *last;
}

/* ---- Loads ---- */

static moe_status_t create_tier(size_t ports, moe_tier_load_t *out, moe_error_t *error)
{
    out->ports = ports;
    double **const arrays[] = {&out->rows[0],     &out->rows[1],     &out->variance[0],
                               &out->variance[1], &out->messages[0], &out->messages[1]};
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < sizeof arrays / sizeof *arrays; i++)
        status = moe_alloc("loads of ports", ports, sizeof(double), (void **)arrays[i], error);
    return status;
}

static void add_counted(const moe_way_t *way, const moe_machine_t *machine, moe_ports_t *ports)
{
    for (size_t from = 0; from < way->ranks; from++) {
        for (size_t to = 0; to < way->ranks; to++) {
            const double rows = (double)way->rows[from * way->ranks + to];
            if (from == to || rows <= 0)
                continue;
            const size_t t = moe_tier_between(machine, from, to);
            moe_tier_load_t *load = &ports->tier[t];
            const size_t out = from / machine->tier[t].ranks_per_port;
            const size_t in = to / machine->tier[t].ranks_per_port;
            load->rows[MOE_SENT][out] += rows;
            load->messages[MOE_SENT][out]++;
            load->rows[MOE_RECEIVED][in] += rows;
            load->messages[MOE_RECEIVED][in]++;
        }
    }
}

/* Running sums by place: of rows, their variances, and messages. */
typedef struct sums {
    double *rows, *variance, *messages; /* [ranks + 1] */
} sums_t;

static moe_status_t create_sums(const moe_way_t *way, sums_t *s, moe_error_t *error)
{
    const size_t n = way->ranks;
    moe_status_t status =
        moe_alloc("running sums", 3 * (n + 1), sizeof(double), (void **)&s->rows, error);
    if (status != MOE_OK)
        return status;
    s->variance = s->rows + n + 1;
    s->messages = s->variance + n + 1;
    for (size_t p = 0; p < n; p++) {
        const size_t rank = moe_way_rank(way, p);
        s->rows[p + 1] = s->rows[p] + way->mean[rank];
        s->variance[p + 1] = s->variance[p] + way->variance[rank];
        s->messages[p + 1] = s->messages[p] + moe_way_sends(way, rank);
    }
    return MOE_OK;
}

/* One rank in one tier: those that the tier joins with it and no nearer one does. */
static void add_expected_of(const moe_way_t *way, const moe_machine_t *machine, const sums_t *s,
                            size_t t, size_t rank, moe_tier_load_t *load)
{
    size_t first, last, near_first, near_last;
    joined(way, machine, t, rank, &first, &last);
    near_first = moe_way_place(way, rank);
    near_last = near_first + 1;
    if (t > 0)
        joined(way, machine, t - 1, rank, &near_first, &near_last);
    const double peers = (double)((last - first) - (near_last - near_first));
    if (peers <= 0)
        return;
    const size_t port = rank / machine->tier[t].ranks_per_port;
    load->rows[MOE_SENT][port] +=
        s->rows[last] - s->rows[first] - (s->rows[near_last] - s->rows[near_first]);
    load->variance[MOE_SENT][port] +=
        s->variance[last] - s->variance[first] - (s->variance[near_last] - s->variance[near_first]);
    load->messages[MOE_SENT][port] +=
        s->messages[last] - s->messages[first] - (s->messages[near_last] - s->messages[near_first]);
    load->rows[MOE_RECEIVED][port] += peers * way->mean[rank];
    load->variance[MOE_RECEIVED][port] += peers * way->variance[rank];
    load->messages[MOE_RECEIVED][port] += peers * moe_way_sends(way, rank);
}

static moe_status_t add_expected(const moe_way_t *way, const moe_machine_t *machine,
                                 moe_ports_t *ports, moe_error_t *error)
{
    sums_t sums = {0};
    const moe_status_t status = create_sums(way, &sums, error);
    for (size_t t = 0; status == MOE_OK && t < machine->tiers; t++) {
        for (size_t rank = 0; rank < way->ranks; rank++)
            add_expected_of(way, machine, &sums, t, rank, &ports->tier[t]);
    }
    free(sums.rows);
    return status;
}

moe_status_t moe_ports_create(const moe_way_t *way, const moe_machine_t *machine, moe_ports_t *out,
                              moe_error_t *error)
{
    assert(machine->tiers > 0);
    moe_ports_t ports = {0};
    moe_status_t status = MOE_OK;
    for (size_t t = 0; status == MOE_OK && t < machine->tiers; t++) {
        const size_t sharing = machine->tier[t].ranks_per_port;
        status = create_tier((way->ranks + sharing - 1) / sharing, &ports.tier[t], error);
    }
    if (status == MOE_OK && way->rows != NULL)
        add_counted(way, machine, &ports);
    else if (status == MOE_OK)
        status = add_expected(way, machine, &ports, error);
    if (status != MOE_OK) {
        moe_ports_destroy(&ports);
        return status;
    }
    *out = ports;
    return MOE_OK;
}

void moe_ports_destroy(moe_ports_t *ports)
{
    for (size_t t = 0; t < MOE_MOST_TIERS; t++) {
        for (int d = 0; d < MOE_DIRECTIONS; d++) {
            free(ports->tier[t].rows[d]);
            free(ports->tier[t].variance[d]);
            free(ports->tier[t].messages[d]);
        }
    }
    *ports = (moe_ports_t){0};
}

/* ---- Time ---- */

/* Time of the busiest port of a tier in one direction, and its messages. mean and sigma: room. */
static double busiest(const moe_tier_load_t *load, int direction, const moe_tier_t *tier,
                      double row_bytes, double rounds, double *mean, double *messages)
{
    double *const sigma = mean + load->ports;
    size_t which = 0;
    for (size_t p = 0; p < load->ports; p++) {
        mean[p] = load->messages[direction][p] * rounds * tier->overhead +
                  load->rows[direction][p] * row_bytes / tier->bandwidth;
        sigma[p] = sqrt(fmax(0, load->variance[direction][p])) * row_bytes / tier->bandwidth;
    }
    const double time = moe_largest(mean, sigma, load->ports, 1, &which);
    *messages = load->messages[direction][which];
    return time;
}

/* Tiers work beside each other: the slower one decides. Some message of it is the last to arrive, and its
 * latency is not hidden. */
moe_status_t moe_ports_cost(const moe_ports_t *ports, const moe_machine_t *machine, unsigned tiers,
                            double row_bytes, double rounds, moe_cost_t *out, moe_error_t *error)
{
    double *room = NULL, longest = 0, most_messages = 0;
    size_t slowest = 0, widest = MOE_MOST_TIERS, most_ports = 0;
    for (size_t t = 0; t < machine->tiers; t++)
        most_ports = ports->tier[t].ports > most_ports ? ports->tier[t].ports : most_ports;
    const moe_status_t status =
        moe_alloc("times of ports", 2 * most_ports, sizeof *room, (void **)&room, error);
    if (status != MOE_OK)
        return status;
    for (size_t t = 0; t < machine->tiers; t++) {
        for (int d = 0; d < MOE_DIRECTIONS && (tiers >> t & 1) != 0; d++) {
            double messages = 0;
            const double time =
                busiest(&ports->tier[t], d, &machine->tier[t], row_bytes, rounds, room, &messages);
            if (messages > 0)
                widest = t;
            if (time > longest) {
                longest = time;
                slowest = t;
                most_messages = messages;
            }
        }
    }
    free(room);
    if (widest == MOE_MOST_TIERS)
        return MOE_OK;
    most_messages *= rounds;
    const double overhead = most_messages * machine->tier[slowest].overhead;
    out->steps[widest] += rounds;
    out->messages[slowest] += most_messages;
    out->bytes[slowest] += (longest - overhead) * machine->tier[slowest].bandwidth;
    out->terms.latency += rounds * machine->tier[widest].latency;
    out->terms.overhead += overhead;
    out->terms.bytes[slowest] += longest - overhead;
    return MOE_OK;
}

double moe_tier_sharing(const moe_machine_t *machine, size_t tier, size_t ranks)
{
    const size_t port = machine->tier[tier].ranks_per_port;
    return (double)(port < ranks ? port : ranks);
}

void moe_cost_message(const moe_machine_t *machine, size_t tier, double bytes, double sharing,
                      double times, moe_cost_t *out)
{
    const moe_tier_t *t = &machine->tier[tier];
    out->steps[tier] += times;
    out->messages[tier] += times * sharing;
    out->bytes[tier] += times * sharing * bytes;
    out->terms.latency += times * t->latency;
    out->terms.overhead += times * sharing * t->overhead;
    out->terms.bytes[tier] += times * sharing * bytes / t->bandwidth;
}
