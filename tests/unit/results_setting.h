/* Results made of a few words, for tests of verdicts. */
#ifndef TESTS_UNIT_RESULTS_SETTING_H
#define TESTS_UNIT_RESULTS_SETTING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moe/record.h"

/* more: further fields of the run, with a comma before each. */
#define RUN(more)                                                                                  \
    "{\"record\":\"run\",\"schema\":1,\"program\":\"moe-a2a\",\"version\":\"0.1.0\","              \
    "\"command\":[\"moe-a2a\",\"layer\"],\"time\":\"2026-01-01T00:00:00Z\",\"ranks\":2,"           \
    "\"hosts\":[\"host0\",\"host1\"]" more "}\n"
#define HASH(digit)   "\"0123456789abcde" digit "\""
#define ROUTED(digit) RUN(",\"routing\":{\"spec\":\"s\",\"seed\":1,\"hash\":" HASH(digit) "}")
/* times: "\"median_us\":10,..."; more as above. */
#define EXCHANGE_REPS(style, phase, reps, times, more)                                             \
    "{\"record\":\"exchange\",\"style\":\"" style "\",\"algorithm\":\"native\",\"phase\":\"" phase \
    "\",\"reps\":" reps ",\"warmup\":1,\"slowest_rank\":1,\"min_us\":0," times more "}\n"
#define TIMES(median, low, high)                                                                   \
    "\"converged\":true,\"median_us\":" median ",\"ci_low_us\":" low ",\"ci_high_us\":" high
#define UNCONVERGED(median, low, high)                                                             \
    "\"converged\":false,\"median_us\":" median ",\"ci_low_us\":" low ",\"ci_high_us\":" high
#define EXCHANGE(style, phase, times, more) EXCHANGE_REPS(style, phase, "30", times, more)

/* The text as a file, read; the test fails where it is not sound. */
static inline void read_results_of(const char *text, moe_results_t *out)
{
    char path[] = "/tmp/moe-results-XXXXXX";
    moe_error_t error = {0};
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    close(file);
    *out = (moe_results_t){0};
    const moe_status_t status = moe_results_read(path, out, &error);
    unlink(path);
    assert_string_equal(error.text, "");
    assert_int_equal(status, MOE_OK);
}

#endif
