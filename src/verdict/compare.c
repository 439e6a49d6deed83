/* One file of results against another, row by row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "differences.h"
#include "means.h"
#include "moe/system.h"
#include "moe/verdict.h"

#define WHY_TEXT 512

const char *moe_call_name(moe_call_t call)
{
    static const char *const names[] = {[MOE_NO_DIFFERENCE] = "no difference shown",
                                        [MOE_FASTER] = "faster",
                                        [MOE_SLOWER] = "slower"};
    return names[call];
}

/* ---- Rows ---- */

/* The time of a group: all others of its figures follow from it, or have no interval. */
static const moe_metric_t *time_metric(const moe_group_t *group)
{
    const char *kind = moe_result_text(group->launch[0], "record");
    return strcmp(kind, "iteration") == 0 ? moe_metric_find(kind, "max_ms.iteration")
                                          : moe_metric_find(kind, "median_us");
}

static void to_microseconds(moe_estimate_t *time, const moe_metric_t *metric)
{
    time->value /= metric->per_us;
    time->low /= metric->per_us;
    time->high /= metric->per_us;
    for (size_t i = 0; i < time->n; i++)
        time->sample[i] /= metric->per_us;
}

static moe_status_t read_time(const moe_group_t *group, moe_estimate_t *out, moe_error_t *error)
{
    const moe_metric_t *metric = time_metric(group);
    bool found;
    const moe_status_t status =
        moe_estimate_read(group->launch, group->launches, metric, &found, out, error);
    if (status == MOE_OK)
        to_microseconds(out, metric);
    return status;
}

static moe_call_t call_of(const moe_ratio_t *ratio)
{
    if (ratio->method == MOE_RATIO_NONE)
        return MOE_NO_DIFFERENCE;
    return ratio->low > 1 ? MOE_FASTER : ratio->high < 1 ? MOE_SLOWER : MOE_NO_DIFFERENCE;
}

static moe_status_t add_unmatched(moe_comparison_t *c, const moe_group_t *group, bool in_a,
                                  const char *why, moe_error_t *error)
{
    char *copy = strdup(why);
    if (copy == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "what did not match does not fit memory");
    c->unmatched[c->unmatched_count++] =
        (moe_unmatched_t){.group = group, .in_a = in_a, .why = copy};
    return MOE_OK;
}

static moe_status_t add_row(moe_comparison_t *c, const moe_group_t *a, const moe_group_t *b,
                            moe_error_t *error)
{
    moe_comparison_row_t row = {.a = a, .b = b};
    moe_status_t status = read_time(a, &row.time_a, error);
    if (status != MOE_OK)
        return status;
    status = read_time(b, &row.time_b, error);
    if (status != MOE_OK) {
        moe_estimate_destroy(&row.time_a);
        return status;
    }
    moe_ratio_of(&row.time_a, &row.time_b, MOE_COMPARED_CONFIDENCE, &row.ratio);
    row.call = call_of(&row.ratio);
    if (row.time_a.value > 0 && row.time_b.value > 0) {
        c->calls[row.call]++;
        c->row[c->rows++] = row;
        return MOE_OK;
    }
    moe_estimate_destroy(&row.time_a);
    moe_estimate_destroy(&row.time_b);
    return add_unmatched(c, a, true, "takes no time on one side: there is no ratio", error);
}

static moe_status_t match(moe_comparison_t *c, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < c->a.count; i++) {
        const moe_group_t *a = &c->a.group[i], *b = moe_groups_find(&c->b, a);
        char why[WHY_TEXT];
        if (time_metric(a) == NULL)
            continue;
        if (b != NULL) {
            status = add_row(c, a, b, error);
        } else {
            moe_groups_why_not(&c->b, a, why, sizeof why);
            status = add_unmatched(c, a, true, why, error);
        }
    }
    for (size_t i = 0; status == MOE_OK && i < c->b.count; i++) {
        const moe_group_t *b = &c->b.group[i];
        char why[WHY_TEXT];
        if (time_metric(b) == NULL || moe_groups_find(&c->a, b) != NULL)
            continue;
        moe_groups_why_not(&c->a, b, why, sizeof why);
        status = add_unmatched(c, b, false, why, error);
    }
    return status;
}

static moe_status_t make_room(moe_comparison_t *c, moe_error_t *error)
{
    const size_t most = c->a.count + c->b.count;
    moe_status_t status =
        moe_alloc("rows of a comparison", most, sizeof *c->row, (void **)&c->row, error);
    if (status == MOE_OK)
        status = moe_alloc("rows of a comparison", most, sizeof *c->unmatched,
                           (void **)&c->unmatched, error);
    if (status == MOE_OK)
        status =
            moe_alloc("means of a comparison", most, sizeof *c->mean, (void **)&c->mean, error);
    return status;
}

moe_status_t moe_compare(const moe_results_t *a, const moe_results_t *b, moe_comparison_t *out,
                         moe_error_t *error)
{
    moe_comparison_t c = {0};
    moe_status_t status = moe_groups_create(a, &c.a, error);
    if (status == MOE_OK)
        status = moe_groups_create(b, &c.b, error);
    if (status == MOE_OK)
        status = make_room(&c, error);
    if (status == MOE_OK)
        status = match(&c, error);
    if (status == MOE_OK)
        status = moe_find_differences(a, b, &c, error);
    if (status == MOE_OK) {
        moe_find_means(&c);
        *out = c;
    } else {
        moe_comparison_destroy(&c);
    }
    return status;
}

void moe_comparison_destroy(moe_comparison_t *c)
{
    for (size_t i = 0; i < c->rows; i++) {
        moe_estimate_destroy(&c->row[i].time_a);
        moe_estimate_destroy(&c->row[i].time_b);
    }
    for (size_t i = 0; i < c->unmatched_count; i++)
        free(c->unmatched[i].why);
    for (size_t i = 0; i < c->differences; i++) {
        free(c->difference[i].field);
        json_decref(c->difference[i].a);
        json_decref(c->difference[i].b);
    }
    free(c->row);
    free(c->unmatched);
    free(c->mean);
    free(c->difference);
    moe_groups_destroy(&c->a);
    moe_groups_destroy(&c->b);
    *c = (moe_comparison_t){0};
}
