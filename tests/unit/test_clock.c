/* A common clock: lines from bounds, and the tree of ranks with clocks that differ. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "../../src/measure/clock_fit.h"
#include "../common/loopback_ranks.h"
#include "../common/noise.h"
#include "moe/measure.h"

#define US 1e-6

static void assert_near(double value, double wanted, double within)
{
    if (!(fabs(value - wanted) <= within)) {
        fail_msg("%.9g is not %.9g within %.3g", value, wanted, within);
    }
}

/* ---- Lines ---- */

static void test_a_line_and_back(void **state)
{
    (void)state;
    const moe_line_t line = {.at = 1000, .offset = -37, .drift = 2e-5};
    assert_near(moe_line_other(&line, 1000), 963, 1e-12);
    assert_near(moe_line_other(&line, 1100), 1063 + 100 * 2e-5, 1e-9);
    assert_near(moe_line_mine(&line, moe_line_other(&line, 5000)), 5000, 1e-9);
}

static void test_two_lines_join_into_one(void **state)
{
    (void)state;
    const moe_line_t first = {.at = 1000, .offset = -37, .drift = 2e-5};
    const moe_line_t then = {.at = 70, .offset = 1e6, .drift = -5e-5};
    const moe_line_t both = moe_line_join(&first, &then);
    for (double x = 0; x < 3000; x += 500) {
        assert_near(moe_line_other(&both, x), moe_line_other(&then, moe_line_other(&first, x)),
                    1e-7);
    }
}

/* ---- Fits of clocks that are known ---- */

typedef struct scene {
    double offset, drift;  /* of the other clock against this one's at 0 */
    double there, back;    /* least delays of messages */
    double more;           /* mean of what comes on top, exponential */
    double first, between; /* times of points */
    size_t pings;
} scene_t;

static double other_at(const scene_t *s, double own)
{
    return own + s->offset + s->drift * own;
}

static double delay(uint64_t *noise, double least, double more)
{
    return least + more * noise_exponential(noise);
}

static void see(const scene_t *s, uint64_t *noise, moe_bounds_t *points, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double start = s->first + (double)i * s->between;
        double now = start;
        points[i] = (moe_bounds_t){.low = -INFINITY, .high = INFINITY};
        for (size_t p = 0; p < s->pings; p++) {
            const double sent = now, answered = sent + delay(noise, s->there, s->more);
            now = answered + delay(noise, s->back, s->more);
            moe_bounds_narrow(&points[i], sent, other_at(s, answered), now);
        }
        points[i].at = start + (now - start) / 2;
        assert_true(points[i].low <= points[i].high);
    }
}

static void test_offset_and_drift_are_found(void **state)
{
    (void)state;
    static const double drifts[] = {0, 50 * US, -50 * US, 400 * US};
    for (size_t d = 0; d < sizeof drifts / sizeof *drifts; d++) {
        const scene_t scene = {.offset = -12345.678,
                               .drift = drifts[d],
                               .there = 2 * US,
                               .back = 2 * US,
                               .more = 1 * US,
                               .first = 5000,
                               .between = 1e-3,
                               .pings = 10};
        for (uint64_t seed = 0; seed < 200; seed++) {
            uint64_t noise = seed;
            moe_bounds_t points[60];
            see(&scene, &noise, points, 60);
            const moe_line_t line = moe_clock_fit(points, 60, 60);
            const double end = points[59].at;
            assert_near(line.drift, scene.drift, 10 * US);
            assert_near(moe_line_other(&line, end), other_at(&scene, end), 0.5 * US);
            assert_near(moe_line_other(&line, end + 1), other_at(&scene, end + 1), 10 * US);
        }
    }
}

static void test_noise_is_not_taken_for_drift(void **state)
{
    (void)state;
    const scene_t scene = {
        .there = 2 * US, .back = 2 * US, .more = 3 * US, .between = 1e-3, .pings = 10};
    size_t believed = 0;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        uint64_t noise = seed;
        moe_bounds_t points[60];
        see(&scene, &noise, points, 60);
        believed += moe_clock_fit(points, 60, 60).drift != 0;
    }
    assert_true(believed <= 5);
}

