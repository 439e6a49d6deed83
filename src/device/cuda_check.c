/* The oracle's check on a GPU: kernels count wrong elements and find the first; its row comes back to
 * the host, whose own check says what it is and what it should be. Rows are checked in chunks, so that
 * what the kernels need to know of them fits a fixed memory. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "host.h"

/* In both memories: what was found, then lists of a chunk; on the GPU, terms behind them. */
#define FOUND_BYTES ((size_t)256)
#define LIST_BYTES  ((size_t)4 << 20)
#define TERM_BYTES  ((size_t)8 << 20)
#define ALIGNMENT   ((size_t)16)

moe_status_t moe_cuda_scratch_create(moe_cuda_state_t *state, moe_error_t *error)
{
    const moe_status_t status =
        moe_cuda_check(cudaHostAlloc((void **)&state->scratch.pinned, FOUND_BYTES + LIST_BYTES,
                                     cudaHostAllocPortable),
                       "cudaHostAlloc", error);
    return status != MOE_OK ? status
                            : moe_cuda_check(cudaMalloc((void **)&state->scratch.device,
                                                        FOUND_BYTES + LIST_BYTES + TERM_BYTES),
                                             "cudaMalloc", error);
}

void moe_cuda_scratch_destroy(moe_cuda_state_t *state)
{
    (void)cudaFree(state->scratch.device);
    (void)cudaFreeHost(state->scratch.pinned);
}

/* ---- Lists ---- */

/* Those of a chunk, side by side. */
typedef struct moe_lists {
    moe_cuda_state_t *state;
    size_t bytes; /* taken */
} moe_lists_t;

/* Adds entries first, first + stride, ... of a list, `count` of them, `bytes` each; where it will be
 * on the GPU. */
