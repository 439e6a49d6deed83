#include "output.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "moe/system.h"
#include "trace_report.h"

#ifndef MOE_VERSION
#define MOE_VERSION "unknown"
#endif

static json_t *command_line(const config_t *config)
{
    json_t *list = json_array();
    for (int i = 0; i < config->argc; i++) {
        /* Anything may stand on a command line; a record is UTF-8. */
        json_t *word = json_string(config->argv[i]);
        json_array_append_new(list, word != NULL ? word : json_string("(not UTF-8)"));
    }
    return list;
}

static json_t *model_record(const config_t *config)
{
    const moe_model_t *m = &config->model;
    json_t *overrides = json_array();
    for (int id = OPT_HIDDEN; id <= OPT_MOE_EVERY; id++) {
        if (config->options.given[id]) {
            json_array_append_new(overrides, json_string(option_row((option_t)id)->name));
        }
    }
    json_t *model = json_pack(
        "{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:I}", "name", m->name,
        "overrides", overrides, "hidden", (json_int_t)m->hidden, "expert_ffn",
        (json_int_t)m->expert_ffn, "experts", (json_int_t)m->experts, "top_k", (json_int_t)m->top_k,
        "layers", (json_int_t)m->layers, "moe_layers", (json_int_t)moe_model_moe_layers(m),
        "tokens", (json_int_t)config->tokens, "seq_len", (json_int_t)config->sequence, "dtype",
        moe_dtype_name(config->dtype), "combine_dtype", moe_dtype_name(config->combine_dtype),
        "row_bytes", (json_int_t)moe_row_bytes(config->dtype, m->hidden), "combine_row_bytes",
        (json_int_t)moe_row_bytes(config->combine_dtype, m->hidden));
    if (m->n_group > 0) {
        json_object_set_new(model, "n_group", json_integer((json_int_t)m->n_group));
        json_object_set_new(model, "topk_group", json_integer((json_int_t)m->topk_group));
    }
    return model;
}

/* The gate that the model was published with, where it is another than the one used: its scores,
 * and whether it limits groups. */
static bool published_gate(const config_t *config, char *text, size_t size)
{
    moe_model_t preset;
    if (config->custom || moe_model_find(config->model.name, &preset, NULL) != MOE_OK) {
        return false;
    }
    snprintf(text, size, "%s%s", preset.n_group > 0 ? "group-limited:" : "", preset.gate);
    const char *used = moe_gate_name(config->routing.gate);
    const bool sigmoid =
        strncmp(preset.gate, "sigmoid", strlen("sigmoid")) == 0 && strcmp(used, "sigmoid") == 0;
    return strcmp(text, used) != 0 && !(sigmoid && preset.n_group == config->model.n_group);
}

/* Gate, skew and placement; the last two may be names of files. */
#define SPEC_TEXT (MOE_SKEW_FILE_TEXT + PATH_MAX + 64)

static void routing_spec(const config_t *config, char *text, size_t size)
{
    snprintf(text, size, "%s/%s/%.4095s", moe_gate_name(config->routing.gate),
             config->routing.skew.text, config->placement);
}

/* Ranks of the nodes that a workload supposes, where all ranks of a group share one; 0: none. */
static size_t supposed_node(const config_t *config, const run_place_t *place)
{
    const size_t ranks =
        moe_scenario_node_ranks(config->scenario, config->ep, place->ranks_per_node);
    return ranks != place->ranks_per_node ? ranks : 0;
}

static void workload_record(const config_t *config, const run_place_t *place, json_t *routing)
{
    if (config->scenario == NULL) {
        return;
    }
    json_object_set_new(routing, "workload", json_string(moe_scenario_name(config->scenario)));
    json_object_set_new(routing, "workload_hash",
                        moe_json_hash(moe_scenario_hash(config->scenario)));
    size_t least, most;
    config_tokens_range(config, &least, &most);
    json_object_set_new(routing, "tokens_min", json_integer((json_int_t)least));
    json_object_set_new(routing, "tokens_max", json_integer((json_int_t)most));
    const size_t node = supposed_node(config, place);
    if (node > 0) {
        json_object_set_new(routing, "supposed_ranks_per_node", json_integer((json_int_t)node));
    }
}

