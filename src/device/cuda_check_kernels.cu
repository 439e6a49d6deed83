/* Kernels that hold rows against the oracle. They count wrong elements and find the first; what it is
 * and should be, the host says (cuda_check.c). Bound by arithmetic nearly as much as by memory: four
 * 16-byte loads of a lane are under way while it works out what they should be. A wrong element is
 * the exception, so what a thread found stays in its registers until it ends.
 *
 * Bits are compared, and wrong scales make their blocks wrong, as in host_check.c. */
#include <cuda_runtime.h>

#include "cuda_pack.cuh"

enum { CHECK_PACKS = 4, CHECK_COLUMNS = CHECK_PACKS * STEP, CHECK_BLOCKS = 3 };

/* ---- What was found ---- */

typedef struct moe_tally {
    unsigned long long count, first;
} moe_tally_t;

MOE_DEVICE moe_tally_t nothing_found()
{
    moe_tally_t tally = {0, MOE_CUDA_NOTHING};
    return tally;
}

/* Element 0 of the packs is number `position` of the check; `blamed`: all are wrong. */
template <moe_dtype_t dtype>
MOE_DEVICE void tally_elements(moe_tally_t *tally, const pack_t<dtype> &got,
                               const pack_t<dtype> &expected, bool blamed, unsigned valid,
                               unsigned long long position)
{
    MOE_UNROLL
    for (unsigned j = 0; j < PACK; j++) {
        if (j < valid && (blamed || pack_get<dtype>(got, j) != pack_get<dtype>(expected, j))) {
            tally->count++;
            tally->first = position + j < tally->first ? position + j : tally->first;
        }
    }
}

template <moe_dtype_t dtype>
MOE_DEVICE void compare(moe_tally_t *tally, const scaled_pack_t<dtype> &got,
                        const scaled_pack_t<dtype> &expected, size_t hidden, size_t row,
                        size_t column)
{
    uint32_t different = 0;
    MOE_UNROLL
    for (unsigned i = 0; i < pack_t<dtype>::words; i++) {
        different |= got.pack.word[i] ^ expected.pack.word[i];
    }
    const bool blamed = dtype == MOE_FP8 && moe_bits_of(got.scale) != moe_bits_of(expected.scale);
    if (different != 0 || blamed) {
        tally_elements<dtype>(tally, got.pack, expected.pack, blamed, pack_valid(hidden, column),
                              (unsigned long long)row * hidden + column);
    }
}

MOE_DEVICE void report(const moe_tally_t &tally, moe_cuda_found_t *found)
{
    if (tally.count > 0) {
        atomicAdd(&found->count, tally.count);
        atomicMin(&found->first, tally.first);
    }
}

/* ---- After dispatch ---- */

/* What a token's row, or padding, has there. */
template <moe_dtype_t dtype>
MOE_DEVICE scaled_pack_t<dtype> expected_pack(uint64_t token, uint64_t key,
                                              const moe_shape_t &shape, size_t column)
{
    float value[PACK];
    token_values(value, key, shape.hidden, column);
    scaled_pack_t<dtype> expected = encode<dtype>(value);
    if (column >= shape.hidden) {
        expected.scale = 1.0f; /* as load_scale() where there is none */
    } else if (token == MOE_TOKEN_PADDING) {
        expected.pack = pack_of_zeros<dtype>();
        expected.scale = 0.0f;
    }
    return expected;
}

template <moe_dtype_t dtype>
__global__ void __launch_bounds__(THREADS, CHECK_BLOCKS)
    moe_check_rows_kernel(const moe_cuda_check_rows_t args)
{
    const bool aligned = packs_are_aligned<dtype>(args.rows);
    moe_tally_t tally = nothing_found();
    moe_walk_t at = moe_walk_of_warp(args.hidden, CHECK_COLUMNS);
    for (; at.row < args.count; moe_walk_on(&at)) {
        const size_t first = moe_first_column(at, CHECK_COLUMNS);
        const moe_shape_t shape = moe_shape_of(args.hidden, at, CHECK_COLUMNS, aligned);
        scaled_pack_t<dtype> got[CHECK_PACKS];
        load_packs<dtype>(got, args.rows.base + at.row * args.rows.stride, shape, first);
        const uint64_t token = args.tokens[at.row];
        const uint64_t key = moe_oracle_token_key(args.seed, token);
        MOE_UNROLL
        for (unsigned u = 0; u < CHECK_PACKS; u++) {
            const size_t column = first + u * STEP;
            compare<dtype>(&tally, got[u], expected_pack<dtype>(token, key, shape, column),
                           args.hidden, at.row, column);
        }
    }
    report(tally, args.found);
}

cudaError_t moe_cuda_launch_check_rows(const moe_cuda_check_rows_t *args, cudaStream_t stream)
{
    if (args->count == 0 || args->hidden == 0) {
        return cudaSuccess;
    }
    const size_t parts = moe_parts(args->hidden, CHECK_COLUMNS);
    return moe_launch(MOE_BY_DTYPE(args->rows.dtype, moe_check_rows_kernel),
                      moe_grid(args->count, parts, WARPS, args->multiprocessors, CHECK_BLOCKS),
                      THREADS, *args, stream);
}

