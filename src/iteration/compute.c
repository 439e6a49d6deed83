/* Registry and parsing of compute engines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute_engines.h"
#include "moe/iteration.h"
#include "moe/system.h"

static const moe_compute_ops_t *const engines[] = {
    &moe_compute_gemm_ops,
    &moe_compute_gpu_ops,
    &moe_compute_model_ops,
    &moe_compute_none_ops,
};

/* Room for the syntax of all engines, in a message. */
#define SYNTAX_TEXT 256

size_t moe_compute_count(void)
{
    return sizeof engines / sizeof engines[0];
}

const moe_compute_ops_t *moe_compute_at(size_t index)
{
    return index < moe_compute_count() ? engines[index] : NULL;
}

static moe_status_t refuse_engine(const char *what, const char *text, moe_error_t *error)
{
    char known[SYNTAX_TEXT] = "";
    size_t length = 0;
    for (size_t i = 0; i < moe_compute_count() && length < sizeof known; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s",
                                   i == 0 ? "" : ", ", engines[i]->syntax);
    return moe_fail(error, MOE_BAD_INPUT, "%s %.60s: no such compute engine; there are %s", what,
                    text, known);
}

moe_status_t moe_compute_create(const char *what, const char *text, moe_device_t *device,
                                moe_compute_t **out, moe_error_t *error)
{
    const size_t length = strcspn(text, ":");
    const moe_compute_ops_t *ops = NULL;
    for (size_t i = 0; i < moe_compute_count() && ops == NULL; i++) {
        if (strlen(engines[i]->name) == length && strncmp(engines[i]->name, text, length) == 0)
            ops = engines[i];
    }
    if (ops == NULL)
        return refuse_engine(what, text, error);

    void *memory = NULL;
    moe_status_t status = moe_alloc("a compute engine", 1, sizeof(moe_compute_t), &memory, error);
    if (status != MOE_OK)
        return status;
    moe_compute_t *compute = memory;
    compute->ops = ops;
    compute->device = device;
    status = ops->create(compute, text[length] == ':' ? text + length + 1 : NULL, error);
    if (status != MOE_OK) {
        free(compute);
        return status;
    }
    *out = compute;
    return MOE_OK;
}

void moe_compute_destroy(moe_compute_t *compute)
{
    if (compute == NULL)
        return;
    compute->ops->destroy(compute);
    free(compute);
}

size_t moe_compute_no_memory(const moe_compute_t *c, const moe_gemm_list_t *lists, size_t count)
{
    (void)c, (void)lists, (void)count;
    return 0;
}

moe_status_t moe_compute_no_preparation(moe_compute_t *c, const moe_gemm_list_t *lists,
                                        size_t count, moe_error_t *error)
{
    (void)c, (void)lists, (void)count, (void)error;
    return MOE_OK;
}

void moe_compute_nothing_to_destroy(moe_compute_t *c)
{
    (void)c;
}
