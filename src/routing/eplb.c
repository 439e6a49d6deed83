/* Redundant experts by the greedy of DeepSeek's EPLB (github.com/deepseek-ai/EPLB, eplb.py): experts are
 * replicated one by one, each time the one whose replicas have most to do, and the replicas are packed
 * onto ranks, the heaviest first, each onto the lightest rank with room. Where groups of experts and nodes
 * divide evenly it is hierarchical: groups are packed onto nodes first, and the rest happens within each
 * node, so that group-limited routing stays in few nodes. */
#include <stdlib.h>
#include <string.h>

#include "moe/routing.h"
#include "moe/system.h"

#define NAME "eplb"

bool moe_eplb_asked(const char *placement)
{
    const size_t length = strlen(NAME);
    return strncmp(placement, NAME, length) == 0 &&
           (placement[length] == '\0' || placement[length] == ':');
}

moe_status_t moe_eplb_redundant(const char *placement, size_t experts, size_t ranks, size_t *out,
                                moe_error_t *error)
{
    const char *number = strchr(placement, ':');
    size_t redundant = ranks - experts % ranks; /* one a rank, where experts are even */
    moe_status_t status = MOE_OK;
    if (number != NULL)
        status =
            moe_parse_size("eplb:REDUNDANT", number + 1, 0, MOE_MAX_EXPERTS, &redundant, error);
    if (status != MOE_OK)
        return status;
    if (experts + redundant > MOE_MAX_EXPERTS)
        return moe_fail(error, MOE_BAD_INPUT,
                        "eplb: %zu experts and %zu redundant ones: at most %d", experts, redundant,
                        MOE_MAX_EXPERTS);
    if ((experts + redundant) % ranks != 0)
        return moe_fail(
            error, MOE_BAD_INPUT,
            "eplb:%zu: %zu experts and %zu redundant ones do not divide among %zu ranks; "
            "the nearest larger number that does is eplb:%zu",
            redundant, experts, redundant, ranks,
            redundant + ranks - (experts + redundant) % ranks);
    *out = redundant;
    return MOE_OK;
}

/* ---- The greedy ---- */

typedef struct item {
    double weight;
    size_t which;
} item_t;

static int heaviest_first(const void *a, const void *b)
{
    const item_t *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x->which < y->which ? -1 : x->which > y->which;
}

typedef struct greedy {
    item_t *item;    /* [physical] scratch, sorted */
    double *filled;  /* [ranks or nodes] */
    size_t *count;   /* [ranks or nodes] */
    size_t *pack_of; /* [physical] result of pack() */
    double *share;   /* [logical] weight of a replica */
    size_t *copies;  /* [logical] */
    size_t *owner;   /* [physical] whose replica it is */
} greedy_t;

static void destroy(greedy_t *g)
{
    free(g->item);
    free(g->filled);
    free(g->count);
    free(g->pack_of);
    free(g->share);
    free(g->copies);
    free(g->owner);
}

static moe_status_t create(size_t logical, size_t physical, size_t ranks, greedy_t *out,
                           moe_error_t *error)
{
    const struct {
        size_t count, size;
        void **to;
    } arrays[] = {
        {physical, sizeof(item_t), (void **)&out->item},
        {ranks, sizeof(double), (void **)&out->filled},
        {ranks, sizeof(size_t), (void **)&out->count},
        {physical, sizeof(size_t), (void **)&out->pack_of},
        {logical, sizeof(double), (void **)&out->share},
        {logical, sizeof(size_t), (void **)&out->copies},
        {physical, sizeof(size_t), (void **)&out->owner},
    };
    *out = (greedy_t){0};
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < sizeof arrays / sizeof *arrays; i++)
        status = moe_alloc("eplb", arrays[i].count, arrays[i].size, arrays[i].to, error);
    if (status != MOE_OK)
        destroy(out);
    return status;
}

