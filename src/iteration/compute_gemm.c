/* Real GEMMs of the model's shapes, in fp32, through the device's gemm().
 *
 * What is computed is the work, not the model: operands are pseudo-random and cold (see
 * compute_operands.h), results are not used, but for an expert's, which are the rows that travel
 * back. Activation functions, norms and softmax are left out. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "compute_engines.h"
#include "compute_operands.h"
#include "moe/system.h"

static moe_status_t gemm_create(moe_compute_t *c, const char *arguments, moe_error_t *error)
{
    if (arguments != NULL)
        return moe_fail(error, MOE_BAD_INPUT, "--compute gemm:%.60s: gemm takes no arguments",
                        arguments);
    if (c->device != NULL && !c->device->ops->has_gemm)
        return moe_fail(
            error, MOE_BAD_INPUT,
            "--compute gemm: device %s has no matrix product here (built without BLAS); "
            "give --compute gpu:NAME, model:FLOPS,EFFICIENCY or none",
            c->device->ops->name);
    const moe_status_t status =
        moe_alloc("GEMM operands", 1, sizeof(moe_operands_t), &c->state, error);
    if (status == MOE_OK)
        snprintf(c->description, sizeof c->description,
                 "fp32 GEMMs of the model's shapes, experts on the rows that arrived; no "
                 "activations, norms or softmax");
    return status;
}

static void gemm_destroy(moe_compute_t *c)
{
    if (c->device != NULL)
        moe_operands_release(c->device, c->state);
    free(c->state);
}

static size_t gemm_memory(const moe_compute_t *c, const moe_gemm_list_t *lists, size_t count)
{
    (void)c;
    return moe_operand_bytes(moe_operand_sizes(lists, count));
}

static moe_status_t gemm_prepare(moe_compute_t *c, const moe_gemm_list_t *lists, size_t count,
                                 moe_error_t *error)
{
    moe_operands_release(c->device, c->state);
    return moe_operands_create(c->device, lists, count, c->state, error);
}

/* ---- Gradients: of C = op(A) op(B), with dC the gradient of C ---- */

/* A [m][k]: dA = dC op(B)^T. A [k][m]: dA = op(B) dC^T. */
static moe_gemm_t gradient_of_a(const moe_gemm_t *f)
{
    if (f->transpose_a)
        return (moe_gemm_t){
            .m = f->k, .n = f->m, .k = f->n, .transpose_a = f->transpose_b, .transpose_b = true};
    return (moe_gemm_t){.m = f->m, .n = f->k, .k = f->n, .transpose_b = !f->transpose_b};
}

/* B [k][n]: dB = op(A)^T dC. B [n][k]: dB = dC^T op(A). */
static moe_gemm_t gradient_of_b(const moe_gemm_t *f)
{
    if (f->transpose_b)
        return (moe_gemm_t){
            .m = f->n, .n = f->k, .k = f->m, .transpose_a = true, .transpose_b = f->transpose_a};
    return (moe_gemm_t){.m = f->k, .n = f->n, .k = f->m, .transpose_a = !f->transpose_a};
}

/* ---- Lists ---- */

static void gemm_run(moe_compute_t *c, const moe_gemm_list_t *list, bool backward)
{
    const moe_matrices_t pool = {.a = NULL};
    for (size_t i = 0; i < list->count; i++) {
        const moe_gemm_t *shape = &list->shape[i];
        const moe_gemm_t of_a = gradient_of_a(shape), of_b = gradient_of_b(shape);
        for (size_t t = 0; t < list->times[i]; t++) {
            if (!backward) {
                moe_operands_gemm(c->device, c->state, shape, &pool);
            } else {
                moe_operands_gemm(c->device, c->state, &of_a, &pool);
                moe_operands_gemm(c->device, c->state, &of_b, &pool);
            }
        }
    }
}

/* ---- Experts ---- */

/* Activations lie on two sides in turn: rows of the token's width on side 0, of the expert's inner
 * width on side 1. Gate and up write to the same place: their product is an activation function's
 * business. */
static void expert_forward(moe_compute_t *c, const moe_gemm_list_t *list, size_t rows,
                           float *const side[2])
{
    for (size_t i = 0; i < list->count; i++) {
        moe_gemm_t shape = list->shape[i];
        shape.m = rows;
        const moe_matrices_t where = {.a = side[i % 2], .c = side[(i + 1) % 2]};
        for (size_t t = 0; t < list->times[i]; t++)
            moe_operands_gemm(c->device, c->state, &shape, &where);
    }
}

/* The rows on side 0 are gradients of the expert's output. Gradients of weights meet the saved
 * activations, which lie elsewhere: in the pool. */
static void expert_backward(moe_compute_t *c, const moe_gemm_list_t *list, size_t rows,
                            float *const side[2])
{
    for (size_t i = list->count; i-- > 0;) {
        moe_gemm_t shape = list->shape[i];
        shape.m = rows;
        const moe_gemm_t of_input = gradient_of_a(&shape), of_weights = gradient_of_b(&shape);
        const moe_matrices_t input = {.a = side[(i + 1) % 2], .c = side[i % 2]};
        const moe_matrices_t weights = {.b = side[(i + 1) % 2]};
        for (size_t t = 0; t < list->times[i]; t++) {
            moe_operands_gemm(c->device, c->state, &of_input, &input);
            moe_operands_gemm(c->device, c->state, &of_weights, &weights);
        }
    }
}

/* Many rows go through in chunks that fit the scratch. */
static void gemm_expert(moe_compute_t *c, const moe_gemm_list_t *list, const void *in,
                        moe_dtype_t in_dtype, void *out, moe_dtype_t out_dtype, size_t rows,
                        size_t hidden, bool backward)
{
    if (rows == 0 || list->count == 0)
        return;
    const moe_operands_t *o = c->state;
    moe_device_t *d = c->device;
    const size_t inner = list->shape[0].n;
    const size_t chunk = o->size.scratch / (hidden + inner);
    assert(list->count == 2 && list->shape[0].k == hidden && chunk > 0);
    const size_t in_bytes = moe_row_bytes(in_dtype, hidden);
    const size_t out_bytes = moe_row_bytes(out_dtype, hidden);
    for (size_t first = 0; first < rows; first += chunk) {
        const size_t count = rows - first < chunk ? rows - first : chunk;
        float *const side[2] = {o->scratch, o->scratch + count * hidden};
        d->ops->widen(d, side[0], (const char *)in + first * in_bytes, in_dtype, count, hidden);
        if (backward)
            expert_backward(c, list, count, side);
        else
            expert_forward(c, list, count, side);
        d->ops->narrow(d, (char *)out + first * out_bytes, out_dtype, side[0], count, hidden);
    }
}

const moe_compute_ops_t moe_compute_gemm_ops = {
    .name = "gemm",
    .syntax = "gemm",
    .summary = "real GEMMs of the model's shapes on the device",
    .create = gemm_create,
    .run = gemm_run,
    .expert = gemm_expert,
    .memory = gemm_memory,
    .prepare = gemm_prepare,
    .destroy = gemm_destroy,
};
