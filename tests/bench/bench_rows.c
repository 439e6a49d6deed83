/* Speed of packing and of unpack-and-weigh against memcpy in the same run.
 *
 *     bench_rows [MiB of rows on the wire: 256]
 *
 * Rows lie as a plan has them: tokens in order on one side, grouped by expert on the other. Bytes are
 * those read and written, on both sides alike; each repetition times one memcpy and one operation,
 * and the figure is the median of their ratios. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "moe/device.h"

/* APART has no factor in common with EXPERTS: a token's experts are distinct. */
enum { EXPERTS = 64, APART = 7, REPETITIONS = 9 };

#define DEFAULT_MIB  256
#define BYTES_IN_MIB ((size_t)1 << 20)

static const size_t row_sizes[] = {1024, 2048, 4096, 8192, 16384};
static const size_t top_ks[] = {1, 2, 8};

typedef struct bench {
    moe_device_t *device;
    size_t wire_bytes; /* of `wire` and `other` */
    char *wire, *other, *tokens;
    size_t *gather, *first, *row; /* gather[rows], first[tokens + 1], row[rows] */
    float *weight;
} bench_t;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, ascending);
    return values[n / 2];
}

/* Each token's row goes to top_k distinct experts, drawn evenly; rows are numbered by expert. */
static void make_plan(bench_t *b, size_t tokens, size_t top_k)
{
    size_t *choice = calloc(tokens * top_k + 1, sizeof *choice);
    size_t count[EXPERTS + 1] = {0};
    if (choice == NULL) {
        exit(4);
    }
    for (size_t t = 0; t < tokens; t++) {
        for (size_t k = 0; k < top_k; k++) {
            choice[t * top_k + k] =
                (k == 0 ? (size_t)rand() : choice[t * top_k + k - 1] + APART) % EXPERTS;
            count[choice[t * top_k + k] + 1]++;
        }
    }
    for (size_t e = 0; e < EXPERTS; e++) {
        count[e + 1] += count[e];
    }
    for (size_t i = 0; i < tokens * top_k; i++) {
        b->row[i] = count[choice[i]]++;
        b->gather[b->row[i]] = i / top_k;
        b->weight[i] = 1.0f / (float)top_k;
    }
    for (size_t t = 0; t <= tokens; t++) {
        b->first[t] = t * top_k;
    }
    free(choice);
}

static void pack(const bench_t *b, size_t tokens, size_t top_k, size_t hidden)
{
    b->device->ops->gather(b->device, b->wire, moe_row_bytes(MOE_BF16, hidden), MOE_BF16, b->tokens,
                           moe_row_bytes(MOE_BF16, hidden), MOE_BF16, b->gather, tokens * top_k,
                           hidden);
}

static void unpack(const bench_t *b, size_t tokens, size_t top_k, size_t hidden)
{
    (void)top_k;
    b->device->ops->reduce(b->device, b->tokens, MOE_BF16, b->wire, MOE_BF16, b->first, b->row,
                           b->weight, tokens, hidden);
}

typedef void operation_fn(const bench_t *b, size_t tokens, size_t top_k, size_t hidden);

static void compare(const bench_t *b, const char *name, operation_fn *operation, size_t row_bytes,
                    size_t top_k, double bytes)
{
    const size_t tokens = b->wire_bytes / row_bytes / top_k;
    double ratio[REPETITIONS], rate[REPETITIONS], copy_rate[REPETITIONS];
    for (int r = -1; r < REPETITIONS; r++) {
        const double start = now();
        b->device->ops->copy(b->device, b->other, b->wire, b->wire_bytes);
        const double middle = now();
        operation(b, tokens, top_k, row_bytes / 2);
        const double end = now();
        if (r >= 0) { /* the first of all warms up */
            copy_rate[r] = 2e-9 * (double)b->wire_bytes / (middle - start);
            rate[r] = 1e-9 * bytes / (end - middle);
            ratio[r] = rate[r] / copy_rate[r];
        }
    }
    const double middle = median(ratio, REPETITIONS);
    printf("%-16s %6zu B  K=%zu   %7.2f GB/s   memcpy %7.2f GB/s   ratio %.2f (%.2f .. %.2f)\n",
           name, row_bytes, top_k, median(rate, REPETITIONS), median(copy_rate, REPETITIONS),
           middle, ratio[0], ratio[REPETITIONS - 1]);
    fflush(stdout);
}

static void *need(moe_device_t *d, size_t bytes)
{
    void *memory = NULL;
    moe_error_t error = {0};
    if (d->ops->alloc(d, "the benchmark", bytes, &memory, &error) != MOE_OK) {
        fprintf(stderr, "bench_rows: %s\n", error.text);
        exit(error.status);
    }
    return memory;
}

static void run(bench_t *b)
{
    for (size_t k = 0; k < sizeof top_ks / sizeof *top_ks; k++) {
        for (size_t s = 0; s < sizeof row_sizes / sizeof *row_sizes; s++) {
            const size_t tokens = b->wire_bytes / row_sizes[s] / top_ks[k];
            const double rows = (double)(tokens * top_ks[k]);
            const double bytes = (double)row_sizes[s];
            make_plan(b, tokens, top_ks[k]);
            compare(b, "pack", pack, row_sizes[s], top_ks[k], 2 * rows * bytes);
            compare(b, "unpack-and-weigh", unpack, row_sizes[s], top_ks[k],
                    (rows + (double)tokens) * bytes);
        }
    }
}

int main(int argc, char **argv)
{
    moe_error_t error = {0};
    bench_t b = {0};
    const size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : DEFAULT_MIB;
    if (mib == 0 || mib > SIZE_MAX / BYTES_IN_MIB) {
        fprintf(stderr, "bench_rows: %s: a number of MiB from 1 is needed\n", argv[1]);
        return MOE_BAD_INPUT;
    }
    if (moe_host_device_create(1, 1, &b.device, &error) != MOE_OK) {
        fprintf(stderr, "bench_rows: %s\n", error.text);
        return error.status;
    }
    b.wire_bytes = mib * BYTES_IN_MIB;
    const size_t rows = b.wire_bytes / row_sizes[0];
    b.wire = need(b.device, b.wire_bytes);
    b.other = need(b.device, b.wire_bytes);
    b.tokens = need(b.device, b.wire_bytes);
    b.gather = need(b.device, rows * sizeof *b.gather);
    b.first = need(b.device, (rows + 1) * sizeof *b.first);
    b.row = need(b.device, rows * sizeof *b.row);
    b.weight = need(b.device, rows * sizeof *b.weight);
    run(&b);
    void *buffers[] = {b.wire, b.other, b.tokens, b.gather, b.first, b.row, b.weight};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        b.device->ops->release(b.device, buffers[i]);
    }
    b.device->ops->destroy(b.device);
    return MOE_OK;
}
