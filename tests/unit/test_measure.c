/* Repetitions over ranks, and their adaptive number. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "moe/measure.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void sleep_for(double seconds)
{
    const struct timespec t = {.tv_sec = (time_t)seconds,
                               .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&t, NULL);
}

#define COLUMNS   2
#define MAX_RANKS 4

/* One rank's part in a group of threads. */
typedef struct member {
    moe_transport_t *transport;
    const moe_measure_spec_t *spec;
    size_t deciding;
    moe_repeat_fn body;
    size_t calls; /* of the body */
    moe_series_t series;
    moe_status_t status;
    moe_error_t error;
} member_t;

static void *measure_member(void *argument)
{
    member_t *m = argument;
    m->status =
        moe_measure(m->transport, m->spec, COLUMNS, m->deciding, m->body, m, &m->series, &m->error);
    return NULL;
}

static void *destroy_transport(void *argument)
{
    moe_transport_t *transport = argument;
    transport->ops->destroy(transport);
    return NULL;
}

static void measure_on(size_t ranks, member_t *member, const moe_measure_spec_t *spec,
                       size_t deciding, moe_repeat_fn body)
{
    moe_transport_t *transport[MAX_RANKS];
    pthread_t thread[MAX_RANKS];
    assert_int_equal(moe_loopback_create(ranks, transport, NULL), MOE_OK);
    for (size_t r = 0; r < ranks; r++) {
        member[r] =
            (member_t){.transport = transport[r], .spec = spec, .deciding = deciding, .body = body};
        assert_int_equal(pthread_create(&thread[r], NULL, measure_member, &member[r]), 0);
    }
    for (size_t r = 0; r < ranks; r++) {
        pthread_join(thread[r], NULL);
    }
    for (size_t r = 0; r < ranks; r++) {
        assert_int_equal(pthread_create(&thread[r], NULL, destroy_transport, transport[r]), 0);
    }
    for (size_t r = 0; r < ranks; r++) {
        pthread_join(thread[r], NULL);
        member[r].transport = NULL;
    }
}

static const moe_measure_spec_t usual = {
    .warmup = 3, .min_reps = 30, .max_reps = 60, .max_seconds = INFINITY, .ci = 0.025};

/* Rank (i mod ranks) is the slowest of repetition i: 5 s; the others take 1 + rank / 8 s. */
static moe_status_t straggle(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    member_t *m = context;
    const size_t i = m->calls++, rank = m->transport->rank;
    seconds[0] = i % m->transport->size == rank ? 5 : 1 + (double)rank / 8;
    seconds[1] = 2; /* nobody is slower than another */
    return MOE_OK;
}

static void test_a_repetition_takes_as_long_as_its_slowest_rank(void **state)
{
    (void)state;
    const size_t ranks = 3;
    member_t member[MAX_RANKS];
    measure_on(ranks, member, &usual, 2, straggle);
    for (size_t r = 0; r < ranks; r++) {
        moe_series_t *s = &member[r].series;
        assert_int_equal(member[r].status, MOE_OK);
        assert_int_equal(s->columns, COLUMNS);
        assert_int_equal(s->warmup, 3);
        assert_int_equal(s->reps, 30); /* the maximum is always the same: it has converged */
        assert_true(s->converged);
        for (size_t i = 0; i < s->warmup + s->reps; i++) {
            const size_t last = i % ranks, first = last == 0 ? 1 : 0;
            assert_float_equal(s->max[i], 5, 0);
            assert_float_equal(s->min[i], 1 + (double)first / 8, 0);
            assert_float_equal(s->mean[i], (5 + 2 + (double)(3 - last) / 8) / 3, 1e-12);
            assert_int_equal(s->slowest[i], last);
            assert_float_equal(s->own[i], last == r ? 5 : 1 + (double)r / 8, 0);
            assert_float_equal(s->max[s->capacity + i], 2, 0);
            assert_int_equal(s->slowest[s->capacity + i], 0); /* lowest of equals */
        }
        size_t times = 0;
        assert_int_equal(moe_series_slowest(s, 0, &times), 0);
        assert_int_equal(times, 10);
        assert_int_equal(moe_series_slowest(s, 1, &times), 0);
        assert_int_equal(times, 30);
        moe_series_destroy(s);
    }
}

static void test_the_slowest_rank_is_the_one_most_often_last(void **state)
{
    (void)state;
    uint32_t slowest[] = {9, 9, 9, 4, 7, 4, 1000, 7, 4, 1000}; /* the first three warm up */
    const moe_series_t s = {
        .columns = 1, .warmup = 3, .reps = 7, .capacity = 10, .slowest = slowest};
    size_t times = 0;
    assert_int_equal(moe_series_slowest(&s, 0, &times), 4);
    assert_int_equal(times, 3);
}

