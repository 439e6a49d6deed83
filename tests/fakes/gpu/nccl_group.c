/* The fake NCCL: what is put into groups, and given to a stream when the group ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nccl_state.h"

/* Numbers that an all-reduce holds of every rank at a time. */
#define REDUCE_NUMBERS ((size_t)1 << 16)

/* ---- Work of a stream ---- */

/* A group: messages; or an all-reduce, alone. */
typedef struct work {
    ncclComm_t comm;
    cudaStream_t stream;
    bool reduces;
    ncclDataType_t type;
    ncclRedOp_t operation;
    const void *from;
    void *to;
    size_t numbers;
    size_t count;
    fake_op_t ops[]; /* [count] */
} work_t;

static size_t size_of(ncclDataType_t type)
{
    static const size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
    return (size_t)type < sizeof sizes / sizeof sizes[0] ? sizes[type] : 0;
}

static void fold(const work_t *w, void *sum, const void *value, size_t numbers)
{
    for (size_t i = 0; i < numbers; i++) {
        if (w->type == ncclFloat32) {
            ((float *)sum)[i] += ((const float *)value)[i];
        } else {
            uint64_t *a = (uint64_t *)sum + i;
            const uint64_t b = ((const uint64_t *)value)[i];
            *a = *a > b ? *a : b;
        }
    }
}

/* All ranks' numbers on every rank, folded in the order of ranks: all get the same. */
static fake_end_t reduce_some(const work_t *w, size_t first, size_t numbers, char *all,
                              fake_op_t *ops)
{
    const size_t size = size_of(w->type), bytes = numbers * size;
    const int ranks = w->comm->size, own = w->comm->rank;
    size_t count = 0;
    memcpy(all + (size_t)own * bytes, (const char *)w->from + first * size, bytes);
    for (int rank = 0; rank < ranks; rank++) {
        for (int sends = 0; rank != own && sends < 2; sends++)
            ops[count++] =
                (fake_op_t){.sends = sends != 0,
                            .peer = rank,
                            .memory = all + (size_t)(sends ? own : rank) * bytes,
                            .bytes = bytes,
                            .kind = 100 + (uint64_t)w->type * 10 + (uint64_t)w->operation};
    }
    const fake_end_t end = fake_nccl_exchange(w->comm, ops, count, true);
    for (int rank = 1; end == FAKE_DONE && rank < ranks; rank++)
        fold(w, all, all + (size_t)rank * bytes, numbers);
    if (end == FAKE_DONE)
        memcpy((char *)w->to + first * size, all, bytes);
    return end;
}

static fake_end_t reduce(const work_t *w)
{
    const size_t ranks = (size_t)w->comm->size;
    const size_t most = w->numbers < REDUCE_NUMBERS ? w->numbers : REDUCE_NUMBERS;
    char *all = malloc(ranks * most * size_of(w->type));
    fake_op_t *ops = calloc(2 * ranks, sizeof *ops);
    fake_end_t end = all != NULL && ops != NULL ? FAKE_DONE : FAKE_FAILED;
    for (size_t first = 0; end == FAKE_DONE && first < w->numbers; first += most)
        end =
            reduce_some(w, first, w->numbers - first < most ? w->numbers - first : most, all, ops);
    free(all);
    free(ops);
    return end;
}

/* ---- Faults ---- */

/* Counted anew for every fault that is planted. */
static bool is_the_one(const work_t *w, fake_fault_t fault)
{
    static size_t groups;
    static fake_fault_t counted;
    if (fault != counted)
        groups = 0;
    counted = fault;
    if (fault == FAKE_FAULT_NONE)
        return false;
    size_t arriving = w->reduces ? w->numbers * size_of(w->type) : 0;
    for (size_t i = 0; i < w->count; i++)
        arriving += w->ops[i].sends ? 0 : w->ops[i].bytes;
    if (arriving < fake_nccl_knob("MOE_FAKE_NCCL_BYTES", 1))
        return false;
    return ++groups == fake_nccl_knob("MOE_FAKE_NCCL_AT", 1);
}

/* A high bit of the first element of two bytes that is not 0, in what came from another rank. */
static void corrupt(const work_t *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const fake_op_t *op = &w->ops[i];
        unsigned char *bytes = op->memory;
        for (size_t b = 1; !op->sends && op->peer != w->comm->rank && b < op->bytes; b += 2) {
            if (bytes[b] != 0) {
                bytes[b] ^= 0x40;
                return;
            }
        }
    }
}

