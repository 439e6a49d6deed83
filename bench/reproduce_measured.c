/* Figures that were measured elsewhere: a configuration, predicted. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forecast.h"
#include "moe/system.h"
#include "predict_fit.h"
#include "reproduce.h"

/* ---- One prediction ---- */

size_t entry_options(const json_t *first, const json_t *second, char **out, size_t most)
{
    const json_t *const lists[] = {first, second};
    size_t count = 0;
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < json_array_size(lists[l]); i++) {
            const char *text = json_string_value(json_array_get(lists[l], i));
            if (text == NULL || count == most)
                return SIZE_MAX;
            out[count++] = (char *)text;
        }
    }
    return count;
}

/* Members of a model that no option gives. */
static moe_status_t set_shape(const entry_t *entry, size_t number, const json_t *shape,
                              moe_model_t *m, moe_error_t *error)
{
    const struct {
        const char *name;
        size_t *out;
    } sizes[] = {{"heads", &m->heads},         {"kv_heads", &m->kv_heads},
                 {"head_dim", &m->head_dim},   {"vocab", &m->vocab},
                 {"dense_ffn", &m->dense_ffn}, {"shared_experts", &m->shared_experts}};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)shape, key, value)
    {
        bool known = strcmp(key, "glu") == 0 && json_is_boolean(value);
        if (known)
            m->glu = json_is_true(value);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const json_int_t whole = json_integer_value(value);
            if (strcmp(sizes[i].name, key) == 0 && json_is_integer(value) && whole >= 0 &&
                whole < 1 << 24) {
                *sizes[i].out = (size_t)whole;
                known = true;
            }
        }
        if (!known)
            return entry_fail(entry, number, error,
                              "shape.%.60s: is no member of a shape, or not of that value", key);
    }
    if (json_object_get(shape, "heads") != NULL)
        m->mla = (moe_mla_t){0};
    return MOE_OK;
}

static moe_status_t reckon(const forecast_run_t *run, reproduction_t *out, moe_error_t *error)
{
    const config_t *c = run->config;
    moe_forecast_t f;
    const moe_status_t status = forecast_style(run, c->style[0], c->algorithm[0]->name, &f, error);
    if (status != MOE_OK)
        return status;
    const double layers = (double)run->total_moe * (c->pass == MOE_TRAINING ? 2 : 1);
    *out = (reproduction_t){
        .iteration = f.iteration,
        .a2a = f.part[MOE_PART_METADATA] + f.part[MOE_PART_DISPATCH] + f.part[MOE_PART_COMBINE],
        .compute = f.part[MOE_PART_COMPUTE],
        .dispatch = f.part[MOE_PART_DISPATCH],
        .combine = f.part[MOE_PART_COMBINE],
        .share = f.share_a2a,
        .dispatch_layer = f.part[MOE_PART_DISPATCH] / layers,
        .combine_layer = f.part[MOE_PART_COMBINE] / layers,
        .sent_rows = f.sent_rows,
        .row_bytes = (double)moe_row_bytes(c->dtype, c->model.hidden),
        .combine_row_bytes = (double)moe_row_bytes(c->combine_dtype, c->model.hidden),
        .padding_share = run->census.padding_share,
        .drop_share = run->census.drop_share};
    return MOE_OK;
}

moe_status_t reproduce_predict(const entry_t *entry, size_t number, char *const *options,
                               size_t option_count, const json_t *shape, reproduction_t *out,
                               moe_error_t *error)
{
    char *argv[MOST_OPTIONS + 3] = {"moe-a2a", "predict"};
    config_t config;
    moe_machine_t machine;
    forecast_run_t run = {0};
    moe_error_t why = {0};
    if (option_count > MOST_OPTIONS)
        return entry_fail(entry, number, error, "options: must be a list of at most %d texts",
                          MOST_OPTIONS);
    for (size_t i = 0; i < option_count; i++)
        argv[2 + i] = options[i];
    moe_status_t status =
        config_read(predict_options(), (int)option_count + 2, argv, &config, &why);
    if (status == MOE_OK)
        status = set_shape(entry, number, shape, &config.model, &why);
    if (status == MOE_OK)
        status = forecast_machine(&config, &machine, &why);
    if (status == MOE_OK)
        status = forecast_check(&config, &machine, &why);
    if (status == MOE_OK)
        status = forecast_create(&config, &machine, NULL, &run, &why);
    if (status == MOE_OK) {
        status = reckon(&run, out, &why);
        forecast_destroy(&run);
    }
    config_destroy(&config);
    return status == MOE_OK ? MOE_OK : entry_fail(entry, number, error, "%.700s", why.text);
}

/* ---- Rows ---- */

static double a2a_ms(const reproduction_t *r)
{
    return r->a2a * 1e3;
}

static double iteration_ms(const reproduction_t *r)
{
    return r->iteration * 1e3;
}

static double compute_ms(const reproduction_t *r)
{
    return (r->iteration - r->a2a) * 1e3;
}

