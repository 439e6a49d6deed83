/* What the tests of traces share: reading samples, files of a test, refusals. */
#ifndef MOE_TESTS_TRACE_SETTING_H
#define MOE_TESTS_TRACE_SETTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moe/trace.h"

#define SAMPLES "patterns/samples/"

/* The file of a test; main() makes and removes it. */
static char trace_path[] = "/tmp/moe_test_trace_XXXXXX";

static inline void write_trace(const void *bytes, size_t size)
{
    FILE *file = fopen(trace_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* The caller destroys it. format: NULL looks for itself. */
static inline moe_trace_t *read_trace(const char *path, const char *format, unsigned wanted)
{
    moe_error_t error = {0};
    moe_trace_t *trace = NULL;
    const moe_trace_format_t *found = format == NULL ? NULL : moe_trace_format_find(format);
    assert_true(format == NULL || found != NULL);
    if (moe_trace_read(path, found, wanted, &trace, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return trace;
}

static inline void expect_trace_refusal(const char *format, const void *bytes, size_t size,
                                        const char *place, const char *reason)
{
    moe_error_t error = {0};
    moe_trace_t *trace = NULL;
    write_trace(bytes, size);
    assert_int_equal(
        moe_trace_read(trace_path, moe_trace_format_find(format), MOE_TRACE_ANY, &trace, &error),
        MOE_BAD_INPUT);
    assert_null(trace);
    const char *found = strstr(error.text, place);
    if (strstr(error.text, trace_path) == NULL || found == NULL || strstr(found, reason) == NULL)
        fail_msg("'%s' has not the file, '%s' and '%s'", error.text, place, reason);
}

#define REFUSE_TRACE(format, text, place, reason)                                                  \
    expect_trace_refusal(format, text, strlen(text), place, reason)

#endif
