/* The fake CUDA runtime: memory. What counts as the device's lies in an address range of its own, in
 * whole pages with one between them that nobody may touch, and is never given out twice: a host address
 * where a device's belongs, a kernel that writes too far and memory used after it was freed all show. */
#include "cudart_state.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    FRESH = 0xa5 /* new memory is never zero by chance; so is what follows it in its last page */
};
#define MOST_RANGE  ((size_t)1 << 40) /* addresses only: nothing is backed before it is allocated */
#define LEAST_RANGE ((size_t)1 << 33)
#define MOST_GPUS   64

typedef struct allocation {
    char *base;
    size_t bytes, room; /* whole pages */
    int device;         /* -1: host memory that is pinned */
    struct allocation *next;
} allocation_t;

static char *range_start, *range_end, *range_free;
static allocation_t *allocations;
static size_t used[MOST_GPUS];

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static bool reserve_range(void)
{
    for (size_t bytes = MOST_RANGE; range_start == NULL && bytes >= LEAST_RANGE; bytes /= 2) {
        void *range =
            mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range != MAP_FAILED) {
            range_start = range_free = range;
            range_end = range_start + bytes;
        }
    }
    return range_start != NULL;
}

static size_t limit(void)
{
    return (size_t)fake_knob("MOE_FAKE_GPU_BYTES", 4ull << 30);
}

static allocation_t *find(const void *address)
{
    const char *at = address;
    for (allocation_t *a = allocations; a != NULL; a = a->next) {
        if (at >= a->base && at < a->base + a->room) {
            return a;
        }
    }
    return NULL;
}

static allocation_t *add(char *base, size_t bytes, size_t room, int device)
{
    allocation_t *a = malloc(sizeof *a);
    if (a != NULL) {
        *a = (allocation_t){base, bytes, room, device, allocations};
        allocations = a;
    }
    return a;
}

static void *allocate(size_t bytes)
{
    const int device = fake_current_device();
    const size_t page = page_bytes();
    const size_t room = (bytes + page - 1) / page * page;
    if (bytes > limit() - used[device] || !reserve_range() ||
        room + page > (size_t)(range_end - range_free) ||
        mprotect(range_free, room, PROT_READ | PROT_WRITE) != 0) {
        return NULL;
    }
    char *const base = range_free;
    if (add(base, bytes, room, device) == NULL) {
        return NULL;
    }
    memset(base, FRESH, room);
    range_free += room + page;
    used[device] += bytes;
    return base;
}

/* Ends the program where something was written behind the memory: on a GPU that is another's. */
static void look_behind(const allocation_t *a)
{
    for (size_t i = a->bytes; i < a->room; i++) {
        if ((unsigned char)a->base[i] != FRESH) {
            fprintf(stderr, "fake cudart: byte %zu of device memory of %zu bytes was written\n", i,
                    a->bytes);
            abort();
        }
    }
}

static cudaError_t release(void *memory, bool of_device)
{
    for (allocation_t **at = &allocations; *at != NULL; at = &(*at)->next) {
        allocation_t *a = *at;
        if (a->base != memory || (a->device >= 0) != of_device) {
            continue;
        }
        if (of_device) {
            look_behind(a);
            used[a->device] -= a->bytes;
            (void)madvise(a->base, a->room, MADV_DONTNEED);
            (void)mprotect(a->base, a->room, PROT_NONE);
        } else {
            free(a->base);
        }
        *at = a->next;
        free(a);
        return cudaSuccess;
    }
    return cudaErrorInvalidValue;
}

void *fake_cuda_alloc(size_t bytes)
{
    fake_lock();
    void *memory = bytes > 0 ? allocate(bytes) : NULL;
    fake_unlock();
    return memory;
}

void fake_cuda_free(void *memory)
{
    if (memory != NULL) {
        fake_lock();
        (void)release(memory, true);
        fake_unlock();
    }
}

int fake_cuda_is_device(const void *address)
{
    return fake_is_device_range(address, 1);
}

bool fake_is_reserved(const void *address)
{
    return (const char *)address >= range_start && (const char *)address < range_end;
}

bool fake_is_device_range(const void *address, size_t bytes)
{
    fake_lock();
    const allocation_t *a = find(address);
    const bool is = a != NULL && a->device >= 0 &&
                    bytes <= a->bytes - (size_t)((const char *)address - a->base);
    fake_unlock();
    return is;
}

