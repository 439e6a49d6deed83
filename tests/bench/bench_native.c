/* Does the harness add anything to the library's call? `native` through the ops table against a
 * bare loop around the same MPI call, in one process, on the same buffers: blocks of calls in
 * turn, and in turn which comes first (A B B A ...), so that drift and neighbours hit both
 * alike. Run with 2 ranks and more. Exit status 1 where the median ratio is outside 0.98 to
 * 1.02. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/exchange.h"
#include "moe/measure.h"

#define ROW_BYTES     1024
#define SMALLEST      ((size_t)1 << 10) /* bytes to each peer */
#define LARGEST       ((size_t)4 << 20)
#define STEP          4
#define SIZES         7 /* 1 KiB, 4 KiB ... 4 MiB */
#define BLOCK_SECONDS 100e-6
#define SIZE_SECONDS  1.0 /* for one line of the table */
#define PAIRS_AT_ONCE 10
#define MIN_PAIRS     30
#define MAX_PAIRS     2000
#define LOWEST        0.98
#define HIGHEST       1.02

typedef struct bench {
    moe_transport_t *t;
    const moe_algorithm_ops_t *native;
    moe_alltoallv_t x;
    /* Of the bare call. */
    MPI_Datatype row;
    int *count, *first;
    size_t *rows, *first_row;
} bench_t;

static void give_up(const char *what)
{
    fprintf(stderr, "bench_native: %s\n", what);
    MPI_Abort(MPI_COMM_WORLD, MOE_FAILED);
    exit(MOE_FAILED);
}

static void *array(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        give_up("no memory");
    return memory;
}

static double run_ours(const bench_t *b, size_t calls)
{
    moe_error_t error = {.status = MOE_OK};
    moe_status_t status = MOE_OK;
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = moe_now();
    for (size_t i = 0; i < calls; i++)
        status |= b->native->run(b->t, NULL, &b->x, &error);
    const double end = moe_now();
    if (status != MOE_OK)
        give_up(error.text);
    return (end - begin) / (double)calls;
}

static double run_bare(const bench_t *b, size_t calls)
{
    const moe_alltoallv_t *x = &b->x;
    int code = MPI_SUCCESS;
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = moe_now();
    if (x->uniform) {
        for (size_t i = 0; i < calls; i++)
            code |= MPI_Alltoall(x->send, b->count[0], b->row, x->recv, b->count[0], b->row,
                                 MPI_COMM_WORLD);
    } else {
        for (size_t i = 0; i < calls; i++)
            code |= MPI_Alltoallv(x->send, b->count, b->first, b->row, x->recv, b->count, b->first,
                                  b->row, MPI_COMM_WORLD);
    }
    const double end = moe_now();
    if (code != MPI_SUCCESS)
        give_up("the bare call failed");
    return (end - begin) / (double)calls;
}

/* ---- One size ---- */

static void set_size(bench_t *b, size_t bytes, bool uniform)
{
    const size_t rows = bytes / ROW_BYTES;
    for (size_t peer = 0; peer < b->t->size; peer++) {
        b->rows[peer] = rows;
        b->first_row[peer] = peer * rows;
        b->count[peer] = (int)rows;
        b->first[peer] = (int)(peer * rows);
    }
    b->x.uniform = uniform;
    if (b->native->prepare(b->t, NULL, &b->x, NULL) != MOE_OK)
        give_up("prepare");
}

/* Calls in a block, the same on all ranks: from the fastest of a few, as the others were
 * disturbed. */
