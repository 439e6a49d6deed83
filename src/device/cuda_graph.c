/* Work that is recorded once and given to the GPU in one call: CUDA graphs. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include <stdlib.h>

#include "cuda.h"
#include "moe/system.h"

struct moe_graph {
    cudaGraphExec_t exec;
};

/* What work() gives to the current lane, and to others that await a sign of it, as a graph. Relaxed,
 * because libraries set up what they need when it is first used (NCCL its connections, cuBLAS its
 * kernels), and such calls harm no capture. */
static moe_status_t record(moe_device_t *d, moe_work_fn work, void *context, cudaGraph_t *graph,
                           moe_error_t *error)
{
    moe_cuda_state_t *state = d->state;
    const moe_lane_t lane = state->lane;
    moe_status_t status =
        moe_cuda_check(cudaStreamBeginCapture(state->stream[lane], cudaStreamCaptureModeRelaxed),
                       "cudaStreamBeginCapture", error);
    if (status != MOE_OK) {
        return status;
    }
    state->recording = true;
    status = work(context, error);
    state->recording = false;
    state->lane = lane;
    /* A capture must be ended whatever happened in it: the stream is of no use before. */
    const cudaError_t code = cudaStreamEndCapture(state->stream[lane], graph);
    if (code != cudaSuccess) {
        (void)cudaGetLastError();
    }
    if (status == MOE_OK && state->failed.status != MOE_OK) {
        status = moe_fail(error, state->failed.status, "%s", state->failed.text);
    }
    state->failed = (moe_error_t){.status = MOE_OK};
    return status != MOE_OK ? status : moe_cuda_check(code, "cudaStreamEndCapture", error);
}

moe_status_t moe_cuda_capture(moe_device_t *d, moe_work_fn work, void *context, moe_graph_t **out,
                              moe_error_t *error)
{
    moe_graph_t *made = NULL;
    cudaGraph_t graph = NULL;
    /* What failed before must not be taken for a failure of the work. */
    moe_status_t status = moe_cuda_finish(d, error);
    if (status != MOE_OK) {
        return status;
    }
    status = moe_alloc("a graph", 1, sizeof *made, (void **)&made, error);
    if (status != MOE_OK) {
        return status;
    }
    status = record(d, work, context, &graph, error);
    if (status == MOE_OK) {
        status = moe_cuda_check(cudaGraphInstantiate(&made->exec, graph, 0), "cudaGraphInstantiate",
                                error);
    }
    if (graph != NULL) {
        (void)cudaGraphDestroy(graph);
    }
    if (status != MOE_OK) {
        free(made);
        return status;
    }
    *out = made;
    return MOE_OK;
}

void moe_cuda_replay(moe_device_t *d, moe_graph_t *graph)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state != NULL && !moe_cuda_recording(state, "a replay")) {
        (void)moe_cuda_note(state, cudaGraphLaunch(graph->exec, state->stream[state->lane]),
                            "cudaGraphLaunch");
    }
}

void moe_cuda_drop_graph(moe_device_t *d, moe_graph_t *graph)
{
    moe_cuda_state_t *state = d->state;
    if (graph != NULL) {
        (void)moe_cuda_note(state, cudaGraphExecDestroy(graph->exec), "cudaGraphExecDestroy");
        free(graph);
    }
}

#endif
