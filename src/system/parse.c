#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "moe/system.h"
#include "quote.h"

/* ---- Sizes ---- */

typedef struct unit {
    const char *suffix;
    double factor; /* exact: all are whole and below 2^53 */
} unit_t;

#define KIBI 1024.0
#define KILO 1000.0

static const unit_t size_units[] = {
    {"", 1},
    {"K", KIBI},
    {"M", KIBI *KIBI},
    {"G", KIBI *KIBI *KIBI},
    {"KiB", KIBI},
    {"MiB", KIBI *KIBI},
    {"GiB", KIBI *KIBI *KIBI},
    {"KB", KILO},
    {"MB", KILO *KILO},
    {"GB", KILO *KILO *KILO},
};

static const unit_t no_units[] = {{"", 1}};

/* Divisors: a quotient of whole numbers is rounded once, a product with 1e-6 twice. */
static const unit_t time_units[] = {{"", 1}, {"s", 1}, {"ms", 1e3}, {"us", 1e6}};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const unit_t *find_unit(const unit_t *units, size_t count, const char *suffix)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(units[i].suffix, suffix) == 0)
            return &units[i];
    }
    return NULL;
}

/* Digits, then a unit: no sign, no space, no hexadecimal. False past the range of size_t too. */
static bool read_size(const char *text, size_t *out)
{
    size_t value = 0;
    const char *at = text;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(value, (size_t)10, &value) ||
            __builtin_add_overflow(value, (size_t)(*at - '0'), &value))
            return false;
    }
    const unit_t *unit = find_unit(size_units, COUNT(size_units), at);
    if (at == text || unit == NULL)
        return false;
    return !__builtin_mul_overflow(value, (size_t)unit->factor, out);
}

moe_status_t moe_parse_size(const char *what, const char *text, size_t min, size_t max, size_t *out,
                            moe_error_t *error)
{
    size_t value = 0;
    if (!read_size(text, &value) || value < min || value > max)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: '" MOE_QUOTED "' is not a whole number between %zu and %zu "
                        "(K, M, G = 1024; KB, MB, GB = 1000)",
                        what, MOE_QUOTE_VALUE(text), min, max);
    *out = value;
    return MOE_OK;
}

/* ---- Real numbers and times ---- */

static const char *skip_digits(const char *at)
{
    while (isdigit((unsigned char)*at))
        at++;
    return at;
}

/* The end of a decimal number at `text`, or NULL: strtod() also takes what no option means
 * (inf, nan, hexadecimal, leading space). */
static const char *decimal_end(const char *text)
{
    const char *at = text + (*text == '-' || *text == '+');
    const char *whole = at;
    at = skip_digits(at);
    size_t digits = (size_t)(at - whole);
    if (*at == '.') {
        const char *fraction = at + 1;
        at = skip_digits(fraction);
        digits += (size_t)(at - fraction);
    }
    if (digits == 0)
        return NULL;
    if (*at == 'e' || *at == 'E') {
        const char *sign = at + 1;
        const char *exponent = sign + (*sign == '-' || *sign == '+');
        const char *end = skip_digits(exponent);
        return end > exponent ? end : NULL;
    }
    return at;
}

/* A decimal number, then a unit. */
static bool read_real(const char *text, const unit_t *units, size_t count, double *out)
{
    const char *suffix = decimal_end(text);
    const unit_t *unit = suffix == NULL ? NULL : find_unit(units, count, suffix);
    if (unit == NULL)
        return false;
    char *end = NULL;
    errno = 0;
    const double value = strtod(text, &end) / unit->factor;
    if (errno == ERANGE || end != suffix)
        return false;
    *out = value + 0.0; /* -0 becomes 0 */
    return true;
}