/* ---- CUDA's own ---- */

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    FAKE_BEGIN();
    if (bytes == 0) {
        *memory = NULL;
        return cudaSuccess;
    }
    void *const made = fake_cuda_alloc(bytes);
    if (made == NULL) {
        return fake_end(cudaErrorMemoryAllocation);
    }
    *memory = made;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
    FAKE_BEGIN();
    if (memory == NULL) {
        return cudaSuccess;
    }
    fake_lock();
    const cudaError_t code = release(memory, true);
    fake_unlock();
    return fake_end(code);
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    FAKE_BEGIN();
    (void)flags;
    const size_t page = page_bytes(), room = (bytes + page - 1) / page * page;
    char *const made = aligned_alloc(page, room > 0 ? room : page);
    if (made == NULL) {
        return fake_end(cudaErrorMemoryAllocation);
    }
    memset(made, FRESH, bytes);
    fake_lock();
    const allocation_t *a = add(made, bytes, room > 0 ? room : page, -1);
    fake_unlock();
    if (a == NULL) {
        free(made);
        return fake_end(cudaErrorMemoryAllocation);
    }
    *memory = made;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **memory, size_t bytes)
{
    return cudaHostAlloc(memory, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *memory)
{
    FAKE_BEGIN();
    if (memory == NULL) {
        return cudaSuccess;
    }
    fake_lock();
    const cudaError_t code = release(memory, false);
    fake_unlock();
    return fake_end(code);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    FAKE_BEGIN();
    fake_lock();
    *total = limit();
    *free_bytes = *total - used[fake_current_device()];
    fake_unlock();
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *address)
{
    FAKE_BEGIN();
    memset(attributes, 0, sizeof *attributes);
    fake_lock();
    const allocation_t *a = find(address);
    attributes->type = a == NULL        ? cudaMemoryTypeUnregistered
                       : a->device >= 0 ? cudaMemoryTypeDevice
                                        : cudaMemoryTypeHost;
    attributes->device = a == NULL || a->device < 0 ? -2 : a->device;
    fake_unlock();
    attributes->devicePointer = attributes->hostPointer = (void *)address;
    return cudaSuccess;
}

/* ---- Copies: `rows` of `bytes`, and what is filled with one byte ---- */

typedef struct copy {
    char *to;
    const char *from;
    size_t to_pitch, from_pitch, bytes, rows;
} copy_t;

static int do_copy(void *args)
{
    const copy_t *c = args;
    for (size_t r = 0; r < c->rows; r++) {
        memmove(c->to + r * c->to_pitch, c->from + r * c->from_pitch, c->bytes);
    }
    return 0;
}

static bool side_is_right(const void *address, size_t bytes, bool wants_device, bool wants_host)
{
    const bool there = fake_cuda_is_device(address);
    return !(wants_device && !there) && !(wants_host && there) &&
           (!there || fake_is_device_range(address, bytes));
}

static cudaError_t give_copy(copy_t c, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    if (c.bytes == 0 || c.rows == 0) {
        return cudaSuccess;
    }
    const size_t to_bytes = (c.rows - 1) * c.to_pitch + c.bytes;
    const size_t from_bytes = (c.rows - 1) * c.from_pitch + c.bytes;
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const bool any = kind == cudaMemcpyDefault;
    if (!side_is_right(c.to, to_bytes, to_device, !any && !to_device) ||
        !side_is_right(c.from, from_bytes, from_device, !any && !from_device)) {
        return fake_end(cudaErrorInvalidValue);
    }
    return fake_end(fake_cuda_enqueue(stream, do_copy, &c, sizeof c, cudaGraphNodeTypeMemcpy));
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    FAKE_BEGIN();
    const copy_t c = {.to = to, .from = from, .bytes = bytes, .rows = 1};
    return give_copy(c, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    FAKE_BEGIN();
    const copy_t c = {.to = to, .from = from, .bytes = bytes, .rows = 1};
    return give_copy(c, kind, NULL);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t bytes, size_t rows, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    FAKE_BEGIN();
    if (bytes > to_pitch || bytes > from_pitch) {
        return fake_end(cudaErrorInvalidValue);
    }
    const copy_t c = {to, from, to_pitch, from_pitch, bytes, rows};
    return give_copy(c, kind, stream);
}

typedef struct filling {
    void *to;
    int byte;
    size_t bytes;
} filling_t;

static int do_fill(void *args)
{
    const filling_t *f = args;
    memset(f->to, f->byte, f->bytes);
    return 0;
}

cudaError_t cudaMemsetAsync(void *to, int byte, size_t bytes, cudaStream_t stream)
{
    FAKE_BEGIN();
    const filling_t f = {to, byte, bytes};
    if (bytes == 0) {
        return cudaSuccess;
    }
    if (!fake_is_device_range(to, bytes)) {
        return fake_end(cudaErrorInvalidValue);
    }
    return fake_end(fake_cuda_enqueue(stream, do_fill, &f, sizeof f, cudaGraphNodeTypeMemset));
}

cudaError_t cudaMemset(void *to, int byte, size_t bytes)
{
    return cudaMemsetAsync(to, byte, bytes, NULL);
}
