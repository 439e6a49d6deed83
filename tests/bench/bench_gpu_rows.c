/* Speed of the CUDA device's kernels on a real GPU: packing, and unpacking and weighing, beside a large
 * copy on the GPU (bytes read plus written); filling and checking beside the same copy; the experts'
 * products as one group beside cuBLAS called for one after the other.
 *
 *     bench_gpu_rows [MiB of rows on the wire: 1024]
 *
 * Everything is timed by events on the GPU; each repetition times one of either, and the figure is the
 * median of their ratios. All buffers are larger than the second-level cache. On a fake GPU it runs
 * only where a size is given, to try the program: such figures mean nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/device.h"

#ifndef MOE_HAVE_CUDA

int main(void)
{
    puts("rows: built without CUDA, nothing was measured");
    return 0;
}

#else

#include "../../src/device/cuda_blas.h"
#include "gpu_bench.h"

/* APART has no factor in common with EXPERTS: a token's experts are distinct. */
enum { EXPERTS = 64, APART = 7, SEED = 1 };

#define DEFAULT_MIB  1024
#define BYTES_IN_MIB ((size_t)1 << 20)

static const size_t row_sizes[] = {4096, 8192, 14336};
static const size_t top_ks[] = {1, 2, 8};

struct bench {
    moe_device_t *d;
    size_t bytes;                 /* of each of these */
    char *wire, *other, *tokens;  /* rows; `tokens` is used a part at a time, in turn */
    size_t *gather, *first, *row; /* gather[rows], first[tokens + 1], row[rows] of a plan */
    float *weight;
    uint64_t *token; /* [rows] */
    const size_t *gpu_gather, *gpu_first, *gpu_row;
    const float *gpu_weight;
    const uint64_t *gpu_token;
    moe_cuda_found_t *found;
};

/* One case: `rows` on the wire, top_k for each token. */
struct plan {
    size_t row_bytes, hidden, top_k, rows, tokens, turn;
};

/* ---- Comparing ---- */

static void copy_all(bench_t *b, const plan_t *plan)
{
    (void)plan;
    b->d->ops->copy(b->d, b->other, b->wire, b->bytes);
}

/* `bytes` are those that the operation reads and writes. */
static void compare(bench_t *b, const char *name, operation_fn *operation, plan_t plan,
                    double bytes)
{
    double copy[REPETITIONS], own[REPETITIONS], rate[REPETITIONS], copy_rate[REPETITIONS];
    double ratio[REPETITIONS];
    time_both(b, copy_all, operation, plan, copy, own);
    for (size_t r = 0; r < REPETITIONS; r++) {
        copy_rate[r] = 2e-9 * (double)b->bytes / copy[r];
        rate[r] = 1e-9 * bytes / own[r];
        ratio[r] = rate[r] / copy_rate[r];
    }
    const double middle = median(ratio);
    printf("  %-24s %6zu B  K=%zu  %8.1f GB/s   copy %8.1f GB/s   ratio %.3f (%.3f .. %.3f)\n",
           name, plan.row_bytes, plan.top_k, median(rate), median(copy_rate), middle, ratio[0],
           ratio[REPETITIONS - 1]);
    fflush(stdout);
}

/* ---- Rows ---- */

/* A part of the tokens' buffer that was not used the last times. */
static char *tokens_in_turn(const bench_t *b, const plan_t *plan)
{
    const size_t bytes = plan->tokens * plan->row_bytes;
    return b->tokens + plan->turn % (b->bytes / bytes) * bytes;
}

static void pack(bench_t *b, const plan_t *plan)
{
    b->d->ops->gather(b->d, b->wire, plan->row_bytes, MOE_BF16, tokens_in_turn(b, plan),
                      plan->row_bytes, MOE_BF16, b->gpu_gather, plan->rows, plan->hidden);
}

static void unpack(bench_t *b, const plan_t *plan)
{
    b->d->ops->reduce(b->d, tokens_in_turn(b, plan), MOE_BF16, b->wire, MOE_BF16, b->gpu_first,
                      b->gpu_row, b->gpu_weight, plan->tokens, plan->hidden);
}

