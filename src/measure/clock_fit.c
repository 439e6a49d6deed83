#include "clock_fit.h"

#include <math.h>

/* Bounds are taken to be no narrower than half of this: some clocks tick so coarsely. */
#define NARROWEST_SECONDS 1e-7
/* Fewer points say nothing of a drift. */
#define LEAST_FOR_DRIFT 8

double moe_line_other(const moe_line_t *line, double mine)
{
    return mine + line->offset + line->drift * (mine - line->at);
}

double moe_line_mine(const moe_line_t *line, double other)
{
    return line->at + (other - line->offset - line->at) / (1 + line->drift);
}

moe_line_t moe_line_join(const moe_line_t *first, const moe_line_t *then)
{
    const double between = moe_line_other(first, first->at);
    return (moe_line_t){.at = first->at,
                        .offset = moe_line_other(then, between) - first->at,
                        .drift = first->drift + then->drift + first->drift * then->drift};
}

void moe_bounds_narrow(moe_bounds_t *bounds, double sent, double other, double back)
{
    bounds->low = fmax(bounds->low, other - back);
    bounds->high = fmin(bounds->high, other - sent);
}

static double middle(const moe_bounds_t *p)
{
    return p->low + (p->high - p->low) / 2;
}

static double weight(const moe_bounds_t *p)
{
    const double width = fmax(p->high - p->low, NARROWEST_SECONDS);
    return 1 / (width * width);
}

/* Weighted means of the points' times and offsets, as distances from those of the last one. */
static void means_of(const moe_bounds_t *points, size_t n, double *time, double *offset)
{
    const moe_bounds_t *last = &points[n - 1];
    double sum = 0, times = 0, offsets = 0;
    for (size_t i = 0; i < n; i++) {
        const double w = weight(&points[i]);
        sum += w;
        times += w * (points[i].at - last->at);
        offsets += w * (middle(&points[i]) - middle(last));
    }
    *time = times / sum;
    *offset = offsets / sum;
}

static double drift_of(const moe_bounds_t *points, size_t n)
{
    const moe_bounds_t *last = &points[n - 1];
    double time, offset, spread = 0, together = 0, left = 0;
    if (n < LEAST_FOR_DRIFT) {
        return 0;
    }
    means_of(points, n, &time, &offset);
    for (size_t i = 0; i < n; i++) {
        const double w = weight(&points[i]), x = points[i].at - last->at - time;
        spread += w * x * x;
        together += w * x * (middle(&points[i]) - middle(last) - offset);
    }
    if (!(spread > 0)) {
        return 0;
    }
    const double drift = together / spread;
    for (size_t i = 0; i < n; i++) {
        const double x = points[i].at - last->at - time;
        const double residual = middle(&points[i]) - middle(last) - offset - drift * x;
        left += weight(&points[i]) * residual * residual;
    }
    const double error = sqrt(left / (double)(n - 2) / spread);
    return fabs(drift) > MOE_DRIFT_ERRORS * error && fabs(drift) <= MOE_DRIFT_MOST ? drift : 0;
}

moe_line_t moe_clock_fit(const moe_bounds_t *points, size_t n, size_t newest)
{
    const moe_bounds_t *last = &points[n - 1];
    double time, offset;
    const double drift = drift_of(points, n);
    means_of(points + n - newest, newest, &time, &offset);
    return (moe_line_t){
        .at = last->at, .offset = middle(last) + offset - drift * time, .drift = drift};
}