/* Whether the group is not to be done. */
static bool spoil(const work_t *w, fake_fault_t fault)
{
    if (fault == FAKE_FAULT_ASYNC) {
        (void)fake_nccl_say(w->comm, ncclSystemError, "planted: a link went down");
        fake_nccl_fail(w->comm, ncclSystemError);
    }
    if (fault != FAKE_FAULT_ASYNC && fault != FAKE_FAULT_ABSENT)
        return false;
    fake_nccl_hang(w->comm, w->stream);
    return true;
}

static int do_work(void *args)
{
    const work_t *w = args;
    fake_fault_t fault = fake_nccl_fault();
    if (!is_the_one(w, fault))
        fault = FAKE_FAULT_NONE;
    if (spoil(w, fault))
        return 0;
    const fake_end_t end =
        w->reduces ? reduce(w) : fake_nccl_exchange(w->comm, w->ops, w->count, true);
    if (end == FAKE_FAILED)
        fake_nccl_hang(w->comm, w->stream); /* kernels wait for ever; NCCL tells by its own ways */
    else if (end == FAKE_DONE && fault == FAKE_FAULT_CORRUPT)
        corrupt(w);
    return 0;
}

/* ---- Groups ---- */

static _Thread_local struct {
    int depth;
    work_t *work; /* what was put into it; NULL: nothing yet */
    size_t room;
    int node_kind;
    ncclResult_t refused;
} group;

static ncclResult_t add_op(ncclComm_t comm, cudaStream_t stream, fake_op_t op)
{
    if (group.work != NULL && (group.work->comm != comm || group.work->stream != stream))
        return fake_nccl_say(comm, ncclInvalidUsage,
                             "this fake takes one communicator and one stream in a group");
    if (group.work == NULL || group.work->count == group.room) {
        const size_t room = group.room > 0 ? 2 * group.room : 16;
        const bool first = group.work == NULL;
        work_t *grown = realloc(group.work, sizeof *grown + room * sizeof(fake_op_t));
        if (grown == NULL)
            return ncclSystemError;
        if (first)
            *grown = (work_t){.comm = comm, .stream = stream};
        group.work = grown;
        group.room = room;
    }
    group.work->ops[group.work->count++] = op;
    return ncclSuccess;
}

static void empty_group(void)
{
    free(group.work);
    group.work = NULL;
    group.room = 0;
    group.node_kind = FAKE_CUDA_KERNEL;
    group.refused = ncclSuccess;
}

static ncclResult_t give(const work_t *work, size_t ops, int node_kind)
{
    const cudaError_t code = fake_cuda_enqueue(work->stream, do_work, work,
                                               sizeof *work + ops * sizeof(fake_op_t), node_kind);
    if (code != cudaSuccess)
        return fake_nccl_say(work->comm, ncclUnhandledCudaError, "CUDA says %s",
                             cudaGetErrorString(code));
    return fake_nccl_done(work->comm);
}

ncclResult_t ncclGroupStart(void)
{
    if (group.depth++ == 0)
        empty_group();
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    if (group.depth == 0)
        return fake_nccl_say(NULL, ncclInvalidUsage, "ncclGroupEnd: not in a group call");
    if (--group.depth > 0)
        return ncclSuccess;
    ncclResult_t result = group.refused;
    if (result == ncclSuccess && group.work != NULL)
        result = give(group.work, group.work->count, group.node_kind);
    empty_group();
    return result;
}

/* ---- Operations ---- */

static ncclResult_t check_memory(ncclComm_t comm, const char *call, const void *memory,
                                 size_t bytes)
{
    if (bytes == 0)
        return fake_nccl_say(comm, ncclInvalidUsage, "%s: of 0 bytes", call);
    if (!fake_cuda_is_device(memory) || !fake_cuda_is_device((const char *)memory + bytes - 1))
        return fake_nccl_say(comm, ncclInvalidArgument, "%s: %p is no device memory", call, memory);
    return ncclSuccess;
}