static void quantise(bench_t *b, const plan_t *plan)
{
    const size_t wire = moe_row_bytes(MOE_FP8, plan->hidden);
    b->d->ops->gather(b->d, b->wire, wire, MOE_FP8, tokens_in_turn(b, plan), plan->row_bytes,
                      MOE_BF16, b->gpu_gather, plan->rows, plan->hidden);
}

static void fill(bench_t *b, const plan_t *plan)
{
    b->d->ops->fill_tokens(b->d, b->wire, MOE_BF16, SEED, 0, plan->rows, plan->hidden);
}

/* As it is called: the tokens' numbers go to the GPU, and what was found comes back. */
static void check(bench_t *b, const plan_t *plan)
{
    moe_mismatch_t found = {.count = 0};
    b->d->ops->check_rows(b->d, b->wire, MOE_BF16, SEED, b->token, plan->rows, 1, plan->hidden, 0,
                          &found);
    if (found.count > 0) {
        fprintf(stderr, "bench_gpu_rows: %zu wrong elements\n", found.count);
        exit(MOE_WRONG_DATA);
    }
}

static void check_kernel(bench_t *b, const plan_t *plan)
{
    const moe_cuda_state_t *state = b->d->state;
    const moe_cuda_check_rows_t args = {.multiprocessors = state->multiprocessors,
                                        .rows = moe_cuda_rows(b->wire, plan->row_bytes, MOE_BF16),
                                        .seed = SEED,
                                        .tokens = b->gpu_token,
                                        .count = plan->rows,
                                        .hidden = plan->hidden,
                                        .found = b->found};
    (void)moe_cuda_launch_check_rows(&args, moe_cuda_stream(b->d));
}

/* Each token's row goes to top_k distinct experts, drawn evenly; rows are numbered by expert. */
static plan_t make_plan(bench_t *b, size_t row_bytes, size_t top_k)
{
    const size_t tokens = b->bytes / row_bytes / top_k, rows = tokens * top_k;
    size_t *choice = host_memory(rows, sizeof *choice);
    size_t count[EXPERTS + 1] = {0};
    for (size_t i = 0; i < rows; i++) {
        choice[i] = (i % top_k == 0 ? (size_t)rand() : choice[i - 1] + APART) % EXPERTS;
        count[choice[i] + 1]++;
        b->token[i] = i;
    }
    for (size_t e = 0; e < EXPERTS; e++) {
        count[e + 1] += count[e];
    }
    for (size_t i = 0; i < rows; i++) {
        b->row[i] = count[choice[i]]++;
        b->gather[b->row[i]] = i / top_k;
        b->weight[i] = 1.0f / (float)top_k;
    }
    for (size_t t = 0; t <= tokens; t++) {
        b->first[t] = t * top_k;
    }
    free(choice);
    b->gpu_gather = need_list(b->d, b->gather, rows * sizeof *b->gather);
    b->gpu_first = need_list(b->d, b->first, (tokens + 1) * sizeof *b->first);
    b->gpu_row = need_list(b->d, b->row, rows * sizeof *b->row);
    b->gpu_weight = need_list(b->d, b->weight, rows * sizeof *b->weight);
    b->gpu_token = need_list(b->d, b->token, rows * sizeof *b->token);
    return (plan_t){.row_bytes = row_bytes,
                    .hidden = row_bytes / 2,
                    .top_k = top_k,
                    .rows = rows,
                    .tokens = tokens};
}

static void drop_plan(bench_t *b)
{
    const void *lists[] = {b->gpu_gather, b->gpu_first, b->gpu_row, b->gpu_weight, b->gpu_token};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        b->d->ops->drop_list(b->d, lists[i]);
    }
}

