/* Experts that are there more than once: which replica a token goes to. */
#include <stdlib.h>

#include "moe/routing.h"
#include "moe/system.h"
#include "random.h"

moe_status_t moe_placement_make_replicas(moe_placement_t *placement, size_t logical,
                                         moe_error_t *error)
{
    void *of = NULL, *first = NULL, *at = NULL;
    moe_status_t status = moe_alloc("replicas", placement->experts, sizeof(int32_t), &of, error);
    if (status == MOE_OK)
        status = moe_alloc("replicas", logical + 1, sizeof(size_t), &first, error);
    if (status == MOE_OK)
        status = moe_alloc("replicas", placement->experts, sizeof(int32_t), &at, error);
    placement->logical = logical;
    placement->logical_of = of;
    placement->replica_first = first;
    placement->replica_at = at;
    return status;
}

/* Counting sort by logical expert, as that of experts by rank (placement.c). */
void moe_placement_index_replicas(moe_placement_t *placement)
{
    size_t *first = placement->replica_first;
    for (size_t e = 0; e < placement->experts; e++)
        first[placement->logical_of[e] + 1]++;
    for (size_t l = 0; l < placement->logical; l++)
        first[l + 1] += first[l];
    for (size_t e = 0; e < placement->experts; e++)
        placement->replica_at[first[placement->logical_of[e]]++] = (int32_t)e;
    for (size_t l = placement->logical; l > 0; l--)
        first[l] = first[l - 1];
    first[0] = 0;
}

void moe_placement_share(const moe_placement_t *placement, const moe_router_t *router,
                         uint32_t step, moe_table_t *table)
{
    const uint64_t seed = moe_router_spec(router)->seed;
    const size_t layer = moe_router_layer(router);
    if (placement->logical_of == NULL)
        return;
    for (size_t i = 0; i < table->tokens * table->top_k; i++) {
        const int32_t e = table->expert[i];
        if (e == MOE_NO_EXPERT)
            continue;
        const size_t first = placement->replica_first[e];
        const size_t count = placement->replica_first[e + 1] - first;
        size_t which = 0;
        if (count > 1) {
            const size_t k = i % table->top_k;
            uint32_t words[MOE_RANDOM_WORDS];
            moe_random(seed, MOE_FOR_REPLICA, layer, step, table->first_token + i / table->top_k,
                       (uint32_t)(k / MOE_RANDOM_WORDS), words);
            which = (size_t)((uint64_t)words[k % MOE_RANDOM_WORDS] * count >> 32);
        }
        table->expert[i] = placement->replica_at[first + which];
    }
}