static void test_what_directions_differ_by_is_half_the_error_and_within_the_bounds(void **state)
{
    (void)state;
    const scene_t scene = {.offset = 3,
                           .drift = 20 * US,
                           .there = 30 * US,
                           .back = 2 * US,
                           .more = 1 * US,
                           .first = 100,
                           .between = 1e-3,
                           .pings = 10};
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint64_t noise = seed;
        moe_bounds_t points[60];
        see(&scene, &noise, points, 60);
        const moe_line_t line = moe_clock_fit(points, 60, 60);
        const double at = points[59].at, truth = other_at(&scene, at) - at;
        assert_near(moe_line_other(&line, at) - at - truth, 14 * US, 1 * US);
        assert_true(points[59].low <= truth && truth <= points[59].high);
    }
}

static void test_a_point_that_met_a_delay_counts_little(void **state)
{
    (void)state;
    moe_bounds_t points[20];
    for (size_t i = 0; i < 20; i++) {
        points[i] = (moe_bounds_t){.at = (double)i * 1e-3, .low = -1 * US, .high = 1 * US};
    }
    points[7].high = points[19].high = 10e-3; /* one direction took 10 ms */
    const moe_line_t line = moe_clock_fit(points, 20, 20);
    assert_near(line.drift, 0, 0);
    assert_near(moe_line_other(&line, 0.02) - 0.02, 0, 0.1 * US);
}

static void test_a_long_life_shows_a_small_drift(void **state)
{
    (void)state;
    scene_t scene = {.offset = 1,
                     .drift = 0.5 * US,
                     .there = 2 * US,
                     .back = 2 * US,
                     .more = 1 * US,
                     .between = 1e-3,
                     .pings = 10};
    uint64_t noise = 1;
    moe_bounds_t points[100];
    see(&scene, &noise, points, 60);
    for (size_t i = 0; i < 4; i++) { /* every 5 s, 10 more */
        scene.first = 5 * (double)(i + 1);
        see(&scene, &noise, points + 60 + 10 * i, 10);
    }
    const moe_line_t line = moe_clock_fit(points, 100, 10);
    assert_near(line.drift, scene.drift, 0.05 * US);
}

static void test_the_offset_is_of_the_newest_points(void **state)
{
    (void)state;
    moe_bounds_t points[40];
    for (size_t i = 0; i < 40; i++) { /* a clock that was set in between: no line at all */
        const double offset = i < 30 ? 5 : 6;
        points[i] =
            (moe_bounds_t){.at = (double)i, .low = offset - 1 * US, .high = offset + 1 * US};
    }
    const moe_line_t line = moe_clock_fit(points, 40, 10);
    assert_near(line.drift, 0, 0); /* 25,000 ppm is no drift */
    assert_near(moe_line_other(&line, 40) - 40, 6, 1 * US);
}

/* ---- Ranks with clocks of their own ---- */

typedef struct false_clock {
    double offset, drift;
} false_clock_t;

static double show(void *context)
{
    const false_clock_t *c = context;
    const double now = moe_now();
    return now + c->offset + c->drift * now;
}

/* What rank 0 shows when a clock shows that. */
static double truth(const false_clock_t *c, const false_clock_t *root, double shown)
{
    const double now = (shown - c->offset) / (1 + c->drift);
    return now + root->offset + root->drift * now;
}

static false_clock_t clock_of_rank(size_t rank)
{
    return (false_clock_t){.offset = rank % 2 == 0 ? 1000.0 * (double)rank : -7.25,
                           .drift = ((double)(rank % 5) - 2) * 40 * US};
}

/* Messages of rank 1 and 2 are late, now and then, so that directions differ. */
static const moe_transport_ops_t *real_ops;

static moe_status_t exchange_late(moe_transport_t *t, size_t peer, const void *send, void *recv,
                                  size_t bytes, moe_error_t *error)
{
    static _Thread_local unsigned calls;
    const struct timespec late = {.tv_nsec = 200000};
    if (send != NULL && (t->rank == 1 || t->rank == 2) && calls++ % 4 != 0) {
        nanosleep(&late, NULL);
    }
    return real_ops->exchange_bytes(t, peer, send, recv, bytes, error);
}

