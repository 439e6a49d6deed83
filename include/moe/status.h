/* Status codes and error reports, used by every room.
 *
 * The function that first decides an error reports it (what was wrong, the value, the limit, the
 * remedy) with moe_fail(); every caller only passes the status on. Outputs are set on MOE_OK only.
 * The codes are the program's exit statuses.
 */
#ifndef MOE_STATUS_H
#define MOE_STATUS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum moe_status {
    MOE_OK = 0,           /* done, or PASS */
    MOE_WRONG_DATA = 1,   /* the check found wrong data, or a verdict is FAIL */
    MOE_BAD_INPUT = 2,    /* an option, a file, the environment, a size: nothing was run */
    MOE_INCONCLUSIVE = 3, /* a verdict that the figures do not decide */
    MOE_FAILED = 4        /* the run itself failed */
} moe_status_t;

#define MOE_ERROR_TEXT 1024

/* One error, owned by the caller. Zero-initialise it. A NULL moe_error_t * is allowed everywhere
 * and drops the text. */
typedef struct moe_error {
    moe_status_t status;
    char text[MOE_ERROR_TEXT]; /* one line, no trailing newline */
} moe_error_t;

#if defined(__GNUC__)
#define MOE_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#else
#define MOE_PRINTF(format_at, args_at)
#endif

/* Sets `error` from a printf format and returns `status`, so that a function can end with
 * `return moe_fail(error, MOE_BAD_INPUT, ...)`. */
moe_status_t moe_fail(moe_error_t *error, moe_status_t status, const char *format, ...)
    MOE_PRINTF(3, 4);

/* clang-tidy looks at one file at a time, and would go on after a failure as if this returned MOE_OK. */
#ifdef __clang_analyzer__
static inline moe_status_t moe_fail_returns(moe_status_t status, moe_status_t same)
{
    (void)same;
    return status;
}
#define moe_fail(error, status, ...)                                                               \
    moe_fail_returns((status), moe_fail(error, status, __VA_ARGS__))
#endif

#ifdef __cplusplus
}
#endif
#endif