static void print_workload(FILE *out, const config_t *config, const run_place_t *place)
{
    const size_t cycle = moe_scenario_cycle(config->scenario, config->ep);
    const size_t node = supposed_node(config, place);
    fprintf(out, "workload  %s: %s\n", moe_scenario_name(config->scenario),
            moe_scenario_isolates(config->scenario));
    if (node > 0) {
        fprintf(out,
                "          all ranks of a group share a node: nodes of %zu ranks are SUPPOSED\n",
                node);
    }
    if (cycle > 1 && config->steps == 1) {
        fprintf(out, "          it repeats after %zu steps, and this is the first: --steps %zu\n",
                cycle, cycle);
    }
}

static json_t *routing_record(const config_t *config, const run_place_t *place,
                              const moe_census_report_t *report)
{
    char spec[SPEC_TEXT];
    routing_spec(config, spec, sizeof spec);
    json_t *routing =
        json_pack("{s:s, s:s, s:s, s:s, s:I}", "spec", spec, "gate",
                  moe_gate_name(config->routing.gate), "skew", config->routing.skew.text,
                  "placement", config->placement, "seed", (json_int_t)config->routing.seed);
    if (place->routed == 0) {
        json_object_set_new(routing, "hash", moe_json_hash(report->hash));
    } else {
        json_object_set_new(routing, "routed_ranks", json_integer((json_int_t)place->routed));
    }
    json_t *trace = trace_record(config);
    if (trace != NULL) {
        json_object_set_new(routing, "trace", trace);
    }
    char published[64];
    if (published_gate(config, published, sizeof published)) {
        json_object_set_new(routing, "published_gate", json_string(published));
    }
    workload_record(config, place, routing);
    if (report->block_rank_max_over_mean > 0) {
        json_object_set_new(routing, "experts_placed",
                            json_integer((json_int_t)config_physical_experts(config)));
        json_object_set_new(routing, "block_rank_max_over_mean",
                            json_real(report->block_rank_max_over_mean));
    }
    return routing;
}

static json_t *load_record(const moe_census_report_t *report)
{
    json_t *load = moe_json_load(&report->expert);
    json_object_set_new(load, "rank_max_over_mean", json_real(report->rank.max_over_mean));
    json_object_set_new(load, "rank", moe_json_load(&report->rank));
    json_object_set_new(load, "aux_loss", json_real(report->aux_loss));
    json_object_set_new(load, "importance_cv2", json_real(report->importance_cv2));
    json_object_set_new(load, "gate_tokens", json_integer((json_int_t)report->gate_tokens));
    return load;
}

/* A gate sees the tokens of a chunk where there are chunks (the first is as large as any). */
static size_t slots_of(const config_t *config)
{
    size_t least, most;
    config_tokens_range(config, &least, &most);
    const size_t tokens = (most + config->chunks - 1) / config->chunks;
    return moe_capacity_slots(tokens, config_physical_experts(config), config->model.top_k,
                              config->capacity.factor, config->capacity.min);
}

static json_t *capacity_record(const config_t *config, const moe_census_report_t *report)
{
    json_t *capacity = json_pack("{s:f, s:f}", "factor", config->capacity.factor, "drop_share",
                                 report->drop_share);
    if (config->capacity.factor > 0) {
        json_object_set_new(capacity, "slots", json_integer((json_int_t)slots_of(config)));
        json_object_set_new(capacity, "min", json_integer((json_int_t)config->capacity.min));
        json_object_set_new(capacity, "drop", json_string(moe_drop_name(config->capacity.drop)));
    }
    if (report->padding_share >= 0) {
        json_object_set_new(capacity, "padding_share", json_real(report->padding_share));
    }
    return capacity;
}

