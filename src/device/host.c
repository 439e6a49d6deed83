#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "moe/simulated.h"
#include "moe/system.h"

/* Buffers of at least one huge page of x86-64 and AArch64 are aligned to it, so that the kernel may
 * back them with such pages. */
#define HUGE_PAGE  ((size_t)2 << 20)
#define SMALL_PAGE ((size_t)4096)

/* Linux lets a sleeper be late by 50 us (timerslack, prctl(2)); waking up takes the rest. */
#define SPIN_SECONDS 60e-6
/* Longest wait, 30 years: keeps the arithmetic of struct timespec in range. */
#define LONGEST_WAIT 1e9

/* ---- Memory ---- */

static moe_status_t refuse(const char *what, size_t bytes, moe_error_t *error)
{
    char needed[16], available[16];
    return moe_fail(error, MOE_BAD_INPUT,
                    "%s: %s do not fit memory (%s available on this host): lower --tokens, "
                    "--hidden, --layers or the ranks on a host",
                    what, moe_format_bytes((double)bytes, needed),
                    moe_format_bytes((double)moe_memory_available(), available));
}

static moe_status_t host_alloc(moe_device_t *d, const char *what, size_t bytes, void **out,
                               moe_error_t *error)
{
    (void)d;
    const size_t page = bytes >= HUGE_PAGE ? HUGE_PAGE : SMALL_PAGE;
    /* The system may promise more than it has, and end the process on the first write. */
    if (bytes > moe_memory_available() || bytes > SIZE_MAX - page) {
        return refuse(what, bytes, error);
    }
    const size_t rounded = bytes == 0 ? page : (bytes + page - 1) / page * page;
    void *memory = aligned_alloc(page, rounded);
    if (memory == NULL) {
        return refuse(what, bytes, error);
    }
    if (page == HUGE_PAGE) {
        (void)madvise(memory, rounded, MADV_HUGEPAGE); /* advice only */
    }
    memset(memory, 0, rounded);
    *out = memory;
    return MOE_OK;
}

static void host_release(moe_device_t *d, void *memory)
{
    (void)d;
    free(memory);
}

static size_t host_available(moe_device_t *d)
{
    (void)d;
    return moe_memory_available();
}

static void host_fill_bytes(moe_device_t *d, void *memory, int byte, size_t bytes)
{
    (void)d;
    if (bytes > 0) {
        memset(memory, byte, bytes);
    }
}

static void host_copy(moe_device_t *d, void *to, const void *from, size_t bytes)
{
    (void)d;
    if (bytes > 0) {
        memcpy(to, from, bytes);
    }
}

/* Lists are read where they are. */
static moe_status_t host_list(moe_device_t *d, const char *what, const void *list, size_t bytes,
                              const void **out, moe_error_t *error)
{
    (void)d, (void)what, (void)bytes, (void)error;
    *out = list;
    return MOE_OK;
}

static void host_drop_list(moe_device_t *d, const void *list)
{
    (void)d, (void)list;
}

/* ---- Time ---- */

static double seconds_of(const struct timespec *t)
{
    return (double)t->tv_sec + 1e-9 * (double)t->tv_nsec;
}

static double seconds_between(const struct timespec *start, const struct timespec *end)
{
    return (double)(end->tv_sec - start->tv_sec) + 1e-9 * (double)(end->tv_nsec - start->tv_nsec);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return seconds_between(start, &now);
}

static void host_wait(moe_device_t *d, double seconds)
{
    (void)d;
    if (!(seconds > 0)) { /* NaN too */
        return;
    }
    const double wait = seconds < LONGEST_WAIT ? seconds : LONGEST_WAIT;
    if (moe_simulated()) {
        moe_simulated_wait(wait);
        return;
    }
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (wait > SPIN_SECONDS) {
        const double wake = seconds_of(&start) + wait - SPIN_SECONDS;
        const struct timespec until = {.tv_sec = (time_t)wake,
                                       .tv_nsec = (long)((wake - (double)(time_t)wake) * 1e9)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
        }
    }
    while (seconds_since(&start) < wait) {
    }
}

