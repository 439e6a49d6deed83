#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "popularity.h"

#define MAX_DISTRIBUTIONS 32
#define WHAT_TEXT         128

const char *moe_skew_syntax(size_t index, const char **summary)
{
    const moe_distribution_t *distribution = moe_distribution_at(index);
    if (distribution == NULL)
        return NULL;
    if (summary != NULL)
        *summary = distribution->summary;
    return distribution->syntax;
}

static moe_status_t refuse_name(const char *what, const char *name, moe_error_t *error)
{
    const char *names[MAX_DISTRIBUTIONS];
    char all[MOE_ERROR_TEXT / 2] = "";
    size_t count = 0, length = 0;
    for (const moe_distribution_t *d; count < MAX_DISTRIBUTIONS; names[count++] = d->name) {
        d = moe_distribution_at(count);
        if (d == NULL)
            break;
        const int added =
            snprintf(all + length, sizeof all - length, "%s%s", count > 0 ? ", " : "", d->syntax);
        length += (size_t)added < sizeof all - length ? (size_t)added : 0;
    }
    const char *near = moe_nearest(name, names, count);
    return moe_fail(error, MOE_BAD_INPUT, "%s: there is no distribution '%s'%s%s%s; there are %s",
                    what, name, near == NULL ? "" : " (did you mean ", near == NULL ? "" : near,
                    near == NULL ? "" : "?)", all);
}

/* The row for `name`, or NULL. */
static const moe_distribution_t *find(const char *name, size_t *kind)
{
    const moe_distribution_t *d;
    for (*kind = 0; (d = moe_distribution_at(*kind)) != NULL; (*kind)++) {
        if (strcmp(d->name, name) == 0)
            return d;
    }
    return NULL;
}

/* Splits at commas, in place. Counts past `most` are not stored. */
static size_t split(char *text, const char **part, size_t most)
{
    size_t count = 0;
    for (char *at = text; at != NULL; count++) {
        char *comma = strchr(at, ',');
        if (comma != NULL)
            *comma++ = '\0';
        if (count < most)
            part[count] = at;
        at = comma;
    }
    return count;
}

static moe_status_t parse_parameter(const char *what, const moe_distribution_t *d, size_t index,
                                    const char *text, double *out, moe_error_t *error)
{
    const moe_skew_parameter_t *p = &d->parameter[index];
    char place[WHAT_TEXT];
    snprintf(place, sizeof place, "%s: %s of %s", what, p->name, d->syntax);
    if (!p->whole)
        return moe_parse_real(place, text, p->min, p->max, out, error);
    size_t value = 0;
    const moe_status_t status =
        moe_parse_size(place, text, (size_t)p->min, (size_t)p->max, &value, error);
    if (status == MOE_OK)
        *out = (double)value;
    return status;
}

/* NAME:FILE of a distribution that reads one; NULL: it is none of them. */
static const moe_distribution_t *file_distribution(const char *text, size_t *kind,
                                                   const char **path)
{
    const moe_distribution_t *d;
    for (*kind = 0; (d = moe_distribution_at(*kind)) != NULL; (*kind)++) {
        const size_t length = strlen(d->name);
        if (d->reads != 0 && strncmp(text, d->name, length) == 0 &&
            (text[length] == ':' || text[length] == '\0')) {
            *path = text + length + (text[length] == ':');
            return d;
        }
    }
    return NULL;
}

static moe_status_t read_file(const char *what, const char *text, const moe_distribution_t *d,
                              const char *path, moe_skew_t *skew, moe_error_t *error)
{
    if (path[0] == '\0')
        return moe_fail(error, MOE_BAD_INPUT, "%s: '%s' names no file: write %s", what, text,
                        d->syntax);
    if (strlen(text) >= MOE_SKEW_FILE_TEXT)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: '%.40s...' is longer than %d characters: take a shorter path", what,
                        text, MOE_SKEW_FILE_TEXT - 1);
    const moe_status_t status = moe_trace_read(path, NULL, d->reads, &skew->trace, error);
    if (status == MOE_OK)
        memcpy(skew->text, text, strlen(text) + 1);
    return status;
}