/* ---- Order of the terms: one thread a token; it is little work, and copied lists are all it needs
 * from the host ---- */

/* Sums of whole weights stay below 2^31: |x + bias| <= 16. */
#define WHOLE_LIMIT (1 << 26)
#define WEIGHT_ONE  65536.0f

typedef struct moe_ordering {
    const moe_cuda_order_t *args;
    size_t token;
    uint32_t count;
    long long whole_sum; /* of |weight| * 2^16; -1: one is no whole number */
} moe_ordering_t;

MOE_DEVICE bool is_kept(const moe_ordering_t &o, size_t k)
{
    return o.args->kept[o.token * o.args->top_k + k] != 0;
}

/* The number of selection k in a list; 0 for all where there is no list. */
MOE_DEVICE int32_t number_in(const moe_ordering_t &o, const int32_t *list, size_t k)
{
    return list == nullptr ? 0 : list[o.token * o.args->top_k + k];
}

/* Whether selection k is the first kept one with its number. */
MOE_DEVICE bool leads(const moe_ordering_t &o, const int32_t *list, size_t k)
{
    for (size_t j = 0; j < k; j++) {
        if (is_kept(o, j) && number_in(o, list, j) == number_in(o, list, k)) {
            return false;
        }
    }
    return is_kept(o, k);
}

MOE_DEVICE void add_selection(moe_ordering_t *o, size_t k)
{
    const size_t at = o->token * o->args->top_k;
    const float weight = o->args->weight[at + k], scaled_weight = __fmul_rn(weight, WEIGHT_ONE);
    moe_cuda_term_t term;
    term.key = moe_oracle_expert_key((size_t)o->args->expert[at + k]);
    term.by.weight = weight;
    term.ends = 0;
    o->args->term[at + o->count++] = term;
    if (!(fabsf(scaled_weight) <= (float)WHOLE_LIMIT) ||
        (float)(int32_t)scaled_weight != scaled_weight) {
        o->whole_sum = -1;
    } else if (o->whole_sum >= 0) {
        o->whole_sum += (long long)fabsf(scaled_weight);
    }
}

MOE_DEVICE void end_sum(moe_ordering_t *o, uint32_t ends)
{
    if (o->count > 0) {
        o->args->term[o->token * o->args->top_k + o->count - 1].ends |= ends;
    }
}

/* The inner sum of selection i. */
MOE_DEVICE void add_inner(moe_ordering_t *o, size_t i)
{
    for (size_t j = 0; j < o->args->top_k; j++) {
        if (is_kept(*o, j) &&
            number_in(*o, o->args->inner, j) == number_in(*o, o->args->inner, i)) {
            add_selection(o, j);
        }
    }
    end_sum(o, o->args->inner != nullptr ? MOE_CUDA_ENDS_INNER : 0);
}

/* The outer sum of selection k. */
MOE_DEVICE void add_outer(moe_ordering_t *o, size_t k)
{
    for (size_t i = 0; i < o->args->top_k; i++) {
        if (leads(*o, o->args->inner, i) &&
            number_in(*o, o->args->outer, i) == number_in(*o, o->args->outer, k)) {
            add_inner(o, i);
        }
    }
    end_sum(o, o->args->outer != nullptr ? MOE_CUDA_ENDS_OUTER : 0);
}

MOE_DEVICE void order_token(const moe_cuda_order_t &args, size_t token)
{
    moe_ordering_t o = {&args, token, 0, args.inner == nullptr ? 0 : -1};
    for (size_t k = 0; k < args.top_k; k++) {
        if (leads(o, args.outer, k)) {
            add_outer(&o, k);
        }
    }
    const bool whole = o.whole_sum >= 0 && o.whole_sum < WHOLE_LIMIT;
    for (uint32_t i = 0; whole && i < o.count; i++) {
        moe_cuda_term_t *const term = &args.term[token * args.top_k + i];
        term->by.whole = (int32_t)__fmul_rn(term->by.weight, WEIGHT_ONE);
    }
    args.terms[token].count = o.count;
    args.terms[token].whole = whole ? 1 : 0;
}

__global__ void moe_order_kernel(const moe_cuda_order_t args)
{
    const size_t step = (size_t)gridDim.x * THREADS;
    for (size_t t = (size_t)blockIdx.x * THREADS + threadIdx.x; t < args.tokens; t += step) {
        order_token(args, t);
    }
}

cudaError_t moe_cuda_launch_order(const moe_cuda_order_t *args, cudaStream_t stream)
{
    if (args->tokens == 0) {
        return cudaSuccess;
    }
    return moe_launch(moe_order_kernel,
                      moe_grid(args->tokens, 1, THREADS, args->multiprocessors, CHECK_BLOCKS),
                      THREADS, *args, stream);
}

/* ---- After combine ---- */

enum { COMBINED_PACKS = 2, COMBINED_COLUMNS = COMBINED_PACKS * STEP };

