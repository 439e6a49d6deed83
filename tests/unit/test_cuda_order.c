/* The CUDA device's lanes, points in time, and work that is recorded. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "cuda_setting.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Points in time ---- */

static void test_marks_tell_how_long_the_gpu_was_busy(void **state)
{
    moe_device_t *d = ((setting_t *)*state)->gpu;
    double seconds[3] = {-1, -1, -1};
    d->ops->mark(d);
    d->ops->wait(d, 2e-3);
    d->ops->mark(d);
    d->ops->wait(d, 1e-3);
    d->ops->mark(d);
    const double start = now();
    assert_int_equal(d->ops->read_marks(d, seconds, 3, NULL), MOE_OK);
    assert_true(seconds[0] == 0);
    assert_true(seconds[1] >= 1.99e-3 && seconds[2] >= seconds[1] + 0.99e-3);
    assert_true(now() - start < 10); /* it was waited for */
}

static void test_no_time_is_no_wait(void **state)
{
    moe_device_t *d = ((setting_t *)*state)->gpu;
    const double start = now();
    d->ops->wait(d, 0);
    d->ops->wait(d, -1);
    d->ops->wait(d, (double)NAN);
    assert_finished(d);
    assert_true(now() - start < 10);
}

static void test_marks_that_were_not_made_are_not_read(void **state)
{
    moe_device_t *d = ((setting_t *)*state)->gpu;
    double seconds[2];
    moe_error_t error = {.status = MOE_OK};
    d->ops->mark(d);
    assert_int_equal(d->ops->read_marks(d, seconds, 2, &error), MOE_FAILED);
    assert_non_null(strstr(error.text, "2 points in time were to be read, 1 were made"));
    assert_int_equal(d->ops->read_marks(d, seconds, 0, NULL), MOE_OK); /* it starts anew */
}

static void test_marks_are_as_many_as_are_made(void **state)
{
    moe_device_t *d = ((setting_t *)*state)->gpu;
    enum { MANY = 1000 };
    static double seconds[MANY];
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < MANY; i++) {
            d->ops->mark(d);
        }
        assert_int_equal(d->ops->read_marks(d, seconds, MANY, NULL), MOE_OK);
        for (size_t i = 1; i < MANY; i++) {
            assert_true(seconds[i] >= seconds[i - 1]);
        }
    }
}

/* ---- Lanes ---- */

static void test_a_lane_waits_for_what_another_signed(void **state)
{
    moe_device_t *d = ((setting_t *)*state)->gpu;
    double seconds[2];
    d->ops->mark(d);
    d->ops->lane(d, MOE_LANE_EXCHANGE);
    d->ops->wait(d, 3e-3);
    d->ops->sign(d, 5);
    d->ops->lane(d, MOE_LANE_COMPUTE);
    d->ops->await(d, 5);
    d->ops->await(d, 4);  /* never signed: nothing to wait for */
    d->ops->await(d, 99); /* nor this */
    d->ops->mark(d);
    assert_int_equal(d->ops->read_marks(d, seconds, 2, NULL), MOE_OK);
    assert_true(seconds[1] >= 2.99e-3);
}

static void test_all_lanes_are_done_after_finish(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    const pair_t p = make_output(s, 1 << 20);
    d->ops->lane(d, MOE_LANE_EXCHANGE);
    d->ops->wait(d, 2e-3);
    d->ops->fill_bytes(d, p.gpu, 7, p.bytes);
    d->ops->lane(d, MOE_LANE_COMPUTE);
    assert_finished(d);
    memset(p.host, 7, p.bytes);
    assert_same(&p, "what the other lane did");
    drop_pair(&p);
}

/* ---- Recorded work ---- */

/* Work on a buffer, in both lanes: each byte becomes 1 in the one and is copied in the other. */
typedef struct work {
    setting_t *setting;
    pair_t from, to;
    moe_status_t status; /* that it ends with */
} work_t;

static work_t make_work(setting_t *s)
{
    const work_t w = {.setting = s, .from = make_output(s, 5000), .to = make_output(s, 5000)};
    return w;
}

static void drop_work(const work_t *w)
{
    drop_pair(&w->from);
    drop_pair(&w->to);
}

static moe_status_t do_work(void *context, moe_error_t *error)
{
    work_t *w = context;
    moe_device_t *d = w->setting->gpu;
    d->ops->fill_bytes(d, w->from.gpu, 1, w->from.bytes);
    d->ops->sign(d, 0);
    d->ops->lane(d, MOE_LANE_EXCHANGE);
    d->ops->await(d, 0);
    d->ops->copy_parts(d, w->to.gpu, 100, w->from.gpu, 100, 60, NULL, 50);
    d->ops->sign(d, 1);
    d->ops->lane(d, MOE_LANE_COMPUTE);
    d->ops->await(d, 1);
    return w->status == MOE_OK ? MOE_OK : moe_fail(error, w->status, "the work failed");
}

