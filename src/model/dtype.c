#include <string.h>

#include "moe/model.h"

typedef struct dtype_row {
    const char *name;
    size_t bytes;
} dtype_row_t;

static const dtype_row_t dtypes[MOE_DTYPES] = {
    [MOE_BF16] = {.name = "bf16", .bytes = 2},
    [MOE_FP16] = {.name = "fp16", .bytes = 2},
    [MOE_FP32] = {.name = "fp32", .bytes = 4},
    [MOE_FP8] = {.name = "fp8", .bytes = 1},
};

const char *moe_dtype_name(moe_dtype_t dtype)
{
    return dtypes[dtype].name;
}

size_t moe_dtype_bytes(moe_dtype_t dtype)
{
    return dtypes[dtype].bytes;
}

moe_status_t moe_dtype_parse(const char *what, const char *text, moe_dtype_t *out,
                             moe_error_t *error)
{
    for (size_t i = 0; i < MOE_DTYPES; i++) {
        if (strcmp(text, dtypes[i].name) == 0) {
            *out = (moe_dtype_t)i;
            return MOE_OK;
        }
    }
    return moe_fail(error, MOE_BAD_INPUT, "%s %.40s: not a dtype; give bf16, fp16, fp32 or fp8",
                    what, text);
}

size_t moe_row_bytes(moe_dtype_t dtype, size_t hidden)
{
    const size_t elements = hidden * moe_dtype_bytes(dtype);
    if (dtype != MOE_FP8)
        return elements;
    const size_t scales = hidden / MOE_FP8_BLOCK + (hidden % MOE_FP8_BLOCK != 0);
    return elements + scales * sizeof(float);
}
