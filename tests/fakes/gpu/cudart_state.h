/* Inside of the fake CUDA runtime: errors, faults, streams, graphs. */
#ifndef FAKE_CUDART_STATE_H
#define FAKE_CUDART_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "fake_cuda.h"

/* ---- Every call (cudart.c) ---- */

/* What a call begins with: the fault that is to be planted in it, or a fault of the device that stays.
 * Returns from the calling function then. */
#define FAKE_BEGIN()                                                                               \
    do {                                                                                           \
        const cudaError_t planted_ = fake_begin(__func__);                                         \
        if (planted_ != cudaSuccess) {                                                             \
            return planted_;                                                                       \
        }                                                                                          \
    } while (0)
cudaError_t fake_begin(const char *function);
/* Remembers it for cudaGetLastError(), and gives it back. */
cudaError_t fake_end(cudaError_t code);
/* Whether MOE_FAKE_CUDA_FAIL wants this occurrence of `what` to fail. */
bool fake_is_planted(const char *what);
/* The device has failed: all calls say so from now on, as after a fault in a kernel. */
void fake_device_fault(cudaError_t code);
void fake_lock(void);
void fake_unlock(void);
/* The number in an environment variable, or `otherwise`. */
unsigned long long fake_knob(const char *name, unsigned long long otherwise);
int fake_current_device(void);
int fake_devices(void);

/* ---- Memory (cudart_memory.c) ---- */

/* Whether all of it lies in one allocation of device memory. */
bool fake_is_device_range(const void *address, size_t bytes);
/* Whether it is an address that device memory has, had or may get. */
bool fake_is_reserved(const void *address);

/* ---- Streams and graphs (cudart_streams.c, cudart_graphs.c) ---- */

/* A piece of work. */
struct CUgraphNode_st {
    enum cudaGraphNodeType type;
    fake_cuda_work_fn work;
    void *args;
};

struct CUgraph_st {
    struct CUgraphNode_st **node; /* [count], in order of capture */
    size_t count;
    int users; /* the graph itself, and what was instantiated from it */
};

struct CUgraphExec_st {
    cudaGraph_t graph;
};

/* A capture that is under way. */
typedef struct fake_capture {
    unsigned long id; /* from 1; never the same again */
    cudaStream_t origin;
    cudaGraph_t graph;
    bool broken; /* by a call that cannot be captured */
} fake_capture_t;

struct CUstream_st {
    int device;
    bool failed, hung;
    fake_capture_t *capture; /* or NULL */
    /* In a capture, of streams other than its origin: what was given to it, and how much of that the
     * origin has awaited. */
    unsigned long given, joined;
    cudaStream_t next;
};

struct CUevent_st {
    unsigned flags;
    bool recorded;
    struct timespec time;
    unsigned long capture_id; /* recorded in that capture; 0: in none */
    cudaStream_t stream;
    unsigned long given; /* of the stream, then */
};

/* The stream that a call means; NULL is the default stream of CUDA. */
cudaStream_t fake_stream(cudaStream_t stream);
/* Whether a stream that joined the capture was given something that its origin never awaited. */
bool fake_has_loose_ends(const fake_capture_t *capture);
/* Ends the capture of all its streams. */
void fake_leave_capture(fake_capture_t *capture);
cudaError_t fake_graph_add(cudaGraph_t graph, fake_cuda_work_fn work, void *args,
                           enum cudaGraphNodeType type);
cudaGraph_t fake_graph_create(void);
void fake_graph_drop(cudaGraph_t graph);

#endif
