#include <stdlib.h>

#include "moe/routing.h"
#include "moe/system.h"

moe_status_t moe_table_create(size_t tokens, size_t top_k, moe_table_t *out, moe_error_t *error)
{
    size_t entries = 0;
    if (__builtin_mul_overflow(tokens, top_k, &entries))
        return moe_fail(error, MOE_BAD_INPUT,
                        "routing table: %zu tokens of %zu choices do not fit memory: lower tokens",
                        tokens, top_k);
    void *expert = NULL, *weight = NULL;
    moe_status_t status = moe_alloc("routing table", entries, sizeof(int32_t), &expert, error);
    if (status == MOE_OK)
        status = moe_alloc("routing table", entries, sizeof(float), &weight, error);
    if (status != MOE_OK) {
        free(expert);
        return status;
    }
    *out = (moe_table_t){.tokens = tokens, .top_k = top_k, .expert = expert, .weight = weight};
    return MOE_OK;
}

void moe_table_destroy(moe_table_t *table)
{
    free(table->weight);
    free(table->expert);
    *table = (moe_table_t){0};
}

/* The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA'14): one step of the chain. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
    uint64_t z = (hash ^ value) + 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint64_t moe_table_hash(const moe_table_t *table, size_t layer, uint32_t step)
{
    const uint64_t place = mix(mix(0, layer), step);
    uint64_t sum = 0;
    for (size_t t = 0; t < table->tokens; t++) {
        uint64_t hash = mix(place, table->first_token + t);
        for (size_t k = 0; k < table->top_k; k++)
            hash = mix(hash, (uint64_t)(int64_t)table->expert[t * table->top_k + k]);
        sum += hash;
    }
    return sum;
}