static double share_percent(const reproduction_t *r)
{
    return r->share * 100;
}

static double seconds(const reproduction_t *r)
{
    return r->iteration;
}

/* As libraries count: rows that a rank sends, to itself too, over the time of one exchange. */
static double dispatch_gbps(const reproduction_t *r)
{
    return r->sent_rows * r->row_bytes / r->dispatch_layer / 1e9;
}

static double combine_gbps(const reproduction_t *r)
{
    return r->sent_rows * r->combine_row_bytes / r->combine_layer / 1e9;
}

static const struct {
    const char *name;
    double (*of)(const reproduction_t *r);
} quantities[] = {
    {"a2a_ms", a2a_ms},
    {"iteration_ms", iteration_ms},
    {"compute_ms", compute_ms},
    {"share_percent", share_percent},
    {"seconds", seconds},
    {"dispatch_GBps", dispatch_gbps},
    {"combine_GBps", combine_gbps},
};
#define QUANTITIES (sizeof quantities / sizeof *quantities)

/* "within": {"share_percent": {"points": 6}} */
static allowance_t allowance_of(const entry_t *entry, const char *quantity)
{
    const json_t *within = json_object_get(json_object_get(entry->object, "within"), quantity);
    const json_t *points = json_object_get(within, "points");
    const json_t *percent = json_object_get(within, "percent");
    return (allowance_t){points != NULL ? json_number_value(points) : -1,
                         percent != NULL ? json_number_value(percent) : -1};
}

static bool publishes(const json_t *rows, const char *quantity)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        if (json_object_get(json_object_get(json_array_get(rows, i), "published"), quantity) !=
            NULL)
            return true;
    }
    return false;
}

/* An allowance that no figure is held to would pass for one that holds. */
static moe_status_t check_within(const entry_t *entry, const json_t *rows, moe_error_t *error)
{
    json_t *within = json_object_get(entry->object, "within"), *allowed, *limit;
    const char *quantity, *key;
    if (within != NULL && !json_is_object(within))
        return entry_fail(entry, 0, error, "within: is no object");
    json_object_foreach(within, quantity, allowed)
    {
        if (!publishes(rows, quantity))
            return entry_fail(entry, 0, error, "within.%.60s: no row publishes it", quantity);
        if (json_object_size(allowed) == 0)
            return entry_fail(entry, 0, error, "within.%.60s: has neither points nor percent",
                              quantity);
        json_object_foreach(allowed, key, limit)
        {
            if ((strcmp(key, "points") != 0 && strcmp(key, "percent") != 0) ||
                !json_is_number(limit) || json_number_value(limit) < 0)
                return entry_fail(entry, 0, error,
                                  "within.%.60s.%.60s: there are points and percent, numbers of 0 "
                                  "or more",
                                  quantity, key);
        }
    }
    return MOE_OK;
}

static moe_status_t put_row(const entry_t *entry, size_t number, const json_t *row,
                            const reproduction_t *r, figures_t *out, moe_error_t *error)
{
    const char *label = json_string_value(json_object_get(row, "case")), *key;
    json_t *published;
    moe_status_t status = MOE_OK;
    if (json_object_size(json_object_get(row, "published")) == 0)
        return entry_fail(entry, number, error, "published: states nothing that is reckoned");
    json_object_foreach(json_object_get(row, "published"), key, published)
    {
        size_t q = 0;
        while (q < QUANTITIES && strcmp(quantities[q].name, key) != 0)
            q++;
        if (q == QUANTITIES || !json_is_string(published))
            return entry_fail(entry, number, error,
                              "published.%.60s: is no quantity of a prediction, or no text", key);
        if (!isfinite(quantities[q].of(r)))
            return entry_fail(entry, number, error,
                              "published.%.60s: these options give none: nothing is sent, or takes "
                              "any time",
                              key);
        status = figures_add(out, label != NULL ? label : "", key, json_string_value(published),
                             quantities[q].of(r), false, allowance_of(entry, key), error);
        if (status != MOE_OK)
            return status;
    }
    return MOE_OK;
}

moe_status_t reproduce_measured(const entry_t *entry, figures_t *out, moe_error_t *error)
{
    const json_t *rows = json_object_get(entry->object, "rows");
    moe_status_t status =
        json_array_size(rows) > 0 ? MOE_OK : entry_fail(entry, 0, error, "rows: there are none");
    for (size_t i = 0; status == MOE_OK && i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        char *options[MOST_OPTIONS];
        reproduction_t r;
        const size_t count = entry_options(json_object_get(entry->object, "options"),
                                           json_object_get(row, "options"), options, MOST_OPTIONS);
        status = reproduce_predict(entry, i + 1, options, count,
                                   json_object_get(entry->object, "shape"), &r, error);
        if (status == MOE_OK)
            status = put_row(entry, i + 1, row, &r, out, error);
    }
    return status == MOE_OK ? check_within(entry, rows, error) : status;
}
