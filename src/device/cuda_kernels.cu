/* Kernels that pack, convert and weigh rows. They are bound by memory, so their shape follows
 * from one number: some 32 KiB must be on their way to each multiprocessor at any time (4.8 TB/s of
 * an H200 times 0.9 us, over 132). Hence several independent 16-byte loads in each lane before the
 * first is used, indices that are fetched one round ahead, and as many blocks as run at a time, each
 * of which takes its next part when it is done (cuda_pack.cuh).
 *
 * Kernels have names of their own and no namespace: the fake runtime of the tests finds them by name
 * (tests/fakes/gpu). */
#include <cuda_runtime.h>

#include "cuda_pack.cuh"

/* ---- Copying ---- */

/* Independent loads of a lane. */
enum { COPY_AHEAD = 4, COPY_BLOCKS = 5 };

/* The same for all lanes; `lanes` (a power of two) of them work on a row together: as many as have
 * something to do, so that short rows do not leave a warp idle. */
typedef struct moe_copy_job {
    moe_cuda_copy_t args;
    size_t words; /* whole ones in a row; the bytes that are left are copied one by one */
    unsigned lanes, parts;
} moe_copy_job_t;

MOE_DEVICE size_t copy_source(const moe_copy_job_t &job, size_t row)
{
    return job.args.index == nullptr ? row
           : row < job.args.rows     ? job.args.index[row]
                                     : MOE_ROW_ZERO;
}

/* A part of a row; `from` nullptr: zeros. */
template <typename word_t>
MOE_DEVICE void copy_words(const moe_copy_job_t &job, word_t *to, const word_t *from, size_t first)
{
    word_t word[COPY_AHEAD] = {};
    if (first + (COPY_AHEAD - 1) * job.lanes < job.words) {
        if (from != nullptr) {
            MOE_UNROLL
            for (unsigned u = 0; u < COPY_AHEAD; u++) {
                word[u] = from[first + u * job.lanes];
            }
        }
        MOE_UNROLL
        for (unsigned u = 0; u < COPY_AHEAD; u++) {
            to[first + u * job.lanes] = word[u];
        }
        return;
    }
    MOE_UNROLL
    for (unsigned u = 0; u < COPY_AHEAD - 1; u++) {
        if (first + u * job.lanes < job.words && from != nullptr) {
            word[u] = from[first + u * job.lanes];
        }
    }
    MOE_UNROLL
    for (unsigned u = 0; u < COPY_AHEAD - 1; u++) {
        if (first + u * job.lanes < job.words) {
            to[first + u * job.lanes] = word[u];
        }
    }
}

template <typename word_t>
MOE_DEVICE void copy_part(const moe_copy_job_t &job, size_t row, size_t source, unsigned part,
                          unsigned lane)
{
    const bool zero = source == MOE_ROW_ZERO;
    char *const to = job.args.to.base + row * job.args.to.stride;
    const char *const from = zero ? nullptr : job.args.from.base + source * job.args.from.stride;
    copy_words<word_t>(job, (word_t *)to, (const word_t *)from,
                       (size_t)part * COPY_AHEAD * job.lanes + lane);
    if (part == job.parts - 1) {
        for (size_t i = job.words * sizeof(word_t) + lane; i < job.args.bytes; i += job.lanes) {
            to[i] = zero ? 0 : from[i];
        }
    }
}

template <typename word_t>
__global__ void __launch_bounds__(THREADS, COPY_BLOCKS) moe_copy_kernel(const moe_copy_job_t job)
{
    const unsigned thread = blockIdx.x * THREADS + threadIdx.x;
    const unsigned lane = threadIdx.x % job.lanes;
    moe_walk_t at =
        moe_walk_start(thread / job.lanes, gridDim.x * (THREADS / job.lanes), job.parts);
    size_t source = copy_source(job, at.row);
    while (at.row < job.args.rows) {
        moe_walk_t next = at;
        moe_walk_on(&next);
        const size_t next_source = copy_source(job, next.row);
        copy_part<word_t>(job, at.row, source, at.part, lane);
        at = next;
        source = next_source;
    }
}

