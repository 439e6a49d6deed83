/* Node-aware all-to-all-v in three phases. Rows for a rank on another node first go, inside the
 * sender's node, to the rank with the destination's local index (its rail); each rail then sends one
 * message to each other node, to the rank with its own local index; that rank keeps what is for it.
 * Between nodes there are N - 1 messages a rank instead of P - (ranks of a node), each as long as
 * all that the node has for that rank. Traffic inside a node goes directly, in the first phase.
 *
 * All that a rank must know is what ranks of its node send to all, and get: nodes tell each other nothing.
 *
 * A node may be smaller (the last one). A destination whose local index l it does not have takes
 * the rail l % size of the sending node, and a third phase delivers inside the destination's node.
 *
 * J. L. Träff, A. Rougier: MPI Collectives and Datatypes for Hierarchical All-to-all Communication,
 * EuroMPI 2014 (doi 10.1145/2642769.2642770); NCCL 2.12 calls the same path PXN. Nodes meet in a
 * ring of pairs, as ranks do in `pairwise`. */
#include <stdlib.h>

#include "algorithm.h"
#include "nodes.h"
#include "program.h"

typedef struct tree {
    moe_program_t *program;
    const moe_alltoallv_t *x;
    moe_node_map_t map;
    size_t me, node, index, first,
        size; /* this rank, its node, its place there; the node's ranks */
} tree_t;

/* Of a rank of this node, or to one: nothing else is asked for. */
static size_t rows_between(const tree_t *h, size_t from, size_t to)
{
    const size_t ranks = h->map.ranks;
    if (moe_node_of(&h->map, from) == h->node)
        return h->program->matrix[2 * (from - h->first) * ranks + to];
    return h->program->matrix[(2 * (to - h->first) + 1) * ranks + from];
}

static size_t node_after(const tree_t *h, size_t step)
{
    return (h->node + step) % h->map.nodes;
}

static size_t node_before(const tree_t *h, size_t step)
{
    return (h->node + h->map.nodes - step) % h->map.nodes;
}

/* Local index of the rank of `node` that carries rows to rank `to` of another node. */
static size_t rail(const tree_t *h, size_t node, size_t to)
{
    return moe_node_index(&h->map, to) % moe_node_size(&h->map, node);
}

static size_t rows_of_node(const tree_t *h, size_t node, size_t to)
{
    size_t rows = 0;
    const size_t first = moe_node_first(&h->map, node);
    for (size_t i = 0; i < moe_node_size(&h->map, node); i++)
        rows += rows_between(h, first + i, to);
    return rows;
}

/* ---- Inside the node: what stays there, and to the rails ---- */

/* Rows from rank `from` of this node that leave on this rank's rail: into OUT, which holds them by
 * node, then destination, then source. */
static void collect_from(const tree_t *h, size_t from)
{
    size_t at = 0;
    for (size_t step = 1; step < h->map.nodes; step++) {
        const size_t node = node_after(h, step), first = moe_node_first(&h->map, node);
        for (size_t to = first; to < first + moe_node_size(&h->map, node); to++) {
            if (rail(h, h->node, to) != h->index)
                continue;
            for (size_t source = h->first; source < h->first + h->size; source++) {
                const moe_place_t place = {MOE_AT_OUT, at};
                const size_t rows = rows_between(h, source, to);
                at += rows;
                if (source != from)
                    continue;
                if (from == h->me)
                    moe_program_copy(h->program, (moe_place_t){MOE_AT_SEND, h->x->send_first[to]},
                                     place, rows);
                else
                    moe_program_recv(h->program, place, rows, from);
            }
        }
    }
}

static void give_to_rail(const tree_t *h, size_t peer)
{
    for (size_t step = 1; step < h->map.nodes; step++) {
        const size_t node = node_after(h, step), first = moe_node_first(&h->map, node);
        for (size_t to = first; to < first + moe_node_size(&h->map, node); to++) {
            if (rail(h, h->node, to) == peer - h->first)
                moe_program_send(h->program, (moe_place_t){MOE_AT_SEND, h->x->send_first[to]},
                                 h->x->send_rows[to], peer);
        }
    }
}

static void gather(const tree_t *h)
{
    collect_from(h, h->me);
    for (size_t step = 1; step < h->size; step++) {
        const size_t from = h->first + (h->index + h->size - step) % h->size;
        moe_program_recv(h->program, (moe_place_t){MOE_AT_RECV, h->x->recv_first[from]},
                         h->x->recv_rows[from], from);
        collect_from(h, from);
    }
    for (size_t step = 1; step < h->size; step++) {
        const size_t to = h->first + (h->index + step) % h->size;
        moe_program_send(h->program, (moe_place_t){MOE_AT_SEND, h->x->send_first[to]},
                         h->x->send_rows[to], to);
        give_to_rail(h, to);
    }
    moe_program_finish(h->program);
}

