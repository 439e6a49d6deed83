/* Measuring: clock, repetitions, and statistics that do not assume a distribution.
 *
 * Rules (Hoefler and Belli, SC'15, doi 10.1145/2807591.2807644): the time of a repetition is the
 * maximum over ranks; statistics are taken of that vector; outliers stay in. */
#ifndef MOE_MEASURE_H
#define MOE_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"
#include "moe/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Seconds on a monotonic clock of this host. */
double moe_now(void);

/* ---- A common clock of all ranks ----
 * Each rank's clock as a line (offset and drift) of rank 0's, learned from ping-pongs in a tree of
 * ceil(log2 P) rounds, after HCA3 (Hunold and Carpen-Amarie, IEEE CLUSTER 2018, doi
 * 10.1109/CLUSTER.2018.00050). Half of how much slower messages are in one direction than in the other
 * stays in every offset: no ping-pong sees it, `bound` holds it. */

typedef struct moe_clock moe_clock_t;
typedef double (*moe_time_fn)(void *context); /* seconds */

/* Collective; takes some 70 ms a round, 200 on a busy machine. now: this rank's clock; NULL: moe_now(). The transport must
 * live longer than the clock. */
moe_status_t moe_clock_create(moe_transport_t *transport, moe_time_fn now, void *context,
                              moe_clock_t **out, moe_error_t *error);
/* Collective: takes in new points (some ms a round). Drift shows better the longer the clock is kept;
 * an offset grows old. */
moe_status_t moe_clock_refresh(moe_clock_t *clock, moe_error_t *error);
void moe_clock_destroy(moe_clock_t *clock); /* local; NULL is allowed */

/* This rank's clock now; from it to the common one, and back. Local. */
double moe_clock_now(const moe_clock_t *clock);
double moe_clock_common(const moe_clock_t *clock, double own);
double moe_clock_own(const moe_clock_t *clock, double common);

/* Maxima over ranks, in seconds, by fresh ping-pongs of rank 0 with each rank (with 64 of them, evenly
 * chosen, where there are more). The same on all ranks. */
typedef struct moe_clock_quality {
    double error;   /* of the common clock against rank 0's, by the middle of the bounds */
    double bound;   /* the error cannot have been more, whatever directions of messages do */
    double message; /* half the width of the bounds: about what a message takes one way */
    double drift;   /* largest that was believed, as a ratio: 1e-6 is 1 us in a second */
    double seconds; /* that creating the clock took */
    size_t rounds;
} moe_clock_quality_t;
moe_status_t moe_clock_check(moe_clock_t *clock, moe_clock_quality_t *out,
                             moe_error_t *error); /* collective */
/* Collective: until the last rank has what rank 0 broadcasts (8 bytes), median of 21. */
moe_status_t moe_clock_broadcast(moe_clock_t *clock, double *seconds, moe_error_t *error);

/* ---- Statistics of a sample (order does not matter; the arrays are not changed) ---- */

/* A drift within a run: the two halves in time, compared by the test of Mann and Whitney (1947, doi
 * 10.1214/aoms/1177730491), with the normal law, the correction for ties and that for continuity. A
 * step and a slow drift show alike; no distribution is assumed, but repetitions that do not depend on
 * each other are: slow waves count as drift too. The value in the middle of an odd n is left out.
 *
 * It drifts where both hold: |z| > MOE_TREND_Z, which 1 in 1,000 runs without a drift exceeds (a run
 * prints many lines), and the medians of the halves differ by more than MOE_TREND_CHANGE, the
 * half-width to which an interval is narrowed by default: less does not matter to the figure. */
#define MOE_TREND_LEAST  20 /* repetitions: with fewer the law is not normal in its tails */
#define MOE_TREND_Z      3.2905
#define MOE_TREND_CHANGE 0.025

typedef struct moe_trend {
    bool judged;   /* n >= MOE_TREND_LEAST, and times above 0; the rest is 0 else */
    double change; /* median of the second half / median of the first half - 1 */
    double z;      /* above 0: later repetitions took longer */
    bool drifts;
} moe_trend_t;

/* values[n] in order of time, not negative and finite. */
moe_status_t moe_trend_of(const double *values, size_t n, moe_trend_t *out, moe_error_t *error);

typedef struct moe_summary {
    size_t n;
    double median, min, max, mean;
    bool has_interval; /* 95 % interval of the median: needs n >= 6 */
    double low, high;
    bool has_p95, has_p99; /* need n >= 59 and n >= 299: smaller samples need not hold one value
                              beyond the percentile (95 % sure), and tell nothing of it */
    double p95, p99;       /* of the sample, nearest rank: the ceil(0.95 n)-th smallest value; no
                              confidence bound of the population's percentile */
    double first_half, second_half; /* medians of the two halves in time, for a trend; the value
                                       in the middle of an odd n belongs to both */
    moe_trend_t trend;
} moe_summary_t;

/* MOE_BAD_INPUT where n is 0 or a value is not finite. */
moe_status_t moe_summarise(const double *values, size_t n, moe_summary_t *out, moe_error_t *error);

/* Ranks (from 1) of the order statistics that bound the median with at least `confidence`: exact
 * binomial. false where n is too small. n=6: 1-6, 10: 2-9, 20: 6-15, 100: 40-61, 1000: 469-532. */
bool moe_median_ranks(size_t n, double confidence, size_t *low, size_t *high);

/* ---- Several launches of the same ----
 * What differs between launches (where ranks are placed, what memory they get, who else is there) is in no
 * interval of one launch. Launches are compared by the test of Kruskal and Wallis (JASA 47, 1952, doi
 * 10.1080/01621459.1952.10483441), with the correction for ties and the chi-squared law: no distribution
 * is assumed, but repetitions that do not depend on each other are.
 *
 * Launches differ where both hold: p < MOE_LAUNCH_P, and the largest and the smallest launch median are
 * further apart than MOE_LAUNCH_SPREAD of the median: less does not matter to a figure. */