static size_t plan_calls(const bench_t *b)
{
    double call = run_bare(b, 5);
    for (int i = 0; i < 5; i++) {
        const double seconds = run_ours(b, 5);
        call = seconds < call ? seconds : call;
    }
    MPI_Bcast(&call, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    return call < BLOCK_SECONDS ? 1 + (size_t)(BLOCK_SECONDS / call) : 1;
}

/* Rank 0's clock decides for all. */
static bool enough(size_t pairs, double begin)
{
    int stop = pairs >= MAX_PAIRS || (pairs >= MIN_PAIRS && moe_now() - begin > SIZE_SECONDS);
    if (pairs % PAIRS_AT_ONCE == 0)
        MPI_Bcast(&stop, 1, MPI_INT, 0, MPI_COMM_WORLD);
    else
        stop = 0;
    return stop != 0;
}

static size_t run_pairs(const bench_t *b, size_t calls, double *ours, double *bare)
{
    const double begin = moe_now();
    size_t pairs = 0;
    for (; !enough(pairs, begin); pairs++) {
        const bool ours_first = pairs % 2 == 0;
        if (ours_first)
            ours[pairs] = run_ours(b, calls);
        bare[pairs] = run_bare(b, calls);
        if (!ours_first)
            ours[pairs] = run_ours(b, calls);
    }
    /* The time of a repetition is its maximum over ranks. */
    MPI_Allreduce(MPI_IN_PLACE, ours, (int)pairs, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, bare, (int)pairs, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return pairs;
}

static moe_summary_t summarise(const double *values, size_t n)
{
    moe_summary_t summary;
    if (moe_summarise(values, n, &summary, NULL) != MOE_OK)
        give_up("summary");
    return summary;
}

/* The median of the ratios within pairs: on a busy machine times have several peaks, and two
 * medians may fall on different ones. */
static double measure_size(const bench_t *b)
{
    double *ours = array(MAX_PAIRS, sizeof *ours), *bare = array(MAX_PAIRS, sizeof *bare);
    double *ratios = array(MAX_PAIRS, sizeof *ratios);
    const size_t calls = plan_calls(b), pairs = run_pairs(b, calls, ours, bare);
    for (size_t i = 0; i < pairs; i++)
        ratios[i] = ours[i] / bare[i];
    const moe_summary_t ratio = summarise(ratios, pairs);
    if (b->t->rank == 0) {
        printf("%-14s %8zu %6zu x %-5zu %10.2f %10.2f   %.3f (%.3f..%.3f)\n",
               b->x.uniform ? "MPI_Alltoall" : "MPI_Alltoallv", b->rows[0] * ROW_BYTES, pairs,
               calls, summarise(ours, pairs).median * 1e6, summarise(bare, pairs).median * 1e6,
               ratio.median, ratio.low, ratio.high);
        fflush(stdout);
    }
    free(ours);
    free(bare);
    free(ratios);
    return ratio.median;
}

/* ---- All sizes ---- */

static void create(bench_t *b, moe_transport_t *t)
{
    *b = (bench_t){.t = t,
                   .count = array(t->size, sizeof *b->count),
                   .first = array(t->size, sizeof *b->first),
                   .rows = array(t->size, sizeof *b->rows),
                   .first_row = array(t->size, sizeof *b->first_row)};
    if (moe_algorithm_find("native", &b->native, NULL) != MOE_OK ||
        t->ops->row_type(t, ROW_BYTES, &b->x.row, NULL) != MOE_OK)
        give_up("native");
    void *send = array(t->size, LARGEST), *recv = array(t->size, LARGEST);
    memset(send, 1, t->size * LARGEST);
    memset(recv, 2, t->size * LARGEST);
    b->x.send = send;
    b->x.recv = recv;
    b->x.send_rows = b->x.recv_rows = b->rows;
    b->x.send_first = b->x.recv_first = b->first_row;
    MPI_Type_contiguous(ROW_BYTES, MPI_BYTE, &b->row);
    MPI_Type_commit(&b->row);
}

static void destroy(bench_t *b)
{
    b->t->ops->release_alltoallv(b->t, &b->x);
    MPI_Type_free(&b->row);
    free((void *)b->x.send);
    free(b->x.recv);
    free(b->count);
    free(b->first);
    free(b->rows);
    free(b->first_row);
}

int main(int argc, char **argv)
{
    moe_transport_t *t;
    moe_error_t error = {.status = MOE_OK};
    if (moe_mpi_create(&argc, &argv, &t, &error) != MOE_OK) {
        fprintf(stderr, "bench_native: %s\n", error.text);
        return error.status;
    }
    bench_t bench;
    create(&bench, t);
    if (t->rank == 0)
        printf("%-14s %8s %14s %10s %10s   %s\n", "call", "B a pair", "pairs x calls", "native us",
               "bare us", "ratio (95 %)");
    double ratio[2 * SIZES];
    size_t lines = 0;
    for (int uniform = 1; uniform >= 0; uniform--) {
        for (size_t bytes = SMALLEST; bytes <= LARGEST; bytes *= STEP) {
            set_size(&bench, bytes, uniform != 0);
            ratio[lines++] = measure_size(&bench);
        }
    }
    const moe_summary_t all = summarise(ratio, lines);
    const bool nothing = all.median >= LOWEST && all.median <= HIGHEST;
    if (t->rank == 0)
        printf("harness adds %s: ratio %.3f (%.3f..%.3f over sizes; wanted: median %.2f..%.2f)\n",
               nothing ? "nothing" : "something", all.median, all.min, all.max, LOWEST, HIGHEST);
    destroy(&bench);
    t->ops->destroy(t);
    return nothing ? MOE_OK : MOE_WRONG_DATA;
}
