/* A fake NCCL: libnccl.so.2 over host memory and MPI, for tests of the program where there is no GPU. It
 * holds the program to what NCCL demands: rows in device memory, both sides of a message with the same
 * size, none of size 0, a communicator used only when its last call has ended. Work is given to the
 * streams of the fake CUDA runtime of this folder.
 *
 *   MOE_FAKE_NCCL_VERSION  what it says that it is: 2.27.3; default: that of the header
 *   MOE_FAKE_NCCL_FAULT    setup:   the communicator is never made
 *                          absent:  the rank never comes to a group: its own work never ends, and the
 *                                   others' calls do not return
 *                          async:   an asynchronous error; the others get one because of it
 *                          corrupt: a bit of what arrived in a group is another
 *   MOE_FAKE_NCCL_RANK     of MPI_COMM_WORLD, which has the fault; default 1
 *   MOE_FAKE_NCCL_AT       in its n-th group, from 1; default 1
 *   MOE_FAKE_NCCL_BYTES    counted are groups in which at least that much arrives; default 1
 *   NCCL_COMM_BLOCKING     as NCCL reads it: 0 makes all communicators nonblocking
 *   NCCL_HOSTID            as NCCL reads it: two ranks with the same one must not have the same GPU */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nccl_state.h"

/* Turns of polling that an operation of a nonblocking communicator takes at the least. */
#define POLLS 2

/* ---- What this process is ---- */

size_t fake_nccl_knob(const char *name, size_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 0);
}

int fake_world_rank(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

fake_fault_t fake_nccl_fault(void)
{
    static const char *const names[] = {"", "async", "absent", "setup", "corrupt"};
    const char *fault = getenv("MOE_FAKE_NCCL_FAULT");
    if (fault == NULL || fake_nccl_knob("MOE_FAKE_NCCL_RANK", 1) != (size_t)fake_world_rank())
        return FAKE_FAULT_NONE;
    for (int i = FAKE_FAULT_ASYNC; i <= FAKE_FAULT_CORRUPT; i++) {
        if (strcmp(fault, names[i]) == 0)
            return (fake_fault_t)i;
    }
    return FAKE_FAULT_NONE;
}

int fake_nccl_version_code(void)
{
    int major = NCCL_MAJOR, minor = NCCL_MINOR, patch = NCCL_PATCH;
    const char *text = getenv("MOE_FAKE_NCCL_VERSION");
    if (text != NULL)
        (void)sscanf(text, "%d.%d.%d", &major, &minor, &patch);
    return NCCL_VERSION(major, minor, patch);
}

void fake_nccl_nap(size_t turn)
{
    const struct timespec nap = {.tv_nsec = 50 * 1000};
    if (turn < 100)
        (void)sched_yield();
    else
        (void)nanosleep(&nap, NULL);
}

int fake_nccl_new_context(void)
{
    static int made;
    return fake_world_rank() * 1024 + ++made % 1024;
}

ncclResult_t ncclGetVersion(int *version)
{
    *version = fake_nccl_version_code();
    return ncclSuccess;
}

/* ---- Errors ---- */

static char last_error[256]; /* of calls without a communicator */

ncclResult_t fake_nccl_say(ncclComm_t comm, ncclResult_t result, const char *format, ...)
{
    char text[sizeof last_error];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "fake nccl: rank %d: %s\n", fake_world_rank(), text);
    snprintf(comm != NULL ? comm->last_error : last_error, sizeof last_error, "%s", text);
    snprintf(last_error, sizeof last_error, "%s", text);
    return result;
}

const char *ncclGetLastError(ncclComm_t comm)
{
    return comm != NULL ? comm->last_error : last_error;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSuccess:
        return "no error";
    case ncclUnhandledCudaError:
        return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError:
        return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError:
        return "internal error - please report this issue to the NCCL developers";
    case ncclInvalidArgument:
        return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage:
        return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError:
        return "remote process exited or there was a network error";
    case ncclInProgress:
        return "NCCL operation in progress";
    default:
        return "unknown result code";
    }
}

