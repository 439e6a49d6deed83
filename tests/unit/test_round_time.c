/* Repetitions that start by the common clock: who is late makes one invalid, and it is not counted. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../../src/measure/round_time.h"
#include "../common/loopback_ranks.h"
#include "moe/measure.h"

/* More than the longest lead, whatever the machine does. */
#define LATE_NANOSECONDS 20000000

/* A rank whose starts come late to it: every late_every-th, 0: none. Other calls go on to loopback. */
typedef struct late_rank {
    moe_transport_t transport;
    moe_transport_ops_t ops;
    const moe_transport_ops_t *real;
    unsigned starts, late_every;
    bool late; /* the start under way came late */
} late_rank_t;

static moe_status_t broadcast_late(moe_transport_t *t, void *bytes, size_t count, size_t root,
                                   moe_error_t *error)
{
    const struct timespec late = {.tv_nsec = LATE_NANOSECONDS};
    late_rank_t *r = (late_rank_t *)t;
    const moe_status_t status = r->real->broadcast(t, bytes, count, root, error);
    r->late = false;
    if (count == sizeof(double) && r->late_every > 0 && r->starts++ % r->late_every == 0) {
        r->late = true;
        nanosleep(&late, NULL);
    }
    return status;
}

static void make_late(late_rank_t *r, const moe_transport_t *t, unsigned late_every)
{
    *r = (late_rank_t){.transport = *t, .ops = *t->ops, .real = t->ops, .late_every = late_every};
    r->ops.broadcast = broadcast_late;
    r->transport.ops = &r->ops;
}

static moe_measure_spec_t by_clock(moe_clock_t *clock, size_t reps)
{
    return (moe_measure_spec_t){.warmup = 1,
                                .min_reps = reps,
                                .max_reps = reps,
                                .max_seconds = 60,
                                .ci = 0.025,
                                .clock = clock,
                                .round_time = true};
}

/* 9 s where the rank was late, else 1 s: nothing of a late one may be seen. */
static moe_status_t tell_late(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    seconds[0] = ((const late_rank_t *)context)->late ? 9 : 1;
    return MOE_OK;
}

static bool be_late_at_times(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    late_rank_t rank;
    moe_clock_t *clock;
    moe_series_t s;
    make_late(&rank, t, t->rank == 1 ? 3 : 0);
    RANK_EXPECT(moe_clock_create(&rank.transport, NULL, NULL, &clock, NULL) == MOE_OK);
    const moe_measure_spec_t spec = by_clock(clock, 20);
    RANK_EXPECT(moe_measure(&rank.transport, &spec, 1, 1, tell_late, &rank, &s, NULL) == MOE_OK);
    RANK_EXPECT(s.round_time && s.warmup == 1 && s.reps == 20 && s.converged);
    RANK_EXPECT(s.invalid >= 10); /* every third of 31 and more */
    for (size_t i = 0; i < s.warmup + s.reps; i++) {
        RANK_EXPECT(s.max[i] == 1 && s.own[i] == 1 && s.mean[i] == 1 && s.slowest[i] == 0);
    }
    RANK_EXPECT(!s.arrivals && s.clock_error >= 0 && s.clock_bound >= s.clock_error);
    moe_series_destroy(&s);
    moe_clock_destroy(clock);
    return true;
}

static void test_a_repetition_for_which_a_rank_is_late_is_not_counted(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, be_late_at_times, NULL), 0);
    assert_int_equal(run_ranks(3, be_late_at_times, NULL), 0);
}

static bool be_late_always(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    late_rank_t rank;
    moe_clock_t *clock;
    moe_series_t s;
    make_late(&rank, t, t->rank == 1);
    RANK_EXPECT(moe_clock_create(&rank.transport, NULL, NULL, &clock, NULL) == MOE_OK);
    const moe_measure_spec_t spec = by_clock(clock, 6);
    RANK_EXPECT(moe_measure(&rank.transport, &spec, 1, 1, tell_late, &rank, &s, NULL) == MOE_OK);
    RANK_EXPECT(!s.round_time); /* it says so */
    RANK_EXPECT(s.invalid >= MOE_ROUND_HOPELESS && s.warmup == 1 && s.reps == 6);
    moe_series_destroy(&s);
    moe_clock_destroy(clock);
    return true;
}

static void test_where_nobody_is_ever_in_time_barriers_align(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, be_late_always, NULL), 0);
}

/* ---- Who was last, and how long the first waited ---- */

typedef struct arrival {
    moe_clock_t *clock;
    double base; /* the same moment on all ranks */
    size_t rank, calls;
    double began[2];
} arrival_t;

/* Rank r comes r seconds after the first, and all end 10 s after the start: as if. */
static moe_status_t arrive(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    arrival_t *a = context;
    const double start = a->base + 0.25 * (double)a->calls++;
    a->began[0] = moe_clock_own(a->clock, start + (double)a->rank);
    a->began[1] = moe_clock_own(a->clock, start);
    seconds[0] = 10 - (double)a->rank;
    seconds[1] = 1 + (double)a->rank;
    return MOE_OK;
}

static bool near(double value, double wanted)
{
    return fabs(value - wanted) < 1e-6;
}

