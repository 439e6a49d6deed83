/* moe-a2a pattern: realise and describe a routing pattern; no ranks, no MPI. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "layers.h"
#include "moe/system.h"
#include "output.h"
#include "pattern_files.h"
#include "steps.h"
#include "workload_list.h"

static const command_t command = {
    .name = "pattern",
    .summary = "realise and describe a pattern: load, capacity, bytes of every style",
    .help =
        "Routes the tokens of all ranks and prints the load of experts and ranks, drops, and the "
        "bytes that each style would put on the wire. Runs in one process. --list names the "
        "workloads "
        "that come with the program.\v"
        "  moe-a2a pattern --model mixtral-8x7b --ranks 8 --tokens 1024 --skew zipf:1.2 "
        "--capacity-factor 1.25 --json -\n"
        "  moe-a2a pattern --import auto router_trace.jsonl\n"
        "  moe-a2a pattern --experts 64 --top-k 8 --skew trace:routed.npy --export nccl-tests "
        "m.txt\n"
        "  moe-a2a pattern --workload rotating --ranks 16 --steps 4",
    .groups = GROUP_MODEL | GROUP_ROUTING | GROUP_LAYOUT | GROUP_STYLE | GROUP_OUTPUT |
              GROUP_PAIRS | GROUP_PATTERN | GROUP_STEPS | GROUP_LISTING,
    .standard_style = "padded,padded-max,exact",
};

/* Loss figures are made of at most about so many tokens: see layers.c. */
#define GATE_SUM_TOKENS 65536

/* What one style moves. A group's ranks are consecutive, so a flow over all ranks of the run holds the
 * groups as blocks on its diagonal. */
typedef struct style_bytes {
    moe_flow_t dispatch, combine;
    size_t metadata;
} style_bytes_t;

/* The first MoE layer of all expert-parallel groups. */
typedef struct pattern {
    config_t *config;
    FILE *table;
    moe_recorder_t *recorder;
    layer_set_t *group; /* [dp] */
    size_t *count_max;  /* [dp] largest kept count of any rank and expert */
    moe_census_t census;
    style_bytes_t *style; /* [styles] */
    size_t ranks_per_node;
    steps_t *steps;
} pattern_t;

static void add_to_census(pattern_t *p, size_t g, size_t r, const moe_batch_t *batch)
{
    const config_t *c = p->config;
    const size_t stride = c->tokens * c->ep * c->dp / GATE_SUM_TOKENS + 1;
    moe_census_add(&p->census, &p->group[g].workload[0], batch, g * c->ep, stride);
    for (size_t e = 0; e < p->group[g].workload[0].placement->experts; e++) {
        p->count_max[g] = batch->counts[e] > p->count_max[g] ? batch->counts[e] : p->count_max[g];
    }
    (void)r;
}

static void add_to_styles(pattern_t *p, size_t g, size_t r, const moe_batch_t *batch)
{
    const config_t *c = p->config;
    moe_sizes_t sizes;
    moe_sizes_of(&p->group[g].workload[0], p->count_max[g], &sizes);
    for (size_t s = 0; s < c->styles; s++) {
        style_bytes_t *bytes = &p->style[s];
        moe_flow_add_batch(c->style[s], &sizes, batch, r, g * c->ep, &bytes->dispatch,
                           &bytes->combine);
        bytes->metadata += moe_style_metadata_bytes(c->style[s], &sizes, r);
    }
}

/* Routes all ranks of all groups, one batch in memory at a time. */
static moe_status_t over_ranks(pattern_t *p,
                               void (*add)(pattern_t *, size_t, size_t, const moe_batch_t *),
                               moe_error_t *error)
{
    for (size_t g = 0; g < p->config->dp; g++) {
        for (size_t r = 0; r < p->config->ep; r++) {
            moe_batch_t *batch = NULL;
            const moe_status_t status =
                moe_batch_create(&p->group[g].workload[0], r, &batch, error);
            if (status != MOE_OK) {
                return status;
            }
            add(p, g, r, batch);
            moe_batch_destroy(batch);
        }
    }
    return MOE_OK;
}

static moe_status_t check_memory(const config_t *c, moe_error_t *error)
{
    const double ranks = (double)c->ep * (double)c->dp;
    const double bytes = (double)config_batch_bytes(c) +
                         ranks * (double)(1 + 6 * c->styles) * sizeof(size_t) +
                         2.0 * (double)c->styles * MOE_FLOW_CELLS * MOE_FLOW_CELLS * sizeof(size_t);
    return config_routing_fits(bytes, error);
}