/* ---- Order: every call has ended when it returns, so a mark is a time of the clock ---- */

static moe_status_t host_finish(moe_device_t *d, moe_error_t *error)
{
    (void)d, (void)error;
    return MOE_OK;
}

#define FIRST_MARKS ((size_t)256)

static bool room_for_a_mark(moe_host_state_t *state)
{
    if (state->marks < state->mark_room) {
        return true;
    }
    const size_t room = state->mark_room > 0 ? 2 * state->mark_room : FIRST_MARKS;
    struct timespec *grown = realloc(state->mark, room * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    state->mark = grown;
    state->mark_room = room;
    return true;
}

static void host_mark(moe_device_t *d)
{
    moe_host_state_t *state = d->state;
    if (room_for_a_mark(state)) {
        clock_gettime(CLOCK_MONOTONIC, &state->mark[state->marks]);
    } else {
        state->marks_lost = true;
        return;
    }
    state->marks++;
}

static moe_status_t host_read_marks(moe_device_t *d, double *seconds, size_t count,
                                    moe_error_t *error)
{
    moe_host_state_t *state = d->state;
    const bool lost = state->marks_lost;
    const size_t made = state->marks;
    state->marks = 0;
    state->marks_lost = false;
    if (count > 0 && (lost || made != count)) {
        return moe_fail(error, MOE_FAILED, "%zu points in time were to be read, %zu were kept%s",
                        count, made, lost ? ": no memory for more" : "");
    }
    for (size_t i = 0; i < count; i++) {
        seconds[i] = seconds_between(&state->mark[0], &state->mark[i]);
    }
    return MOE_OK;
}

static void host_lane(moe_device_t *d, moe_lane_t lane)
{
    (void)d, (void)lane;
}

static void host_order(moe_device_t *d, size_t number)
{
    (void)d, (void)number;
}

/* ---- The device ---- */

static void host_destroy(moe_device_t *d)
{
    moe_host_state_t *state = d->state;
    free(state->mark);
    free(state);
    free(d);
}

static const moe_device_ops_t host_ops = {
    .name = "host",
    .alloc = host_alloc,
    .release = host_release,
    .available = host_available,
    .fill_bytes = host_fill_bytes,
    .copy = host_copy,
    .list = host_list,
    .drop_list = host_drop_list,
    .gather = moe_host_gather,
    .copy_parts = moe_host_copy_parts,
    .reduce = moe_host_reduce,
    .fill_tokens = moe_host_fill_tokens,
    .check_rows = moe_host_check_rows,
    .apply_expert = moe_host_apply_expert,
    .check_combined = moe_host_check_combined,
    .has_gemm = MOE_HOST_HAS_GEMM,
    .gemm_dtype = MOE_FP32,
    .least_operands = (size_t)64 << 20, /* past the last-level cache that one rank has for itself */
    .most_operands = (size_t)256 << 20, /* what a laptop can spare for each of its ranks */
    .gemm_group = 1,
    .gemm = moe_host_gemm,
    .wait = host_wait,
    .finish = host_finish,
    .mark = host_mark,
    .read_marks = host_read_marks,
    .lane = host_lane,
    .sign = host_order,
    .await = host_order,
    .destroy = host_destroy,
};

moe_status_t moe_host_device_create(size_t threads, size_t ranks_on_host, moe_device_t **out,
                                    moe_error_t *error)
{
    moe_device_t *device;
    moe_status_t status = moe_alloc("a device", 1, sizeof *device, (void **)&device, error);
    if (status != MOE_OK) {
        return status;
    }
    status = moe_alloc("a device", 1, sizeof(moe_host_state_t), &device->state, error);
    if (status != MOE_OK) {
        free(device);
        return status;
    }
    device->ops = &host_ops;
    char blas[96];
    moe_host_set_up_blas(threads, ranks_on_host, blas, sizeof blas);
    snprintf(device->description, sizeof device->description, "host memory, %s", blas);
    *out = device;
    return MOE_OK;
}
