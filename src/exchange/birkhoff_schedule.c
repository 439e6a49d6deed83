/* Few long stages instead of many short ones: a matching may at first use only entries of at least a
 * threshold, which is halved when there is none (as Solstice does for optical switches: H. Liu et al.,
 * CoNEXT 2015). Each matching lasts as long as its smallest entry. What is left when the rest is so
 * short that the slack allows it, is dealt greedily, largest blocks first (`tail`). */
#include "birkhoff_schedule.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "birkhoff_matching.h"
#include "birkhoff_tail.h"

#include "moe/system.h"

/* A rest of at most this part of the bottleneck may be dealt greedily. */
#define TAIL_PART 4

typedef struct work {
    size_t ports;
    size_t *real;       /* [ports][ports] rows still to be sent */
    size_t *left;       /* [ports][ports] the same, padded */
    size_t *sent, *got; /* [ports] sums of the padded matrix; only while padding */
    size_t rest;        /* what every padded row and column still adds up to */
    moe_matching_t matching;
    size_t capacity; /* stages that the schedule has memory for */
    moe_birkhoff_t *out;
} work_t;

static moe_status_t get_array(size_t rows, size_t columns, size_t **out, moe_error_t *error)
{
    void *memory;
    if (columns > SIZE_MAX / sizeof **out)
        columns = SIZE_MAX / sizeof **out;
    const moe_status_t status =
        moe_alloc("a schedule of stages", rows, columns * sizeof **out, &memory, error);
    if (status == MOE_OK)
        *out = memory;
    return status;
}

/* ---- Padding ---- */

static moe_status_t add_up(work_t *w, moe_error_t *error)
{
    const size_t n = w->ports;
    for (size_t i = 0; i < n * n; i++) {
        size_t *sent = &w->sent[i / n], *got = &w->got[i % n];
        if (w->real[i] > SIZE_MAX / 2 - *sent || w->real[i] > SIZE_MAX / 2 - *got)
            return moe_fail(error, MOE_BAD_INPUT,
                            "the rows of port %zu or %zu pass the range of counts (%zu)", i / n,
                            i % n, SIZE_MAX / 2);
        *sent += w->real[i];
        *got += w->real[i];
    }
    for (size_t port = 0; port < n; port++) {
        w->rest = w->sent[port] > w->rest ? w->sent[port] : w->rest;
        w->rest = w->got[port] > w->rest ? w->got[port] : w->rest;
    }
    return MOE_OK;
}

/* Blocks that are there grow first: new ones would make for more stages. */
static void pad(work_t *w, int new_blocks)
{
    const size_t n = w->ports;
    for (size_t i = 0; i < n * n; i++) {
        if (!new_blocks && w->real[i] == 0)
            continue;
        const size_t sender = w->rest - w->sent[i / n], receiver = w->rest - w->got[i % n];
        const size_t more = sender < receiver ? sender : receiver;
        w->left[i] += more;
        w->sent[i / n] += more;
        w->got[i % n] += more;
    }
}

static moe_status_t start(work_t *w, const size_t *matrix, moe_error_t *error)
{
    const size_t n = w->ports;
    moe_status_t status = get_array(n, n, &w->real, error);
    if (status == MOE_OK)
        status = get_array(n, n, &w->left, error);
    if (status == MOE_OK)
        status = get_array(n, 1, &w->sent, error);
    if (status == MOE_OK)
        status = get_array(n, 1, &w->got, error);
    if (status == MOE_OK)
        status = moe_matching_create(n, &w->matching, error);
    if (status != MOE_OK)
        return status;
    for (size_t i = 0; i < n * n; i++)
        w->real[i] = i / n == i % n ? 0 : matrix[i];
    memcpy(w->left, w->real, n * n * sizeof *w->left);
    status = add_up(w, error);
    if (status != MOE_OK)
        return status;
    w->out->bottleneck = w->rest;
    pad(w, 0);
    pad(w, 1);
    return MOE_OK;
}

/* ---- Stages ---- */

static moe_status_t grow(work_t *w, moe_error_t *error)
{
    moe_birkhoff_t *s = w->out;
    const size_t capacity = w->capacity == 0 ? 2 * w->ports : 2 * w->capacity;
    size_t *to, *rows;
    moe_status_t status = get_array(capacity, w->ports, &to, error);
    if (status != MOE_OK)
        return status;
    status = get_array(capacity, w->ports, &rows, error);
    if (status != MOE_OK) {
        free(to);
        return status;
    }
    if (s->stages > 0) {
        memcpy(to, s->to, s->stages * w->ports * sizeof *to);
        memcpy(rows, s->rows, s->stages * w->ports * sizeof *rows);
    }
    free(s->to);
    free(s->rows);
    s->to = to;
    s->rows = rows;
    w->capacity = capacity;
    return MOE_OK;
}

