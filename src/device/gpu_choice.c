/* Which GPU a rank takes. Ranks of a node are seated one after the other, each on the cheapest way,
 * which may move ranks that sit already (successive shortest paths: Ahuja, Magnanti, Orlin, Network
 * Flows, 1993, sections 9.7 and 12.4). After each rank the seating is the cheapest of all seatings of
 * the ranks so far: one is left without a GPU only where there is no seating of all. */
#include <stdlib.h>
#include <string.h>

#include "moe/device.h"
#include "moe/system.h"

#define NO_WAY INT64_MAX

typedef struct seat {
    const moe_gpu_view_t *view; /* of the rank */
    size_t rank;
    size_t gpu[MOE_GPUS_MAX]; /* number i of the view is this GPU of the node */
    size_t taken;             /* number in the view */
} seat_t;

typedef struct node_gpu {
    const char *pci;
    size_t load; /* ranks that sit here */
    /* The cheapest way for the next rank that ends here: the one that would come here last is seat
     * `comer`, to which this is number `number`. */
    int64_t cost; /* or NO_WAY */
    size_t comer, number;
} node_gpu_t;

typedef struct node {
    seat_t *seats; /* [ranks], in order of ranks */
    size_t ranks;
    node_gpu_t *gpus; /* [count], each once, in the order in which they are seen first */
    size_t count;
    /* What is paid on a way, which comes to each GPU once at most: one far GPU less outweighs all
     * moves, one sharer less all distances and moves. */
    int64_t move, far, sharer;
} node_t;

/* A rank that is near none pays for every GPU: it does not care. */
static int64_t fare(const node_t *n, const seat_t *s, size_t number)
{
    return (s->view->near >> number & 1) != 0 ? 0 : n->far;
}

/* Seat r may go, for `cost`, to each GPU that it sees. Whether that makes a way cheaper. */
static bool spread(node_t *n, size_t r, int64_t cost)
{
    const seat_t *s = &n->seats[r];
    bool cheaper = false;
    for (size_t i = 0; i < s->view->count; i++) {
        node_gpu_t *g = &n->gpus[s->gpu[i]];
        const int64_t here = cost + n->move + fare(n, s, i);
        if (here < g->cost) {
            g->cost = here;
            g->comer = r;
            g->number = i;
            cheaper = true;
        }
    }
    return cheaper;
}

/* Ways of seat `next`, the first that has none yet (Bellman and Ford). They cannot go round in
 * circles: a circle that pays would have made the seating of the others cheaper. */
static void find_ways(node_t *n, size_t next)
{
    for (size_t g = 0; g < n->count; g++)
        n->gpus[g].cost = NO_WAY;
    for (bool cheaper = spread(n, next, 0); cheaper;) {
        cheaper = false;
        for (size_t r = 0; r < next; r++) {
            const seat_t *s = &n->seats[r];
            const int64_t cost = n->gpus[s->gpu[s->taken]].cost;
            if (cost != NO_WAY && spread(n, r, cost - fare(n, s, s->taken)))
                cheaper = true;
        }
    }
}

/* The GPU where the cheapest way ends, n->count where none does. Of equal ones the lowest number in
 * the rank's own view, then the first of the node. */
static size_t cheapest_end(const node_t *n, const seat_t *s, bool share)
{
    size_t end = n->count;
    int64_t least = NO_WAY;
    for (size_t i = 0; i < s->view->count + n->count; i++) {
        const size_t at = i < s->view->count ? s->gpu[i] : i - s->view->count;
        const node_gpu_t *g = &n->gpus[at];
        if (g->cost == NO_WAY || (g->load > 0 && !share))
            continue;
        const int64_t cost = g->cost + (int64_t)g->load * n->sharer;
        if (cost < least) {
            least = cost;
            end = at;
        }
    }
    return end;
}

static void go(node_t *n, size_t next, size_t end)
{
    n->gpus[end].load++;
    for (size_t r = n->ranks, at = end; r != next;) {
        r = n->gpus[at].comer;
        seat_t *s = &n->seats[r];
        const size_t before = s->gpu[s->taken];
        s->taken = n->gpus[at].number;
        at = before;
    }
}

#define REMEDY_SHARE "or give --share-gpu (for tests, not for performance)"

