#include "oracle.h"

#include "../system/clones.h"

int moe_oracle_token(uint64_t seed, uint64_t token, size_t column)
{
    return moe_oracle_x(moe_oracle_token_key(seed, token), (uint32_t)column);
}

int moe_oracle_bias(size_t expert, size_t column)
{
    return moe_oracle_b(moe_oracle_expert_key(expert), (uint32_t)column);
}

moe_dtype_t moe_memory_dtype(moe_dtype_t wire)
{
    return wire == MOE_FP8 ? MOE_BF16 : wire;
}

MOE_CLONES void moe_oracle_fill(float *to, uint64_t token_key, size_t first, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        to[j] = (float)moe_oracle_x(token_key, (uint32_t)(first + j));
    }
}

MOE_CLONES void moe_oracle_add(float *values, uint64_t expert_key, size_t first, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        values[j] += (float)moe_oracle_b(expert_key, (uint32_t)(first + j));
    }
}

MOE_CLONES void moe_oracle_sum(double *sums, double weight, uint64_t token_key, uint64_t expert_key,
                               size_t first, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        const uint32_t column = (uint32_t)(first + j);
        const int32_t y = moe_oracle_x(token_key, column) + moe_oracle_b(expert_key, column);
        sums[j] += weight * (double)y;
    }
}
