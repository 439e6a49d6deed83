#include "birkhoff_rails.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* Their square, and as many again, is a size. */
#define MOST_RANKS ((size_t)1 << 31)

moe_status_t moe_rails_create(const size_t *matrix, const moe_node_map_t *map, moe_rails_t *out,
                              moe_error_t *error)
{
    static const char what[] = "the rows between two nodes";
    const size_t n = map->per_node;
    if (n >= MOST_RANKS)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%zu ranks on a node do not fit memory: the limit is %zu", n,
                        MOST_RANKS - 1);
    moe_rails_t rails = {.matrix = matrix, .map = *map};
    void *taken, *quota, *piece;
    moe_status_t status = moe_alloc(what, n * n, sizeof *rails.taken, &taken, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc(what, n, sizeof *rails.quota, &quota, error);
    if (status != MOE_OK)
        goto free_taken;
    /* A piece ends where its block ends, or its rail is full. */
    status = moe_alloc(what, n * n + n, sizeof *rails.piece, &piece, error);
    if (status != MOE_OK)
        goto free_quota;
    rails.taken = taken;
    rails.quota = quota;
    rails.piece = piece;
    *out = rails;
    return MOE_OK;
free_quota:
    free(quota);
free_taken:
    free(taken);
    return status;
}

void moe_rails_destroy(moe_rails_t *rails)
{
    free(rails->taken);
    free(rails->quota);
    free(rails->piece);
    *rails = (moe_rails_t){.pieces = 0};
}

static size_t rails_between(const moe_node_map_t *map, size_t a, size_t b)
{
    const size_t of_a = moe_node_size(map, a), of_b = moe_node_size(map, b);
    return of_a < of_b ? of_a : of_b;
}

static size_t rows_between(const moe_rails_t *rails, size_t from_node, size_t to_node)
{
    const moe_node_map_t *map = &rails->map;
    const size_t from = moe_node_first(map, from_node), to = moe_node_first(map, to_node);
    size_t rows = 0;
    for (size_t i = 0; i < moe_node_size(map, from_node); i++) {
        const size_t *row = rails->matrix + (from + i) * map->ranks + to;
        for (size_t j = 0; j < moe_node_size(map, to_node); j++)
            rows += row[j];
    }
    return rows;
}

void moe_rails_flows(const moe_rails_t *rails, size_t *flows)
{
    const size_t n = rails->map.nodes;
    for (size_t from = 0; from < n; from++) {
        for (size_t to = 0; to < n; to++) {
            const size_t width = rails_between(&rails->map, from, to);
            const size_t rows = from == to ? 0 : rows_between(rails, from, to);
            flows[from * n + to] = rows / width + (rows % width > 0);
        }
    }
}

/* As much of the block between local indexes i and j as is left of it and of the rail. */
static void take(moe_rails_t *rails, size_t rail, size_t from, size_t to)
{
    const moe_node_map_t *map = &rails->map;
    const size_t i = moe_node_index(map, from), j = moe_node_index(map, to);
    size_t *taken = &rails->taken[i * map->per_node + j], *quota = &rails->quota[rail];
    const size_t left = rails->matrix[from * map->ranks + to] - *taken;
    const size_t rows = left < *quota ? left : *quota;
    if (rows == 0)
        return;
    rails->piece[rails->pieces++] = (moe_rail_piece_t){rail, from, to, *taken, rows};
    *taken += rows;
    *quota -= rows;
}

/* What a pass gives to a rail: blocks whose sender, or receiver, is the rail's own end. */
typedef struct pass {
    bool own_sender, own_receiver;
} pass_t;

static void deal_to(moe_rails_t *rails, size_t rail, size_t from_node, size_t to_node, pass_t pass)
{
    const moe_node_map_t *map = &rails->map;
    const size_t from = moe_node_first(map, from_node), to = moe_node_first(map, to_node);
    for (size_t i = 0; i < moe_node_size(map, from_node); i++) {
        if (pass.own_sender && i != rail)
            continue;
        for (size_t j = 0; j < moe_node_size(map, to_node); j++) {
            if (!pass.own_receiver || j == rail)
                take(rails, rail, from + i, to + j);
        }
    }
}

void moe_rails_deal(moe_rails_t *rails, size_t from_node, size_t to_node)
{
    const moe_node_map_t *map = &rails->map;
    const size_t width = rails_between(map, from_node, to_node);
    const size_t rows = rows_between(rails, from_node, to_node);
    /* Moved on neither side; on one; on both. */
    static const pass_t passes[] = {{true, true}, {true, false}, {false, true}, {false, false}};
    rails->pieces = 0;
    memset(rails->taken, 0, map->per_node * map->per_node * sizeof *rails->taken);
    for (size_t rail = 0; rail < width; rail++)
        rails->quota[rail] = rows / width + (rail < rows % width);
    for (size_t p = 0; rows > 0 && p < sizeof passes / sizeof passes[0]; p++) {
        for (size_t rail = 0; rail < width; rail++)
            deal_to(rails, rail, from_node, to_node, passes[p]);
    }
}
