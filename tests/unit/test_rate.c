/* Rates of data on the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "moe/system.h"

static double rate(const char *text)
{
    double value = -1;
    moe_error_t error = {0};
    if (moe_parse_rate("--rate", text, 0, 1e15, &value, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return value;
}

static void refuse(const char *text)
{
    double value = -1;
    moe_error_t error = {0};
    if (moe_parse_rate("--rate", text, 1, 1e15, &value, &error) != MOE_BAD_INPUT)
        fail_msg("'%s' was taken as %g", text, value);
    assert_true(value == -1);
    assert_non_null(strstr(error.text, "--rate"));
}

static void test_bytes_are_bytes_per_second(void **state)
{
    (void)state;
    assert_true(rate("25GB/s") == 25e9);
    assert_true(rate("12.5MB/s") == 12.5e6);
    assert_true(rate("3KB/s") == 3e3);
    assert_true(rate("1TB/s") == 1e12);
    assert_true(rate("2KiB/s") == 2048);
    assert_true(rate("2GiB/s") == 2147483648.0);
    assert_true(rate("17B/s") == 17);
    assert_true(rate("1000") == 1000);
    assert_true(rate("1e9") == 1e9);
}

static void test_bits_are_eighths_as_tc_writes_them(void **state)
{
    (void)state;
    assert_true(rate("200mbit") == 25e6);
    assert_true(rate("400Mbit/s") == 50e6);
    assert_true(rate("100Gbit/s") == 12.5e9);
    assert_true(rate("8bit") == 1);
    assert_true(rate("1kbit") == 125);
    assert_true(rate("0.5tbit") == 62.5e9);
}

/* "gbps" is bits to some and bytes to tc: neither is guessed. */
static void test_what_is_no_rate_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",      "GB/s", "fast", "-1GB/s", "NaN",   "inf",      "1 GB/s", "10gbps",  "10Gb/s",
        "1gb/s", "0",    "1e30", "0x10",   "1e400", "200mbits", "1GB",    "1GB/s/s", "5mbit/"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refuse(wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_bytes_per_second),
        cmocka_unit_test(test_bits_are_eighths_as_tc_writes_them),
        cmocka_unit_test(test_what_is_no_rate_is_refused),
    };
    return cmocka_run_group_tests_name("system", tests, NULL, NULL);
}
