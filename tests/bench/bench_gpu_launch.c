/* What the harness adds to a tiny exchange on GPUs: dispatch and combine of a few rows, as phases of a layer,
 * beside the same sends and receives given to NCCL directly; plain and as CUDA graphs, all in turn within each
 * repetition, by CUDA events. One rank or more, a GPU each (more ranks than GPUs share them: then the figures mean
 * nothing, and it says so). Nothing here fails on a slow machine. */
#include <stdio.h>
#include <stdlib.h>

#include "moe/exchange.h"
#include "moe/iteration.h"
#include "moe/measure.h"

#ifndef MOE_HAVE_NCCL

int main(void)
{
    puts("launches: built without NCCL, nothing was measured");
    return 0;
}

#else

#include <cuda_runtime_api.h>
#include <nccl.h>

enum { HIDDEN = 1024, TOKENS = 4, EXPERTS_A_RANK = 2, TOP_K = 2, REPS = 300, WARM_UP = 30 };

typedef enum column {
    BARE,       /* one exchange, given to NCCL directly */
    BARE_GRAPH, /* the same, replayed */
    DISPATCH,   /* the phase */
    DISPATCH_GRAPH,
    PHASES, /* permute, dispatch, combine, unpermute */
    PHASES_GRAPH,
    COLUMNS
} column_t;

static const char *const titles[COLUMNS] = {"bare NCCL call",
                                            "bare NCCL call, as a graph",
                                            "dispatch",
                                            "dispatch, --graph",
                                            "permute + dispatch + combine + unpermute",
                                            "the same, --graph"};

typedef struct bench {
    moe_transport_t *t;
    moe_device_t *d;
    moe_router_t *router;
    moe_placement_t placement;
    moe_workload_t workload;
    moe_layer_t *layer[2]; /* plain, with graphs */
    moe_workspace_t *workspace[2];
    /* Of the bare call. */
    ncclComm_t comm;
    cudaStream_t stream;
    cudaEvent_t begin, end;
    cudaGraphExec_t graph;
} bench_t;

static void give_up(const char *what)
{
    fprintf(stderr, "bench_gpu_launch: %s\n", what);
    exit(MOE_FAILED);
}

static void must(moe_status_t status, const moe_error_t *error)
{
    if (status != MOE_OK)
        give_up(error->text);
}

static void must_cuda(cudaError_t code)
{
    if (code != cudaSuccess)
        give_up(cudaGetErrorString(code));
}

static void must_nccl(ncclResult_t code)
{
    if (code != ncclSuccess)
        give_up(ncclGetErrorString(code));
}

/* ---- The bare call ---- */

static void make_comm(bench_t *b)
{
    ncclUniqueId id;
    moe_error_t error = {.status = MOE_OK};
    if (b->t->rank == 0)
        must_nccl(ncclGetUniqueId(&id));
    must(b->t->ops->broadcast(b->t, &id, sizeof id, 0, &error), &error);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 1;
    must_nccl(ncclCommInitRankConfig(&b->comm, (int)b->t->size, id, (int)b->t->rank, &config));
}

/* What the transport does for the same exchange: one group, the own block in it too. */
static void call_nccl(const bench_t *b)
{
    moe_transport_t *t;
    const moe_alltoallv_t *x = moe_layer_first_exchange(b->layer[0], &t);
    const size_t row = x->row.bytes;
    must_nccl(ncclGroupStart());
    for (size_t p = 0; p < t->size; p++) {
        if (x->send_rows[p] > 0)
            must_nccl(ncclSend((const char *)x->send + x->send_first[p] * row,
                               x->send_rows[p] * row, ncclInt8, (int)p, b->comm, b->stream));
        if (x->recv_rows[p] > 0)
            must_nccl(ncclRecv((char *)x->recv + x->recv_first[p] * row, x->recv_rows[p] * row,
                               ncclInt8, (int)p, b->comm, b->stream));
    }
    must_nccl(ncclGroupEnd());
}

