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

#include "../../src/device/cuda.h"
#include "gpu_bench.h"
#include "gpu_products.h"

/* APART has no factor in common with EXPERTS: a token's experts are distinct. */
enum { EXPERTS = 64, APART = 7, SEED = 1 };

#define DEFAULT_MIB  1024
#define BYTES_IN_MIB ((size_t)1 << 20)

static const size_t row_sizes[] = {4096, 8192, 14336};
static const size_t top_ks[] = {1, 2, 8};

/* One case: `rows` on the wire, top_k for each token. */
typedef struct plan {
    size_t row_bytes, hidden, top_k, rows, tokens;
} plan_t;

typedef struct bench {
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
    plan_t plan; /* that is being timed */
} bench_t;

/* ---- Comparing ---- */

static void copy_all(void *context, size_t turn)
{
    bench_t *b = context;
    (void)turn;
    b->d->ops->copy(b->d, b->other, b->wire, b->bytes);
}

/* `bytes` are those that the operation reads and writes. */
static void compare(bench_t *b, const char *name, operation_fn *operation, plan_t plan,
                    double bytes)
{
    double copy[REPETITIONS], own[REPETITIONS], rate[REPETITIONS], copy_rate[REPETITIONS];
    double ratio[REPETITIONS];
    b->plan = plan;
    time_both(b->d, b, copy_all, operation, copy, own);
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
static char *tokens_in_turn(const bench_t *b, size_t turn)
{
    const size_t bytes = b->plan.tokens * b->plan.row_bytes;
    return b->tokens + turn % (b->bytes / bytes) * bytes;
}

static void pack(void *context, size_t turn)
{
    bench_t *b = context;
    const plan_t *plan = &b->plan;
    b->d->ops->gather(b->d, b->wire, plan->row_bytes, MOE_BF16, tokens_in_turn(b, turn),
                      plan->row_bytes, MOE_BF16, b->gpu_gather, plan->rows, plan->hidden);
}

static void unpack(void *context, size_t turn)
{
    bench_t *b = context;
    const plan_t *plan = &b->plan;
    b->d->ops->reduce(b->d, tokens_in_turn(b, turn), MOE_BF16, b->wire, MOE_BF16, b->gpu_first,
                      b->gpu_row, b->gpu_weight, plan->tokens, plan->hidden);
}

static void quantise(void *context, size_t turn)
{
    bench_t *b = context;
    const plan_t *plan = &b->plan;
    const size_t wire = moe_row_bytes(MOE_FP8, plan->hidden);
    b->d->ops->gather(b->d, b->wire, wire, MOE_FP8, tokens_in_turn(b, turn), plan->row_bytes,
                      MOE_BF16, b->gpu_gather, plan->rows, plan->hidden);
}

static void fill(void *context, size_t turn)
{
    bench_t *b = context;
    const plan_t *plan = &b->plan;
    (void)turn;
    b->d->ops->fill_tokens(b->d, b->wire, MOE_BF16, SEED, 0, plan->rows, plan->hidden);
}

/* As it is called: the tokens' numbers go to the GPU, and what was found comes back. */
static void check(void *context, size_t turn)
{
    bench_t *b = context;
    const plan_t *plan = &b->plan;
    (void)turn;
    moe_mismatch_t found = {.count = 0};
    b->d->ops->check_rows(b->d, b->wire, MOE_BF16, SEED, b->token, plan->rows, 1, plan->hidden, 0,
                          &found);
    if (found.count > 0) {
        fprintf(stderr, "bench_gpu_rows: %zu wrong elements\n", found.count);
        exit(MOE_WRONG_DATA);
    }
}

static void check_kernel(void *context, size_t turn)
{
    bench_t *b = context;
    const plan_t *plan = &b->plan;
    (void)turn;
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
    run_experts(b.d, fake ? 128 : 1);
    tear_down(&b);
    return 0;
}

#endif