/* The next stage of the schedule, with nobody sending. */
static moe_status_t next_stage(work_t *w, size_t **to, size_t **rows, moe_error_t *error)
{
    moe_birkhoff_t *s = w->out;
    const moe_status_t status = s->stages == w->capacity ? grow(w, error) : MOE_OK;
    if (status != MOE_OK)
        return status;
    *to = s->to + s->stages * w->ports;
    *rows = s->rows + s->stages * w->ports;
    for (size_t port = 0; port < w->ports; port++) {
        (*to)[port] = w->ports;
        (*rows)[port] = 0;
    }
    return MOE_OK;
}

/* A stage of padding alone is left out. */
static void keep_stage(work_t *w, const size_t *rows)
{
    size_t longest = 0;
    for (size_t port = 0; port < w->ports; port++)
        longest = rows[port] > longest ? rows[port] : longest;
    w->out->stages += longest > 0;
    w->out->length += longest;
}

static moe_status_t add_matching(work_t *w, size_t threshold, moe_error_t *error)
{
    const size_t n = w->ports;
    moe_matching_t *m = &w->matching;
    size_t *to, *rows, length = SIZE_MAX;
    const moe_status_t status = next_stage(w, &to, &rows, error);
    if (status != MOE_OK)
        return status;
    for (size_t port = 0; port < n; port++) {
        const size_t left = w->left[port * n + m->to[port]];
        length = left < length ? left : length;
    }
    for (size_t port = 0; port < n; port++) {
        const size_t peer = m->to[port], at = port * n + peer;
        rows[port] = w->real[at] < length ? w->real[at] : length;
        to[port] = rows[port] > 0 ? peer : n;
        w->real[at] -= rows[port];
        w->left[at] -= length;
        if (w->left[at] < threshold)
            moe_matching_set_edge(m, port, peer, false);
    }
    w->rest -= length;
    keep_stage(w, rows);
    return MOE_OK;
}

static moe_status_t add_tail(work_t *w, const moe_birkhoff_tail_t *tail, moe_error_t *error)
{
    for (size_t stage = 0; stage < tail->stages; stage++) {
        size_t *to, *rows;
        const moe_status_t status = next_stage(w, &to, &rows, error);
        if (status != MOE_OK)
            return status;
        for (size_t i = 0; i < tail->blocks; i++) {
            const moe_birkhoff_block_t *block = &tail->block[i];
            if (block->stage != stage)
                continue;
            to[block->from] = block->to;
            rows[block->from] = block->rows;
        }
        keep_stage(w, rows);
    }
    w->rest = 0;
    return MOE_OK;
}

/* Ends the schedule with greedy stages if they fit the slack. */
static moe_status_t try_tail(work_t *w, moe_error_t *error)
{
    const size_t bottleneck = w->out->bottleneck;
    if (w->rest > bottleneck / TAIL_PART)
        return MOE_OK;
    const size_t most = bottleneck + bottleneck / MOE_BIRKHOFF_SLACK - w->out->length;
    moe_birkhoff_tail_t tail;
    moe_status_t status = moe_birkhoff_deal_tail(w->real, w->ports, most, &tail, error);
    if (status != MOE_OK)
        return status;
    if (tail.fits)
        status = add_tail(w, &tail, error);
    moe_birkhoff_free_tail(&tail);
    return status;
}

static moe_status_t add_stages(work_t *w, moe_error_t *error)
{
    const size_t n = w->ports;
    moe_status_t status = MOE_OK;
    for (size_t threshold = w->rest; status == MOE_OK && w->rest > 0;
         threshold = threshold > 1 ? threshold / 2 : 1) {
        for (size_t i = 0; i < n * n; i++)
            moe_matching_set_edge(&w->matching, i / n, i % n, w->left[i] >= threshold);
        while (status == MOE_OK && w->rest > 0 && moe_matching_complete(&w->matching))
            status = add_matching(w, threshold, error);
        if (status == MOE_OK && w->rest > 0)
            status = try_tail(w, error);
    }
    return status;
}

moe_status_t moe_birkhoff_decompose(const size_t *matrix, size_t ports, moe_birkhoff_t *out,
                                    moe_error_t *error)
{
    moe_birkhoff_t schedule = {.ports = ports};
    work_t w = {.ports = ports, .out = &schedule};
    moe_status_t status = start(&w, matrix, error);
    if (status == MOE_OK)
        status = add_stages(&w, error);
    free(w.real);
    free(w.left);
    free(w.sent);
    free(w.got);
    moe_matching_destroy(&w.matching);
    if (status == MOE_OK)
        *out = schedule;
    else
        moe_birkhoff_destroy(&schedule);
    return status;
}

void moe_birkhoff_destroy(moe_birkhoff_t *schedule)
{
    free(schedule->to);
    free(schedule->rows);
    *schedule = (moe_birkhoff_t){.ports = 0};
}