/* ---- Between nodes ---- */

/* Rows that `from` has for all ranks of node `to` on the rail of local index `index`. */
static size_t rows_on_rail(const tree_t *h, size_t from, size_t to, size_t index)
{
    size_t rows = 0;
    const size_t first = moe_node_first(&h->map, to);
    for (size_t rank = first; rank < first + moe_node_size(&h->map, to); rank++) {
        if (rail(h, from, rank) == index)
            rows += rows_of_node(h, from, rank);
    }
    return rows;
}

/* No rail ends on a rank that is not there: where it has rows, the sending node has its index, and
 * so has the receiving one. */
static void cross(const tree_t *h)
{
    size_t out = 0, in = 0;
    for (size_t step = 1; step < h->map.nodes; step++) {
        const size_t to = node_after(h, step), from = node_before(h, step);
        const size_t sent = rows_on_rail(h, h->node, to, h->index);
        const size_t got = rows_on_rail(h, from, h->node, h->index);
        moe_program_recv(h->program, (moe_place_t){MOE_AT_IN, in}, got,
                         moe_node_first(&h->map, from) + h->index);
        moe_program_send(h->program, (moe_place_t){MOE_AT_OUT, out}, sent,
                         moe_node_first(&h->map, to) + h->index);
        moe_program_finish(h->program);
        out += sent;
        in += got;
    }
}

/* ---- Delivery inside the destination's node ---- */

/* One block that came on this rank's rail; returns its rows. */
static size_t hand_over(const tree_t *h, size_t from, size_t to, size_t at)
{
    const size_t rows = rows_between(h, from, to);
    const moe_place_t place = {MOE_AT_IN, at};
    if (to == h->me)
        moe_program_copy(h->program, place, (moe_place_t){MOE_AT_RECV, h->x->recv_first[from]},
                         rows);
    else
        moe_program_send(h->program, place, rows, to);
    return rows;
}

static void take_over(const tree_t *h, size_t node)
{
    const size_t carrier = h->first + rail(h, node, h->me), first = moe_node_first(&h->map, node);
    if (carrier == h->me)
        return;
    for (size_t from = first; from < first + moe_node_size(&h->map, node); from++)
        moe_program_recv(h->program, (moe_place_t){MOE_AT_RECV, h->x->recv_first[from]},
                         h->x->recv_rows[from], carrier);
}

static void scatter(const tree_t *h)
{
    size_t at = 0;
    for (size_t step = 1; step < h->map.nodes; step++)
        take_over(h, node_before(h, step));
    for (size_t step = 1; step < h->map.nodes; step++) {
        const size_t node = node_before(h, step), first = moe_node_first(&h->map, node);
        for (size_t to = h->first; to < h->first + h->size; to++) {
            if (rail(h, node, to) != h->index)
                continue;
            for (size_t from = first; from < first + moe_node_size(&h->map, node); from++)
                at += hand_over(h, from, to, at);
        }
    }
    moe_program_finish(h->program);
}

static moe_status_t schedule(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error)
{
    const moe_node_map_t map = moe_node_map(t->size, x->ranks_per_node);
    const size_t node = moe_node_of(&map, t->rank);
    moe_program_t *program = NULL;
    const moe_status_t status = moe_program_begin_node(t, x, &program, error);
    if (status != MOE_OK)
        return status;
    tree_t h = {.program = program,
                .x = x,
                .map = map,
                .me = t->rank,
                .node = node,
                .index = moe_node_index(&map, t->rank),
                .first = moe_node_first(&map, node),
                .size = moe_node_size(&map, node)};
    moe_program_copy_own(h.program, t, x);
    gather(&h);
    cross(&h);
    scatter(&h);
    return moe_program_end(t, x, h.program, error);
}

const moe_algorithm_ops_t moe_algorithm_hierarchical = {
    .name = "hierarchical",
    .summary = "gathered in the node, one message to each other node on each rail, then delivered",
    .source = "Träff and Rougier 2014 (doi 10.1145/2642769.2642770); PXN of NCCL 2.12",
    .prepare = moe_program_prepare_node,
    .schedule = schedule,
    .run = moe_program_run,
    .release = moe_program_release,
};
