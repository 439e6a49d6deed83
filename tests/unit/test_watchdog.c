/* The watchdog: a hang must end the run. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
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

static void bark(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
}

static void test_the_watchdog_barks_once_when_it_is_not_fed(void **state)
{
    (void)state;
    atomic_int barks = 0;
    moe_watchdog_t *dog = NULL;
    assert_int_equal(moe_watchdog_create(0.02, bark, &barks, &dog, NULL), MOE_OK);
    for (int i = 0; i < 200 && atomic_load(&barks) == 0; i++) {
        sleep_for(0.01);
    }
    assert_int_equal(atomic_load(&barks), 1);
    sleep_for(0.06);
    assert_int_equal(atomic_load(&barks), 1);
    moe_watchdog_destroy(dog);
}

static void test_a_fed_watchdog_is_quiet(void **state)
{
    (void)state;
    atomic_int barks = 0;
    moe_watchdog_t *dog = NULL;
    const double seconds = 0.4;
    assert_int_equal(moe_watchdog_create(seconds, bark, &barks, &dog, NULL), MOE_OK);
    const double start = moe_now();
    while (moe_now() - start < 1.5 * seconds) {
        moe_watchdog_feed(dog);
        sleep_for(0.005);
    }
    assert_int_equal(atomic_load(&barks), 0);
    moe_watchdog_destroy(dog);
    assert_int_equal(atomic_load(&barks), 0);
}

static void test_a_watchdog_is_dismissed_at_once(void **state)
{
    (void)state;
    atomic_int barks = 0;
    const double patience[] = {1000, 1e30, INFINITY};
    for (size_t i = 0; i < LENGTH(patience); i++) {
        moe_watchdog_t *dog = NULL;
        const double start = moe_now();
        assert_int_equal(moe_watchdog_create(patience[i], bark, &barks, &dog, NULL), MOE_OK);
        moe_watchdog_destroy(dog);
        assert_true(moe_now() - start < 5);
    }
    assert_int_equal(atomic_load(&barks), 0);
}

static void test_a_watchdog_without_patience_is_refused(void **state)
{
    (void)state;
    const double bad[] = {0, -1, NAN};
    moe_watchdog_t *dog = NULL;
    for (size_t i = 0; i < LENGTH(bad); i++) {
        assert_int_equal(moe_watchdog_create(bad[i], bark, NULL, &dog, NULL), MOE_BAD_INPUT);
        assert_null(dog);
    }
    moe_watchdog_feed(NULL);
    moe_watchdog_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_watchdog_barks_once_when_it_is_not_fed),
        cmocka_unit_test(test_a_fed_watchdog_is_quiet),
        cmocka_unit_test(test_a_watchdog_is_dismissed_at_once),
        cmocka_unit_test(test_a_watchdog_without_patience_is_refused),
    };
    return cmocka_run_group_tests_name("watchdog", tests, NULL, NULL);
}