static ncclResult_t put(const char *call, bool sends, void *memory, size_t count,
                        ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream)
{
    const size_t bytes = count * size_of(type);
    ncclResult_t result = fake_nccl_ready(comm, call);
    if (result == ncclSuccess)
        result = check_memory(comm, call, memory, bytes);
    if (result == ncclSuccess && (peer < 0 || peer >= comm->size))
        result =
            fake_nccl_say(comm, ncclInvalidArgument, "%s: peer %d of %d", call, peer, comm->size);
    const bool alone = group.depth == 0;
    if (alone)
        (void)ncclGroupStart();
    if (result == ncclSuccess)
        result = add_op(comm, stream,
                        (fake_op_t){.sends = sends,
                                    .peer = peer,
                                    .memory = memory,
                                    .bytes = bytes,
                                    .kind = (uint64_t)type});
    if (result != ncclSuccess)
        group.refused = result;
    return alone ? ncclGroupEnd() : result;
}

ncclResult_t ncclSend(const void *memory, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return put("ncclSend", true, (void *)memory, count, type, peer, comm, stream);
}

ncclResult_t ncclRecv(void *memory, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return put("ncclRecv", false, memory, count, type, peer, comm, stream);
}

static bool in_symmetric_window(ncclComm_t comm, const void *memory, size_t bytes)
{
    const char *begin = memory;
    for (const fake_window_t *w = comm->windows; w != NULL; w = w->next) {
        if (w->symmetric && begin >= w->memory && begin + bytes <= w->memory + w->bytes)
            return true;
    }
    return false;
}

ncclResult_t ncclAlltoAll(const void *send, void *recv, size_t count, ncclDataType_t type,
                          ncclComm_t comm, cudaStream_t stream)
{
    ncclResult_t result = fake_nccl_ready(comm, "ncclAlltoAll");
    if (result != ncclSuccess)
        return result;
    if (fake_nccl_version_code() < NCCL_VERSION(2, 28, 0))
        return fake_nccl_say(comm, ncclInvalidUsage, "this version has no ncclAlltoAll");
    const size_t bytes = count * size_of(type);
    (void)ncclGroupStart();
    for (int rank = 0; result == ncclSuccess && rank < comm->size; rank++) {
        result =
            ncclSend((const char *)send + (size_t)rank * bytes, count, type, rank, comm, stream);
        if (result == ncclSuccess)
            result = ncclRecv((char *)recv + (size_t)rank * bytes, count, type, rank, comm, stream);
    }
    /* Copy engines go from window to window. */
    if (comm->zero_ctas && in_symmetric_window(comm, send, bytes * (size_t)comm->size) &&
        in_symmetric_window(comm, recv, bytes * (size_t)comm->size))
        group.node_kind = FAKE_CUDA_COPY;
    return ncclGroupEnd();
}

ncclResult_t ncclAllGather(const void *send, void *recv, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    ncclResult_t result = fake_nccl_ready(comm, "ncclAllGather");
    if (result != ncclSuccess)
        return result;
    const size_t bytes = count * size_of(type);
    (void)ncclGroupStart();
    for (int rank = 0; result == ncclSuccess && rank < comm->size; rank++) {
        result = ncclSend(send, count, type, rank, comm, stream);
        if (result == ncclSuccess)
            result = ncclRecv((char *)recv + (size_t)rank * bytes, count, type, rank, comm, stream);
        /* What is sent as this is not received as another call's. */
        for (size_t i = 2; result == ncclSuccess && i > 0; i--)
            group.work->ops[group.work->count - i].kind += 1000;
    }
    return ncclGroupEnd();
}

ncclResult_t ncclAllReduce(const void *send, void *recv, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream)
{
    const size_t bytes = count * size_of(type);
    ncclResult_t result = fake_nccl_ready(comm, "ncclAllReduce");
    if (result == ncclSuccess)
        result = check_memory(comm, "ncclAllReduce", send, bytes);
    if (result == ncclSuccess)
        result = check_memory(comm, "ncclAllReduce", recv, bytes);
    if (result == ncclSuccess && !(type == ncclFloat32 && operation == ncclSum) &&
        !(type == ncclUint64 && operation == ncclMax))
        result = fake_nccl_say(comm, ncclInvalidUsage,
                               "ncclAllReduce: this fake knows sums of floats and the largest "
                               "uint64");
    if (result == ncclSuccess && group.depth > 0)
        result = fake_nccl_say(comm, ncclInvalidUsage, "ncclAllReduce: not in this fake's groups");
    if (result != ncclSuccess)
        return result;
    const work_t work = {.comm = comm,
                         .stream = stream,
                         .reduces = true,
                         .type = type,
                         .operation = operation,
                         .from = send,
                         .to = recv,
                         .numbers = count};
    return give(&work, 0, FAKE_CUDA_KERNEL);
}
