#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "moe/record.h"
#include "moe/system.h"

/* ---- Numbers ---- */

static json_t *json_size(size_t value)
{
    /* A saturated count is past what a JSON integer holds. */
    const bool fits = (uintmax_t)value <= INT64_MAX;
    return fits ? json_integer((json_int_t)value) : json_real((double)value);
}

static void set_size(json_t *object, const char *name, size_t value)
{
    json_object_set_new(object, name, json_size(value));
}

/* Infinite and undefined values are left out: JSON has none, and absent means not measured. */
static void set_real(json_t *object, const char *name, double value)
{
    if (isfinite(value))
        json_object_set_new(object, name, json_real(value));
}

/* Microseconds to the nanosecond: what the clock tells, and no digits beyond. */
static double microseconds(double seconds)
{
    return round(seconds * 1e9) / 1e3;
}

json_t *moe_json_bytes(const moe_bytes_t *bytes)
{
    json_t *object = json_object();
    set_size(object, "useful", bytes->useful);
    set_size(object, "logical", bytes->logical);
    set_size(object, "wire", bytes->wire);
    set_size(object, "padding", bytes->padding);
    return object;
}

json_t *moe_json_tiers(const moe_tiers_t *tiers)
{
    json_t *object = json_object();
    set_size(object, "self", tiers->self);
    set_size(object, "intra_node", tiers->intra_node);
    set_size(object, "inter_node", tiers->inter_node);
    return object;
}

json_t *moe_json_matrix(const moe_flow_t *flow)
{
    json_t *rows = json_array();
    for (size_t from = 0; from < flow->cells; from++) {
        json_t *row = json_array();
        for (size_t to = 0; to < flow->cells; to++)
            json_array_append_new(row, json_size(flow->cell[from * flow->cells + to]));
        json_array_append_new(rows, row);
    }
    return rows;
}

json_t *moe_json_load(const moe_load_t *load)
{
    json_t *object = json_object();
    set_real(object, "max_over_mean", load->max_over_mean);
    set_real(object, "cv", load->cv);
    set_real(object, "gini", load->gini);
    set_real(object, "hottest_share", load->hottest_share);
    return object;
}

void moe_json_add_times(json_t *record, const moe_summary_t *seconds)
{
    if (seconds->n == 0)
        return;
    set_real(record, "median_us", microseconds(seconds->median));
    if (seconds->has_interval) {
        set_real(record, "ci_low_us", microseconds(seconds->low));
        set_real(record, "ci_high_us", microseconds(seconds->high));
    }
    set_real(record, "min_us", microseconds(seconds->min));
    if (seconds->has_p95)
        set_real(record, "p95_us", microseconds(seconds->p95));
    if (seconds->has_p99)
        set_real(record, "p99_us", microseconds(seconds->p99));
}

json_t *moe_json_hash(unsigned long long hash)
{
    char text[2 * sizeof hash + 1];
    snprintf(text, sizeof text, "%016llx", hash);
    return json_string(text);
}

json_t *moe_json_times(const double *seconds, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(array, isfinite(seconds[i]) ? json_real(microseconds(seconds[i]))
                                                          : json_null());
    return array;
}

/* ---- Where it ran ---- */

static void set_known(json_t *object, const char *name, size_t value)
{
    if (value > 0)
        set_size(object, name, value);
}

/* Environments and names of files may hold any bytes. */
json_t *moe_json_text(const char *text)
{
    json_t *string = json_string(text);
    char *ascii = string == NULL ? strdup(text) : NULL;
    if (ascii == NULL)
        return string;
    for (char *letter = ascii; *letter != '\0'; letter++) {
        if ((unsigned char)*letter > 127)
            *letter = '?';
    }
    string = json_string(ascii);
    free(ascii);
    return string;
}

static json_t *nics_of(const moe_topology_t *topology)
{
    json_t *nics = json_array();
    for (size_t i = 0; i < topology->nic_count; i++) {
        const moe_nic_t *nic = &topology->nics[i];
        json_t *object = json_pack("{s:o, s:s}", "name", moe_json_text(nic->name), "kind",
                                   nic->fabric ? "openfabrics" : "network");
        if (nic->numa_node != MOE_NUMA_UNKNOWN)
            set_size(object, "numa_node", nic->numa_node);
        json_array_append_new(nics, object);
    }
    return nics;
}

json_t *moe_json_topology(void)
{
    moe_topology_t topology;
    moe_topology_read(&topology);
    json_t *object = json_object();
    set_known(object, "packages", topology.packages);
    set_known(object, "numa_nodes", topology.numa_nodes);
    set_known(object, "cores", topology.cores);
    set_known(object, "pus", topology.pus);
    set_known(object, "memory_bytes", topology.memory_bytes);
    set_known(object, "bound_pus", topology.bound_pus);
    if (topology.cpu[0] != '\0')
        json_object_set_new(object, "cpu", moe_json_text(topology.cpu));
    set_known(object, "l1d_bytes", topology.l1d_bytes);
    set_known(object, "l2_bytes", topology.l2_bytes);
    set_known(object, "l3_bytes", topology.l3_bytes);
    set_known(object, "l3_caches", topology.l3_caches);
    if (topology.nic_count > 0)
        json_object_set_new(object, "nics", nics_of(&topology));
    return object;
}

static void add_variable(void *context, const char *name, const char *value)
{
    json_t *object = context;
    json_object_set_new(object, name, moe_json_text(value));
}

json_t *moe_json_environment(void)
{
    json_t *object = json_object();
    moe_environment_visit(add_variable, object);
    return object;
}

json_t *moe_json_time(void)
{
    char text[sizeof "9999-12-31T23:59:59Z"] = "";
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        return NULL;
    return json_string(text);
}