/* The widest word that every row of both sides is aligned to. */
static unsigned word_of(const moe_cuda_copy_t *args)
{
    const uintptr_t bits = (uintptr_t)args->to.base | (uintptr_t)args->from.base | args->to.stride |
                           args->from.stride | sizeof(uint4);
    return (unsigned)(bits & (~bits + 1));
}

cudaError_t moe_cuda_launch_copy(const moe_cuda_copy_t *args, cudaStream_t stream)
{
    if (args->rows == 0 || args->bytes == 0) {
        return cudaSuccess;
    }
    const unsigned word = word_of(args);
    moe_copy_job_t job = {*args, args->bytes / word, 1, 1};
    while (job.lanes < LANES && job.lanes < job.words) {
        job.lanes *= 2;
    }
    const size_t columns = (size_t)COPY_AHEAD * job.lanes;
    job.parts = job.words <= columns ? 1 : (unsigned)((job.words + columns - 1) / columns);
    void (*kernel)(const moe_copy_job_t) = word == 16  ? moe_copy_kernel<uint4>
                                           : word == 8 ? moe_copy_kernel<uint2>
                                           : word == 4 ? moe_copy_kernel<uint32_t>
                                           : word == 2 ? moe_copy_kernel<uint16_t>
                                                       : moe_copy_kernel<uint8_t>;
    const dim3 grid =
        moe_grid(args->rows, job.parts, THREADS / job.lanes, args->multiprocessors, COPY_BLOCKS);
    return moe_launch(kernel, grid, THREADS, job, stream);
}

/* ---- Converting ---- */

enum { CONVERT_AHEAD = 2, CONVERT_COLUMNS = CONVERT_AHEAD * STEP, CONVERT_BLOCKS = 4 };

/* The packs of a lane that start at column `first` of a row. */
template <moe_dtype_t to_dtype, moe_dtype_t from_dtype>
MOE_DEVICE void convert_packs(char *to, const moe_shape_t &to_shape, const char *from,
                              const moe_shape_t &from_shape, size_t first)
{
    scaled_pack_t<from_dtype> in[CONVERT_AHEAD];
    load_packs<from_dtype>(in, from, from_shape, first);
    MOE_UNROLL
    for (unsigned u = 0; u < CONVERT_AHEAD; u++) {
        float value[PACK];
        MOE_UNROLL
        for (unsigned j = 0; j < PACK; j++) {
            value[j] = decode_element<from_dtype>(in[u], j);
        }
        store_scaled<to_dtype>(to, to_shape, first + u * STEP, encode<to_dtype>(value));
    }
}

/* Zeros in every byte, scales too: as host_rows.c. */
template <moe_dtype_t dtype>
MOE_DEVICE void zero_packs(char *to, const moe_shape_t &shape, size_t first)
{
    scaled_pack_t<dtype> zeros;
    zeros.pack = pack_of_zeros<dtype>();
    zeros.scale = 0.0f;
    MOE_UNROLL
    for (unsigned u = 0; u < CONVERT_AHEAD; u++) {
        store_scaled<dtype>(to, shape, first + u * STEP, zeros);
    }
}

MOE_DEVICE size_t convert_source(const moe_cuda_convert_t &args, size_t row)
{
    return args.index == nullptr ? row : row < args.rows ? args.index[row] : MOE_ROW_ZERO;
}

