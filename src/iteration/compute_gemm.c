/* Real GEMMs of the model's shapes, in the device's type of matrices, through its gemm().
 *
 * What is computed is the work, not the model: operands are pseudo-random and cold (see
 * compute_operands.h), results are not used, but for an expert's, which are the rows that travel
 * back. Activation functions, norms and softmax are left out. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "compute_engines.h"
#include "compute_operands.h"
#include "moe/simulated.h"
#include "moe/system.h"

static moe_status_t gemm_create(moe_compute_t *c, const char *arguments, moe_error_t *error)
{
    if (arguments != NULL)
        return moe_fail(error, MOE_BAD_INPUT, "--compute gemm:%.60s: gemm takes no arguments",
                        arguments);
    if (c->device != NULL && !c->device->ops->has_gemm)
        return moe_fail(error, MOE_BAD_INPUT,
                        "--compute gemm: device %s has no matrix product here (%s); "
                        "give --compute gpu:NAME, model:FLOPS,EFFICIENCY or none",
                        c->device->ops->name,
                        moe_simulated() ? "on a simulated network real compute takes no time"
                        : c->device->ops->separate
                            ? "libcublas cannot be loaded: see LD_LIBRARY_PATH"
                            : "built without BLAS");
    const moe_status_t status =
        moe_alloc("GEMM operands", 1, sizeof(moe_operands_t), &c->state, error);
    if (status == MOE_OK)
        snprintf(c->description, sizeof c->description,
                 "%s GEMMs of the model's shapes, experts on the rows that arrived; no "
                 "activations, norms or softmax",
                 moe_dtype_name(c->device != NULL ? c->device->ops->gemm_dtype : MOE_FP32));
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
    return moe_operand_bytes(c->device, moe_operand_sizes(c->device, lists, count));
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

/* Rows of one expert on their way: `in` and `out` are matrices, of the token's width; `middle` has the
 * expert's inner width. Gate and up write to the same place: their product is an activation function's
 * business. */
typedef struct gemm_rows {
    const moe_gemm_list_t *list;
    size_t rows;
    const void *in;
    void *middle, *out;
    void *converted; /* `out`, where the rows that travel are of another dtype than matrices */
    void *wire_out;
} gemm_rows_t;

/* Parts that go through together. */
typedef struct gemm_group {
    size_t count;
    gemm_rows_t part[MOE_GEMM_GROUP];
} gemm_group_t;

static moe_gemm_t shape_of(const gemm_rows_t *part, size_t i)
{
    moe_gemm_t shape = part->list->shape[i];
    shape.m = part->rows;
    return shape;
}

static void experts_forward(moe_compute_t *c, const gemm_group_t *parts)
{
    const moe_gemm_list_t *list = parts->part[0].list;
    moe_gemm_t shape[MOE_GEMM_GROUP];
    moe_matrices_t where[MOE_GEMM_GROUP];
    for (size_t i = 0; i < list->count; i++) {
        for (size_t p = 0; p < parts->count; p++) {
            const gemm_rows_t *part = &parts->part[p];
            shape[p] = shape_of(part, i);
            where[p] = (moe_matrices_t){.a = i == 0 ? part->in : part->middle,
                                        .c = i == 0 ? part->middle : part->out};
        }
        for (size_t t = 0; t < list->times[i]; t++)
            moe_operands_gemms(c->device, c->state, shape, where, parts->count);
    }
}

/* The rows that came in are gradients of the expert's output. Gradients of weights meet the saved
 * activations, which lie elsewhere: in the pool. */
static void experts_backward(moe_compute_t *c, const gemm_group_t *parts)
{
    const moe_gemm_list_t *list = parts->part[0].list;
    moe_gemm_t of_input[MOE_GEMM_GROUP], of_weights[MOE_GEMM_GROUP];
    moe_matrices_t input[MOE_GEMM_GROUP], weights[MOE_GEMM_GROUP];
    for (size_t i = list->count; i-- > 0;) {
        for (size_t p = 0; p < parts->count; p++) {
            const gemm_rows_t *part = &parts->part[p];
            const moe_gemm_t shape = shape_of(part, i);
            const void *from = i > 0 ? part->in : part->middle;
            of_input[p] = gradient_of_a(&shape);
            of_weights[p] = gradient_of_b(&shape);
            input[p] = (moe_matrices_t){.a = from, .c = i > 0 ? part->middle : part->out};
            weights[p] = (moe_matrices_t){.b = from};
        }
        for (size_t t = 0; t < list->times[i]; t++) {
            moe_operands_gemms(c->device, c->state, of_input, input, parts->count);
            moe_operands_gemms(c->device, c->state, of_weights, weights, parts->count);
        }
    }
}

