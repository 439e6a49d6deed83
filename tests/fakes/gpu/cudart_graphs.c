/* The fake CUDA runtime: captures and graphs. A graph is a list of pieces of work in the order in which
 * they were captured, which is one of the orders that CUDA may do them in. */
#include "cudart_state.h"

#include <stdlib.h>

/* ---- Graphs ---- */

cudaGraph_t fake_graph_create(void)
{
    cudaGraph_t made = calloc(1, sizeof *made);
    if (made != NULL) {
        made->users = 1;
    }
    return made;
}

void fake_graph_drop(cudaGraph_t graph)
{
    if (graph == NULL || --graph->users > 0) {
        return;
    }
    for (size_t i = 0; i < graph->count; i++) {
        free(graph->node[i]->args);
        free(graph->node[i]);
    }
    free(graph->node);
    free(graph);
}

cudaError_t fake_graph_add(cudaGraph_t graph, fake_cuda_work_fn work, void *args,
                           enum cudaGraphNodeType type)
{
    cudaGraphNode_t made = malloc(sizeof *made);
    cudaGraphNode_t *grown = realloc(graph->node, (graph->count + 1) * sizeof *graph->node);
    if (grown != NULL) {
        graph->node = grown;
    }
    if (made == NULL || grown == NULL) {
        free(made);
        free(args);
        return cudaErrorMemoryAllocation;
    }
    *made = (struct CUgraphNode_st){.type = type, .work = work, .args = args};
    graph->node[graph->count++] = made;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    FAKE_BEGIN();
    fake_graph_drop(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    FAKE_BEGIN();
    for (size_t i = 0; nodes != NULL && i < *count; i++) {
        nodes[i] = i < graph->count ? graph->node[i] : NULL;
    }
    if (nodes == NULL || *count > graph->count) {
        *count = graph->count;
    }
    return cudaSuccess;
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, enum cudaGraphNodeType *type)
{
    FAKE_BEGIN();
    *type = node->type;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    FAKE_BEGIN();
    (void)flags;
    cudaGraphExec_t made = malloc(sizeof *made);
    if (made == NULL) {
        return fake_end(cudaErrorMemoryAllocation);
    }
    made->graph = graph;
    graph->users++;
    *exec = made;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    FAKE_BEGIN();
    fake_graph_drop(exec->graph);
    free(exec);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    FAKE_BEGIN();
    cudaStream_t s = fake_stream(stream);
    if (s->capture != NULL) {
        s->capture->broken = true;
        return fake_end(cudaErrorStreamCaptureUnsupported);
    }
    for (size_t i = 0; i < exec->graph->count && !s->failed; i++) {
        const struct CUgraphNode_st *node = exec->graph->node[i];
        s->failed = node->work(node->args) != 0;
    }
    return fake_end(s->failed ? cudaErrorUnknown : cudaSuccess);
}

/* ---- Capture ---- */

static unsigned long captures;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    FAKE_BEGIN();
    (void)mode;
    cudaStream_t s = fake_stream(stream);
    if (stream == NULL) {
        return fake_end(cudaErrorStreamCaptureUnsupported);
    }
    if (s->capture != NULL) {
        return fake_end(cudaErrorIllegalState);
    }
    fake_capture_t *made = malloc(sizeof *made);
    cudaGraph_t graph = fake_graph_create();
    if (made == NULL || graph == NULL) {
        free(made);
        fake_graph_drop(graph);
        return fake_end(cudaErrorMemoryAllocation);
    }
    *made = (fake_capture_t){
        .id = __atomic_add_fetch(&captures, 1, __ATOMIC_RELAXED), .origin = s, .graph = graph};
    s->given = s->joined = 0;
    s->capture = made;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    FAKE_BEGIN();
    fake_capture_t *capture = fake_stream(stream)->capture;
    *graph = NULL;
    if (capture == NULL) {
        return fake_end(cudaErrorIllegalState);
    }
    if (capture->origin != stream) {
        capture->broken = true;
        return fake_end(cudaErrorStreamCaptureUnmatched);
    }
    const bool broken = capture->broken, loose = fake_has_loose_ends(capture);
    fake_leave_capture(capture);
    if (!broken && !loose) {
        *graph = capture->graph;
    } else {
        fake_graph_drop(capture->graph);
    }
    free(capture);
    return fake_end(broken  ? cudaErrorStreamCaptureInvalidated
                    : loose ? cudaErrorStreamCaptureUnjoined
                            : cudaSuccess);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    FAKE_BEGIN();
    const fake_capture_t *capture = fake_stream(stream)->capture;
    *status = capture == NULL   ? cudaStreamCaptureStatusNone
              : capture->broken ? cudaStreamCaptureStatusInvalidated
                                : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