static void run_rows(bench_t *b)
{
    puts("pack, and unpack and weigh, bf16, beside a large copy (aim: at least 0.85)");
    for (size_t i = 0; i < 3 * 3; i++) {
        const plan_t plan = make_plan(b, row_sizes[i % 3], top_ks[i / 3]);
        const double row = (double)plan.row_bytes, rows = (double)plan.rows;
        compare(b, "pack", pack, plan, 2 * rows * row);
        compare(b, "unpack and weigh", unpack, plan, (rows + (double)plan.tokens) * row);
        drop_plan(b);
    }
    puts("fill and check of the oracle's rows (aim: at least 0.5), and quantising to FP8");
    for (size_t i = 0; i < 3; i++) {
        const plan_t plan = make_plan(b, row_sizes[i], 1);
        const double bytes = (double)plan.rows * (double)plan.row_bytes;
        const size_t fp8 = moe_row_bytes(MOE_FP8, plan.hidden);
        compare(b, "pack to FP8", quantise, plan, bytes + (double)(plan.rows * fp8));
        compare(b, "fill", fill, plan, bytes);
        compare(b, "check, the kernel", check_kernel, plan, bytes);
        compare(b, "check, all of it", check, plan, bytes);
        drop_plan(b);
    }
}

/* ---- Products ---- */

enum { MOST_EXPERTS = 32 };

typedef struct experts {
    const char *name;
    size_t experts, hidden, inner, rows;
} experts_t;

/* Experts of one GPU: Mixtral's eight of a layer, DeepSeek-V3's on one of eight. */
static const experts_t models[] = {
    {"Mixtral 8x7B", 8, 4096, 14336, 16384},
    {"DeepSeek-V3", 32, 7168, 2048, 16384},
};

typedef struct group {
    size_t count;
    moe_gemm_t shape[MOST_EXPERTS];
    const void *a[MOST_EXPERTS], *b[MOST_EXPERTS];
    void *c[MOST_EXPERTS];
} group_t;

static group_t group; /* of the case at hand, for the operations below */

static void multiply_group(bench_t *b, const plan_t *plan)
{
    (void)plan;
    b->d->ops->gemm(b->d, group.count, group.shape, group.a, group.b, group.c);
}

/* cuBLAS itself, column-major: see cuda_gemm.c. */
static void multiply_alone(bench_t *b, const plan_t *plan)
{
    (void)plan;
    moe_cuda_state_t *state = b->d->state;
    const cublasHandle_t handle = moe_cuda_blas_handle(state);
    const float one = 1, zero = 0;
    for (size_t i = 0; i < group.count && handle != NULL; i++) {
        const int m = (int)group.shape[i].m, n = (int)group.shape[i].n, k = (int)group.shape[i].k;
        if (m > 0) {
            (void)state->blas->gemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, n, m, k, &one, group.b[i],
                                    CUDA_R_16BF, n, group.a[i], CUDA_R_16BF, k, &zero, group.c[i],
                                    CUDA_R_16BF, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
        }
    }
}

/* Rows of expert e, of those that Zipf's law with exponent 1 gives it; the first takes what is left. */
static size_t zipf_rows(const experts_t *m, size_t e)
{
    double harmonic = 0;
    size_t others = 0;
    for (size_t i = 1; i <= m->experts; i++) {
        harmonic += 1 / (double)i;
    }
    for (size_t i = 1; i < m->experts; i++) {
        const size_t rows = (size_t)((double)m->rows / harmonic / (double)(i + 1));
        others += rows;
        if (i == e) {
            return rows;
        }
    }
    return m->rows - others;
}

/* n columns out of k. */
static void run_products(bench_t *b, const experts_t *m, size_t n, size_t k)
{
    char *const rows_in = need(b->d, m->rows * k * 2);
    char *const weights = need(b->d, m->experts * k * n * 2);
    char *const rows_out = need(b->d, m->rows * n * 2);
    b->d->ops->fill_tokens(b->d, rows_in, MOE_BF16, SEED, 0, m->rows, k);
    b->d->ops->fill_tokens(b->d, weights, MOE_BF16, SEED + 1, 0, m->experts * k, n);
    size_t first = 0;
    double flops = 0;
    group.count = m->experts;
    for (size_t e = 0; e < m->experts; e++) {
        const size_t rows = zipf_rows(m, e);
        group.shape[e] = (moe_gemm_t){.m = rows, .n = n, .k = k};
        group.a[e] = rows_in + first * k * 2;
        group.b[e] = weights + e * k * n * 2;
        group.c[e] = rows_out + first * n * 2;
        first += rows;
        flops += 2 * (double)rows * (double)n * (double)k;
    }
    double alone[REPETITIONS], grouped[REPETITIONS], ratio[REPETITIONS];
    time_both(b, multiply_alone, multiply_group, (plan_t){.turn = 0}, alone, grouped);
    for (size_t r = 0; r < REPETITIONS; r++) {
        ratio[r] = grouped[r] / alone[r];
    }
    const double middle = median(ratio);
    printf("  %-13s %2zu experts, %5zu rows, %5zu x %-5zu  one by one %7.1f TFLOP/s, as a group "
           "%7.1f   time ratio %.3f (%.3f .. %.3f)\n",
           m->name, m->experts, m->rows, k, n, 1e-12 * flops / median(alone),
           1e-12 * flops / median(grouped), middle, ratio[0], ratio[REPETITIONS - 1]);
    fflush(stdout);
    b->d->ops->release(b->d, rows_in);
    b->d->ops->release(b->d, weights);
    b->d->ops->release(b->d, rows_out);
}