/* Counts up: 0, 1, 2 ... */
static moe_status_t count_up(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    member_t *m = context;
    seconds[0] = (double)m->calls++;
    seconds[1] = -seconds[0];
    return MOE_OK;
}

static void test_warm_up_is_kept_apart(void **state)
{
    (void)state;
    member_t m;
    measure_on(1, &m, &usual, 1, count_up);
    assert_int_equal(m.status, MOE_OK);
    const moe_series_t *s = &m.series;
    assert_int_equal(s->warmup, 3);
    assert_int_equal(s->reps, 60); /* grows for ever: not converged */
    assert_false(s->converged);
    assert_int_equal(m.calls, 63);
    for (size_t i = 0; i < s->reps; i++) {
        assert_float_equal(moe_series_column(s, s->max, 0)[i], (double)(3 + i), 0);
        assert_float_equal(moe_series_column(s, s->own, 1)[i], -(double)(3 + i), 0);
    }
    assert_float_equal(s->max[2], 2, 0);
    moe_series_destroy(&m.series);
}

static void test_many_repetitions_keep_their_values_as_the_series_grows(void **state)
{
    (void)state;
    moe_measure_spec_t spec = usual;
    spec.warmup = 0;
    spec.max_reps = 5003;
    member_t m;
    measure_on(1, &m, &spec, 1, count_up);
    assert_int_equal(m.status, MOE_OK);
    assert_int_equal(m.series.warmup, 0);
    assert_int_equal(m.series.reps, 5003);
    for (size_t i = 0; i < m.series.reps; i++) {
        assert_float_equal(m.series.max[i], (double)i, 0);
        assert_float_equal(m.series.mean[m.series.capacity + i], -(double)i, 0);
    }
    moe_series_destroy(&m.series);
}

/* Column 0 is steady from the start; column 1 only after 37 calls. */
static moe_status_t settle(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    member_t *m = context;
    const size_t i = m->calls++;
    seconds[0] = 1;
    seconds[1] = i < 37 ? (double)(1 + i % 2) : 1.5;
    return MOE_OK;
}

static void test_only_deciding_columns_decide(void **state)
{
    (void)state;
    moe_measure_spec_t spec = usual;
    spec.max_reps = 1000;
    member_t m;
    measure_on(1, &m, &spec, 1, settle);
    assert_int_equal(m.series.reps, 30);
    assert_true(m.series.converged);
    moe_series_destroy(&m.series);

    measure_on(1, &m, &spec, 2, settle);
    assert_true(m.series.converged);
    assert_true(m.series.reps > 30);
    assert_int_equal(m.series.reps % 10, 0); /* looked at every 10 */
    moe_summary_t s;
    assert_int_equal(
        moe_summarise(moe_series_column(&m.series, m.series.max, 1), m.series.reps, &s, NULL),
        MOE_OK);
    assert_true((s.high - s.low) / 2 <= 0.025 * s.median);
    /* ... and not one look earlier. */
    assert_int_equal(
        moe_summarise(moe_series_column(&m.series, m.series.max, 1), m.series.reps - 10, &s, NULL),
        MOE_OK);
    assert_true((s.high - s.low) / 2 > 0.025 * s.median);
    moe_series_destroy(&m.series);
}

static moe_status_t take_no_time(void *context, double *seconds, moe_error_t *error)
{
    (void)context;
    (void)error;
    seconds[0] = 1;
    seconds[1] = 0;
    return MOE_OK;
}

static void test_a_phase_that_takes_no_time_has_converged(void **state)
{
    (void)state;
    moe_measure_spec_t spec = usual;
    spec.warmup = 0;
    member_t m;
    measure_on(1, &m, &spec, 2, take_no_time);
    assert_true(m.series.converged);
    assert_int_equal(m.series.reps, 30);
    moe_series_destroy(&m.series);
}

static void test_too_few_repetitions_for_an_interval_do_not_converge(void **state)
{
    (void)state;
    const moe_measure_spec_t spec = {
        .warmup = 0, .min_reps = 1, .max_reps = 5, .max_seconds = 60, .ci = 0.5};
    member_t m;
    measure_on(1, &m, &spec, 1, take_no_time);
    assert_int_equal(m.status, MOE_OK);
    assert_int_equal(m.series.reps, 5);
    assert_false(m.series.converged);
    moe_series_destroy(&m.series);
}

#define SLOW_SECONDS 0.03

static moe_status_t be_slow(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    ((member_t *)context)->calls++;
    sleep_for(SLOW_SECONDS);
    seconds[0] = seconds[1] = SLOW_SECONDS;
    return MOE_OK;
}

