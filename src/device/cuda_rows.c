/* Rows on a GPU: each call gives one kernel, or one copy, to the current lane. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include "cuda.h"

moe_cuda_rows_t moe_cuda_rows(const void *base, size_t stride, moe_dtype_t dtype)
{
    return (moe_cuda_rows_t){.base = (char *)base, .stride = stride, .dtype = dtype};
}

static cudaStream_t stream_of(const moe_cuda_state_t *state)
{
    return state->stream[state->lane];
}

void moe_cuda_gather(moe_device_t *d, void *to, size_t to_stride, moe_dtype_t to_dtype,
                     const void *from, size_t from_stride, moe_dtype_t from_dtype,
                     const size_t *index, size_t rows, size_t hidden)
{
    if (to_dtype == from_dtype) {
        moe_cuda_copy_parts(d, to, to_stride, from, from_stride, moe_row_bytes(to_dtype, hidden),
                            index, rows);
        return;
    }
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL) {
        return;
    }
    const moe_cuda_convert_t args = {.multiprocessors = state->multiprocessors,
                                     .to = moe_cuda_rows(to, to_stride, to_dtype),
                                     .from = moe_cuda_rows(from, from_stride, from_dtype),
                                     .index = index,
                                     .rows = rows,
                                     .hidden = hidden};
    (void)moe_cuda_note(state, moe_cuda_launch_convert(&args, stream_of(state)),
                        "the kernel that converts rows");
}

/* One of the two lies in host memory: see moe_cuda_copy() for the waiting. */
static void copy_host_parts(moe_cuda_state_t *state, void *to, size_t to_stride, const void *from,
                            size_t from_stride, size_t bytes, size_t rows)
{
    if (moe_cuda_recording(state, "a copy from or to host memory") ||
        !moe_cuda_wait_for_lane(state)) {
        return;
    }
    if (moe_cuda_note(state,
                      cudaMemcpy2DAsync(to, to_stride, from, from_stride, bytes, rows,
                                        cudaMemcpyDefault, stream_of(state)),
                      "cudaMemcpy2DAsync")) {
        (void)moe_cuda_wait_for_lane(state);
    }
}

void moe_cuda_copy_parts(moe_device_t *d, void *to, size_t to_stride, const void *from,
                         size_t from_stride, size_t bytes, const size_t *index, size_t rows)
{
    if (rows == 0 || bytes == 0) {
        return;
    }
    if (index == NULL && to_stride == bytes && from_stride == bytes) {
        moe_cuda_copy(d, to, from, rows * bytes);
        return;
    }
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL) {
        return;
    }
    if (index == NULL && (!moe_cuda_is_device_memory(to) || !moe_cuda_is_device_memory(from))) {
        copy_host_parts(state, to, to_stride, from, from_stride, bytes, rows);
        return;
    }
    const moe_cuda_copy_t args = {.multiprocessors = state->multiprocessors,
                                  .to = moe_cuda_rows(to, to_stride, MOE_BF16),
                                  .from = moe_cuda_rows(from, from_stride, MOE_BF16),
                                  .index = index,
                                  .rows = rows,
                                  .bytes = bytes};
    (void)moe_cuda_note(state, moe_cuda_launch_copy(&args, stream_of(state)),
                        "the kernel that copies rows");
}

void moe_cuda_reduce(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                     moe_dtype_t from_dtype, const size_t *first, const size_t *row,
                     const float *weight, size_t rows, size_t hidden)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL) {
        return;
    }
    const moe_cuda_reduce_t args = {
        .multiprocessors = state->multiprocessors,
        .to = moe_cuda_rows(to, moe_row_bytes(to_dtype, hidden), to_dtype),
        .from = moe_cuda_rows(from, moe_row_bytes(from_dtype, hidden), from_dtype),
        .first = first,
        .row = row,
        .weight = weight,
        .rows = rows,
        .hidden = hidden};
    (void)moe_cuda_note(state, moe_cuda_launch_reduce(&args, stream_of(state)),
                        "the kernel that sums rows");
}

void moe_cuda_fill_tokens(moe_device_t *d, void *to, moe_dtype_t dtype, uint64_t seed,
                          uint64_t first_token, size_t rows, size_t hidden)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL) {
        return;
    }
    const moe_cuda_fill_t args = {.multiprocessors = state->multiprocessors,
                                  .to = moe_cuda_rows(to, moe_row_bytes(dtype, hidden), dtype),
                                  .seed = seed,
                                  .first_token = first_token,
                                  .rows = rows,
                                  .hidden = hidden};
    (void)moe_cuda_note(state, moe_cuda_launch_fill(&args, stream_of(state)),
                        "the kernel that fills tokens");
}

void moe_cuda_apply_expert(moe_device_t *d, void *out, moe_dtype_t out_dtype, const void *in,
                           moe_dtype_t in_dtype, size_t expert, size_t rows, size_t hidden)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL) {
        return;
    }
    const moe_cuda_expert_t args = {
        .multiprocessors = state->multiprocessors,
        .to = moe_cuda_rows(out, moe_row_bytes(out_dtype, hidden), out_dtype),
        .from = moe_cuda_rows(in, moe_row_bytes(in_dtype, hidden), in_dtype),
        .expert = expert,
        .rows = rows,
        .hidden = hidden};
    (void)moe_cuda_note(state, moe_cuda_launch_expert(&args, stream_of(state)),
                        "the kernel of the known expert");
}

#endif
