/* Skew-aware all-to-all-v in stages. From the rows between all ranks, schedule() makes stages in
 * which a node sends to one node at most and receives from one at most, and whose total length is
 * that of the node with the most to send or to receive (birkhoff_schedule.h): no port is asked by
 * two at once, and the busiest is never left idle for another. Inside the nodes, rows are first
 * dealt so that all ranks of a node send alike in every stage (birkhoff_rails.h), and are delivered
 * at the end. Where ranks are not known to share nodes, or all are on one, stages are between ranks.
 *
 * No barrier parts the stages: a rank begins its next when its own messages are through. FAST (arXiv
 * 2505.09764) also sends the first stages while the rows of later ones are being dealt; here all
 * dealing comes first. */
#include <stdlib.h>

#include "algorithm.h"
#include "birkhoff_rails.h"
#include "birkhoff_schedule.h"
#include "nodes.h"
#include "program.h"

#include "moe/system.h"

/* Rows of one flow that this rank carries, in the order in which they go. */
typedef struct stretch {
    moe_place_t place;
    size_t rows;
} stretch_t;

typedef struct stretches {
    stretch_t *list;
    size_t count, capacity;
    size_t *next; /* [nodes] first stretch of each flow that is not yet sent (received) whole */
    size_t *end;  /* [nodes] */
} stretches_t;

typedef struct birkhoff {
    moe_program_t *program;
    const moe_alltoallv_t *x;
    moe_node_map_t map;
    moe_rails_t rails;
    moe_birkhoff_t stages;
    size_t me, node, index, first, size;
    stretches_t out, in; /* by the other node */
    size_t *ends;        /* memory of theirs */
} birkhoff_t;

/* ---- What this rank carries ---- */

static void add_stretch(birkhoff_t *b, stretches_t *s, moe_place_t place, size_t rows)
{
    if (s->count == s->capacity) {
        const size_t capacity = s->capacity == 0 ? 2 * b->map.ranks : 2 * s->capacity;
        stretch_t *list = realloc(s->list, capacity * sizeof *list);
        if (list == NULL) {
            b->program->no_memory = true;
            return;
        }
        s->list = list;
        s->capacity = capacity;
    }
    s->list[s->count++] = (stretch_t){place, rows};
}

/* What this rank carries to `node`, and what it gives to the other rails and gets from them. */
static size_t deal_outgoing(birkhoff_t *b, size_t node, size_t at)
{
    moe_rails_deal(&b->rails, b->node, node);
    b->out.next[node] = b->out.count;
    for (size_t i = 0; i < b->rails.pieces; i++) {
        const moe_rail_piece_t *piece = &b->rails.piece[i];
        const moe_place_t sent = {MOE_AT_SEND, b->x->send_first[piece->to] + piece->first};
        const moe_place_t held = {MOE_AT_OUT, at};
        if (piece->rail != b->index) {
            if (piece->from == b->me)
                moe_program_send(b->program, sent, piece->rows, b->first + piece->rail);
        } else if (piece->from == b->me) {
            add_stretch(b, &b->out, sent, piece->rows);
        } else {
            moe_program_recv(b->program, held, piece->rows, piece->from);
            add_stretch(b, &b->out, held, piece->rows);
            at += piece->rows;
        }
    }
    b->out.end[node] = b->out.count;
    return at;
}

static size_t deal_incoming(birkhoff_t *b, size_t node, size_t at)
{
    moe_rails_deal(&b->rails, node, b->node);
    b->in.next[node] = b->in.count;
    for (size_t i = 0; i < b->rails.pieces; i++) {
        const moe_rail_piece_t *piece = &b->rails.piece[i];
        if (piece->rail != b->index)
            continue;
        if (piece->to == b->me) {
            const moe_place_t wanted = {MOE_AT_RECV, b->x->recv_first[piece->from] + piece->first};
            add_stretch(b, &b->in, wanted, piece->rows);
        } else {
            add_stretch(b, &b->in, (moe_place_t){MOE_AT_IN, at}, piece->rows);
            at += piece->rows;
        }
    }
    b->in.end[node] = b->in.count;
    return at;
}

/* Messages between two ranks of a node: what stays there, then the dealt rows of each node. */
static void balance(birkhoff_t *b)
{
    const moe_alltoallv_t *x = b->x;
    for (size_t step = 1; step < b->size; step++) {
        const size_t from = b->first + (b->index + b->size - step) % b->size;
        const size_t to = b->first + (b->index + step) % b->size;
        moe_program_recv(b->program, (moe_place_t){MOE_AT_RECV, x->recv_first[from]},
                         x->recv_rows[from], from);
        moe_program_send(b->program, (moe_place_t){MOE_AT_SEND, x->send_first[to]},
                         x->send_rows[to], to);
    }
    size_t out = 0, in = 0;
    for (size_t node = 0; node < b->map.nodes; node++) {
        if (node == b->node)
            continue;
        out = deal_outgoing(b, node, out);
        in = deal_incoming(b, node, in);
    }
    moe_program_finish(b->program);
}

/* ---- Stages ---- */

typedef void (*message_fn)(moe_program_t *p, moe_place_t place, size_t rows, size_t peer);

