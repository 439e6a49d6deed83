#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/predict.h"
#include "moe/system.h"

#define FILE_LIMIT ((size_t)1 << 20)
#define GIGA       1e9
#define TERA       1e12
#define MICRO      1e-6

/* Wider than any machine that there is; outside of these a unit was mistaken. */
#define LEAST_GBPS  1e-6
#define MOST_GBPS   1e6
#define MOST_US     1e7
#define MOST_TFLOPS 1e6
#define MOST_RANKS  ((double)(1 << 20))

/* ---- Fields ---- */

/* Where a field stands, for messages. */
typedef struct place {
    const char *file;
    const char *within; /* "tiers[1]." */
    moe_error_t *error;
} place_t;

static moe_status_t refuse(const place_t *p, const char *field, const char *what)
{
    return moe_fail(p->error, MOE_BAD_INPUT, "%.300s: %s%s: %s", p->file, p->within, field, what);
}

/* A constant: a number, or {"value": number, "source": text}. */
static moe_status_t number_of(const place_t *p, const json_t *value, const char *field, double *out)
{
    if (json_is_object(value)) {
        const char *key;
        json_t *member;
        json_object_foreach((json_t *)value, key, member)
        {
            if (strcmp(key, "value") != 0 && strcmp(key, "source") != 0)
                return refuse(p, field, "a constant has a value and a source, and nothing else");
        }
        const char *source = json_string_value(json_object_get(value, "source"));
        if (source == NULL || source[0] == '\0')
            return refuse(p, field, "its source is missing: say where the value is from");
        value = json_object_get(value, "value");
    }
    if (!json_is_number(value))
        return refuse(p, field, "is no number, nor {\"value\": ..., \"source\": ...}");
    *out = json_number_value(value);
    return MOE_OK;
}

typedef struct constant {
    const char *name;
    double min, max;
    bool required, whole;
    double *out;
    double unit; /* what the value is multiplied by */
} constant_t;

static moe_status_t read_constant(const place_t *p, const json_t *object, const constant_t *c)
{
    const json_t *value = json_object_get(object, c->name);
    double number = 0;
    char text[128];
    if (value == NULL)
        return c->required ? refuse(p, c->name, "missing") : MOE_OK;
    const moe_status_t status = number_of(p, value, c->name, &number);
    if (status != MOE_OK)
        return status;
    if (!(number >= c->min && number <= c->max)) {
        snprintf(text, sizeof text, "%g is not between %g and %g", number, c->min, c->max);
        return refuse(p, c->name, text);
    }
    if (c->whole && number != (double)(size_t)number) {
        snprintf(text, sizeof text, "%g is no whole number", number);
        return refuse(p, c->name, text);
    }
    *c->out = number * c->unit;
    return MOE_OK;
}

/* Constants, and besides them `others` that the caller reads; anything else is a typing error. */
static moe_status_t read_constants(const place_t *p, const json_t *object,
                                   const constant_t *constants, size_t count,
                                   const char *const *others, size_t other_count)
{
    const char *names[32], *key;
    json_t *member;
    size_t known = 0;
    moe_status_t status = MOE_OK;
    if (!json_is_object(object))
        return refuse(p, "", "is no object");
    for (size_t i = 0; i < count; i++)
        names[known++] = constants[i].name;
    for (size_t i = 0; i < other_count; i++)
        names[known++] = others[i];
    json_object_foreach((json_t *)object, key, member)
    {
        bool found = false;
        for (size_t i = 0; i < known; i++)
            found = found || strcmp(names[i], key) == 0;
        if (!found) {
            const char *nearest = moe_nearest(key, names, known);
            return moe_fail(p->error, MOE_BAD_INPUT, "%.300s: %s%.60s: no such field%s%s", p->file,
                            p->within, key, nearest != NULL ? "; nearest: " : "",
                            nearest != NULL ? nearest : "");
        }
    }
    for (size_t i = 0; status == MOE_OK && i < count; i++)
        status = read_constant(p, object, &constants[i]);
    return status;
}