void moe_skew_destroy(moe_skew_t *skew)
{
    moe_trace_destroy(skew->trace);
    skew->trace = NULL;
}

bool moe_skew_is_traced(const moe_skew_t *skew)
{
    return moe_distribution_at(skew->kind)->reads == MOE_TRACE_CHOICES;
}

moe_status_t moe_skew_parse(const char *what, const char *text, moe_skew_t *out, moe_error_t *error)
{
    moe_skew_t skew = {0};
    const char *path;
    const moe_distribution_t *file = file_distribution(text, &skew.kind, &path);
    if (file != NULL) {
        const moe_status_t status = read_file(what, text, file, path, &skew, error);
        if (status == MOE_OK)
            *out = skew;
        return status;
    }
    const size_t length = strlen(text);
    if (length >= MOE_SKEW_TEXT)
        return moe_fail(error, MOE_BAD_INPUT, "%s: '%.40s...' is longer than %d characters", what,
                        text, MOE_SKEW_TEXT - 1);
    char name[MOE_SKEW_TEXT];
    memcpy(name, text, length + 1);
    char *arguments = strchr(name, ':');
    if (arguments != NULL)
        *arguments++ = '\0';

    const moe_distribution_t *d = find(name, &skew.kind);
    if (d == NULL)
        return refuse_name(what, name, error);
    const char *part[MOE_SKEW_PARAMETERS] = {0};
    const size_t given = arguments == NULL ? 0 : split(arguments, part, MOE_SKEW_PARAMETERS);
    if (given != d->parameters)
        return moe_fail(error, MOE_BAD_INPUT, "%s: '%s' has %zu parameters, %s has %zu: write %s",
                        what, text, given, d->name, d->parameters, d->syntax);
    double *const value[MOE_SKEW_PARAMETERS] = {&skew.a, &skew.b};
    for (size_t i = 0; i < given && i < MOE_SKEW_PARAMETERS; i++) {
        const moe_status_t status = parse_parameter(what, d, i, part[i], value[i], error);
        if (status != MOE_OK)
            return status;
    }
    memcpy(skew.text, text, length + 1);
    *out = skew;
    return MOE_OK;
}

/* Files of choices from which the number of experts follows by those that were chosen may have fewer. */
static moe_status_t check_trace(const moe_skew_t *skew, size_t experts, size_t top_k,
                                moe_error_t *error)
{
    const moe_trace_t *trace = skew->trace;
    if (trace == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "skew '%.200s': its file was not read", skew->text);
    if (trace->experts > experts || (trace->experts_known && trace->experts != experts))
        return moe_fail(error, MOE_BAD_INPUT,
                        "skew '%.200s': the file has %zu experts%s, the model has %zu: give "
                        "--experts %zu, or another file",
                        skew->text, trace->experts, trace->experts_known ? "" : " or more", experts,
                        trace->experts);
    if (moe_skew_is_traced(skew) && trace->top_k != top_k)
        return moe_fail(error, MOE_BAD_INPUT,
                        "skew '%.200s': tokens of the file choose %zu experts, the model's choose "
                        "%zu: give --top-k %zu, or another file",
                        skew->text, trace->top_k, top_k, trace->top_k);
    return MOE_OK;
}

moe_status_t moe_skew_check(const moe_skew_t *skew, size_t experts, size_t top_k,
                            moe_error_t *error)
{
    const moe_distribution_t *d = moe_distribution_at(skew->kind);
    if (d == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "skew: kind %zu is no row of the table", skew->kind);
    if (d->counts_experts && skew->a > (double)experts)
        return moe_fail(error, MOE_BAD_INPUT,
                        "skew '%s': %.0f hot experts, but there are %zu experts: lower the first "
                        "parameter",
                        skew->text, skew->a, experts);
    return d->reads != 0 ? check_trace(skew, experts, top_k, error) : MOE_OK;
}
