#include "sweep.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

#define MOST_POINTS 1000
#define WORD        160
#define MOST_VALUE  1e15

/* What decides a prediction; not where it is written to. */
#define SWEPT (GROUP_MODEL | GROUP_ROUTING | GROUP_LAYOUT)

static bool can_be_swept(option_t id)
{
    const option_row_t *row = option_row(id);
    return (row->groups & SWEPT) != 0 || id == OPT_OVERLAP || id == OPT_PASS || id == OPT_MACHINE ||
           id == OPT_COMPUTE;
}

static moe_status_t find_option(const char *name, option_t *out, moe_error_t *error)
{
    const char *names[OPTIONS];
    size_t count = 0;
    for (int id = 0; id < OPTIONS; id++) {
        if (!can_be_swept((option_t)id)) {
            continue;
        }
        names[count++] = option_row((option_t)id)->name;
        if (strcmp(names[count - 1], name) == 0) {
            *out = (option_t)id;
            return MOE_OK;
        }
    }
    const char *nearest = moe_nearest(name, names, count);
    return moe_fail(error, MOE_BAD_INPUT,
                    "--sweep %.60s: is no option that decides a prediction%s%s; as ranks=8:4096:2, "
                    "top-k=1,2,4,8, capacity-factor=1:2:+0.25, skew=zipf:0,zipf:1",
                    name, nearest != NULL ? "; nearest: " : "", nearest != NULL ? nearest : "");
}

static moe_status_t add(sweep_t *s, const char *value, moe_error_t *error)
{
    char word[WORD];
    if (s->count == MOST_POINTS) {
        return moe_fail(error, MOE_BAD_INPUT, "--sweep: more than %d values", MOST_POINTS);
    }
    if (value[0] == '\0' || (size_t)snprintf(word, sizeof word, "--%s=%s",
                                             option_row(s->option)->name, value) >= sizeof word) {
        return moe_fail(error, MOE_BAD_INPUT, "--sweep %s: an empty or overlong value in the list",
                        option_row(s->option)->name);
    }
    s->word[s->count] = strdup(word);
    if (s->word[s->count] == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "out of memory");
    }
    s->count++;
    return MOE_OK;
}

/* ---- A range ---- */

static moe_status_t parse_number(const char *text, double *out, moe_error_t *error)
{
    size_t whole = 0;
    if (moe_parse_size("--sweep", text, 0, (size_t)MOST_VALUE, &whole, NULL) == MOE_OK) {
        *out = (double)whole;
        return MOE_OK;
    }
    return moe_parse_real("--sweep", text, 0, MOST_VALUE, out, error);
}

static moe_status_t add_range(sweep_t *s, const char *text, moe_error_t *error)
{
    char copy[WORD], *rest = copy, value[32];
    double first = 0, last = 0, step = 0;
    snprintf(copy, sizeof copy, "%s", text);
    const char *low = strsep(&rest, ":"), *high = strsep(&rest, ":"), *by = rest;
    const bool adds = by != NULL && by[0] == '+';
    moe_status_t status =
        by == NULL || strlen(text) >= sizeof copy
            ? moe_fail(error, MOE_BAD_INPUT, "--sweep: '%.60s' is no range MIN:MAX:STEP", text)
            : parse_number(low, &first, error);
    if (status == MOE_OK) {
        status = parse_number(high, &last, error);
    }
    if (status == MOE_OK) {
        status = parse_number(by + adds, &step, error);
    }
    if (status == MOE_OK && (first > last || step <= (adds ? 0 : 1) || (first <= 0 && !adds))) {
        status = moe_fail(error, MOE_BAD_INPUT,
                          "--sweep: '%.60s' never ends: MIN must be at most MAX, and STEP a factor "
                          "above 1 of a MIN above 0, or +N with N above 0",
                          text);
    }
    /* A rounding error must not lose the last value. */
    for (size_t i = 0; status == MOE_OK && first <= last * (1 + 1e-12); i++) {
        snprintf(value, sizeof value, "%.12g", first);
        status = add(s, value, error);
        first = adds ? first + step : first * step;
    }
    return status;
}

/* ---- A list ---- */

/* "hot:1,0.9,zipf:1": what begins with a digit behind a comma belongs to the word before it, if that one has
 * a colon. */
static char *end_of_value(char *value)
{
    const bool has_colon = strchr(value, ':') != NULL && isalpha((unsigned char)value[0]);
    char *comma = strchr(value, ',');
    while (comma != NULL && has_colon && !isalpha((unsigned char)comma[1])) {
        comma = strchr(comma + 1, ',');
    }
    return comma;
}

static moe_status_t add_list(sweep_t *s, const char *text, moe_error_t *error)
{
    char *copy = strdup(text);
    moe_status_t status = copy != NULL ? MOE_OK : moe_fail(error, MOE_BAD_INPUT, "out of memory");
    for (char *value = copy; status == MOE_OK && value != NULL;) {
        char *comma = end_of_value(value);
        if (comma != NULL) {
            *comma++ = '\0';
        }
        status = add(s, value, error);
        value = comma;
    }
    free(copy);
    return status;
}

moe_status_t sweep_parse(const char *text, sweep_t *out, moe_error_t *error)
{
    sweep_t s = {.count = 0};
    char name[WORD];
    if (text == NULL) {
        *out = (sweep_t){.count = 1};
        return MOE_OK;
    }
    const char *values = strchr(text, '=');
    if (values == NULL || (size_t)(values - text) >= sizeof name) {
        return moe_fail(error, MOE_BAD_INPUT, "--sweep %.60s: give NAME=VALUES, as ranks=8:4096:2",
                        text);
    }
    memcpy(name, text, (size_t)(values - text));
    name[values - text] = '\0';
    values++;
    moe_status_t status = find_option(name, &s.option, error);
    if (status == MOE_OK) {
        status =
            moe_alloc("values of --sweep", MOST_POINTS, sizeof *s.word, (void **)&s.word, error);
    }
    if (status == MOE_OK) {
        const bool range = isdigit((unsigned char)values[0]) && strchr(values, ':') != NULL;
        status = range ? add_range(&s, values, error) : add_list(&s, values, error);
    }
    if (status != MOE_OK) {
        sweep_destroy(&s);
        return status;
    }
    *out = s;
    return MOE_OK;
}

void sweep_destroy(sweep_t *sweep)
{
    for (size_t i = 0; sweep->word != NULL && i < sweep->count; i++) {
        free(sweep->word[i]);
    }
    free(sweep->word);
    *sweep = (sweep_t){0};
}