/* item[items] onto packs of items / packs each: pack_of[item.which]. */
static void pack(greedy_t *g, size_t items, size_t packs)
{
    const size_t room = items / packs;
    qsort(g->item, items, sizeof *g->item, heaviest_first);
    for (size_t p = 0; p < packs; p++) {
        g->filled[p] = 0;
        g->count[p] = 0;
    }
    for (size_t i = 0; i < items; i++) {
        size_t lightest = packs;
        for (size_t p = 0; p < packs; p++) {
            if (g->count[p] < room && (lightest == packs || g->filled[p] < g->filled[lightest]))
                lightest = p;
        }
        g->pack_of[g->item[i].which] = lightest;
        g->filled[lightest] += g->item[i].weight;
        g->count[lightest]++;
    }
}

/* The experts of one node: expert[count], `physical` replicas on `ranks` ranks from first_rank on.
 * Replicas are counted behind the experts, in the order in which they are made: that decides ties. */
static void place_node(greedy_t *g, const double *load, const int32_t *expert, size_t count,
                       size_t physical, size_t first_rank, size_t ranks, moe_placement_t *out)
{
    const size_t each = physical / ranks;
    for (size_t i = 0; i < count; i++) {
        g->copies[i] = 1;
        g->share[i] = load[expert[i]];
        g->owner[i] = i;
    }
    for (size_t p = count; p < physical; p++) {
        size_t most = 0;
        for (size_t i = 1; i < count; i++)
            most = g->share[i] > g->share[most] ? i : most;
        g->copies[most]++;
        g->share[most] = load[expert[most]] / (double)g->copies[most];
        g->owner[p] = most;
    }
    for (size_t p = 0; p < physical; p++)
        g->item[p] = (item_t){.weight = g->share[g->owner[p]], .which = p};
    pack(g, physical, ranks);
    for (size_t r = 0; r < ranks; r++)
        g->count[r] = 0;
    for (size_t p = 0; p < physical; p++) {
        const size_t rank = g->pack_of[p];
        const size_t at = (first_rank + rank) * each + g->count[rank]++;
        out->logical_of[at] = expert[g->owner[p]];
    }
}

/* Groups onto nodes, then each node by itself. */
static void place_all(greedy_t *g, const double *load, size_t groups, size_t nodes, int32_t *expert,
                      moe_placement_t *out)
{
    const size_t size = out->logical / groups, per_node = out->logical / nodes;
    const size_t ranks = out->ranks / nodes, physical = out->experts / nodes;
    for (size_t group = 0; group < groups; group++) {
        g->item[group] = (item_t){.which = group};
        for (size_t i = 0; i < size; i++)
            g->item[group].weight += load[group * size + i];
    }
    pack(g, groups, nodes);
    size_t listed = 0;
    for (size_t node = 0; node < nodes; node++) {
        for (size_t group = 0; group < groups; group++) {
            for (size_t i = 0; i < size && g->pack_of[group] == node; i++)
                expert[listed++] = (int32_t)(group * size + i);
        }
    }
    for (size_t node = 0; node < nodes; node++)
        place_node(g, load, expert + node * per_node, per_node, physical, node * ranks, ranks, out);
}

moe_status_t moe_eplb_place(const double *load, const moe_eplb_t *shape, moe_placement_t *out,
                            moe_error_t *error)
{
    const size_t physical = shape->experts + shape->redundant, ranks = shape->ranks;
    size_t nodes = shape->nodes > 0 ? shape->nodes : 1, groups = shape->groups;
    /* As EPLB: else all experts are one group on one node. */
    if (groups == 0 || groups % nodes != 0 || shape->experts % groups != 0 || ranks % nodes != 0 ||
        physical % nodes != 0)
        groups = nodes = 1;
    greedy_t g;
    void *expert = NULL;
    moe_placement_t placement = {0};
    moe_status_t status =
        create(shape->experts, physical, ranks > groups ? ranks : groups, &g, error);
    if (status != MOE_OK)
        return status;
    status = moe_placement_create("block", physical, ranks, &placement, error);
    if (status == MOE_OK)
        status = moe_alloc("eplb", shape->experts, sizeof(int32_t), &expert, error);
    if (status == MOE_OK)
        status = moe_placement_make_replicas(&placement, shape->experts, error);
    if (status == MOE_OK) {
        place_all(&g, load, groups, nodes, expert, &placement);
        moe_placement_index_replicas(&placement);
        *out = placement;
    } else {
        moe_placement_destroy(&placement);
    }
    free(expert);
    destroy(&g);
    return status;
}
