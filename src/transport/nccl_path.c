/* NCCL: who carries an exchange. NCCL chooses by topology, size, registration and policy, and does not
 * say; a CUDA graph of the exchange shows what it is made of. */
#include "moe/transport.h"

#ifdef MOE_HAVE_NCCL

#include <cuda_runtime_api.h>
#include <stdlib.h>

#include "nccl_state.h"

/* A kernel anywhere tells it. Else copies, and the stream's waits for values in memory by which copy
 * engines of several GPUs keep to their order. Nodes of the host and events tell nothing. */
static moe_nccl_path_t path_of_nodes(const cudaGraphNode_t *nodes, size_t count)
{
    moe_nccl_path_t path = MOE_NCCL_PATH_UNKNOWN;
    for (size_t i = 0; i < count; i++) {
        enum cudaGraphNodeType type;
        if (cudaGraphNodeGetType(nodes[i], &type) != cudaSuccess)
            return MOE_NCCL_PATH_UNKNOWN;
        if (type == cudaGraphNodeTypeKernel)
            return MOE_NCCL_PATH_KERNELS;
        if (type == cudaGraphNodeTypeMemcpy)
            path = MOE_NCCL_PATH_COPY_ENGINES;
    }
    return path;
}

static moe_nccl_path_t path_of_graph(cudaGraph_t graph)
{
    size_t count = 0;
    if (cudaGraphGetNodes(graph, NULL, &count) != cudaSuccess || count == 0)
        return MOE_NCCL_PATH_UNKNOWN;
    cudaGraphNode_t *nodes = malloc(count * sizeof(cudaGraphNode_t));
    moe_nccl_path_t path = MOE_NCCL_PATH_UNKNOWN;
    if (nodes != NULL && cudaGraphGetNodes(graph, nodes, &count) == cudaSuccess)
        path = path_of_nodes(nodes, count);
    free(nodes);
    return path;
}

/* In relaxed mode, as NCCL may set up connections in its first exchange of a kind. */
static moe_nccl_path_t record(moe_transport_t *t, const moe_alltoallv_t *x, cudaStream_t stream)
{
    cudaGraph_t graph = NULL;
    moe_nccl_path_t path = MOE_NCCL_PATH_UNKNOWN;
    if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) != cudaSuccess)
        return path;
    const moe_status_t status = moe_nccl_put_alltoallv(t, x, stream, NULL);
    /* Ended whatever happened: the stream is of no use before. */
    if (cudaStreamEndCapture(stream, &graph) == cudaSuccess && graph != NULL) {
        if (status == MOE_OK)
            path = path_of_graph(graph);
        (void)cudaGraphDestroy(graph);
    }
    return path;
}

moe_nccl_path_t moe_nccl_path(moe_transport_t *t, const moe_alltoallv_t *x)
{
    cudaStream_t stream = NULL;
    if (moe_nccl_facts(t) == NULL || !x->uniform || x->prepared == NULL || x->send_rows[0] == 0)
        return MOE_NCCL_PATH_UNKNOWN;
    const moe_nccl_run_t *run = moe_nccl_of(t)->run;
    moe_nccl_path_t path = MOE_NCCL_PATH_UNKNOWN;
    if (cudaSetDevice(run->gpu) == cudaSuccess &&
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess) {
        path = record(t, x, stream);
        (void)cudaStreamDestroy(stream);
    }
    (void)cudaGetLastError(); /* else it is found again, by whoever asks for the last one */
    return path;
}

#endif