/* ---- Communicators ---- */

bool fake_nccl_is_aborted(const struct ncclComm *comm)
{
    return __atomic_load_n(&comm->aborted, __ATOMIC_ACQUIRE) != 0;
}

ncclResult_t fake_nccl_ready(ncclComm_t comm, const char *call)
{
    if (comm == NULL)
        return fake_nccl_say(NULL, ncclInvalidArgument, "%s: no communicator", call);
    if (fake_nccl_is_aborted(comm))
        return fake_nccl_say(NULL, ncclInvalidArgument, "%s: after ncclCommAbort", call);
    if (comm->async != ncclSuccess)
        return comm->async;
    if (comm->meeting != NULL || comm->in_progress > 0)
        return fake_nccl_say(comm, ncclInvalidArgument,
                             "%s: the communicator's last call has not ended", call);
    return ncclSuccess;
}

ncclResult_t fake_nccl_done(ncclComm_t comm)
{
    if (comm->blocking)
        return ncclSuccess;
    comm->in_progress = POLLS;
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *result)
{
    if (fake_nccl_is_aborted(comm))
        return fake_nccl_say(NULL, ncclInvalidArgument, "%s: after ncclCommAbort", __func__);
    if (comm->async == ncclSuccess && comm->meeting != NULL && !comm->blocking) {
        const ncclResult_t now = fake_nccl_go_on(comm);
        comm->async = now == ncclInProgress ? ncclSuccess : now;
    }
    if (comm->async != ncclSuccess)
        *result = comm->async;
    else if (comm->meeting != NULL || comm->in_progress > 0)
        *result = ncclInProgress;
    else
        *result = ncclSuccess;
    comm->in_progress -= comm->in_progress > 0;
    return ncclSuccess;
}

static void free_comm(ncclComm_t comm)
{
    while (comm->windows != NULL) {
        fake_window_t *window = comm->windows;
        comm->windows = window->next;
        free(window);
    }
    free(comm->world);
    free(comm);
}

typedef struct fake_id {
    int context, root;
} fake_id_t;

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    const fake_id_t made = {.context = fake_nccl_new_context(), .root = fake_world_rank()};
    memset(id, 0, sizeof *id);
    memcpy(id->internal, &made, sizeof made);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId unique, int rank,
                                    ncclConfig_t *config)
{
    fake_id_t id;
    memcpy(&id, unique.internal, sizeof id);
    ncclComm_t made = calloc(1, sizeof *made);
    if (made == NULL)
        return ncclSystemError;
    *comm = made;
    made->rank = rank;
    made->context = id.context;
    ncclResult_t result = fake_nccl_read_config(made, config);
    if (result == ncclSuccess)
        result = fake_nccl_meet(made, id.root, size, 0, rank, comm, config);
    if (result != ncclSuccess && result != ncclInProgress) {
        free_comm(made);
        *comm = NULL;
    }
    return result;
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t *made,
                           ncclConfig_t *config)
{
    const ncclResult_t result = fake_nccl_ready(comm, "ncclCommSplit");
    if (result != ncclSuccess)
        return result;
    *made = NULL;
    return fake_nccl_meet(comm, comm->world[0], comm->size, color, key, made, config);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    const ncclResult_t result = fake_nccl_ready(comm, "ncclCommFinalize");
    return result == ncclSuccess ? fake_nccl_done(comm) : result;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    const ncclResult_t result = fake_nccl_ready(comm, "ncclCommDestroy");
    if (result == ncclSuccess)
        free_comm(comm);
    return result;
}

void fake_nccl_hang(ncclComm_t comm, cudaStream_t stream)
{
    comm->hung = stream;
    (void)fake_cuda_hang(stream, 1);
}

/* Whoever is inside comes out of it, as NCCL's kernels do. What NCCL would free stays, to tell of those
 * who use it afterwards. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    static ncclComm_t aborted;
    if (comm == NULL)
        return ncclSuccess;
    __atomic_store_n(&comm->aborted, 1, __ATOMIC_RELEASE);
    for (size_t turn = 0; __atomic_load_n(&comm->busy, __ATOMIC_ACQUIRE) > 0; turn++)
        fake_nccl_nap(turn);
    if (comm->hung != NULL)
        (void)fake_cuda_hang(comm->hung, 0);
    comm->next = aborted;
    aborted = comm;
    return ncclSuccess;
}

/* ---- Memory ---- */