static moe_status_t make_groups(pattern_t *p, moe_error_t *error)
{
    const config_t *c = p->config;
    moe_status_t status = moe_alloc("groups", c->dp, sizeof *p->group, (void **)&p->group, error);
    if (status == MOE_OK) {
        status = moe_alloc("groups", c->dp, sizeof *p->count_max, (void **)&p->count_max, error);
    }
    for (size_t g = 0; status == MOE_OK && g < c->dp; g++) {
        status = layer_set_create(c, g * c->ep, p->ranks_per_node, 1, &p->group[g], error);
    }
    return status;
}

static moe_status_t make_flows(pattern_t *p, moe_error_t *error)
{
    const config_t *c = p->config;
    const size_t ranks = c->ep * c->dp, hidden = c->model.hidden;
    moe_sizes_t sizes;
    moe_sizes_of(&p->group[0].workload[0], 0, &sizes);
    moe_status_t status =
        moe_alloc("styles", c->styles, sizeof *p->style, (void **)&p->style, error);
    for (size_t s = 0; status == MOE_OK && s < c->styles; s++) {
        const size_t wide =
            moe_row_bytes(c->dtype, hidden) + moe_style_side_bytes(c->style[s], &sizes);
        status = moe_flow_create(ranks, p->ranks_per_node, wide, &p->style[s].dispatch, error);
        if (status == MOE_OK) {
            status =
                moe_flow_create(ranks, p->ranks_per_node, moe_row_bytes(c->combine_dtype, hidden),
                                &p->style[s].combine, error);
        }
    }
    return status;
}

static moe_status_t route_all(pattern_t *p, moe_error_t *error)
{
    const config_t *c = p->config;
    moe_status_t status = check_memory(c, error);
    if (status == MOE_OK) {
        status = make_groups(p, error);
    }
    if (status == MOE_OK) {
        status = moe_census_create_placed(p->group[0].workload[0].placement, c->ep * c->dp,
                                          &p->census, error);
    }
    if (status == MOE_OK) {
        status = layer_set_choose(&p->group[0], p->config, p->table, error);
    }
    if (status == MOE_OK) {
        status = make_flows(p, error);
    }
    if (status == MOE_OK) {
        status = over_ranks(p, add_to_census, error);
    }
    return status == MOE_OK ? over_ranks(p, add_to_styles, error) : status;
}

/* ---- Styles ---- */

static moe_status_t record_flow(const pattern_t *p, const moe_style_ops_t *style, const char *phase,
                                const moe_flow_t *flow, size_t metadata, moe_error_t *error)
{
    moe_bytes_t bytes = flow->bytes;
    bytes.logical += metadata;
    bytes.wire += metadata;
    size_t busiest;
    const size_t port = moe_flow_busiest(flow, &busiest);
    json_t *record = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:o}", "record", "traffic", "style", style->name,
        "phase", phase, "bytes", moe_json_bytes(&bytes), "tiers", moe_json_tiers(&flow->tiers),
        "busiest_rank", (json_int_t)busiest, "busiest_rank_bytes", (json_int_t)port,
        "metadata_bytes", (json_int_t)metadata, "matrix_hash", moe_json_hash(flow->hash));
    return moe_recorder_write(p->recorder, record, error);
}

static void print_flow(FILE *out, const moe_style_ops_t *style, const char *phase,
                       const moe_flow_t *flow, size_t metadata)
{
    size_t busiest;
    const size_t port = moe_flow_busiest(flow, &busiest);
    fprintf(out, "%-16s %-9s %12.3f %12.3f %12.3f %12.3f %12.3f %12.3f %12.3f %9.3f %12.3f %7zu\n",
            style->name, phase, (double)flow->bytes.useful / 1e6,
            (double)(flow->bytes.logical + metadata) / 1e6,
            (double)(flow->bytes.wire + metadata) / 1e6, (double)flow->bytes.padding / 1e6,
            (double)flow->tiers.self / 1e6, (double)flow->tiers.intra_node / 1e6,
            (double)flow->tiers.inter_node / 1e6, (double)metadata / 1e6, (double)port / 1e6,
            busiest);
}

static void print_columns(FILE *out)
{
    fprintf(out, "\nMB of all ranks\n%-16s %-9s %12s %12s %12s %12s %12s %12s %12s %9s %12s %7s\n",
            "style", "phase", "useful", "logical", "wire", "padding", "self", "in node", "between",
            "metadata", "busiest port", "rank");
}