static void test_recorded_work_is_done_when_it_is_replayed_and_not_before(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    work_t w = make_work(s);
    moe_graph_t *graph = NULL;
    assert_int_equal(d->ops->capture(d, do_work, &w, &graph, NULL), MOE_OK);
    assert_finished(d);
    assert_same(&w.from, "recorded, not done");
    for (size_t r = 0; r < 50; r++) {
        memset(w.to.host + 100 * r, 1, 60);
    }
    for (int again = 0; again < 3; again++) {
        d->ops->fill_bytes(d, w.from.gpu, 9, w.from.bytes);
        d->ops->fill_bytes(d, w.to.gpu, 0xee, w.to.bytes);
        d->ops->replay(d, graph);
        assert_same(&w.to, "replay %d", again);
    }
    d->ops->drop_graph(d, graph);
    d->ops->drop_graph(d, NULL);
    drop_work(&w);
}

static void test_work_that_fails_is_not_recorded_and_harms_nothing(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    work_t w = make_work(s);
    moe_graph_t *graph = NULL;
    moe_error_t error = {.status = MOE_OK};
    w.status = MOE_WRONG_DATA;
    assert_int_equal(d->ops->capture(d, do_work, &w, &graph, &error), MOE_WRONG_DATA);
    assert_string_equal(error.text, "the work failed");
    assert_null(graph);
    assert_finished(d);
    w.status = MOE_OK;
    assert_int_equal(d->ops->capture(d, do_work, &w, &graph, NULL), MOE_OK);
    d->ops->replay(d, graph);
    assert_finished(d);
    d->ops->drop_graph(d, graph);
    drop_work(&w);
}

typedef void misuse_fn(const work_t *w);

static void copy_to_host(const work_t *w)
{
    w->setting->gpu->ops->copy(w->setting->gpu, w->to.host, w->to.gpu, 8);
}

static void mark_a_point(const work_t *w)
{
    w->setting->gpu->ops->mark(w->setting->gpu);
}

static void wait_for_it(const work_t *w)
{
    (void)w->setting->gpu->ops->finish(w->setting->gpu, NULL);
}

static void check_rows(const work_t *w)
{
    const uint64_t token = 0;
    moe_mismatch_t found = {.count = 0};
    w->setting->gpu->ops->check_rows(w->setting->gpu, w->to.gpu, MOE_BF16, 1, &token, 1, 1, 8, 0,
                                     &found);
}

static void replay_nothing(const work_t *w)
{
    w->setting->gpu->ops->replay(w->setting->gpu, NULL);
}

typedef struct misused {
    work_t work;
    misuse_fn *misuse;
} misused_t;

static moe_status_t do_misuse(void *context, moe_error_t *error)
{
    misused_t *m = context;
    (void)error;
    m->misuse(&m->work);
    return MOE_OK;
}

static void test_what_cannot_be_recorded_says_so(void **state)
{
    static misuse_fn *const misuses[] = {copy_to_host, mark_a_point, check_rows, replay_nothing};
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    for (size_t i = 0; i < sizeof misuses / sizeof *misuses; i++) {
        misused_t m = {.work = make_work(s), .misuse = misuses[i]};
        moe_graph_t *graph = NULL;
        moe_error_t error = {.status = MOE_OK};
        assert_int_equal(d->ops->capture(d, do_misuse, &m, &graph, &error), MOE_FAILED);
        assert_non_null(strstr(error.text, "cannot be recorded"));
        assert_null(graph);
        assert_finished(d);
        drop_work(&m.work);
    }
    misused_t m = {.work = make_work(s), .misuse = wait_for_it};
    moe_graph_t *graph = NULL;
    assert_int_equal(d->ops->capture(d, do_misuse, &m, &graph, NULL), MOE_OK);
    d->ops->drop_graph(d, graph);
    drop_work(&m.work);
}

/* The other lane joins the recording, and nobody waits for it. */
static moe_status_t leave_a_lane(void *context, moe_error_t *error)
{
    work_t *w = context;
    moe_device_t *d = w->setting->gpu;
    (void)error;
    d->ops->fill_bytes(d, w->from.gpu, 1, w->from.bytes);
    d->ops->sign(d, 0);
    d->ops->lane(d, MOE_LANE_EXCHANGE);
    d->ops->await(d, 0);
    d->ops->fill_bytes(d, w->to.gpu, 1, w->to.bytes);
    return MOE_OK;
}

static void test_a_lane_that_is_left_behind_is_refused(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    work_t w = make_work(s);
    moe_graph_t *graph = NULL;
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(d->ops->capture(d, leave_a_lane, &w, &graph, &error), MOE_FAILED);
    assert_non_null(strstr(error.text, "cudaStreamEndCapture failed"));
    assert_finished(d);
    assert_same(&w.from, "recorded, not done");
    drop_work(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks_tell_how_long_the_gpu_was_busy),
        cmocka_unit_test(test_no_time_is_no_wait),
        cmocka_unit_test(test_marks_that_were_not_made_are_not_read),
        cmocka_unit_test(test_marks_are_as_many_as_are_made),
        cmocka_unit_test(test_a_lane_waits_for_what_another_signed),
        cmocka_unit_test(test_all_lanes_are_done_after_finish),
        cmocka_unit_test(test_recorded_work_is_done_when_it_is_replayed_and_not_before),
        cmocka_unit_test(test_work_that_fails_is_not_recorded_and_harms_nothing),
        cmocka_unit_test(test_what_cannot_be_recorded_says_so),
        cmocka_unit_test(test_a_lane_that_is_left_behind_is_refused),
    };
    return RUN_CUDA_TESTS("CUDA order", tests, false);
}
