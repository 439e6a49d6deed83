/* moe-a2a pattern: realise and describe a routing pattern; no ranks, no MPI. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "layers.h"
#include "moe/system.h"
#include "output.h"

static const command_t command = {
    .name = "pattern",
    .summary = "realise and describe a pattern: load, capacity, bytes of every style",
    .help =
        "Routes the tokens of all ranks and prints the load of experts and ranks, drops, and the "
        "bytes that each style would put on the wire. Runs in one process.\v"
        "  moe-a2a pattern --model mixtral-8x7b --ranks 8 --tokens 1024 --skew zipf:1.2 "
        "--capacity-factor 1.25 --json -",
    .groups = GROUP_MODEL | GROUP_ROUTING | GROUP_LAYOUT | GROUP_STYLE | GROUP_OUTPUT,
};

/* Loss figures are made of at most about so many tokens: see layers.c. */
#define GATE_SUM_TOKENS 65536

/* The first MoE layer of all expert-parallel groups. */
typedef struct pattern {
    const config_t *config;
    FILE *table;
    moe_recorder_t *recorder;
    layer_set_t *group; /* [dp] */
    moe_census_t census;
    size_t *counts; /* [dp * ep][experts] kept selections */
    size_t *kept;   /* [dp * ep] */
    size_t ranks_per_node;
} pattern_t;

static moe_status_t route_group(pattern_t *p, size_t g, moe_error_t *error)
{
    const config_t *c = p->config;
    const size_t experts = c->model.experts, ep = c->ep;
    const size_t all = c->tokens * ep * c->dp;
    const size_t stride = (all + GATE_SUM_TOKENS - 1) / GATE_SUM_TOKENS;
    moe_status_t status = layer_set_create(c, g * ep, 1, &p->group[g], error);
    for (size_t r = 0; status == MOE_OK && r < ep; r++) {
        moe_batch_t *batch = NULL;
        status = moe_batch_create(&p->group[g].workload[0], r, &batch, error);
        if (status == MOE_OK) {
            moe_census_add(&p->census, &p->group[g].workload[0], batch, g * ep,
                           stride > 0 ? stride : 1);
            memcpy(p->counts + (g * ep + r) * experts, batch->counts, experts * sizeof(size_t));
            p->kept[g * ep + r] = batch->kept_selections;
            moe_batch_destroy(batch);
        }
    }
    return status;
}

/* One batch at a time, and what is kept of all. */
static moe_status_t check_memory(const config_t *c, moe_error_t *error)
{
    char need[16], have[16];
    const double bytes =
        (double)moe_batch_bytes(c->tokens, c->model.top_k, c->model.experts) +
        (double)c->ep * (double)c->dp * (double)(c->model.experts + 1) * sizeof(size_t);
    const double available = (double)moe_memory_available();
    if (bytes > available) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "routing tables need %s, %s are available: lower --tokens, --ranks or "
                        "--experts",
                        moe_format_bytes(bytes, need), moe_format_bytes(available, have));
    }
    return MOE_OK;
}