json_t *run_record(const config_t *config, const run_place_t *place,
                   const moe_census_report_t *report)
{
    json_t *run =
        json_pack("{s:s, s:i, s:s, s:s, s:o, s:o, s:I}", "record", "run", "schema", MOE_SCHEMA,
                  "program", "moe-a2a", "version", MOE_VERSION, "command", command_line(config),
                  "time", moe_json_time(), "ranks", (json_int_t)place->ranks);
    if (place->host != NULL) {
        json_t *hosts = json_array();
        for (size_t r = 0; r < place->ranks; r++) {
            json_array_append_new(hosts, json_string(place->host(place->context, r)));
        }
        json_object_set_new(run, "nodes", json_integer((json_int_t)place->nodes));
        json_object_set_new(run, "hosts", hosts);
        json_object_set_new(run, "transport", json_string(place->transport));
        json_object_set_new(run, "device", json_string(place->device));
        if (strcmp(place->transport, "loopback") != 0) {
            json_object_set_new(run, "mpi", json_string(place->transport_version));
        }
        json_object_set_new(run, "topology", moe_json_topology());
        json_object_set_new(run, "env", moe_json_environment());
    }
    if (place->record_device != NULL) {
        place->record_device(place->context, run);
    }
    if (config->chunks > 1) {
        json_object_set_new(run, "overlap", json_string(config->options.value[OPT_OVERLAP]));
    }
    if (place->compute != NULL) {
        json_object_set_new(run, "compute", json_string(place->compute));
    }
    if (config->launch > 0) {
        json_object_set_new(run, "launch", json_integer((json_int_t)config->launch));
    }
    if (config->command->groups & GROUP_MEASURE) {
        json_object_set_new(run, "check", json_string(config->options.value[OPT_CHECK]));
    }
    if (report == NULL) {
        json_object_set_new(
            run, "layout", json_pack("{s:I}", "ranks_per_node", (json_int_t)place->ranks_per_node));
        return run;
    }
    json_object_set_new(run, "model", model_record(config));
    json_object_set_new(run, "layout",
                        json_pack("{s:I, s:I, s:I}", "ep", (json_int_t)config->ep, "dp",
                                  (json_int_t)config->dp, "ranks_per_node",
                                  (json_int_t)place->ranks_per_node));
    json_object_set_new(run, "routing", routing_record(config, place, report));
    json_object_set_new(run, "load", load_record(report));
    json_object_set_new(run, "capacity", capacity_record(config, report));
    return run;
}

moe_status_t write_matrix(moe_recorder_t *recorder, const char *style, const char *phase,
                          const moe_flow_t *flow, moe_error_t *error)
{
    json_t *record = json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o}", "record", "matrix", "style",
                               style, "phase", phase, "ranks", (json_int_t)flow->ranks,
                               "ranks_per_cell", (json_int_t)flow->ranks_per_cell, "matrix_hash",
                               moe_json_hash(flow->hash), "bytes", moe_json_matrix(flow));
    return moe_recorder_write(recorder, record, error);
}

static void print_capacity(FILE *out, const config_t *config, const moe_census_report_t *report)
{
    if (config->capacity.factor <= 0) {
        fprintf(out, "capacity  none: nothing is dropped\n");
        return;
    }
    fprintf(out, "capacity  factor %g, %zu slots an expert and %s, %.1f %% of selections dropped",
            config->capacity.factor, slots_of(config), config->chunks > 1 ? "chunk" : "rank",
            100 * report->drop_share);
    if (report->padding_share >= 0) {
        fprintf(out, ", %.1f %% of slots empty", 100 * report->padding_share);
    }
    fprintf(out, "\n");
}

static void print_tokens(FILE *out, const config_t *config)
{
    size_t least, most;
    config_tokens_range(config, &least, &most);
    if (least < most) {
        fprintf(out, "%zu to ", least);
    }
    fprintf(out, "%zu tokens a rank", most);
}