template <moe_dtype_t to_dtype, moe_dtype_t from_dtype>
__global__ void __launch_bounds__(THREADS, CONVERT_BLOCKS)
    moe_convert_kernel(const moe_cuda_convert_t args)
{
    const bool to_aligned = packs_are_aligned<to_dtype>(args.to);
    const bool from_aligned = packs_are_aligned<from_dtype>(args.from);
    moe_walk_t at = moe_walk_of_warp(args.hidden, CONVERT_COLUMNS);
    size_t source = convert_source(args, at.row);
    while (at.row < args.rows) {
        moe_walk_t next = at;
        moe_walk_on(&next);
        const size_t next_source = convert_source(args, next.row);
        const size_t first = moe_first_column(at, CONVERT_COLUMNS);
        const moe_shape_t to = moe_shape_of(args.hidden, at, CONVERT_COLUMNS, to_aligned);
        char *const to_row = args.to.base + at.row * args.to.stride;
        if (source == MOE_ROW_ZERO) {
            zero_packs<to_dtype>(to_row, to, first);
        } else {
            convert_packs<to_dtype, from_dtype>(
                to_row, to, args.from.base + source * args.from.stride,
                moe_shape_of(args.hidden, at, CONVERT_COLUMNS, from_aligned), first);
        }
        at = next;
        source = next_source;
    }
}

cudaError_t moe_cuda_launch_convert(const moe_cuda_convert_t *args, cudaStream_t stream)
{
    if (args->rows == 0 || args->hidden == 0) {
        return cudaSuccess;
    }
    const size_t parts = moe_parts(args->hidden, CONVERT_COLUMNS);
    return moe_launch(MOE_BY_DTYPES(args->to.dtype, args->from.dtype, moe_convert_kernel),
                      moe_grid(args->rows, parts, WARPS, args->multiprocessors, CONVERT_BLOCKS),
                      THREADS, *args, stream);
}

/* ---- Weighing ---- */

/* Packs of a row in a lane, and rows whose packs it loads before it adds the first: 8 loads of 16
 * bytes of bf16. With more packs the sums of the wider and the costlier formats leave the registers. */
enum { TERMS_AHEAD = 2, REDUCE_BLOCKS = 2 };
template <moe_dtype_t from>
constexpr unsigned reduce_packs = from == MOE_BF16 || from == MOE_FP8 ? 4 : 2;

/* The terms of a sum, the first ones fetched already. A sum needs `first`, then `row`, then the rows:
 * three latencies after each other, were the first two not under way while an earlier sum is made. */
typedef struct moe_ahead {
    size_t begin, end;
    size_t row[TERMS_AHEAD];
    float weight[TERMS_AHEAD];
} moe_ahead_t;

MOE_DEVICE void fetch_bounds(const moe_cuda_reduce_t &args, size_t b, moe_ahead_t *ahead)
{
    ahead->begin = b < args.rows ? args.first[b] : 0;
    ahead->end = b < args.rows ? args.first[b + 1] : 0;
}

MOE_DEVICE void fetch_terms(const moe_cuda_reduce_t &args, size_t first, moe_ahead_t *ahead)
{
    MOE_UNROLL
    for (unsigned i = 0; i < TERMS_AHEAD; i++) {
        const bool there = first + i < ahead->end;
        ahead->row[i] = there ? args.row[first + i] : 0;
        ahead->weight[i] = there ? args.weight[first + i] : 0.0f;
    }
}

template <moe_dtype_t dtype, unsigned packs>
MOE_DEVICE void add_term(float (&sum)[packs][PACK], float weight,
                         const scaled_pack_t<dtype> (&in)[packs])
{
    MOE_UNROLL
    for (unsigned u = 0; u < packs; u++) {
        MOE_UNROLL
        for (unsigned j = 0; j < PACK; j++) {
            const float element = decode_element<dtype>(in[u], j);
            sum[u][j] = __fadd_rn(sum[u][j], __fmul_rn(weight, element));
        }
    }
}

/* The packs of a lane that start at column `first`: each row is read once, and the sums are written
 * once. */