static void record_graph(bench_t *b)
{
    cudaGraph_t graph;
    must_cuda(cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal));
    call_nccl(b);
    must_cuda(cudaStreamEndCapture(b->stream, &graph));
    must_cuda(cudaGraphInstantiate(&b->graph, graph, 0));
    must_cuda(cudaGraphDestroy(graph));
}

static double time_bare(const bench_t *b, bool as_graph)
{
    float ms = 0;
    must_cuda(cudaEventRecord(b->begin, b->stream));
    if (as_graph)
        must_cuda(cudaGraphLaunch(b->graph, b->stream));
    else
        call_nccl(b);
    must_cuda(cudaEventRecord(b->end, b->stream));
    must_cuda(cudaEventSynchronize(b->end));
    must_cuda(cudaEventElapsedTime(&ms, b->begin, b->end));
    return (double)ms * 1e-3;
}

/* ---- In turn ---- */

static double sum_of_phases(const double *seconds)
{
    return seconds[MOE_LAYER_PERMUTE] + seconds[MOE_LAYER_DISPATCH] + seconds[MOE_LAYER_COMBINE] +
           seconds[MOE_LAYER_UNPERMUTE];
}

static moe_status_t repeat(void *context, double *seconds, moe_error_t *error)
{
    bench_t *b = context;
    double phase[MOE_LAYER_COLUMNS];
    seconds[BARE] = time_bare(b, false);
    moe_status_t status = b->t->ops->barrier(b->t, error);
    if (status == MOE_OK)
        seconds[BARE_GRAPH] = time_bare(b, true);
    for (int g = 0; g < 2 && status == MOE_OK; g++) {
        status = b->t->ops->barrier(b->t, error);
        if (status == MOE_OK)
            status = moe_layer_repeat(b->layer[g], phase, error);
        seconds[DISPATCH + g] = phase[MOE_LAYER_DISPATCH];
        seconds[PHASES + g] = sum_of_phases(phase);
    }
    return status;
}

/* ---- Set-up ---- */

static void make_layers(bench_t *b)
{
    moe_error_t error = {.status = MOE_OK};
    const size_t ranks = b->t->size;
    moe_routing_spec_t routing = {.experts = EXPERTS_A_RANK * ranks, .top_k = TOP_K, .seed = 1};
    size_t *tokens = calloc(ranks, sizeof *tokens);
    uint64_t *first = calloc(ranks, sizeof *first);
    if (tokens == NULL || first == NULL)
        give_up("no memory");
    for (size_t r = 0; r < ranks; r++) {
        tokens[r] = TOKENS;
        first[r] = r * TOKENS;
    }
    must(moe_gate_find("softmax", &routing.gate, &error), &error);
    must(moe_skew_parse("skew", "uniform", &routing.skew, &error), &error);
    must(moe_router_create(&routing, 0, &b->router, &error), &error);
    must(moe_placement_create("block", routing.experts, ranks, &b->placement, &error), &error);
    b->workload = (moe_workload_t){
        .router = b->router, .placement = &b->placement, .tokens = tokens, .first_token = first};
    for (int g = 0; g < 2; g++) {
        moe_layer_spec_t spec = {.transport = b->t,
                                 .device = b->d,
                                 .algorithm = moe_algorithm_at(0),
                                 .workload = &b->workload,
                                 .hidden = HIDDEN,
                                 .dtype = MOE_BF16,
                                 .combine_dtype = MOE_BF16,
                                 .graph = g == 1};
        must(moe_style_find("exact", &spec.style, &error), &error);
        must(moe_layer_create(&spec, &b->layer[g], &error), &error);
        must(moe_workspace_create(&b->layer[g], 1, &b->workspace[g], &error), &error);
        must(moe_layer_bind(b->layer[g], b->workspace[g], &error), &error);
    }
}

