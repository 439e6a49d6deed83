/* All-to-all-v of small rows in ceil(log_r P) rounds. A block from rank s to rank d has to go the
 * distance i = d - s (modulo P), and goes it digit by digit of i in base r: in the round of digit k
 * it moves on by z * r^k, z being the digit. A rank sends all blocks with the same digit as one
 * message: r - 1 messages a round instead of P - 1 in all, for which a row is sent up to
 * ceil(log_r P) times.
 *
 * J. Bruck et al.: Efficient algorithms for all-to-all communications in multiport message-passing
 * systems, IEEE TPDS 8(11), 1997. Blocks of different sizes: K. Fan, J. Domke, S. Ba, S. Kumar:
 * Configurable Non-uniform All-to-all Algorithms (TuNA), arXiv 2411.02581, whose blocks' sizes go
 * ahead of the blocks in every round; here all sizes are learnt at once in schedule(), and run()
 * moves rows only. No rotation: what lies where is kept in a table (`place`). What a rank receives
 * stays where it arrived until it is sent on. */
#include <stdlib.h>

#include "algorithm.h"
#include "program.h"

#include "moe/system.h"

typedef struct bruck {
    moe_program_t *program;
    const moe_alltoallv_t *x;
    size_t ranks, me, radix;
    size_t weight;      /* radix^k of this round */
    size_t out, in;     /* rows used of the program's buffers */
    moe_place_t *place; /* [ranks] where the block of each distance is */
} bruck_t;

/* Blocks with digit z of weight w: distances z*w ... z*w + w-1, then again every radix*w. Returns
 * the one that follows `i`, or the first for i = 0. */
static size_t next_distance(const bruck_t *b, size_t z, size_t i)
{
    if (i == 0)
        return z * b->weight;
    return (i + 1) % b->weight != 0 ? i + 1 : i + 1 + (b->radix - 1) * b->weight;
}

/* Where the block of distance i that rank `at` holds in this round came from. */
static size_t source(const bruck_t *b, size_t at, size_t i)
{
    return (at + b->ranks - i % b->weight) % b->ranks;
}

static size_t rows_held(const bruck_t *b, size_t at, size_t i)
{
    const size_t from = source(b, at, i), to = (from + i) % b->ranks;
    return b->program->matrix[from * b->ranks + to];
}

/* Whether this round is a block's last. */
static bool arrives(const bruck_t *b, size_t i)
{
    return i / b->weight < b->radix;
}

static size_t message_rows(const bruck_t *b, size_t at, size_t z, size_t *blocks)
{
    size_t rows = 0;
    *blocks = 0;
    for (size_t i = next_distance(b, z, 0); i < b->ranks; i = next_distance(b, z, i)) {
        const size_t held = rows_held(b, at, i);
        rows += held;
        *blocks += held > 0;
    }
    return rows;
}

/* A block alone is sent from where it is. */
static moe_place_t pack(bruck_t *b, size_t z, bool alone)
{
    const moe_place_t message = {MOE_AT_OUT, b->out};
    for (size_t i = next_distance(b, z, 0); i < b->ranks; i = next_distance(b, z, i)) {
        const size_t rows = rows_held(b, b->me, i);
        if (alone && rows > 0)
            return b->place[i];
        moe_program_copy(b->program, b->place[i], (moe_place_t){MOE_AT_OUT, b->out}, rows);
        b->out += rows;
    }
    return message;
}

static moe_place_t destination(const bruck_t *b, size_t i)
{
    return (moe_place_t){MOE_AT_RECV, b->x->recv_first[(b->me + b->ranks - i) % b->ranks]};
}

/* Gives the blocks of the message from `from` their places; returns that of the message. A block
 * alone that has arrived is received where it belongs. */