/* All GPUs on the ways of seat `next` are taken, by ranks that see no others: theirs is the lack. */
static moe_status_t fail_left_over(const node_t *n, size_t next, moe_error_t *error)
{
    size_t seen = 0;
    for (size_t g = 0; g < n->count; g++)
        seen += n->gpus[g].cost != NO_WAY;
    if (seen == n->count)
        return moe_fail(
            error, MOE_BAD_INPUT,
            "rank %zu is left without a GPU: its node has %zu ranks and %zu GPU%s: start "
            "at most %zu rank%s on a node, " REMEDY_SHARE,
            n->seats[next].rank, n->ranks, n->count, n->count == 1 ? "" : "s", n->count,
            n->count == 1 ? "" : "s");
    return moe_fail(
        error, MOE_BAD_INPUT,
        "rank %zu is left without a GPU: its node has %zu ranks and %zu GPUs, but %zu of "
        "the ranks see only %zu of the GPUs: let them see more (CUDA_VISIBLE_DEVICES), "
        "start fewer ranks on a node, " REMEDY_SHARE,
        n->seats[next].rank, n->ranks, n->count, seen + 1, seen);
}

static void number_gpus(node_t *n)
{
    for (size_t r = 0; r < n->ranks; r++) {
        seat_t *s = &n->seats[r];
        for (size_t i = 0; i < s->view->count; i++) {
            const char *pci = s->view->pci[i];
            size_t g = 0;
            while (g < n->count && strncmp(n->gpus[g].pci, pci, sizeof s->view->pci[i]) != 0)
                g++;
            if (g == n->count)
                n->gpus[n->count++] = (node_gpu_t){.pci = pci};
            s->gpu[i] = g;
        }
    }
}

static moe_status_t seat_node(node_t *n, bool share, moe_error_t *error)
{
    number_gpus(n);
    n->move = 1;
    n->far = (int64_t)n->count + 1;
    n->sharer = n->far * 2 * ((int64_t)n->count + 1);
    for (size_t next = 0; next < n->ranks; next++) {
        find_ways(n, next);
        const size_t end = cheapest_end(n, &n->seats[next], share);
        if (end == n->count)
            return fail_left_over(n, next, error);
        go(n, next, end);
    }
    return MOE_OK;
}

/* By node, then by rank. */
static int compare(const void *a, const void *b)
{
    const seat_t *x = a, *y = b;
    if (x->view->node != y->view->node)
        return x->view->node < y->view->node ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Each node has its seats behind each other; `gpus` are used by one after the other. */
static moe_status_t seat_nodes(seat_t *seats, size_t ranks, node_gpu_t *gpus, bool share,
                               moe_error_t *error)
{
    qsort(seats, ranks, sizeof *seats, compare);
    moe_status_t status = MOE_OK;
    for (size_t first = 0, end; status == MOE_OK && first < ranks; first = end) {
        for (end = first; end < ranks && seats[end].view->node == seats[first].view->node;)
            end++;
        node_t node = {.seats = seats + first, .ranks = end - first, .gpus = gpus};
        status = seat_node(&node, share, error);
    }
    return status;
}

static moe_status_t check_view(const moe_gpu_view_t *view, size_t rank, moe_error_t *error)
{
    if (view->count == 0)
        return moe_fail(error, MOE_BAD_INPUT,
                        "rank %zu sees no GPU: start it on a node with GPUs, and let it see one "
                        "(CUDA_VISIBLE_DEVICES)",
                        rank);
    if (view->count > MOE_GPUS_MAX)
        return moe_fail(error, MOE_BAD_INPUT,
                        "rank %zu sees %zu GPUs, the limit is %d: let it see fewer "
                        "(CUDA_VISIBLE_DEVICES)",
                        rank, view->count, MOE_GPUS_MAX);
    return MOE_OK;
}

moe_status_t moe_gpu_choose(const moe_gpu_view_t *views, size_t ranks, bool share, size_t *chosen,
                            moe_error_t *error)
{
    size_t seen = 0;
    for (size_t r = 0; r < ranks; r++) {
        const moe_status_t status = check_view(&views[r], r, error);
        if (status != MOE_OK)
            return status;
        seen += views[r].count;
    }
    void *seats = NULL, *gpus = NULL;
    moe_status_t status =
        moe_alloc("the choice of GPUs, by rank", ranks, sizeof(seat_t), &seats, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc("the choice of GPUs", seen, sizeof(node_gpu_t), &gpus, error);
    if (status != MOE_OK)
        goto free_seats;
    seat_t *const seat = seats;
    for (size_t r = 0; r < ranks; r++)
        seat[r] = (seat_t){.view = &views[r], .rank = r};
    status = seat_nodes(seats, ranks, gpus, share, error);
    for (size_t i = 0; status == MOE_OK && i < ranks; i++)
        chosen[seat[i].rank] = seat[i].taken;
    free(gpus);
free_seats:
    free(seats);
    return status;
}