#define MOE_LAUNCH_LEAST  6 /* repetitions of each launch: with fewer the law is not chi-squared */
#define MOE_LAUNCH_P      0.001
#define MOE_LAUNCH_SPREAD 0.025

typedef struct moe_launches {
    size_t launches, reps; /* reps: of all */
    moe_summary_t medians; /* of the launches' medians; its interval, from 6 launches on, is the one
                              that holds for the next launch too */
    double spread;         /* (largest - smallest launch median) / their median: between launches */
    bool has_within;
    double within; /* median over launches of half the 95 % interval / median: within one */
    bool tested;   /* two launches and more, MOE_LAUNCH_LEAST repetitions in each */
    double h, p;   /* p = 1 where it was not tested */
    bool differ;
} moe_launches_t;

/* values[l][counts[l]]: repetitions of launch l; counts > 0. */
moe_status_t moe_launches_of(const double *const *values, const size_t *counts, size_t launches,
                             moe_launches_t *out, moe_error_t *error);
/* P(X > value), X chi-squared with so many degrees of freedom. */
double moe_chi_squared_above(double value, size_t degrees);

/* ---- Repetitions ---- */

typedef struct moe_measure_spec {
    size_t warmup;      /* kept in the series, out of the statistics */
    size_t min_reps;    /* >= 1; an interval needs 6 */
    size_t max_reps;    /* >= min_reps */
    double max_seconds; /* of the whole series, warm-up included; may be infinite */
    double ci;          /* stop at a half-width of the interval <= ci * median: 0.025 */
    /* A common clock, or NULL: it is refreshed before the series, and its error measured after. */
    moe_clock_t *clock;
    /* Repetitions start at a time of the common clock, which must be there; else after a barrier. What
     * a rank was late for is not counted, and done again. Where no repetition at all finds every rank in
     * time, the series is made with barriers instead. Not with free_running. */
    bool round_time;
    /* [columns], or NULL: `body` writes here what its clock (moe_clock_now) showed when a column
     * began. With a common clock: when ranks arrived. */
    const double *began;
    bool free_running; /* no barrier before a repetition: a rank begins when its last one has ended,
                           and how late its partners come is in its time. One before each batch stays */
} moe_measure_spec_t;

/* Does one repetition on this rank and writes its durations in seconds: seconds[columns]. They must
 * be finite. */
typedef moe_status_t (*moe_repeat_fn)(void *context, double *seconds, moe_error_t *error);

/* A measured series. Column c of repetition r over ranks; warm-up first, then `reps` others:
 * all arrays are [columns][warmup + reps] with stride `capacity`. */
typedef struct moe_series {
    size_t columns, warmup, reps, capacity;
    bool converged;    /* every deciding column met `ci` */
    double *max;       /* maximum over ranks */
    double *min;       /* minimum over ranks */
    double *mean;      /* mean over ranks */
    uint32_t *slowest; /* rank with the maximum */
    double *own;       /* this rank's */
    /* With a clock: */
    bool round_time;    /* the repetitions were started by it */
    size_t invalid;     /* repetitions for which a rank was late; warm-up included */
    double clock_error; /* seconds, maximum over ranks, after the series */
    double clock_bound; /* it cannot have been more */
    bool arrivals;      /* it is known when columns began: */
    double *wait;       /* from the first rank's start to the last one's */
    double *transfer;   /* from the last rank's start to the last one's end */
    double *late;       /* from the first rank's start to this rank's */
} moe_series_t;

/* Repeats `body` on all ranks of `transport`, a barrier before each, until the first `deciding`
 * columns' maxima have converged, or a cap is met. A column has converged when half its interval is
 * at most ci * median, or its median is 0. Rank 0 decides after batches (min_reps, then every 10;
 * fewer where max_seconds is near, and one at first to learn how long they take); nothing is
 * reduced, printed or allocated inside a batch. Warm-up is cut short at a quarter of max_seconds
 * (out->warmup tells how many were made); one repetition is counted, however slow.
 *
 * Where `body` fails on a rank, that rank returns its status at once, without a word to the others,
 * which may wait for it in the body or the next barrier for ever: the caller must abort the
 * transport. The same holds where memory is refused. */
moe_status_t moe_measure(moe_transport_t *transport, const moe_measure_spec_t *spec, size_t columns,
                         size_t deciding, moe_repeat_fn body, void *context, moe_series_t *out,
                         moe_error_t *error);
void moe_series_destroy(moe_series_t *series);
/* First counted (not warm-up) value of a column in one of the arrays. */
const double *moe_series_column(const moe_series_t *series, const double *array, size_t column);
/* The rank that was last most often in that column (the lowest of equals), and how often. */
size_t moe_series_slowest(const moe_series_t *series, size_t column, size_t *times);

/* ---- Watchdog: a hang must end the run ---- */

typedef struct moe_watchdog moe_watchdog_t;
/* A thread that calls expired(context) once, on itself, when moe_watchdog_feed() was not called for
 * `seconds` (> 0). The callback must not destroy the watchdog; destroying waits for it. In a simulation
 * (moe/simulated.h) *out is NULL: SimGrid ends a run in which all ranks wait. */
moe_status_t moe_watchdog_create(double seconds, void (*expired)(void *context), void *context,
                                 moe_watchdog_t **out, moe_error_t *error);
void moe_watchdog_feed(moe_watchdog_t *watchdog); /* any thread; NULL is allowed */
void moe_watchdog_destroy(moe_watchdog_t *watchdog);

#ifdef __cplusplus
}
#endif
#endif