static moe_status_t read_name(const place_t *p, const json_t *object, char *out)
{
    const char *name = json_string_value(json_object_get(object, "name"));
    if (name == NULL || name[0] == '\0' || strlen(name) >= MOE_MACHINE_NAME)
        return refuse(p, "name", "is missing, or no text of 1 to 63 letters");
    snprintf(out, MOE_MACHINE_NAME, "%s", name);
    return MOE_OK;
}

/* ---- Parts ---- */

static moe_status_t read_tier(const place_t *p, const json_t *object, moe_tier_t *out)
{
    static const char *const others[] = {"name", "about"};
    moe_tier_t tier = {.ranks_per_port = 1};
    double ranks = 0, sharing = 1, share = 1;
    const constant_t constants[] = {
        {"ranks", 1, MOST_RANKS, false, true, &ranks, 1},
        {"latency_us", 0, MOST_US, true, false, &tier.latency, MICRO},
        {"overhead_us", 0, MOST_US, true, false, &tier.overhead, MICRO},
        {"bandwidth_GBps", LEAST_GBPS, MOST_GBPS, true, false, &tier.bandwidth, GIGA},
        {"efficiency", 1e-3, 1, false, false, &share, 1},
        {"ranks_per_port", 1, MOST_RANKS, false, true, &sharing, 1},
    };
    moe_status_t status = read_constants(p, object, constants, sizeof constants / sizeof *constants,
                                         others, sizeof others / sizeof *others);
    if (status == MOE_OK)
        status = read_name(p, object, tier.name);
    if (status != MOE_OK)
        return status;
    tier.ranks = (size_t)ranks;
    tier.ranks_per_port = (size_t)sharing;
    tier.bandwidth *= share;
    *out = tier;
    return MOE_OK;
}

static moe_status_t read_tiers(const place_t *p, const json_t *list, moe_machine_t *m)
{
    const size_t count = json_array_size(list);
    if (count < 1 || count > MOE_MOST_TIERS)
        return refuse(p, "tiers", "there must be 1 to 4 of them, nearest first");
    for (size_t t = 0; t < count; t++) {
        char within[32];
        snprintf(within, sizeof within, "tiers[%zu].", t);
        const place_t place = {p->file, within, p->error};
        const moe_status_t status = read_tier(&place, json_array_get(list, t), &m->tier[t]);
        if (status != MOE_OK)
            return status;
        const size_t ranks = m->tier[t].ranks, before = t > 0 ? m->tier[t - 1].ranks : 1;
        if (t + 1 == count && ranks != 0)
            return refuse(&place, "ranks", "the last tier joins all ranks: leave it out");
        if (t + 1 < count && (ranks == 0 || ranks % before != 0 || (t > 0 && ranks <= before)))
            return refuse(&place, "ranks",
                          "must be given, and be a multiple of, and more than, that of the tier "
                          "before");
    }
    m->tiers = count;
    return MOE_OK;
}

static moe_status_t read_compute(const place_t *p, const json_t *object, moe_machine_t *m)
{
    const place_t place = {p->file, "compute.", p->error};
    const constant_t constants[] = {
        {"bf16_TFLOPs", 1e-3, MOST_TFLOPS, false, false, &m->flops[MOE_BF16], TERA},
        {"fp16_TFLOPs", 1e-3, MOST_TFLOPS, false, false, &m->flops[MOE_FP16], TERA},
        {"fp32_TFLOPs", 1e-3, MOST_TFLOPS, false, false, &m->flops[MOE_FP32], TERA},
        {"fp8_TFLOPs", 1e-3, MOST_TFLOPS, false, false, &m->flops[MOE_FP8], TERA},
        {"efficiency", 1e-3, 1, true, false, &m->efficiency, 1},
    };
    return read_constants(&place, object, constants, sizeof constants / sizeof *constants, NULL, 0);
}