typedef struct wire {
    moe_dtype_t in, out;
    size_t hidden;
    bool backward;
} wire_t;

static void run_parts(moe_compute_t *c, gemm_group_t *parts, const wire_t *wire)
{
    moe_device_t *d = c->device;
    const moe_dtype_t matrix = d->ops->gemm_dtype;
    if (parts->count == 0)
        return;
    if (wire->backward)
        experts_backward(c, parts);
    else
        experts_forward(c, parts);
    for (size_t p = 0; p < parts->count; p++) {
        const gemm_rows_t *part = &parts->part[p];
        if (part->converted != NULL)
            d->ops->gather(d, part->wire_out, moe_row_bytes(wire->out, wire->hidden), wire->out,
                           part->converted, moe_row_bytes(matrix, wire->hidden), matrix, NULL,
                           part->rows, wire->hidden);
    }
    parts->count = 0;
}

/* Adds `rows` rows of an expert, with scratch from `scratch` on; returns where that ends. Rows of
 * the matrices' own dtype are used where they lie. */
static char *add_part(moe_compute_t *c, gemm_group_t *parts, const moe_gemm_list_t *list,
                      const moe_expert_t *rows, const wire_t *wire, char *scratch)
{
    moe_device_t *d = c->device;
    const moe_dtype_t matrix = d->ops->gemm_dtype;
    const size_t row = moe_row_bytes(matrix, wire->hidden);
    gemm_rows_t *part = &parts->part[parts->count++];
    *part = (gemm_rows_t){.list = list,
                          .rows = rows->rows,
                          .in = rows->in,
                          .middle = scratch + rows->rows * row,
                          .out = rows->out};
    if (wire->in != matrix) {
        d->ops->gather(d, scratch, row, matrix, rows->in, moe_row_bytes(wire->in, wire->hidden),
                       wire->in, NULL, rows->rows, wire->hidden);
        part->in = scratch;
    }
    if (wire->out != matrix) {
        part->out = part->converted = scratch;
        part->wire_out = rows->out;
    }
    return (char *)part->middle + rows->rows * moe_row_bytes(matrix, list->shape[0].n);
}

/* As many experts go through together as the device likes and the scratch holds; many rows of one in
 * chunks. */
static void gemm_experts(moe_compute_t *c, const moe_gemm_list_t *list, const moe_expert_t *expert,
                         size_t count, moe_dtype_t in_dtype, moe_dtype_t out_dtype, size_t hidden,
                         bool backward)
{
    const moe_operands_t *o = c->state;
    const wire_t wire = {.in = in_dtype, .out = out_dtype, .hidden = hidden, .backward = backward};
    const size_t in_bytes = moe_row_bytes(in_dtype, hidden);
    const size_t out_bytes = moe_row_bytes(out_dtype, hidden);
    const size_t group =
        c->device->ops->gemm_group < MOE_GEMM_GROUP ? c->device->ops->gemm_group : MOE_GEMM_GROUP;
    char *const end = o->scratch + o->size.scratch * o->element;
    char *scratch = o->scratch;
    gemm_group_t parts = {.count = 0};
    for (size_t e = 0; e < count; e++) {
        if (expert[e].rows == 0 || list[e].count == 0)
            continue;
        const size_t row = (hidden + list[e].shape[0].n) * o->element;
        const size_t chunk = o->size.scratch * o->element / row;
        assert(list[e].count == 2 && list[e].shape[0].k == hidden && chunk > 0);
        for (size_t first = 0; first < expert[e].rows; first += chunk) {
            const size_t left = expert[e].rows - first;
            const moe_expert_t rows = {.rows = left < chunk ? left : chunk,
                                       .in = (const char *)expert[e].in + first * in_bytes,
                                       .out = (char *)expert[e].out + first * out_bytes};
            if (parts.count == group || (size_t)(end - scratch) < rows.rows * row) {
                run_parts(c, &parts, &wire);
                scratch = o->scratch;
            }
            scratch = add_part(c, &parts, &list[e], &rows, &wire, scratch);
        }
    }
    run_parts(c, &parts, &wire);
}

const moe_compute_ops_t moe_compute_gemm_ops = {
    .name = "gemm",
    .syntax = "gemm",
    .summary = "real GEMMs of the model's shapes on the device",
    .create = gemm_create,
    .run = gemm_run,
    .experts = gemm_experts,
    .memory = gemm_memory,
    .prepare = gemm_prepare,
    .destroy = gemm_destroy,
};
