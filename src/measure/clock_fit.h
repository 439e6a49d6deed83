/* One clock as a line of another, from bounds that ping-pongs give. No communication here. */
#ifndef MOE_MEASURE_CLOCK_FIT_H
#define MOE_MEASURE_CLOCK_FIT_H

#include <stddef.h>

/* The other clock shows x + offset + drift * (x - at) when this one shows x. Seconds; drift is a ratio. */
typedef struct moe_line {
    double at, offset, drift;
} moe_line_t;

double moe_line_other(const moe_line_t *line, double mine);
double moe_line_mine(const moe_line_t *line, double other);
/* From this clock through `first` to the clock that `then` leads to. */
moe_line_t moe_line_join(const moe_line_t *first, const moe_line_t *then);

/* What was seen at `at` of this clock: the other is ahead by no less than low and no more than high. */
typedef struct moe_bounds {
    double at, low, high;
} moe_bounds_t;

/* A ping left at `sent`, its answer came at `back`, and in between the other clock was seen to show
 * `other`: narrows the bounds (Cristian, Distributed Computing 3, 1989). */
void moe_bounds_narrow(moe_bounds_t *bounds, double sent, double other, double back);

/* A drift is believed only where it is so many of its standard errors away from none: clocks of one host
 * have none, and what noise shows of it would grow with time. */
#define MOE_DRIFT_ERRORS 4.0
/* ... and no larger: NTP slews by 5e-4 at most, quartz errs by 1e-4. */
#define MOE_DRIFT_MOST 1e-3

/* The line through the middles of points[n], in order of time, n > 0: least squares, each weighed by 1 /
 * width^2, as a wide one met a delay. The drift is of all points; the offset, at the last point, of the
 * `newest` last ones, so that what the drift has missed does not stay. */
moe_line_t moe_clock_fit(const moe_bounds_t *points, size_t n, size_t newest);

#endif