static bool wait_for_the_last(moe_transport_t *t, void *context, char *text)
{
    const bool *round_time = context;
    arrival_t a = {.base = 1e5, .rank = t->rank};
    moe_series_t s;
    RANK_EXPECT(moe_clock_create(t, NULL, NULL, &a.clock, NULL) == MOE_OK);
    moe_measure_spec_t spec = by_clock(a.clock, 8);
    spec.began = a.began;
    spec.round_time = *round_time;
    RANK_EXPECT(moe_measure(t, &spec, 2, 1, arrive, &a, &s, NULL) == MOE_OK);
    const double last = (double)(t->size - 1);
    RANK_EXPECT(s.arrivals && s.reps == 8 && s.round_time == *round_time);
    for (size_t i = 0; i < s.reps; i++) {
        RANK_EXPECT(near(moe_series_column(&s, s.wait, 0)[i], last));
        RANK_EXPECT(near(moe_series_column(&s, s.transfer, 0)[i], 10 - last));
        RANK_EXPECT(near(moe_series_column(&s, s.late, 0)[i], (double)t->rank));
        RANK_EXPECT(near(moe_series_column(&s, s.wait, 1)[i], 0));
        RANK_EXPECT(near(moe_series_column(&s, s.transfer, 1)[i], 1 + last));
        RANK_EXPECT(moe_series_column(&s, s.max, 0)[i] == 10);
    }
    moe_series_destroy(&s);
    moe_clock_destroy(a.clock);
    return true;
}

static void test_wait_and_transfer_are_told_apart(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 4; size++) {
        bool round_time = false;
        assert_int_equal(run_ranks(size, wait_for_the_last, &round_time), 0);
        round_time = true;
        assert_int_equal(run_ranks(size, wait_for_the_last, &round_time), 0);
    }
}

/* ---- When a rank really starts ---- */

/* What the clock shows at the start, as a duration: the same number on all ranks were there no noise. */
static moe_status_t show_start(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    const moe_clock_t *clock = context;
    seconds[0] = moe_clock_common(clock, moe_clock_now(clock));
    return MOE_OK;
}

static bool start_together(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    moe_clock_t *clock;
    moe_series_t s;
    RANK_EXPECT(moe_clock_create(t, NULL, NULL, &clock, NULL) == MOE_OK);
    const moe_measure_spec_t spec = by_clock(clock, 50);
    RANK_EXPECT(moe_measure(t, &spec, 1, 1, show_start, clock, &s, NULL) == MOE_OK);
    RANK_EXPECT(s.reps == 50);
    double least = INFINITY;
    for (size_t i = 0; i < s.reps; i++) {
        const double apart = s.max[i] - s.min[i];
        RANK_EXPECT(apart >= 0);
        least = apart < least ? apart : least;
    }
    if (t->rank == 0) { /* printed, not asserted: a busy machine may do anything */
        printf("# %zu ranks: %zu of %zu repetitions invalid, starts %.2f us apart at best\n",
               t->size, s.invalid, s.invalid + s.warmup + s.reps, least * 1e6);
    }
    moe_series_destroy(&s);
    moe_clock_destroy(clock);
    return true;
}

static void test_ranks_start_by_the_clock(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 3; size++) {
        assert_int_equal(run_ranks(size, start_together, NULL), 0);
    }
}

static moe_status_t sleep_a_while(void *context, double *seconds, moe_error_t *error)
{
    (void)context, (void)error;
    const struct timespec while_it_lasts = {.tv_nsec = 30000000};
    nanosleep(&while_it_lasts, NULL);
    seconds[0] = 0.03;
    return MOE_OK;
}

static bool end_in_time(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    late_rank_t rank;
    moe_clock_t *clock;
    moe_series_t s;
    make_late(&rank, t, t->rank == 1 ? 2 : 0);
    RANK_EXPECT(moe_clock_create(&rank.transport, NULL, NULL, &clock, NULL) == MOE_OK);
    moe_measure_spec_t spec = by_clock(clock, 1000);
    spec.max_seconds = 0.3;
    RANK_EXPECT(moe_measure(&rank.transport, &spec, 1, 1, sleep_a_while, NULL, &s, NULL) == MOE_OK);
    RANK_EXPECT(!s.converged && s.reps >= 1);
    RANK_EXPECT(s.reps + s.warmup + s.invalid <= 1 + 0.3 / 0.03 + 1);
    moe_series_destroy(&s);
    moe_clock_destroy(clock);
    return true;
}

static void test_invalid_repetitions_are_within_the_time_limit(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, end_in_time, NULL), 0);
}

static void test_round_time_without_a_clock_is_refused(void **state)
{
    (void)state;
    moe_transport_t *t;
    moe_series_t s;
    moe_error_t error = {0};
    moe_measure_spec_t spec = by_clock(NULL, 6);
    assert_int_equal(moe_loopback_create(1, &t, NULL), MOE_OK);
    assert_int_equal(moe_measure(t, &spec, 1, 1, sleep_a_while, NULL, &s, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "clock"));
    assert_int_equal(moe_clock_create(t, NULL, NULL, &spec.clock, NULL), MOE_OK);
    spec.free_running = true;
    assert_int_equal(moe_measure(t, &spec, 1, 1, sleep_a_while, NULL, &s, &error), MOE_BAD_INPUT);
    moe_clock_destroy(spec.clock);
    t->ops->destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_repetition_for_which_a_rank_is_late_is_not_counted),
        cmocka_unit_test(test_where_nobody_is_ever_in_time_barriers_align),
        cmocka_unit_test(test_wait_and_transfer_are_told_apart),
        cmocka_unit_test(test_ranks_start_by_the_clock),
        cmocka_unit_test(test_invalid_repetitions_are_within_the_time_limit),
        cmocka_unit_test(test_round_time_without_a_clock_is_refused),
    };
    return cmocka_run_group_tests_name("round_time", tests, NULL, NULL);
}