/* Sums of whole numbers of 2^-16: exact, and the same as in doubles, whose conversions are slow. */
MOE_DEVICE void sum_whole(float (&value)[PACK], const moe_cuda_term_t *term, uint32_t count,
                          uint64_t token_key, uint32_t column)
{
    int32_t x[PACK], sum[PACK];
    MOE_UNROLL
    for (unsigned j = 0; j < PACK; j++) {
        x[j] = moe_oracle_x(token_key, column + j);
        sum[j] = 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t key = term[i].key;
        const int32_t weight = term[i].by.whole;
        MOE_UNROLL
        for (unsigned j = 0; j < PACK; j++) {
            sum[j] += weight * (x[j] + moe_oracle_b(key, column + j));
        }
    }
    MOE_UNROLL
    for (unsigned j = 0; j < PACK; j++) {
        value[j] = __fmul_rn((float)sum[j], 1.0f / WEIGHT_ONE);
    }
}

/* As if it had travelled in that dtype. */
MOE_DEVICE double rounded(double sum, moe_dtype_t dtype)
{
    const float value = (float)sum;
    return dtype == MOE_BF16   ? moe_bf16_to_float(moe_bf16_from_float(value))
           : dtype == MOE_FP16 ? moe_fp16_to_float(moe_fp16_from_float(value))
                               : value;
}

/* Any weights, and sums that are rounded on the way: see host_check.c. */
MOE_DEVICE float sum_rounded(const moe_cuda_term_t *term, uint32_t count, uint64_t token_key,
                             uint32_t column, moe_dtype_t dtype)
{
    const int32_t x = moe_oracle_x(token_key, column);
    double inner = 0, outer = 0, total = 0;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t y = x + moe_oracle_b(term[i].key, column);
        inner = __dadd_rn(inner, __dmul_rn((double)term[i].by.weight, (double)y));
        if ((term[i].ends & MOE_CUDA_ENDS_INNER) != 0) {
            outer += rounded(inner, dtype);
            inner = 0;
        }
        if ((term[i].ends & MOE_CUDA_ENDS_OUTER) != 0) {
            total += rounded(outer, dtype);
            outer = 0;
        }
    }
    return (float)(total + outer + inner); /* two of them are 0 */
}

MOE_DEVICE void combined_values(float (&value)[PACK], const moe_cuda_check_combined_t &args,
                                size_t row, uint64_t token_key, size_t column)
{
    const moe_cuda_terms_t terms = args.terms[row];
    const moe_cuda_term_t *const term = args.term + row * args.top_k;
    const unsigned valid = pack_valid(args.hidden, column);
    if (terms.whole != 0) {
        sum_whole(value, term, terms.count, token_key, (uint32_t)column);
    } else {
        MOE_UNROLL
        for (unsigned j = 0; j < PACK; j++) {
            value[j] =
                sum_rounded(term, terms.count, token_key, (uint32_t)column + j, args.partial_dtype);
        }
    }
    MOE_UNROLL
    for (unsigned j = 0; j < PACK; j++) {
        value[j] = j < valid ? value[j] : 0.0f;
    }
}

template <moe_dtype_t dtype>
__global__ void __launch_bounds__(THREADS, CHECK_BLOCKS)
    moe_check_combined_kernel(const moe_cuda_check_combined_t args)
{
    const bool aligned = packs_are_aligned<dtype>(args.rows);
    moe_tally_t tally = nothing_found();
    moe_walk_t at = moe_walk_of_warp(args.hidden, COMBINED_COLUMNS);
    for (; at.row < args.count; moe_walk_on(&at)) {
        const size_t first = moe_first_column(at, COMBINED_COLUMNS);
        scaled_pack_t<dtype> got[COMBINED_PACKS];
        load_packs<dtype>(got, args.rows.base + at.row * args.rows.stride,
                          moe_shape_of(args.hidden, at, COMBINED_COLUMNS, aligned), first);
        const uint64_t key =
            moe_oracle_token_key(args.seed, args.first_token + (uint64_t)at.row * args.token_step);
        MOE_UNROLL
        for (unsigned u = 0; u < COMBINED_PACKS; u++) {
            const size_t column = first + u * STEP;
            float value[PACK];
            combined_values(value, args, at.row, key, column);
            scaled_pack_t<dtype> expected = encode<dtype>(value);
            expected.scale = column < args.hidden ? expected.scale : 1.0f;
            compare<dtype>(&tally, got[u], expected, args.hidden, at.row, column);
        }
    }
    report(tally, args.found);
}

cudaError_t moe_cuda_launch_check_combined(const moe_cuda_check_combined_t *args,
                                           cudaStream_t stream)
{
    if (args->count == 0 || args->hidden == 0) {
        return cudaSuccess;
    }
    const size_t parts = moe_parts(args->hidden, COMBINED_COLUMNS);
    return moe_launch(MOE_BY_DTYPE(args->rows.dtype, moe_check_combined_kernel),
                      moe_grid(args->count, parts, WARPS, args->multiprocessors, CHECK_BLOCKS),
                      THREADS, *args, stream);
}