/* What differs from step to step. */
static void print_routed(FILE *out, const config_t *config, const moe_census_report_t *report)
{
    const moe_model_t *m = &config->model;
    fprintf(out,
            "load      experts: max/mean %.2f, CV %.2f, Gini %.2f, hottest %.1f %%; "
            "ranks: max/mean %.2f, CV %.2f\n"
            "          auxiliary loss %.3g (even: %.3g), CV^2 of importance %.3g\n",
            report->expert.max_over_mean, report->expert.cv, report->expert.gini,
            100 * report->expert.hottest_share, report->rank.max_over_mean, report->rank.cv,
            report->aux_loss, 1.0 / ((double)m->experts * (double)m->experts),
            report->importance_cv2);
    if (report->block_rank_max_over_mean > 0) {
        const size_t physical = config_physical_experts(config);
        fprintf(
            out,
            "eplb      %zu experts placed as %zu (%zu redundant): ranks' max/mean %.2f, which in "
            "blocks would be %.2f\n",
            m->experts, physical, physical - m->experts, report->rank.max_over_mean,
            report->block_rank_max_over_mean);
    }
    print_capacity(out, config, report);
}

void print_step(FILE *out, const config_t *config, const moe_census_report_t *report)
{
    if (!config->counts_steps) {
        return;
    }
    fprintf(out, "\nSTEP %" PRIu32 " of %zu: ", config->step, config->steps);
    print_tokens(out, config);
    fprintf(out, ", hash %016" PRIx64 "\n", report->hash);
    print_routed(out, config, report);
}

void print_heading(FILE *out, const config_t *config, const run_place_t *place,
                   const moe_census_report_t *report)
{
    const moe_model_t *m = &config->model;
    char spec[SPEC_TEXT], row[16];
    routing_spec(config, spec, sizeof spec);
    fprintf(
        out,
        "model     %s: hidden %zu, %zu experts, top-%zu, %zu of %zu layers MoE; a %s row is %s\n",
        m->name, m->hidden, m->experts, m->top_k, moe_model_moe_layers(m), m->layers,
        moe_dtype_name(config->dtype),
        moe_format_bytes((double)moe_row_bytes(config->dtype, m->hidden), row));
    fprintf(out, "layout    %zu ranks (ep %zu, dp %zu), %zu a node; ", place->ranks, config->ep,
            config->dp, place->ranks_per_node);
    print_tokens(out, config);
    if (place->transport != NULL) {
        fprintf(out, "; %s on %s\n          %s", place->transport, place->device,
                place->transport_version);
    }
    fprintf(out, "\n");
    if (place->print_device != NULL) {
        place->print_device(place->context, out);
    }
    if (place->routed > 0) {
        fprintf(out,
                "routing   %s, seed %" PRIu64
                "; %zu ranks routed, which stand for %zu: load figures "
                "are theirs\n",
                spec, config->routing.seed, place->routed, config->ep);
    } else if (config->counts_steps) {
        fprintf(out, "routing   %s, seed %" PRIu64 "\n", spec, config->routing.seed);
    } else {
        fprintf(out, "routing   %s, seed %" PRIu64 ", hash %016" PRIx64 "\n", spec,
                config->routing.seed, report->hash);
    }
    trace_print(out, config);
    char published[64];
    if (published_gate(config, published, sizeof published)) {
        fprintf(out, "          (%s itself publishes the gate %s)\n", m->name, published);
    }
    if (config->scenario != NULL) {
        print_workload(out, config, place);
    }
    if (!config->counts_steps) {
        print_routed(out, config, report);
    }
}

void format_interval(char *text, size_t size, const moe_summary_t *summary, double scale,
                     int digits)
{
    if (summary->has_interval) {
        snprintf(text, size, "%.*f [%.*f, %.*f]", digits, summary->median * scale, digits,
                 summary->low * scale, digits, summary->high * scale);
    } else {
        snprintf(text, size, "%.*f [n/a]", digits, summary->median * scale);
    }
}

void format_or_na(char *text, size_t size, bool has, double value, int digits)
{
    if (has) {
        snprintf(text, size, "%.*f", digits, value);
    } else {
        snprintf(text, size, "n/a");
    }
}
