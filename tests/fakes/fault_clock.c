/* A monotonic clock that swings: no line is like it. Preloaded by tests/program/sync.sh on the rank that the
 * launcher calls MOE_FAULT_RANK; it swings by MOE_FAULT_US microseconds, 20 times a second. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SWINGS_PER_SECOND 20
#define TWO_PI            6.283185307179586

static long swing(const struct timespec *t)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK"), *wanted = getenv("MOE_FAULT_RANK");
    const char *us = getenv("MOE_FAULT_US");
    rank = rank != NULL ? rank : getenv("PMI_RANK");
    if (rank == NULL || wanted == NULL || us == NULL || strcmp(rank, wanted) != 0) {
        return 0;
    }
    return (long)(1e3 * atof(us) * sin(TWO_PI * SWINGS_PER_SECOND * 1e-9 * (double)t->tv_nsec));
}

/* Instead of libc's. */
int clock_gettime(clockid_t clock, struct timespec *out)
{
    const int failed = (int)syscall(SYS_clock_gettime, clock, out);
    if (failed == 0 && clock == CLOCK_MONOTONIC) {
        out->tv_nsec += swing(out);
        if (out->tv_nsec < 0) {
            out->tv_nsec += 1000000000L;
            out->tv_sec--;
        } else if (out->tv_nsec >= 1000000000L) {
            out->tv_nsec -= 1000000000L;
            out->tv_sec++;
        }
    }
    return failed;
}