template <moe_dtype_t dtype, unsigned packs>
MOE_DEVICE void sum_packs(float (&sum)[packs][PACK], const moe_cuda_reduce_t &args,
                          moe_ahead_t terms, const moe_shape_t &shape, size_t first)
{
    static_assert(TERMS_AHEAD == 2, "two terms are written out below");
    for (size_t i = terms.begin; i < terms.end; i += TERMS_AHEAD) {
        const bool both = i + 1 < terms.end;
        const float weight[TERMS_AHEAD] = {terms.weight[0], terms.weight[1]};
        const char *const row0 = args.from.base + terms.row[0] * args.from.stride;
        const char *const row1 = args.from.base + terms.row[1] * args.from.stride;
        scaled_pack_t<dtype> in0[packs], in1[packs];
        load_packs<dtype>(in0, row0, shape, first);
        if (both) {
            load_packs<dtype>(in1, row1, shape, first);
        }
        fetch_terms(args, i + TERMS_AHEAD, &terms);
        add_term<dtype>(sum, weight[0], in0);
        if (both) {
            add_term<dtype>(sum, weight[1], in1);
        }
    }
}

template <moe_dtype_t to_dtype, moe_dtype_t from_dtype>
__global__ void __launch_bounds__(THREADS, REDUCE_BLOCKS)
    moe_reduce_kernel(const moe_cuda_reduce_t args)
{
    constexpr unsigned packs = reduce_packs<from_dtype>, columns = packs * STEP;
    const bool to_aligned = packs_are_aligned<to_dtype>(args.to);
    const bool from_aligned = packs_are_aligned<from_dtype>(args.from);
    moe_walk_t at = moe_walk_of_warp(args.hidden, columns), next = at;
    moe_walk_on(&next);
    moe_ahead_t now, later;
    fetch_bounds(args, at.row, &now);
    fetch_bounds(args, next.row, &later);
    fetch_terms(args, now.begin, &now);
    while (at.row < args.rows) {
        moe_walk_t after = next;
        moe_walk_on(&after);
        moe_ahead_t latest;
        fetch_bounds(args, after.row, &latest);
        fetch_terms(args, later.begin, &later);
        const size_t first = moe_first_column(at, columns);
        float sum[packs][PACK] = {};
        sum_packs<from_dtype>(sum, args, now, moe_shape_of(args.hidden, at, columns, from_aligned),
                              first);
        const moe_shape_t to = moe_shape_of(args.hidden, at, columns, to_aligned);
        MOE_UNROLL
        for (unsigned u = 0; u < packs; u++) {
            store_scaled<to_dtype>(args.to.base + at.row * args.to.stride, to, first + u * STEP,
                                   encode<to_dtype>(sum[u]));
        }
        at = next;
        next = after;
        now = later;
        later = latest;
    }
}

cudaError_t moe_cuda_launch_reduce(const moe_cuda_reduce_t *args, cudaStream_t stream)
{
    if (args->rows == 0 || args->hidden == 0) {
        return cudaSuccess;
    }
    const bool many = args->from.dtype == MOE_BF16 || args->from.dtype == MOE_FP8;
    const size_t columns = STEP * (many ? reduce_packs<MOE_BF16> : reduce_packs<MOE_FP32>);
    const size_t parts = moe_parts(args->hidden, columns);
    return moe_launch(MOE_BY_DTYPES(args->to.dtype, args->from.dtype, moe_reduce_kernel),
                      moe_grid(args->rows, parts, WARPS, args->multiprocessors, REDUCE_BLOCKS),
                      THREADS, *args, stream);
}

/* ---- Time ---- */

/* One thread: a GPU's clock of nanoseconds, the same on all its multiprocessors (it ticks every 32 ns
 * on Hopper, every microsecond on some others). */
MOE_DEVICE uint64_t now_in_nanoseconds()
{
#ifdef __CUDACC__
    uint64_t now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
#else
    return emulated_globaltimer();
#endif
}

__global__ void moe_wait_kernel(const moe_cuda_wait_t args)
{
    const uint64_t start = now_in_nanoseconds();
    while (now_in_nanoseconds() - start < args.nanoseconds) {
    }
}

cudaError_t moe_cuda_launch_wait(const moe_cuda_wait_t *args, cudaStream_t stream)
{
    return moe_launch(moe_wait_kernel, dim3(1), 1, *args, stream);
}