static bool keep_time(moe_transport_t *t, void *context, char *text)
{
    const bool *late = context;
    false_clock_t mine = clock_of_rank(t->rank);
    const false_clock_t root = clock_of_rank(0);
    moe_transport_ops_t ops = *t->ops;
    moe_transport_t slow = *t;
    if (*late) {
        ops.exchange_bytes = exchange_late;
        slow.ops = &ops;
    }
    moe_clock_t *clock;
    moe_clock_quality_t quality;
    RANK_EXPECT(moe_clock_create(&slow, show, &mine, &clock, NULL) == MOE_OK);
    RANK_EXPECT(moe_clock_refresh(clock, NULL) == MOE_OK);
    const double before = moe_now();
    RANK_EXPECT(moe_clock_check(clock, &quality, NULL) == MOE_OK);
    const double own = moe_clock_now(clock), common = moe_clock_common(clock, own);
    /* Bounds hold however busy the machine is; since the check a wrong drift had a moment to work. */
    const double error = fabs(common - truth(&mine, &root, own));
    const double since = 2 * MOE_DRIFT_MOST * (double)quality.rounds * (moe_now() - before);
    RANK_EXPECT(error <= quality.bound + since + 1e-7);
    RANK_EXPECT(quality.error <= quality.bound);
    RANK_EXPECT(fabs(moe_clock_own(clock, common) - own) < 1e-6);
    RANK_EXPECT((t->size == 1) == (quality.bound == 0));
    double seconds = -1;
    RANK_EXPECT(moe_clock_broadcast(clock, &seconds, NULL) == MOE_OK && seconds >= 0);
    if (t->rank == 0) {
        const size_t most = t->size < 5 ? t->size - 1 : 4;
        printf("# %zu ranks%s: error %.2f us, at most %.2f us, drift %.1f ppm of %zu, %.0f ms in "
               "%zu rounds, broadcast %.1f us\n",
               t->size, *late ? ", messages late" : "", quality.error * 1e6, quality.bound * 1e6,
               quality.drift * 1e6, 40 * most, quality.seconds * 1e3, quality.rounds,
               seconds * 1e6);
    }
    moe_clock_destroy(clock);
    return true;
}

static void test_ranks_whose_clocks_differ_agree_on_one(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 5, 8};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        bool late = false;
        assert_int_equal(run_ranks(sizes[i], keep_time, &late), 0);
    }
}

static bool count_rounds(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    moe_clock_t *clock;
    moe_clock_quality_t quality;
    size_t rounds = 0;
    while (((size_t)1 << rounds) < t->size) {
        rounds++;
    }
    RANK_EXPECT(moe_clock_create(t, NULL, NULL, &clock, NULL) == MOE_OK);
    RANK_EXPECT(moe_clock_check(clock, &quality, NULL) == MOE_OK);
    RANK_EXPECT(quality.rounds == rounds);
    moe_clock_destroy(clock);
    return true;
}

static void test_the_tree_has_as_many_rounds_as_ranks_have_bits(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 9; size += 2) {
        assert_int_equal(run_ranks(size, count_rounds, NULL), 0);
    }
}

static bool note_ops(moe_transport_t *t, void *context, char *text)
{
    (void)context, (void)text;
    real_ops = t->ops;
    return true;
}

static void test_late_messages_stay_within_the_bounds(void **state)
{
    (void)state;
    bool late = true;
    assert_int_equal(run_ranks(1, note_ops, NULL), 0);
    assert_int_equal(run_ranks(3, keep_time, &late), 0);
    assert_int_equal(run_ranks(5, keep_time, &late), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_and_back),
        cmocka_unit_test(test_two_lines_join_into_one),
        cmocka_unit_test(test_offset_and_drift_are_found),
        cmocka_unit_test(test_noise_is_not_taken_for_drift),
        cmocka_unit_test(test_what_directions_differ_by_is_half_the_error_and_within_the_bounds),
        cmocka_unit_test(test_a_point_that_met_a_delay_counts_little),
        cmocka_unit_test(test_a_long_life_shows_a_small_drift),
        cmocka_unit_test(test_the_offset_is_of_the_newest_points),
        cmocka_unit_test(test_ranks_whose_clocks_differ_agree_on_one),
        cmocka_unit_test(test_the_tree_has_as_many_rounds_as_ranks_have_bits),
        cmocka_unit_test(test_late_messages_stay_within_the_bounds),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
