/* The common clock over MPI, on as many ranks as it is started with. Ranks show times of their own:
 * those of one host could not differ else. Rank 0 writes TAP. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "moe/measure.h"
#include "on_ranks.h"

#define PPM 1e-6

typedef struct false_clock {
    double offset, drift;
} false_clock_t;

static double show(void *context)
{
    const false_clock_t *c = context;
    const double now = moe_now();
    return now + c->offset + c->drift * now;
}

static false_clock_t clock_of_rank(size_t rank)
{
    return (false_clock_t){.offset = rank % 2 == 0 ? 100.0 * (double)rank : -7.25,
                           .drift = ((double)(rank % 3) - 1) * 40 * PPM};
}

static double what_rank_0_shows(const false_clock_t *mine, double shown)
{
    const false_clock_t root = clock_of_rank(0);
    const double now = (shown - mine->offset) / (1 + mine->drift);
    return now + root.offset + root.drift * now;
}

static bool agree(moe_transport_t *t, char *text)
{
    false_clock_t mine = clock_of_rank(t->rank);
    moe_clock_t *clock;
    moe_clock_quality_t quality;
    EXPECT(moe_clock_create(t, show, &mine, &clock, NULL) == MOE_OK);
    const double before = moe_now();
    EXPECT(moe_clock_check(clock, &quality, NULL) == MOE_OK);
    const double own = moe_clock_now(clock), common = moe_clock_common(clock, own);
    /* 2e-3: a drift, and one that was believed, are below 1e-3 each. */
    const double since = 2e-3 * (double)quality.rounds * (moe_now() - before);
    EXPECT(fabs(common - what_rank_0_shows(&mine, own)) <= quality.bound + since + 1e-7);
    EXPECT(quality.error <= quality.bound);
    EXPECT((t->size == 1) == (quality.bound == 0));
    if (t->rank == 0) {
        printf("# %zu ranks: error %.2f us, at most %.2f us, drift %.1f ppm, %.0f ms\n", t->size,
               quality.error * 1e6, quality.bound * 1e6, quality.drift / PPM,
               quality.seconds * 1e3);
    }
    moe_clock_destroy(clock);
    return true;
}

/* ---- Round time: durations by it and by barriers, printed side by side ---- */

typedef struct exchange {
    moe_transport_t *transport;
    char *send, *recv; /* [ranks][BLOCK] */
} exchange_t;

#define BLOCK 4096

static moe_status_t all_to_all(void *context, double *seconds, moe_error_t *error)
{
    const exchange_t *x = context;
    moe_transport_t *t = x->transport;
    moe_row_type_t block = {0};
    moe_status_t status = t->ops->row_type(t, BLOCK, &block, error);
    const double start = moe_now();
    for (size_t d = 1; d < t->size && status == MOE_OK; d++) {
        const size_t to = (t->rank + d) % t->size, from = (t->rank + t->size - d) % t->size;
        status = t->ops->start_send(t, x->send + to * BLOCK, 1, block, to, error);
        if (status == MOE_OK)
            status = t->ops->start_recv(t, x->recv + from * BLOCK, 1, block, from, error);
    }
    if (status == MOE_OK)
        status = t->ops->finish(t, error);
    seconds[0] = moe_now() - start;
    return status;
}

static bool measure(moe_transport_t *t, bool round_time, exchange_t *x, moe_series_t *series,
                    moe_clock_t *clock, char *text)
{
    const moe_measure_spec_t spec = {.warmup = 2,
                                     .min_reps = 100,
                                     .max_reps = 100,
                                     .max_seconds = 20,
                                     .ci = 0.025,
                                     .clock = clock,
                                     .round_time = round_time};
    EXPECT(moe_measure(t, &spec, 1, 1, all_to_all, x, series, NULL) == MOE_OK);
    EXPECT(series->reps >= 1 && series->reps <= 100);
    return true;
}

static bool compare(moe_transport_t *t, char *text)
{
    exchange_t x = {.transport = t};
    moe_series_t series[2] = {0};
    moe_summary_t summary[2];
    moe_clock_t *clock;
    double wait = 0;
    x.send = calloc(t->size, BLOCK);
    x.recv = calloc(t->size, BLOCK);
    EXPECT(x.send != NULL && x.recv != NULL);
    EXPECT(moe_clock_create(t, NULL, NULL, &clock, NULL) == MOE_OK);
    EXPECT(moe_clock_broadcast(clock, &wait, NULL) == MOE_OK);
    for (int round_time = 0; round_time < 2; round_time++) {
        EXPECT(measure(t, round_time == 1, &x, &series[round_time], clock, text));
        EXPECT(moe_summarise(moe_series_column(&series[round_time], series[round_time].max, 0),
                             series[round_time].reps, &summary[round_time], NULL) == MOE_OK);
    }
    EXPECT(!series[0].round_time && series[0].invalid == 0);
    if (t->rank == 0) {
        printf("# %zu ranks, 4 KiB blocks: by barrier %.1f us [%.1f, %.1f]; by %s %.1f us [%.1f, "
               "%.1f], %zu of %zu invalid, clock off by %.2f us\n",
               t->size, summary[0].median * 1e6, summary[0].low * 1e6, summary[0].high * 1e6,
               series[1].round_time ? "round-time" : "barrier after all", summary[1].median * 1e6,
               summary[1].low * 1e6, summary[1].high * 1e6, series[1].invalid,
               series[1].invalid + series[1].reps + series[1].warmup, series[1].clock_error * 1e6);
    }
    moe_series_destroy(&series[0]);
    moe_series_destroy(&series[1]);
    moe_clock_destroy(clock);
    free(x.send);
    free(x.recv);
    return true;
}

static bool run_clock_test(moe_transport_t *t, size_t number, const char *name, test_fn run)
{
    char text[CASE_TEXT] = "";
    size_t right = run(t, text);
    if (!right)
        fprintf(stderr, "# %s\n", text);
    if (t->ops->reduce_sizes(t, &right, 1, MOE_MIN, NULL) != MOE_OK)
        right = 0;
    if (t->rank == 0) {
        printf("%sok %zu - %s\n", right ? "" : "not ", number, name);
        fflush(stdout);
    }
    return right != 0;
}

int main(int argc, char **argv)
{
    moe_transport_t *t;
    moe_error_t error = {.status = MOE_OK};
    if (moe_mpi_create(&argc, &argv, &t, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return error.status;
    }
    if (t->rank == 0)
        printf("1..2\n");
    bool right = run_clock_test(t, 1, "clocks that differ agree within their bounds", agree);
    right = run_clock_test(t, 2, "a series by round-time is measured beside one by barriers",
                           compare) &&
            right;
    t->ops->destroy(t);
    return right ? 0 : 1;
}