static void set_up(bench_t *b, int *argc, char ***argv)
{
    moe_error_t error = {.status = MOE_OK};
    moe_gpu_t gpus[MOE_GPUS_MAX];
    size_t count = 0;
    moe_transport_t *mpi;
    must(moe_mpi_create(argc, argv, &mpi, &error), &error);
    must(moe_cuda_gpus(gpus, MOE_GPUS_MAX, &count, &error), &error);
    const size_t gpu = mpi->rank % count;
    const moe_nccl_spec_t spec = {
        .label = "bench", .timeout_seconds = 60, .share_gpu = mpi->size > count};
    must(moe_cuda_device_create(gpu, &b->d, &error), &error);
    moe_nccl_spec_t nccl = spec;
    nccl.device = b->d;
    must(moe_nccl_create(&nccl, mpi, &b->t, &error), &error);
    must_cuda(cudaStreamCreateWithFlags(&b->stream, cudaStreamNonBlocking));
    must_cuda(cudaEventCreate(&b->begin));
    must_cuda(cudaEventCreate(&b->end));
    make_layers(b);
    make_comm(b);
    call_nccl(b); /* connects */
    must_cuda(cudaStreamSynchronize(b->stream));
    record_graph(b);
    if (b->t->rank == 0)
        printf("launches: %zu rank%s on %zu GPU%s (%s), %d tokens of %d B, top-%d%s\n", b->t->size,
               b->t->size == 1 ? "" : "s", count, count == 1 ? "" : "s", gpus[0].name, TOKENS,
               2 * HIDDEN, TOP_K, spec.share_gpu ? "; SHARED: figures mean nothing" : "");
}

static void tear_down(bench_t *b)
{
    must_cuda(cudaGraphExecDestroy(b->graph));
    must_nccl(ncclCommDestroy(b->comm));
    must_cuda(cudaEventDestroy(b->begin));
    must_cuda(cudaEventDestroy(b->end));
    must_cuda(cudaStreamDestroy(b->stream));
    for (int g = 0; g < 2; g++) {
        moe_layer_destroy(b->layer[g]);
        moe_workspace_destroy(b->workspace[g]);
    }
    moe_router_destroy(b->router);
    moe_placement_destroy(&b->placement);
    free((void *)b->workload.tokens);
    free((void *)b->workload.first_token);
    b->t->ops->destroy(b->t);
    b->d->ops->destroy(b->d);
}

static void print(const moe_series_t *series)
{
    double median[COLUMNS];
    for (size_t c = 0; c < COLUMNS; c++) {
        moe_summary_t s;
        moe_error_t error = {.status = MOE_OK};
        must(moe_summarise(moe_series_column(series, series->max, c), series->reps, &s, &error),
             &error);
        median[c] = s.median;
        printf("  %-42s %8.2f us [%.2f, %.2f]\n", titles[c], s.median * 1e6, s.low * 1e6,
               s.high * 1e6);
    }
    printf("  dispatch over the bare call: %+.2f us; as graphs %+.2f us\n",
           (median[DISPATCH] - median[BARE]) * 1e6,
           (median[DISPATCH_GRAPH] - median[BARE_GRAPH]) * 1e6);
    printf("  all phases over two bare calls: %+.2f us; as graphs %+.2f us (aim: under 5 us with "
           "--graph)\n",
           (median[PHASES] - 2 * median[BARE]) * 1e6,
           (median[PHASES_GRAPH] - 2 * median[BARE_GRAPH]) * 1e6);
}

int main(int argc, char **argv)
{
    bench_t b = {.t = NULL};
    moe_series_t series = {0};
    moe_error_t error = {.status = MOE_OK};
    set_up(&b, &argc, &argv);
    const moe_measure_spec_t spec = {
        .warmup = WARM_UP, .min_reps = REPS, .max_reps = REPS, .max_seconds = 60, .ci = 1};
    must(moe_measure(b.t, &spec, COLUMNS, COLUMNS, repeat, &b, &series, &error), &error);
    if (b.t->rank == 0)
        print(&series);
    moe_series_destroy(&series);
    tear_down(&b);
    return 0;
}

#endif
