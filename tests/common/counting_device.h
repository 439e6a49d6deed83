/* The host's device with memory of a test's own: blocks end where the request ends, so that the
 * address sanitizer sees an access past them, and all of them are counted. One for each rank. */
#ifndef TESTS_COUNTING_DEVICE_H
#define TESTS_COUNTING_DEVICE_H

#include <stdlib.h>

#include "moe/device.h"
#include "moe/measure.h"

/* Points in time of a repetition, more than any test makes. */
#define COUNTING_MARKS 4096

typedef struct counting_device {
    moe_device_t device; /* first: its address is that of the whole */
    moe_device_ops_t ops;
    size_t bytes;       /* asked for so far */
    size_t blocks;      /* not yet released */
    size_t allocs_left; /* before alloc() refuses */
    double mark[COUNTING_MARKS];
    size_t marks;
} counting_device_t;

static inline counting_device_t *counting_device_of(moe_device_t *d)
{
    return (counting_device_t *)d;
}

static inline moe_status_t counting_alloc(moe_device_t *d, const char *what, size_t bytes,
                                          void **out, moe_error_t *error)
{
    counting_device_t *c = counting_device_of(d);
    void *memory = c->allocs_left > 0 ? calloc(bytes > 0 ? bytes : 1, 1) : NULL;
    if (memory == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "%s: %zu bytes do not fit memory", what, bytes);
    c->allocs_left--;
    c->bytes += bytes;
    c->blocks++;
    *out = memory;
    return MOE_OK;
}

static inline void counting_release(moe_device_t *d, void *memory)
{
    counting_device_of(d)->blocks -= memory != NULL;
    free(memory);
}

/* By moe_now(), which a test may put its own in place of. */
static inline void counting_mark(moe_device_t *d)
{
    counting_device_t *c = counting_device_of(d);
    if (c->marks < COUNTING_MARKS)
        c->mark[c->marks] = moe_now();
    c->marks++;
}

static inline moe_status_t counting_read_marks(moe_device_t *d, double *seconds, size_t count,
                                               moe_error_t *error)
{
    counting_device_t *c = counting_device_of(d);
    const size_t made = c->marks;
    c->marks = 0;
    if (count > 0 && (made != count || made > COUNTING_MARKS))
        return moe_fail(error, MOE_FAILED, "%zu marks were made, %zu are read", made, count);
    for (size_t i = 0; i < count; i++)
        seconds[i] = c->mark[i] - c->mark[0];
    return MOE_OK;
}

/* `host` is only read, so the devices of all ranks may share it. *c must stay where it is. */
static inline void counting_device_init(counting_device_t *c, const moe_device_t *host)
{
    *c = (counting_device_t){.ops = *host->ops, .allocs_left = SIZE_MAX};
    c->ops.alloc = counting_alloc;
    c->ops.release = counting_release;
    c->ops.mark = counting_mark;
    c->ops.read_marks = counting_read_marks;
    c->device = (moe_device_t){.ops = &c->ops, .state = host->state};
}

/* cmocka's fixtures of a group: the host's device is its state. */
static inline int host_set_up(void **state)
{
    moe_device_t *host = NULL;
    const moe_status_t status = moe_host_device_create(1, 1, &host, NULL);
    *state = host;
    return status == MOE_OK ? 0 : -1;
}

static inline int host_tear_down(void **state)
{
    moe_device_t *host = *state;
    host->ops->destroy(host);
    return 0;
}

#endif