/* `shrink`: sides and rows are that many times smaller. */
static void run_experts(bench_t *b, size_t shrink)
{
    puts("products of experts with skewed rows, beside cuBLAS called for one after the other (aim: "
         "time at most 1.1)");
    if (!b->d->ops->has_gemm) {
        puts("  there is no cuBLAS");
        return;
    }
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        experts_t m = models[i];
        m.hidden /= shrink;
        m.inner /= shrink;
        m.rows /= shrink;
        run_products(b, &m, m.inner, m.hidden);
        run_products(b, &m, m.hidden, m.inner);
    }
}

/* ---- Set-up ---- */

static void set_up(bench_t *b, size_t mib)
{
    const moe_cuda_found_t nothing = {.count = 0, .first = MOE_CUDA_NOTHING};
    b->bytes = mib * BYTES_IN_MIB;
    const size_t rows = b->bytes / row_sizes[0];
    b->wire = need(b->d, b->bytes);
    b->other = need(b->d, b->bytes);
    b->tokens = need(b->d, b->bytes);
    b->found = need(b->d, sizeof *b->found);
    b->d->ops->copy(b->d, b->found, &nothing, sizeof nothing);
    b->d->ops->fill_tokens(b->d, b->tokens, MOE_BF16, SEED, 0, b->bytes / 4096, 2048);
    b->gather = host_memory(rows, sizeof *b->gather);
    b->first = host_memory(rows + 1, sizeof *b->first);
    b->row = host_memory(rows, sizeof *b->row);
    b->weight = host_memory(rows, sizeof *b->weight);
    b->token = host_memory(rows, sizeof *b->token);
}

static void tear_down(bench_t *b)
{
    void *const on_gpu[] = {b->wire, b->other, b->tokens, b->found};
    void *const on_host[] = {b->gather, b->first, b->row, b->weight, b->token};
    for (size_t i = 0; i < sizeof on_gpu / sizeof *on_gpu; i++) {
        b->d->ops->release(b->d, on_gpu[i]);
    }
    for (size_t i = 0; i < sizeof on_host / sizeof *on_host; i++) {
        free(on_host[i]);
    }
    b->d->ops->destroy(b->d);
}

int main(int argc, char **argv)
{
    bench_t b = {.d = NULL};
    moe_error_t error = {.status = MOE_OK};
    const size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : DEFAULT_MIB;
    if (mib == 0 || mib > SIZE_MAX / BYTES_IN_MIB) {
        fprintf(stderr, "bench_gpu_rows: %s: a number of MiB from 1 is needed\n", argv[1]);
        return MOE_BAD_INPUT;
    }
    if (moe_cuda_device_create(0, &b.d, &error) != MOE_OK) {
        printf("rows: nothing was measured: %s\n", error.text);
        return 0;
    }
    const bool fake = strstr(b.d->description, "fake GPU") != NULL;
    if (fake && argc < 2) {
        puts("rows: nothing was measured: the GPU is a fake one");
        b.d->ops->destroy(b.d);
        return 0;
    }
    char version[64];
    moe_cuda_version(version, sizeof version);
    printf("%s; %s%s\n", b.d->description, version, fake ? "; FAKE: figures mean nothing" : "");
    set_up(&b, mib);
    run_rows(&b);
    run_experts(&b, fake ? 128 : 1);
    tear_down(&b);
    return 0;
}

#endif