/* "between 0 and 10", with `unit` behind the numbers; a limit that is none is left out. */
static void describe_range(double min, double max, const char *unit, char *text, size_t size)
{
    const bool open_below = min <= -DBL_MAX, open_above = max >= DBL_MAX;
    if (open_below && open_above)
        snprintf(text, size, "that is finite");
    else if (open_above)
        snprintf(text, size, "of at least %.10g%s", min, unit);
    else if (open_below)
        snprintf(text, size, "of at most %.10g%s", max, unit);
    else
        snprintf(text, size, "between %.10g%s and %.10g%s", min, unit, max, unit);
}

#define RANGE_TEXT 80

moe_status_t moe_parse_real(const char *what, const char *text, double min, double max, double *out,
                            moe_error_t *error)
{
    double value = 0;
    if (!read_real(text, no_units, COUNT(no_units), &value) || value < min || value > max) {
        char range[RANGE_TEXT];
        describe_range(min, max, "", range, sizeof range);
        return moe_fail(error, MOE_BAD_INPUT, "%s: '" MOE_QUOTED "' is not a number %s", what,
                        MOE_QUOTE_VALUE(text), range);
    }
    *out = value;
    return MOE_OK;
}

moe_status_t moe_parse_time(const char *what, const char *text, double min, double max,
                            double *seconds, moe_error_t *error)
{
    double value = 0;
    if (!read_real(text, time_units, COUNT(time_units), &value) || value < min || value > max) {
        char range[RANGE_TEXT];
        describe_range(min, max, " s", range, sizeof range);
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: '" MOE_QUOTED "' is not a time %s (units us, ms, s; s where none is "
                        "given)",
                        what, MOE_QUOTE_VALUE(text), range);
    }
    *seconds = value;
    return MOE_OK;
}

/* ---- Rates ---- */

static const unit_t byte_rates[] = {
    {"", 1},
    {"B/s", 1},
    {"KB/s", KILO},
    {"MB/s", 1e6},
    {"GB/s", 1e9},
    {"TB/s", 1e12},
    {"KiB/s", KIBI},
    {"MiB/s", KIBI *KIBI},
    {"GiB/s", KIBI *KIBI *KIBI},
};

/* Bytes per second of one unit: all are exact. */
static const unit_t bit_rates[] = {
    {"bit", 1.0 / 8}, {"kbit", 1e3 / 8}, {"mbit", 1e6 / 8}, {"gbit", 1e9 / 8}, {"tbit", 1e12 / 8},
};

static const unit_t *find_rate(const char *suffix)
{
    const unit_t *bytes = find_unit(byte_rates, COUNT(byte_rates), suffix);
    for (size_t i = 0; bytes == NULL && i < COUNT(bit_rates); i++) {
        const size_t length = strlen(bit_rates[i].suffix);
        if (strncasecmp(suffix, bit_rates[i].suffix, length) == 0 &&
            (suffix[length] == '\0' || strcmp(suffix + length, "/s") == 0))
            return &bit_rates[i];
    }
    return bytes;
}

/* -1 where it is none: no rate is negative. */
static double read_rate(const char *text)
{
    const char *suffix = decimal_end(text);
    const unit_t *unit = suffix == NULL ? NULL : find_rate(suffix);
    if (unit == NULL)
        return -1;
    errno = 0;
    const double value = strtod(text, NULL) * unit->factor;
    return errno == ERANGE ? -1 : value;
}

moe_status_t moe_parse_rate(const char *what, const char *text, double min, double max,
                            double *bytes_per_second, moe_error_t *error)
{
    const double value = read_rate(text);
    if (!(value >= 0) || value < min || value > max) {
        char range[RANGE_TEXT];
        describe_range(min, max, " B/s", range, sizeof range);
        return moe_fail(
            error, MOE_BAD_INPUT,
            "%s: '" MOE_QUOTED "' is not a rate %s (units B/s, KB/s, MB/s, GB/s, "
            "KiB/s, MiB/s, GiB/s; kbit, mbit, gbit; bytes a second where none is given)",
            what, MOE_QUOTE_VALUE(text), range);
    }
    *bytes_per_second = value + 0.0; /* -0 becomes 0 */
    return MOE_OK;
}
