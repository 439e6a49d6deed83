#include <time.h>

#include "moe/measure.h"

double moe_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock on Linux */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
