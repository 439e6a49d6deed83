/* A device that keeps its caller waiting: a copy is done when finish() is called, never before. Its
 * memory may be out of the host's reach: whoever touches it without copy() crashes. For tests of
 * whatever moves rows of a device. One for each rank. */
#ifndef TESTS_LAZY_DEVICE_H
#define TESTS_LAZY_DEVICE_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "moe/device.h"

#define LAZY_BYTES ((size_t)64 << 20)

/* A copy that has not been done. */
typedef struct lazy_copy {
    void *to;
    const void *from;
    char *held; /* what lay in host memory when the copy was given; else NULL */
    size_t bytes;
    struct lazy_copy *next;
} lazy_copy_t;

typedef struct lazy_device {
    moe_device_t device; /* first: its address is that of the whole */
    char *handed_out;    /* [LAZY_BYTES] addresses; not to be touched where hidden */
    char *memory;        /* [LAZY_BYTES] what they stand for */
    size_t used, blocks;
    lazy_copy_t *first, **last;
    size_t finishes;
} lazy_device_t;

static inline bool lazy_owns(const lazy_device_t *d, const void *address)
{
    const char *a = address;
    return a >= d->handed_out && a < d->handed_out + LAZY_BYTES;
}

static inline char *lazy_real(const lazy_device_t *d, const void *address)
{
    return lazy_owns(d, address) ? d->memory + ((const char *)address - d->handed_out)
                                 : (char *)address;
}

static inline moe_status_t lazy_alloc(moe_device_t *device, const char *what, size_t bytes,
                                      void **out, moe_error_t *error)
{
    lazy_device_t *d = (lazy_device_t *)device;
    if (bytes > LAZY_BYTES - d->used)
        return moe_fail(error, MOE_BAD_INPUT, "%s: %zu bytes do not fit memory", what, bytes);
    *out = d->handed_out + d->used;
    d->used += (bytes + 63) / 64 * 64;
    d->blocks++;
    return MOE_OK;
}

/* Memory is used again when all of it has come back. */
static inline void lazy_release(moe_device_t *device, void *memory)
{
    lazy_device_t *d = (lazy_device_t *)device;
    if (memory != NULL && --d->blocks == 0)
        d->used = 0;
}

static inline void lazy_copy(moe_device_t *device, void *to, const void *from, size_t bytes)
{
    lazy_device_t *d = (lazy_device_t *)device;
    lazy_copy_t *copy = malloc(sizeof *copy);
    if (copy == NULL)
        abort();
    *copy = (lazy_copy_t){.to = to, .from = from, .bytes = bytes};
    if (!lazy_owns(d, from) && bytes > 0) {
        copy->held = malloc(bytes);
        if (copy->held == NULL)
            abort();
        memcpy(copy->held, from, bytes);
    }
    *d->last = copy;
    d->last = &copy->next;
}

static inline moe_status_t lazy_finish(moe_device_t *device, moe_error_t *error)
{
    (void)error;
    lazy_device_t *d = (lazy_device_t *)device;
    d->finishes++;
    while (d->first != NULL) {
        lazy_copy_t *copy = d->first;
        const char *from = copy->held != NULL ? copy->held : lazy_real(d, copy->from);
        if (copy->bytes > 0)
            memcpy(lazy_real(d, copy->to), from, copy->bytes);
        d->first = copy->next;
        free(copy->held);
        free(copy);
    }
    d->last = &d->first;
    return MOE_OK;
}

static const moe_device_ops_t lazy_ops = {.name = "copies when it must",
                                          .alloc = lazy_alloc,
                                          .release = lazy_release,
                                          .copy = lazy_copy,
                                          .finish = lazy_finish};

/* *d must stay where it is. */
static inline void lazy_device_init(lazy_device_t *d, bool hidden)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *memory = mmap(NULL, LAZY_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
    char *handed_out = hidden ? mmap(NULL, LAZY_BYTES, PROT_NONE, flags, -1, 0) : memory;
    if (memory == MAP_FAILED || handed_out == MAP_FAILED)
        abort();
    *d = (lazy_device_t){.device = {.ops = &lazy_ops}, .handed_out = handed_out, .memory = memory};
    d->last = &d->first;
}

static inline void lazy_device_end(lazy_device_t *d)
{
    lazy_finish(&d->device, NULL);
    if (d->handed_out != d->memory)
        munmap(d->handed_out, LAZY_BYTES);
    munmap(d->memory, LAZY_BYTES);
}

#endif