static void test_slow_repetitions_end_near_the_time_limit(void **state)
{
    (void)state;
    const moe_measure_spec_t spec = {
        .warmup = 5, .min_reps = 30, .max_reps = 1000, .max_seconds = 0.24, .ci = 0.025};
    member_t m[2];
    const double start = moe_now();
    measure_on(2, m, &spec, 1, be_slow);
    const double took = moe_now() - start;
    for (size_t r = 0; r < 2; r++) {
        assert_int_equal(m[r].status, MOE_OK);
        assert_false(m[r].series.converged);
        assert_in_range(m[r].series.warmup, 1, 2); /* a quarter of the limit */
        assert_in_range(m[r].series.reps, 1, 7);
        assert_int_equal(m[r].calls, m[r].series.warmup + m[r].series.reps);
        moe_series_destroy(&m[r].series);
    }
    assert_true(took < spec.max_seconds + 10 * SLOW_SECONDS); /* 30 would take 0.9 s */
}

static void test_one_repetition_is_counted_however_slow(void **state)
{
    (void)state;
    const moe_measure_spec_t spec = {
        .warmup = 5, .min_reps = 30, .max_reps = 30, .max_seconds = 0.001, .ci = 0.025};
    member_t m;
    measure_on(1, &m, &spec, 1, be_slow);
    assert_int_equal(m.status, MOE_OK);
    assert_int_equal(m.series.warmup, 1);
    assert_int_equal(m.series.reps, 1);
    assert_false(m.series.converged);
    moe_series_destroy(&m.series);
}

static moe_status_t start_cold(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    member_t *m = context;
    if (m->calls++ == 0) {
        sleep_for(0.2);
    }
    seconds[0] = seconds[1] = 1e-6;
    return MOE_OK;
}

static void test_a_cold_start_does_not_starve_the_rest(void **state)
{
    (void)state;
    const moe_measure_spec_t spec = {
        .warmup = 5, .min_reps = 30, .max_reps = 30, .max_seconds = 0.35, .ci = 0.025};
    member_t m;
    measure_on(1, &m, &spec, 1, start_cold); /* 0.2 s is the mean until then, 0.15 s are left */
    assert_int_equal(m.series.warmup, 1);
    assert_int_equal(m.series.reps, 30);
    assert_true(m.series.converged);
    moe_series_destroy(&m.series);
}

static moe_status_t fail_at_the_fourth(void *context, double *seconds, moe_error_t *error)
{
    member_t *m = context;
    if (m->calls++ == 3) {
        return moe_fail(error, MOE_WRONG_DATA, "the fourth call fails");
    }
    seconds[0] = seconds[1] = 1;
    return MOE_OK;
}

static void test_a_failing_body_ends_the_series_with_its_status(void **state)
{
    (void)state;
    member_t m;
    measure_on(1, &m, &usual, 1, fail_at_the_fourth);
    assert_int_equal(m.status, MOE_WRONG_DATA);
    assert_string_equal(m.error.text, "the fourth call fails");
    assert_int_equal(m.calls, 4);
    assert_null(m.series.max); /* outputs are set on success only */
}

static void test_impossible_specs_are_refused_before_anything_runs(void **state)
{
    (void)state;
    const moe_measure_spec_t bad[] = {
        {.min_reps = 0, .max_reps = 10, .max_seconds = 1, .ci = 0.1},
        {.min_reps = 11, .max_reps = 10, .max_seconds = 1, .ci = 0.1},
        {.min_reps = 1, .max_reps = 10, .max_seconds = 0, .ci = 0.1},
        {.min_reps = 1, .max_reps = 10, .max_seconds = NAN, .ci = 0.1},
        {.min_reps = 1, .max_reps = 10, .max_seconds = 1, .ci = NAN},
        {.min_reps = 1, .max_reps = 10, .max_seconds = 1, .ci = -1},
        {.warmup = SIZE_MAX, .min_reps = 1, .max_reps = 10, .max_seconds = 1, .ci = 0.1},
    };
    member_t m;
    for (size_t i = 0; i < LENGTH(bad); i++) {
        measure_on(1, &m, &bad[i], 1, take_no_time);
        assert_int_equal(m.status, MOE_BAD_INPUT);
        assert_true(strlen(m.error.text) > 0);
    }
    measure_on(1, &m, &usual, 0, take_no_time);
    assert_int_equal(m.status, MOE_BAD_INPUT);
    measure_on(1, &m, &usual, COLUMNS + 1, take_no_time);
    assert_int_equal(m.status, MOE_BAD_INPUT);
}

/* A transport of one rank that writes down what is called. */
typedef struct tape {
    moe_transport_t transport;
    size_t length;
    char event[4096]; /* b: barrier, r: repetition, x: anything else */
} tape_t;

static void record(moe_transport_t *t, char event)
{
    tape_t *tape = t->state;
    assert_true(tape->length + 1 < sizeof tape->event);
    tape->event[tape->length++] = event;
}

static moe_status_t tape_barrier(moe_transport_t *t, moe_error_t *error)
{
    (void)error;
    record(t, 'b');
    return MOE_OK;
}