static moe_status_t read_machine(const place_t *p, const json_t *object, moe_machine_t *m)
{
    static const char *const others[] = {"schema", "name", "about", "tiers", "compute"};
    double nodes = 0, per_node = 1;
    const constant_t constants[] = {
        {"nodes", 1, MOST_RANKS, false, true, &nodes, 1},
        {"ranks_per_node", 1, MOST_RANKS, true, true, &per_node, 1},
        {"memory_GBps", LEAST_GBPS, MOST_GBPS, true, false, &m->memory, GIGA},
    };
    moe_status_t status = read_constants(p, object, constants, sizeof constants / sizeof *constants,
                                         others, sizeof others / sizeof *others);
    if (status == MOE_OK && json_integer_value(json_object_get(object, "schema")) != 1)
        status = refuse(p, "schema", "this program knows 1");
    if (status == MOE_OK)
        status = read_name(p, object, m->name);
    if (status == MOE_OK)
        status = read_tiers(p, json_object_get(object, "tiers"), m);
    if (status == MOE_OK)
        status = read_compute(p, json_object_get(object, "compute"), m);
    m->nodes = (size_t)nodes;
    m->ranks_per_node = (size_t)per_node;
    return status;
}

moe_status_t moe_machine_read(const char *path, moe_machine_t *out, json_t **document,
                              moe_error_t *error)
{
    char *text = NULL;
    size_t size = 0;
    json_error_t why;
    moe_machine_t machine = {.nodes = 0};
    moe_status_t status = moe_file_read(path, FILE_LIMIT, &text, &size, error);
    if (status != MOE_OK)
        return status;
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    if (object == NULL)
        status = moe_fail(error, MOE_BAD_INPUT, "%.300s:%d:%d: %s", path, why.line, why.column,
                          why.text);
    free(text);
    const place_t place = {path, "", error};
    if (status == MOE_OK)
        status = read_machine(&place, object, &machine);
    if (status == MOE_OK)
        *out = machine;
    if (status == MOE_OK && document != NULL)
        *document = object;
    else
        json_decref(object);
    return status;
}

/* ---- Use ---- */

void moe_machine_set_node(moe_machine_t *machine, size_t ranks_per_node)
{
    for (size_t t = 0; t < machine->tiers; t++) {
        if (machine->tier[t].ranks == machine->ranks_per_node)
            machine->tier[t].ranks = ranks_per_node;
    }
    machine->ranks_per_node = ranks_per_node;
}

moe_status_t moe_machine_check(const moe_machine_t *machine, size_t ranks, moe_error_t *error)
{
    const size_t g = machine->ranks_per_node;
    if (machine->nodes > 0 && ranks > machine->nodes * g)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%zu ranks: machine %s has %zu nodes of %zu ranks, %zu in all", ranks,
                        machine->name, machine->nodes, g, machine->nodes * g);
    for (size_t t = 0; t < machine->tiers; t++) {
        const moe_tier_t *tier = &machine->tier[t];
        const size_t before = t > 0 ? machine->tier[t - 1].ranks : 1;
        if (before == 0)
            return moe_fail(error, MOE_BAD_INPUT,
                            "machine %s: its tier %s joins all ranks, and is not the last",
                            machine->name, machine->tier[t - 1].name);
        if (tier->ranks != 0 && (tier->ranks % before != 0 || (t > 0 && tier->ranks <= before)))
            return moe_fail(error, MOE_BAD_INPUT,
                            "--ranks-per-node %zu: machine %s joins %zu ranks in its tier %s: give "
                            "a divisor of it",
                            g, machine->name, tier->ranks, tier->name);
        if (ranks > g && g % tier->ranks_per_port != 0 && tier->ranks_per_port % g != 0)
            return moe_fail(error, MOE_BAD_INPUT,
                            "machine %s, tier %s: %zu ranks a port do not divide a node of %zu",
                            machine->name, tier->name, tier->ranks_per_port, g);
    }
    return MOE_OK;
}

double moe_machine_flops(const moe_machine_t *machine, moe_dtype_t dtype)
{
    if (machine->flops[dtype] > 0)
        return machine->flops[dtype];
    return dtype == MOE_FP32 ? 0 : machine->flops[MOE_BF16];
}