ncclResult_t ncclMemAlloc(void **memory, size_t bytes)
{
    *memory = fake_cuda_alloc(bytes);
    return *memory != NULL ? ncclSuccess
                           : fake_nccl_say(NULL, ncclUnhandledCudaError,
                                           "ncclMemAlloc: %zu bytes: out of memory", bytes);
}

ncclResult_t ncclMemFree(void *memory)
{
    fake_cuda_free(memory);
    return ncclSuccess;
}

ncclResult_t ncclCommRegister(const ncclComm_t comm, void *memory, size_t bytes, void **handle)
{
    const ncclResult_t result = fake_nccl_ready(comm, "ncclCommRegister");
    if (result != ncclSuccess)
        return result;
    if (!fake_cuda_is_device(memory) || bytes == 0)
        return fake_nccl_say(comm, ncclInvalidArgument, "ncclCommRegister: no device memory");
    *handle = memory;
    return ncclSuccess;
}

ncclResult_t ncclCommDeregister(const ncclComm_t comm, void *handle)
{
    (void)handle;
    return fake_nccl_ready(comm, "ncclCommDeregister");
}

/* Every rank shows all others what it registers. */
static ncclResult_t compare_windows(ncclComm_t comm, size_t bytes, int flags)
{
    fake_op_t *ops = calloc(2 * (size_t)comm->size, sizeof *ops);
    size_t count = 0;
    if (ops == NULL)
        return ncclSystemError;
    for (int rank = 0; rank < comm->size; rank++) {
        for (int sends = 0; rank != comm->rank && sends < 2; sends++)
            ops[count++] = (fake_op_t){
                .sends = sends != 0, .peer = rank, .bytes = bytes, .kind = 1000 + (unsigned)flags};
    }
    const fake_end_t end = fake_nccl_exchange(comm, ops, count, false);
    free(ops);
    return end == FAKE_DONE ? ncclSuccess : end == FAKE_ABORTED ? ncclInternalError : comm->async;
}

ncclResult_t ncclCommWindowRegister(ncclComm_t comm, void *memory, size_t bytes,
                                    ncclWindow_t *window, int flags)
{
    ncclResult_t result = fake_nccl_ready(comm, "ncclCommWindowRegister");
    if (result != ncclSuccess)
        return result;
    if (!fake_cuda_is_device(memory) || bytes == 0 || (uintptr_t)memory % 4096 != 0 ||
        bytes % 4096 != 0)
        return fake_nccl_say(comm, ncclInvalidArgument,
                             "ncclCommWindowRegister: %zu bytes at %p are no pages of the device",
                             bytes, memory);
    result = compare_windows(comm, bytes, flags);
    fake_window_t *made = result == ncclSuccess ? malloc(sizeof *made) : NULL;
    if (made == NULL)
        return result != ncclSuccess ? result : ncclSystemError;
    *made = (fake_window_t){.memory = memory,
                            .bytes = bytes,
                            .symmetric = (flags & NCCL_WIN_COLL_SYMMETRIC) != 0,
                            .next = comm->windows};
    comm->windows = made;
    *window = made;
    return fake_nccl_done(comm);
}

ncclResult_t ncclCommWindowDeregister(ncclComm_t comm, ncclWindow_t window)
{
    const ncclResult_t result = fake_nccl_ready(comm, "ncclCommWindowDeregister");
    if (result != ncclSuccess)
        return result;
    for (fake_window_t **at = &comm->windows; *at != NULL; at = &(*at)->next) {
        if (*at == window) {
            *at = window->next;
            free(window);
            return fake_nccl_done(comm);
        }
    }
    return fake_nccl_say(comm, ncclInvalidArgument, "ncclCommWindowDeregister: no such window");
}