static moe_status_t tape_broadcast(moe_transport_t *t, void *bytes, size_t count, size_t root,
                                   moe_error_t *error)
{
    (void)bytes, (void)count, (void)root, (void)error;
    record(t, 'x');
    return MOE_OK;
}

static moe_status_t tape_reduce_sizes(moe_transport_t *t, size_t *values, size_t count,
                                      moe_reduce_t how, moe_error_t *error)
{
    (void)values, (void)count, (void)how, (void)error;
    record(t, 'x');
    return MOE_OK;
}

static moe_status_t tape_reduce_doubles(moe_transport_t *t, double *values, size_t count,
                                        moe_reduce_t how, moe_error_t *error)
{
    (void)values, (void)count, (void)how, (void)error;
    record(t, 'x');
    return MOE_OK;
}

static moe_status_t tape_body(void *context, double *seconds, moe_error_t *error)
{
    (void)error;
    record(&((tape_t *)context)->transport, 'r');
    seconds[0] = 1;
    return MOE_OK;
}

static void test_ranks_that_run_free_meet_before_a_batch_only(void **state)
{
    (void)state;
    static const moe_transport_ops_t ops = {.name = "tape",
                                            .barrier = tape_barrier,
                                            .broadcast = tape_broadcast,
                                            .reduce_sizes = tape_reduce_sizes,
                                            .reduce_doubles = tape_reduce_doubles};
    tape_t tape = {.transport = {.ops = &ops, .size = 1, .state = &tape}};
    const moe_measure_spec_t spec = {.warmup = 1,
                                     .min_reps = 30,
                                     .max_reps = 30,
                                     .max_seconds = INFINITY,
                                     .ci = 0.1,
                                     .free_running = true};
    moe_series_t series;
    assert_int_equal(moe_measure(&tape.transport, &spec, 1, 1, tape_body, &tape, &series, NULL),
                     MOE_OK);
    for (size_t i = 1; i < tape.length; i++) {
        const char before = tape.event[i - 1];
        if (tape.event[i] == 'r')
            assert_true(before == 'r' || before == 'b');
        if (tape.event[i] == 'b')
            assert_int_equal(before, 'x');
    }
    assert_int_equal(series.reps, 30);
    moe_series_destroy(&series);
}

static void test_nothing_but_barriers_stands_between_repetitions(void **state)
{
    (void)state;
    static const moe_transport_ops_t ops = {.name = "tape",
                                            .barrier = tape_barrier,
                                            .broadcast = tape_broadcast,
                                            .reduce_sizes = tape_reduce_sizes,
                                            .reduce_doubles = tape_reduce_doubles};
    tape_t tape = {.transport = {.ops = &ops, .size = 1, .state = &tape}};
    const moe_measure_spec_t spec = {
        .warmup = 1, .min_reps = 30, .max_reps = 30, .max_seconds = INFINITY, .ci = 0.1};
    moe_series_t series;
    assert_int_equal(moe_measure(&tape.transport, &spec, 1, 1, tape_body, &tape, &series, NULL),
                     MOE_OK);
    size_t repetitions = 0, longest = 0, batch = 0;
    for (size_t i = 0; i < tape.length; i++) {
        if (tape.event[i] == 'r') {
            assert_int_equal(tape.event[i - 1], 'b');
            repetitions++;
            batch++;
        } else if (tape.event[i] == 'x') {
            batch = 0;
        }
        longest = batch > longest ? batch : longest;
    }
    assert_int_equal(repetitions, 31);
    assert_int_equal(longest, 30);
    moe_series_destroy(&series);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_repetition_takes_as_long_as_its_slowest_rank),
        cmocka_unit_test(test_the_slowest_rank_is_the_one_most_often_last),
        cmocka_unit_test(test_warm_up_is_kept_apart),
        cmocka_unit_test(test_many_repetitions_keep_their_values_as_the_series_grows),
        cmocka_unit_test(test_only_deciding_columns_decide),
        cmocka_unit_test(test_a_phase_that_takes_no_time_has_converged),
        cmocka_unit_test(test_too_few_repetitions_for_an_interval_do_not_converge),
        cmocka_unit_test(test_slow_repetitions_end_near_the_time_limit),
        cmocka_unit_test(test_one_repetition_is_counted_however_slow),
        cmocka_unit_test(test_a_cold_start_does_not_starve_the_rest),
        cmocka_unit_test(test_a_failing_body_ends_the_series_with_its_status),
        cmocka_unit_test(test_impossible_specs_are_refused_before_anything_runs),
        cmocka_unit_test(test_ranks_that_run_free_meet_before_a_batch_only),
        cmocka_unit_test(test_nothing_but_barriers_stands_between_repetitions),
    };
    return cmocka_run_group_tests_name("measure", tests, NULL, NULL);
}