static moe_status_t route_all(pattern_t *p, moe_error_t *error)
{
    const config_t *c = p->config;
    const size_t ranks = c->ep * c->dp, experts = c->model.experts;
    moe_status_t status = check_memory(c, error);
    if (status == MOE_OK) {
        status = moe_census_create(experts, ranks, &p->census, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("groups", c->dp, sizeof *p->group, (void **)&p->group, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("counts of all ranks (lower --ranks)", ranks * experts,
                           sizeof *p->counts, (void **)&p->counts, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("counts of all ranks", ranks, sizeof *p->kept, (void **)&p->kept, error);
    }
    for (size_t g = 0; status == MOE_OK && g < c->dp; g++) {
        status = route_group(p, g, error);
    }
    return status;
}

/* ---- Styles ---- */

/* One style over all groups. A group's ranks are consecutive, so a flow over all ranks of the run
 * holds the groups as blocks on its diagonal. */
typedef struct style_bytes {
    moe_flow_t dispatch, combine;
    size_t metadata;
} style_bytes_t;

static moe_status_t add_group(const pattern_t *p, const moe_style_ops_t *style, size_t g,
                              style_bytes_t *out, moe_error_t *error)
{
    const config_t *c = p->config;
    const size_t ranks = c->ep * c->dp, experts = c->model.experts;
    const size_t *counts = p->counts + g * c->ep * experts;
    size_t count_max = 0, *rows = NULL;
    for (size_t i = 0; i < c->ep * experts; i++) {
        count_max = counts[i] > count_max ? counts[i] : count_max;
    }
    moe_status_t status = moe_alloc("rows", 2 * ranks, sizeof *rows, (void **)&rows, error);
    if (status != MOE_OK) {
        return status;
    }
    moe_sizes_t sizes;
    moe_sizes_of(&p->group[g].workload[0], count_max, &sizes);
    moe_sent_t in_group = {.rows = rows + g * c->ep, .tokens = rows + ranks + g * c->ep};
    const moe_sent_t sent = {.rows = rows, .tokens = rows + ranks};
    for (size_t r = 0; r < c->ep; r++) {
        const size_t rank = g * c->ep + r;
        moe_style_count_rows(style, &sizes, counts + r * experts, &in_group);
        moe_flow_add(&out->dispatch, rank, &sent, p->kept[rank], false);
        moe_flow_add(&out->combine, rank, &sent, p->kept[rank], true);
        out->metadata += moe_style_metadata_bytes(style, &p->group[g].placement, r);
    }
    free(rows);
    return MOE_OK;
}

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
    fprintf(out, "%-11s %-9s %12.3f %12.3f %12.3f %12.3f %12.3f %12.3f %12.3f %9.3f %12.3f %7zu\n",
            style->name, phase, (double)flow->bytes.useful / 1e6,
            (double)(flow->bytes.logical + metadata) / 1e6,
            (double)(flow->bytes.wire + metadata) / 1e6, (double)flow->bytes.padding / 1e6,
            (double)flow->tiers.self / 1e6, (double)flow->tiers.intra_node / 1e6,
            (double)flow->tiers.inter_node / 1e6, (double)metadata / 1e6, (double)port / 1e6,
            busiest);
}

static void print_columns(FILE *out)
{
    fprintf(out, "\nMB of all ranks\n%-11s %-9s %12s %12s %12s %12s %12s %12s %12s %9s %12s %7s\n",
            "style", "phase", "useful", "logical", "wire", "padding", "self", "in node", "between",
            "metadata", "busiest port", "rank");
}

static moe_status_t describe_style(const pattern_t *p, const moe_style_ops_t *style,
                                   moe_error_t *error)
{
    const config_t *c = p->config;
    const size_t ranks = c->ep * c->dp;
    style_bytes_t bytes = {0};
    moe_status_t status = moe_flow_create(
        ranks, p->ranks_per_node, moe_row_bytes(c->dtype, c->model.hidden), &bytes.dispatch, error);
    if (status == MOE_OK) {
        status = moe_flow_create(ranks, p->ranks_per_node,
                                 moe_row_bytes(c->combine_dtype, c->model.hidden), &bytes.combine,
                                 error);
    }
    for (size_t g = 0; status == MOE_OK && g < c->dp; g++) {
        status = add_group(p, style, g, &bytes, error);
    }
    if (status == MOE_OK && p->table != NULL) {
        print_flow(p->table, style, "dispatch", &bytes.dispatch, bytes.metadata);
        print_flow(p->table, style, "combine", &bytes.combine, 0);
    }
    if (status == MOE_OK) {
        status = record_flow(p, style, "dispatch", &bytes.dispatch, bytes.metadata, error);
    }
    if (status == MOE_OK) {
        status = record_flow(p, style, "combine", &bytes.combine, 0, error);
    }
    moe_flow_destroy(&bytes.dispatch);
    moe_flow_destroy(&bytes.combine);
    return status;
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
        print_heading(p->table, c, &place, &report);
        print_columns(p->table);
    }
    for (size_t s = 0; status == MOE_OK && s < c->styles; s++) {
        status = describe_style(p, c->style[s], error);
    }
    return status;
}

static moe_status_t run_pattern(config_t *config, moe_error_t *error)
{
    pattern_t p = {.config = config};
    moe_status_t status = config_lay_out(config, config->ranks, error);
    if (status == MOE_OK) {
        status = moe_recorder_create(config->options.value[OPT_JSON],
                                     config->options.value[OPT_CSV], &p.recorder, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    p.ranks_per_node = config->ranks_per_node > 0 ? config->ranks_per_node
                       : config->ranks < 8        ? config->ranks
                                                  : 8;
    if (!config->quiet) {
        p.table = config->stdout_taken ? stderr : stdout;
    }
    status = route_all(&p, error);
    if (status == MOE_OK) {
        status = describe(&p, error);
    }
    for (size_t g = 0; p.group != NULL && g < config->dp; g++) {
        layer_set_destroy(&p.group[g]);
    }
    free(p.group);
    free(p.counts);
    free(p.kept);
    moe_census_destroy(&p.census);
    moe_recorder_destroy(p.recorder);
    return status;
}

static int run(int argc, char **argv)
{
    config_t config;
    moe_error_t error = {0};
    moe_status_t status = config_read(&command, argc, argv, &config, &error);
    if (status == MOE_OK && !config.options.help) {
        status = run_pattern(&config, &error);
    }
    if (status != MOE_OK) {
        fprintf(stderr, "moe-a2a pattern: %s\n", error.text);
    }
    return (int)status;
}

const command_entry_t pattern_command = {.command = &command, .run = run, .where = ""};