static moe_status_t describe_style(const pattern_t *p, size_t s, moe_error_t *error)
{
    const moe_style_ops_t *style = p->config->style[s];
    const style_bytes_t *bytes = &p->style[s];
    if (p->table != NULL) {
        print_flow(p->table, style, "dispatch", &bytes->dispatch, bytes->metadata);
        print_flow(p->table, style, "combine", &bytes->combine, 0);
    }
    moe_status_t status =
        record_flow(p, style, "dispatch", &bytes->dispatch, bytes->metadata, error);
    if (status == MOE_OK) {
        status = record_flow(p, style, "combine", &bytes->combine, 0, error);
    }
    if (status == MOE_OK && p->config->per_pair) {
        status = write_matrix(p->recorder, style->name, "dispatch", &bytes->dispatch, error);
    }
    return status == MOE_OK && p->config->per_pair
               ? write_matrix(p->recorder, style->name, "combine", &bytes->combine, error)
               : status;
}

/* ---- The run ---- */

static moe_status_t describe(pattern_t *p, moe_error_t *error)
{
    const config_t *c = p->config;
    moe_census_report_t report;
    moe_census_summarise(&p->census, &report);
    const run_place_t place = {.ranks = c->ep * c->dp, .ranks_per_node = p->ranks_per_node};
    moe_status_t status = moe_recorder_write(p->recorder, run_record(c, &place, &report), error);
    if (status == MOE_OK && p->table != NULL) {
        if (c->step == 0) {
            print_heading(p->table, c, &place, &report);
        }
        print_step(p->table, c, &report);
        print_columns(p->table);
    }
    for (size_t s = 0; status == MOE_OK && s < c->styles; s++) {
        status = describe_style(p, s, error);
        if (status == MOE_OK) {
            status = steps_add(p->steps, c, c->style[s]->name, NULL,
                               (double)p->style[s].dispatch.bytes.wire +
                                   (double)p->style[s].combine.bytes.wire,
                               error);
        }
    }
    return status;
}

static void destroy_groups(pattern_t *p)
{
    for (size_t g = 0; p->group != NULL && g < p->config->dp; g++) {
        layer_set_destroy(&p->group[g]);
    }
    for (size_t s = 0; p->style != NULL && s < p->config->styles; s++) {
        moe_flow_destroy(&p->style[s].dispatch);
        moe_flow_destroy(&p->style[s].combine);
    }
    free(p->style);
    free(p->group);
    free(p->count_max);
    moe_census_destroy(&p->census);
}

static moe_status_t run_step(config_t *config, FILE *table, moe_recorder_t *recorder,
                             steps_t *steps, moe_error_t *error)
{
    pattern_t p = {.config = config, .table = table, .recorder = recorder, .steps = steps};
    p.ranks_per_node = config->ranks_per_node > 0 ? config->ranks_per_node
                       : config->ranks < 8        ? config->ranks
                                                  : 8;
    moe_status_t status = route_all(&p, error);
    if (status == MOE_OK) {
        status = describe(&p, error);
    }
    if (status == MOE_OK) {
        status = pattern_export(config, p.group, p.ranks_per_node, table, error);
    }
    destroy_groups(&p);
    return status;
}

static moe_status_t run_pattern(config_t *config, moe_error_t *error)
{
    moe_recorder_t *recorder = NULL;
    steps_t steps = {.figure = "wire_bytes", .title = "wire bytes of dispatch and combine"};
    if (config->options.given[OPT_NAMES] && !config->options.given[OPT_LIST]) {
        return moe_fail(error, MOE_BAD_INPUT, "--names: goes with --list");
    }
    if (config->options.given[OPT_LIST]) {
        return workload_list(config, error);
    }
    if (config->steps > 1 && config->options.value[OPT_EXPORT] != NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "--export: a file holds one step: leave --steps out");
    }
    moe_status_t status = pattern_files_check(config, error);
    if (status == MOE_OK) {
        status = config_lay_out(config, config->ranks, error);
    }
    if (status == MOE_OK) {
        status = moe_recorder_create(config->options.value[OPT_JSON],
                                     config->options.value[OPT_CSV], &recorder, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    FILE *table = config->quiet ? NULL : config->stdout_taken ? stderr : stdout;
    if (config->options.value[OPT_IMPORT] != NULL) {
        status = pattern_import(config, table, recorder, error);
        moe_recorder_destroy(recorder);
        return status;
    }
    for (size_t s = 0; status == MOE_OK && s < config->steps; s++) {
        steps_begin(config, s, recorder);
        status = run_step(config, table, recorder, &steps, error);
    }
    if (status == MOE_OK) {
        status = steps_report(&steps, config, table, recorder, error);
    }
    steps_destroy(&steps);
    moe_recorder_destroy(recorder);
    return status;
}

static int run(int argc, char **argv)
{
    return config_run(&command, argc, argv, run_pattern);
}

const command_entry_t pattern_command = {.command = &command, .run = run, .where = ""};