/* The next `rows` rows of a flow, or what there is: the other side takes the same stretches. */
static void carry(birkhoff_t *b, stretches_t *s, size_t node, size_t rows, message_fn message)
{
    const size_t peer = moe_node_first(&b->map, node) + b->index;
    while (rows > 0 && s->next[node] < s->end[node]) {
        stretch_t *stretch = &s->list[s->next[node]];
        const size_t part = stretch->rows < rows ? stretch->rows : rows;
        message(b->program, stretch->place, part, peer);
        stretch->place.first += part;
        stretch->rows -= part;
        rows -= part;
        s->next[node] += stretch->rows == 0;
    }
}

/* Two stages may be under way at a time: a port that is through with one begins the next while its peers
 * finish, and stays busy over the ends of stages. */
static void add_stage(birkhoff_t *b, size_t stage)
{
    const size_t before = moe_program_pending(b->program);
    const size_t nodes = b->map.nodes;
    const size_t *to = b->stages.to + stage * nodes, *rows = b->stages.rows + stage * nodes;
    for (size_t node = 0; node < nodes; node++) {
        if (to[node] == b->node)
            carry(b, &b->in, node, rows[node], moe_program_recv);
    }
    if (to[b->node] < nodes)
        carry(b, &b->out, to[b->node], rows[b->node], moe_program_send);
    moe_program_finish_but(b->program, moe_program_pending(b->program) - before);
}

/* ---- Delivery inside the node ---- */

static size_t deliver_from(birkhoff_t *b, size_t node, size_t at)
{
    moe_rails_deal(&b->rails, node, b->node);
    for (size_t i = 0; i < b->rails.pieces; i++) {
        const moe_rail_piece_t *piece = &b->rails.piece[i];
        if (piece->rail == b->index && piece->to != b->me) {
            moe_program_send(b->program, (moe_place_t){MOE_AT_IN, at}, piece->rows, piece->to);
            at += piece->rows;
        } else if (piece->rail != b->index && piece->to == b->me) {
            const moe_place_t wanted = {MOE_AT_RECV, b->x->recv_first[piece->from] + piece->first};
            moe_program_recv(b->program, wanted, piece->rows, b->first + piece->rail);
        }
    }
    return at;
}

static void deliver(birkhoff_t *b)
{
    size_t at = 0;
    for (size_t node = 0; node < b->map.nodes; node++) {
        if (node != b->node)
            at = deliver_from(b, node, at);
    }
    moe_program_finish(b->program);
}

/* ---- Schedule ---- */

static moe_status_t find_stages(birkhoff_t *b, moe_error_t *error)
{
    const size_t nodes = b->map.nodes;
    void *flows, *ends;
    moe_status_t status =
        moe_alloc("the rows between nodes", nodes, nodes * sizeof(size_t), &flows, error);
    if (status != MOE_OK)
        return status;
    moe_rails_flows(&b->rails, flows);
    status = moe_birkhoff_decompose(flows, nodes, &b->stages, error);
    free(flows);
    if (status == MOE_OK)
        status = moe_alloc("the rows of a rail", 4 * nodes, sizeof(size_t), &ends, error);
    if (status != MOE_OK)
        return status;
    b->ends = ends;
    b->out.next = b->ends;
    b->out.end = b->ends + nodes;
    b->in.next = b->ends + 2 * nodes;
    b->in.end = b->ends + 3 * nodes;
    return MOE_OK;
}

static void write_program(birkhoff_t *b)
{
    balance(b);
    for (size_t stage = 0; !b->program->no_memory && stage < b->stages.stages; stage++)
        add_stage(b, stage);
    moe_program_finish(b->program);
    deliver(b);
}

static moe_status_t schedule(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error)
{
    moe_node_map_t map = moe_node_map(t->size, x->ranks_per_node);
    if (map.nodes == 1)
        map = moe_node_map(t->size, 1);
    const size_t node = moe_node_of(&map, t->rank);
    birkhoff_t b = {.x = x,
                    .map = map,
                    .me = t->rank,
                    .node = node,
                    .index = moe_node_index(&map, t->rank),
                    .first = moe_node_first(&map, node),
                    .size = moe_node_size(&map, node)};
    moe_status_t status = moe_program_begin(t, x, &b.program, error);
    if (status != MOE_OK)
        return status;
    moe_program_copy_own(b.program, t, x);
    status = moe_rails_create(b.program->matrix, &map, &b.rails, error);
    if (status == MOE_OK)
        status = find_stages(&b, error);
    if (status == MOE_OK)
        write_program(&b);
    else
        b.program->no_memory = true;
    free(b.out.list);
    free(b.in.list);
    free(b.ends);
    moe_birkhoff_destroy(&b.stages);
    moe_rails_destroy(&b.rails);
    const moe_status_t ended = moe_program_end(t, x, b.program, status == MOE_OK ? error : NULL);
    return status == MOE_OK ? ended : status;
}

const moe_algorithm_ops_t moe_algorithm_birkhoff = {
    .name = "birkhoff",
    .summary = "one-to-one stages as long as the busiest port's rows, balanced inside the node",
    .source = "FAST, arXiv 2505.09764; Birkhoff-von Neumann: Chang, Chen and Huang 2000",
    .prepare = moe_program_prepare,
    .schedule = schedule,
    .run = moe_program_run,
    .release = moe_program_release,
};