static const void *add_list(moe_lists_t *lists, const void *list, size_t bytes, size_t first,
                            size_t stride, size_t count)
{
    char *const to = lists->state->scratch.pinned + FOUND_BYTES + lists->bytes;
    const char *const from = (const char *)list + first * bytes;
    const void *const there = lists->state->scratch.device + FOUND_BYTES + lists->bytes;
    if (stride == 1) {
        memcpy(to, from, count * bytes);
    } else {
        for (size_t i = 0; i < count; i++) {
            memcpy(to + i * bytes, from + i * stride * bytes, bytes);
        }
    }
    lists->bytes += (count * bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return there;
}

static moe_cuda_found_t *found_on_gpu(const moe_cuda_state_t *state)
{
    return (moe_cuda_found_t *)state->scratch.device;
}

/* Brings the lists to the GPU, and nothing found yet. */
static bool send_lists(const moe_lists_t *lists)
{
    moe_cuda_state_t *state = lists->state;
    const moe_cuda_found_t nothing = {.count = 0, .first = MOE_CUDA_NOTHING};
    memcpy(state->scratch.pinned, &nothing, sizeof nothing);
    return moe_cuda_note(state,
                         cudaMemcpyAsync(state->scratch.device, state->scratch.pinned,
                                         FOUND_BYTES + lists->bytes, cudaMemcpyHostToDevice,
                                         state->stream[state->lane]),
                         "cudaMemcpyAsync");
}

static bool fetch_found(moe_cuda_state_t *state, moe_cuda_found_t *found)
{
    if (!moe_cuda_note(state,
                       cudaMemcpyAsync(state->scratch.pinned, state->scratch.device, sizeof *found,
                                       cudaMemcpyDeviceToHost, state->stream[state->lane]),
                       "cudaMemcpyAsync") ||
        !moe_cuda_wait_for_lane(state)) {
        return false;
    }
    memcpy(found, state->scratch.pinned, sizeof *found);
    return true;
}

/* ---- What is wrong with a row ---- */

/* Lets the host say it of row `row` of the buffer, which lies in host memory. */
typedef void describe_fn(const void *row_on_host, size_t row, const void *context,
                         moe_mismatch_t *result);

/* Adds what a chunk found; the first finding of all is described. */
static void add_found(moe_device_t *d, const moe_cuda_found_t *found, const char *rows,
                      size_t row_bytes, size_t row, describe_fn *describe, const void *context,
                      moe_mismatch_t *result)
{
    moe_cuda_state_t *state = d->state;
    if (found->count == 0) {
        return;
    }
    if (result->count == 0) {
        moe_mismatch_t first = {.count = 0};
        void *const on_host = malloc(row_bytes);
        if (on_host == NULL) {
            moe_cuda_note_text(state, "no memory for a row of %zu bytes", row_bytes);
            return;
        }
        moe_cuda_copy(d, on_host, rows + row * row_bytes, row_bytes);
        if (state->failed.status == MOE_OK) {
            describe(on_host, row, context, &first);
        }
        free(on_host);
        if (first.count == 0) {
            moe_cuda_note_text(state,
                               "the GPU counts %llu wrong elements, the first in row %zu, where "
                               "the host finds none",
                               found->count, row);
            return;
        }
        *result = first;
        result->count = 0;
    }
    result->count += (size_t)found->count;
}

/* ---- After dispatch ---- */

typedef struct moe_dispatched {
    moe_dtype_t dtype;
    uint64_t seed;
    const uint64_t *tokens;
    size_t hidden, row_base;
} moe_dispatched_t;

static void describe_dispatched(const void *row_on_host, size_t row, const void *context,
                                moe_mismatch_t *result)
{
    const moe_dispatched_t *c = context;
    moe_host_check_rows(NULL, row_on_host, c->dtype, c->seed, c->tokens + row, 1, 1, c->hidden,
                        c->row_base + row, result);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void moe_cuda_check_rows(moe_device_t *d, const void *rows, moe_dtype_t dtype, uint64_t seed,
                         const uint64_t *tokens, size_t count, size_t stride, size_t hidden,
                         size_t row_base, moe_mismatch_t *result)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    const size_t row_bytes = moe_row_bytes(dtype, hidden);
    const size_t checked = count / stride + (count % stride != 0);
    const moe_dispatched_t context = {
        .dtype = dtype, .seed = seed, .tokens = tokens, .hidden = hidden, .row_base = row_base};
    if (state == NULL || moe_cuda_recording(state, "a check")) {
        return;
    }
    for (size_t done = 0; done < checked;) {
        const size_t chunk = smaller(checked - done, LIST_BYTES / sizeof *tokens);
        const size_t first_row = done * stride;
        moe_lists_t lists = {.state = state};
        const moe_cuda_check_rows_t args = {
            .multiprocessors = state->multiprocessors,
            .rows = moe_cuda_rows((const char *)rows + first_row * row_bytes, stride * row_bytes,
                                  dtype),
            .seed = seed,
            .tokens = add_list(&lists, tokens, sizeof *tokens, first_row, stride, chunk),
            .count = chunk,
            .hidden = hidden,
            .found = found_on_gpu(state)};
        moe_cuda_found_t found;
        if (!send_lists(&lists) ||
            !moe_cuda_note(state, moe_cuda_launch_check_rows(&args, state->stream[state->lane]),
                           "the kernel that checks rows") ||
            !fetch_found(state, &found)) {
            return;
        }
        const size_t wrong_row =
            found.count > 0 ? first_row + (size_t)(found.first / hidden) * stride : 0;
        add_found(d, &found, rows, row_bytes, wrong_row, describe_dispatched, &context, result);
        done += chunk;
    }
}

/* ---- After combine ---- */

typedef struct moe_combined {
    moe_dtype_t dtype;
    uint64_t seed, first_token;
    const int32_t *expert;
    const float *weight;
    const uint8_t *kept;
    const moe_partial_sums_t *sums;
    size_t top_k, stride, hidden;
} moe_combined_t;

static void describe_combined(const void *row_on_host, size_t row, const void *context,
                              moe_mismatch_t *result)
{
    const moe_combined_t *c = context;
    const size_t at = row * c->top_k;
    moe_partial_sums_t sums = {.dtype = MOE_BF16};
    if (c->sums != NULL) {
        sums.inner = c->sums->inner + at;
        sums.outer = c->sums->outer != NULL ? c->sums->outer + at : NULL;
        sums.dtype = c->sums->dtype;
    }
    moe_host_check_combined(NULL, row_on_host, c->dtype, c->seed, c->first_token + row,
                            c->expert + at, c->weight + at, c->kept + at,
                            c->sums != NULL ? &sums : NULL, 1, c->top_k, 1, c->hidden, result);
    result->row = row;
}

/* Tokens whose lists and terms fit. */
static size_t tokens_in_chunk(const moe_combined_t *c)
{
    const size_t lists = c->sums == NULL ? 0 : c->sums->outer == NULL ? 1 : 2;
    const size_t listed = c->top_k * (sizeof *c->expert + sizeof *c->weight + sizeof *c->kept +
                                      lists * sizeof(int32_t));
    const size_t terms = sizeof(moe_cuda_terms_t) + c->top_k * sizeof(moe_cuda_term_t);
    const size_t room = LIST_BYTES - 5 * ALIGNMENT;
    return smaller(TERM_BYTES / terms, listed > 0 ? room / listed : TERM_BYTES);
}

/* Gives what it takes to check `chunk` tokens from row `first_row` on to the GPU. */
static bool launch_combined(moe_cuda_state_t *state, const moe_combined_t *c, const char *rows,
                            size_t first_row, size_t chunk)
{
    const size_t row_bytes = moe_row_bytes(c->dtype, c->hidden);
    char *const terms = state->scratch.device + FOUND_BYTES + LIST_BYTES;
    moe_lists_t lists = {.state = state};
    const size_t of_int = c->top_k * sizeof(int32_t), stride = c->stride;
    moe_cuda_order_t order = {
        .multiprocessors = state->multiprocessors,
        .expert = add_list(&lists, c->expert, of_int, first_row, stride, chunk),
        .weight = add_list(&lists, c->weight, c->top_k * sizeof(float), first_row, stride, chunk),
        .kept = add_list(&lists, c->kept, c->top_k, first_row, stride, chunk),
        .tokens = chunk,
        .top_k = c->top_k,
        .term = (moe_cuda_term_t *)terms,
        .terms = (moe_cuda_terms_t *)(terms + chunk * c->top_k * sizeof(moe_cuda_term_t))};
    if (c->sums != NULL) {
        order.inner = add_list(&lists, c->sums->inner, of_int, first_row, stride, chunk);
    }
    if (c->sums != NULL && c->sums->outer != NULL) {
        order.outer = add_list(&lists, c->sums->outer, of_int, first_row, stride, chunk);
    }
    const moe_cuda_check_combined_t check = {
        .multiprocessors = state->multiprocessors,
        .rows = moe_cuda_rows(rows + first_row * row_bytes, stride * row_bytes, c->dtype),
        .seed = c->seed,
        .first_token = c->first_token + first_row,
        .token_step = stride,
        .terms = order.terms,
        .term = order.term,
        .top_k = c->top_k,
        .partial_dtype = c->sums != NULL ? c->sums->dtype : MOE_FP32,
        .count = chunk,
        .hidden = c->hidden,
        .found = found_on_gpu(state)};
    return send_lists(&lists) &&
           moe_cuda_note(state, moe_cuda_launch_order(&order, state->stream[state->lane]),
                         "the kernel that orders terms") &&
           moe_cuda_note(state, moe_cuda_launch_check_combined(&check, state->stream[state->lane]),
                         "the kernel that checks sums");
}

void moe_cuda_check_combined(moe_device_t *d, const void *out, moe_dtype_t dtype, uint64_t seed,
                             uint64_t first_token, const int32_t *expert, const float *weight,
                             const uint8_t *kept, const moe_partial_sums_t *sums, size_t tokens,
                             size_t top_k, size_t stride, size_t hidden, moe_mismatch_t *result)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    const moe_combined_t context = {.dtype = dtype,
                                    .seed = seed,
                                    .first_token = first_token,
                                    .expert = expert,
                                    .weight = weight,
                                    .kept = kept,
                                    .sums = sums,
                                    .top_k = top_k,
                                    .stride = stride,
                                    .hidden = hidden};
    const size_t checked = tokens / stride + (tokens % stride != 0);
    const size_t most = tokens_in_chunk(&context);
    if (state == NULL || moe_cuda_recording(state, "a check")) {
        return;
    }
    if (most == 0) {
        moe_cuda_note_text(state, "a token with %zu selections does not fit the GPU's check",
                           top_k);
        return;
    }
    for (size_t done = 0; done < checked;) {
        const size_t chunk = smaller(checked - done, most);
        const size_t first_row = done * stride;
        moe_cuda_found_t found;
        if (!launch_combined(state, &context, out, first_row, chunk) ||
            !fetch_found(state, &found)) {
            return;
        }
        const size_t wrong_row =
            found.count > 0 ? first_row + (size_t)(found.first / hidden) * stride : 0;
        add_found(d, &found, out, moe_row_bytes(dtype, hidden), wrong_row, describe_combined,
                  &context, result);
        done += chunk;
    }
}

#endif
