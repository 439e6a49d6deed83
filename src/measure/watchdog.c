#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "moe/measure.h"
#include "moe/simulated.h"
#include "moe/system.h"

/* Longer waits mean "never", and are cut so that a deadline fits a time_t: some 30 years. */
#define LONGEST_SECONDS 1e9

struct moe_watchdog {
    double seconds;
    void (*expired)(void *context);
    void *context;
    _Atomic double fed; /* moe_now() of the last feeding */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stop_changed; /* waits on CLOCK_MONOTONIC, the clock of moe_now() */
    bool stop;                   /* under mutex */
};

static struct timespec time_at(double seconds)
{
    const time_t whole = (time_t)seconds;
    return (struct timespec){.tv_sec = whole, .tv_nsec = (long)((seconds - (double)whole) * 1e9)};
}

/* Waits until nobody has fed for `seconds`. false: it was stopped before. */
static bool wait_for_hunger(moe_watchdog_t *w)
{
    bool hungry = false;
    pthread_mutex_lock(&w->mutex);
    while (!w->stop && !hungry) {
        const double deadline = atomic_load(&w->fed) + w->seconds;
        const struct timespec until = time_at(deadline);
        if (pthread_cond_timedwait(&w->stop_changed, &w->mutex, &until) == ETIMEDOUT) {
            hungry = !w->stop && atomic_load(&w->fed) + w->seconds <= deadline;
        }
    }
    pthread_mutex_unlock(&w->mutex);
    return hungry;
}

static void *run(void *argument)
{
    moe_watchdog_t *w = argument;
    if (wait_for_hunger(w)) {
        w->expired(w->context); /* not under the mutex: it may take long, or never return */
    }
    return NULL;
}

static int start(moe_watchdog_t *w)
{
    pthread_condattr_t monotonic;
    int failed = pthread_condattr_init(&monotonic);
    if (failed != 0) {
        return failed;
    }
    failed = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    if (failed == 0) {
        failed = pthread_cond_init(&w->stop_changed, &monotonic);
    }
    pthread_condattr_destroy(&monotonic);
    if (failed != 0) {
        return failed;
    }
    failed = pthread_mutex_init(&w->mutex, NULL);
    if (failed != 0) {
        goto destroy_condition;
    }
    failed = pthread_create(&w->thread, NULL, run, w);
    if (failed != 0) {
        goto destroy_mutex;
    }
    return 0;

destroy_mutex:
    pthread_mutex_destroy(&w->mutex);
destroy_condition:
    pthread_cond_destroy(&w->stop_changed);
    return failed;
}

moe_status_t moe_watchdog_create(double seconds, void (*expired)(void *context), void *context,
                                 moe_watchdog_t **out, moe_error_t *error)
{
    if (!(seconds > 0)) { /* NaN too */
        return moe_fail(error, MOE_BAD_INPUT, "a time-out of %g s: it must be longer than 0 s",
                        seconds);
    }
    if (moe_simulated()) {
        /* No thread may stand beside the simulation, which ends by itself when all ranks wait. */
        *out = NULL;
        return MOE_OK;
    }
    void *memory;
    const moe_status_t status = moe_alloc("the watchdog", 1, sizeof **out, &memory, error);
    if (status != MOE_OK) {
        return status;
    }
    moe_watchdog_t *w = memory;
    w->seconds = seconds < LONGEST_SECONDS ? seconds : LONGEST_SECONDS;
    w->expired = expired;
    w->context = context;
    atomic_init(&w->fed, moe_now());
    const int failed = start(w);
    if (failed != 0) {
        free(w);
        return moe_fail(error, MOE_FAILED, "the watchdog's thread does not start: %s",
                        strerror(failed));
    }
    *out = w;
    return MOE_OK;
}

void moe_watchdog_feed(moe_watchdog_t *w)
{
    if (w != NULL) {
        atomic_store_explicit(&w->fed, moe_now(), memory_order_relaxed);
    }
}

void moe_watchdog_destroy(moe_watchdog_t *w)
{
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_cond_signal(&w->stop_changed);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->stop_changed);
    free(w);
}