static moe_place_t place_message(bruck_t *b, size_t from, size_t z, bool alone)
{
    const moe_place_t message = {MOE_AT_IN, b->in};
    for (size_t i = next_distance(b, z, 0); i < b->ranks; i = next_distance(b, z, i)) {
        const size_t rows = rows_held(b, from, i);
        b->place[i] = (moe_place_t){MOE_AT_IN, b->in};
        if (alone && rows > 0 && arrives(b, i))
            return b->place[i] = destination(b, i);
        b->in += rows;
    }
    return message;
}

static void deliver(bruck_t *b, size_t z)
{
    for (size_t i = next_distance(b, z, 0); i < b->ranks && arrives(b, i);
         i = next_distance(b, z, i)) {
        const size_t rows =
            b->program->matrix[(b->me + b->ranks - i) % b->ranks * b->ranks + b->me];
        if (b->place[i].buffer == MOE_AT_IN)
            moe_program_copy(b->program, b->place[i], destination(b, i), rows);
    }
}

static void plan_round(bruck_t *b)
{
    size_t blocks;
    b->out = 0;
    for (size_t z = 1; z < b->radix && z * b->weight < b->ranks; z++) {
        const size_t rows = message_rows(b, b->me, z, &blocks);
        const moe_place_t message = pack(b, z, blocks == 1);
        moe_program_send(b->program, message, rows, (b->me + z * b->weight) % b->ranks);
    }
    for (size_t z = 1; z < b->radix && z * b->weight < b->ranks; z++) {
        const size_t from = (b->me + b->ranks - z * b->weight) % b->ranks;
        const size_t rows = message_rows(b, from, z, &blocks);
        const moe_place_t message = place_message(b, from, z, blocks == 1);
        moe_program_recv(b->program, message, rows, from);
    }
    moe_program_finish(b->program);
    for (size_t z = 1; z < b->radix && z * b->weight < b->ranks; z++)
        deliver(b, z);
}

static moe_status_t plan(moe_transport_t *t, moe_alltoallv_t *x, size_t radix, moe_error_t *error)
{
    moe_program_t *program = NULL;
    const moe_status_t status = moe_program_begin(t, x, &program, error);
    if (status != MOE_OK)
        return status;
    bruck_t b = {
        .program = program, .x = x, .ranks = t->size, .me = t->rank, .radix = radix, .weight = 1};
    b.place = malloc(t->size * sizeof *b.place);
    b.program->no_memory = b.place == NULL;
    for (size_t i = 0; b.place != NULL && i < t->size; i++)
        b.place[i] = (moe_place_t){MOE_AT_SEND, x->send_first[(t->rank + i) % t->size]};
    moe_program_copy_own(b.program, t, x);
    for (; b.place != NULL && b.weight < t->size; b.weight *= radix)
        plan_round(&b);
    free(b.place);
    return moe_program_end(t, x, b.program, error);
}

#define DEFINE_BRUCK(suffix, radix, text, words)                                                   \
    static moe_status_t schedule_##radix(moe_transport_t *t, moe_alltoallv_t *x,                   \
                                         moe_error_t *error)                                       \
    {                                                                                              \
        return plan(t, x, radix, error);                                                           \
    }                                                                                              \
    const moe_algorithm_ops_t moe_algorithm_bruck##suffix = {                                      \
        .name = (text),                                                                            \
        .summary = (words),                                                                        \
        .source = "Bruck et al. 1997 (doi 10.1109/71.642949); TuNA, arXiv 2411.02581",             \
        .prepare = moe_program_prepare,                                                            \
        .schedule = schedule_##radix,                                                              \
        .run = moe_program_run,                                                                    \
        .release = moe_program_release,                                                            \
    }

DEFINE_BRUCK(, 2, "bruck",
             "log2 P rounds through other ranks, for small rows (bruck:4, :8, :16: other radix)");
DEFINE_BRUCK(_4, 4, "bruck:4", "log4 P rounds of 3 messages");
DEFINE_BRUCK(_8, 8, "bruck:8", "log8 P rounds of 7 messages");
DEFINE_BRUCK(_16, 16, "bruck:16", "log16 P rounds of 15 messages");
