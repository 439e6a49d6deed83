/* moe-a2a models: the presets, and what follows from a shape by arithmetic. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "config.h"
#include "moe/record.h"

static const command_t command = {
    .name = "models",
    .arguments = "[NAME]",
    .summary = "presets with sizes, parameters, bytes per token, FLOP per token",
    .help = "Lists the presets, or describes one.\v"
            "  moe-a2a models deepseek-v3 --seq-len 4096",
    .groups = GROUP_LIST,
};

/* Publishers state FLOP per token at this length (arXiv 2505.09343, table 2). */
#define SEQUENCE 4096

static void print_list(FILE *out)
{
    fprintf(out, "%-22s %6s %7s %6s %5s %7s %4s %9s %9s %9s %11s  %s\n", "model", "hidden",
            "experts", "top-k", "ffn", "layers", "MoE", "total B", "published", "active B",
            "token bf16", "gate");
    for (size_t i = 0; i < moe_model_count(); i++) {
        const moe_model_t *m = moe_model_at(i);
        moe_params_t params;
        char published[24] = "-";
        moe_model_params(m, &params);
        if (m->published_params_b > 0) {
            snprintf(published, sizeof published, "%.1f", m->published_params_b);
        }
        fprintf(out, "%-22s %6zu %7zu %6zu %5zu %7zu %4zu %9.1f %9s %9.1f %9zu B  %s\n", m->name,
                m->hidden, m->experts, m->top_k, m->expert_ffn, m->layers, moe_model_moe_layers(m),
                params.total / 1e9, published, params.active / 1e9,
                moe_row_bytes(MOE_BF16, m->hidden), m->gate);
    }
}

static void print_attention(FILE *out, const moe_model_t *m)
{
    if (m->mla.kv_lora > 0) {
        fprintf(out,
                "attention   MLA, %zu heads: q_lora %zu, kv_lora %zu, qk %zu + %zu rotary, v %zu\n",
                m->heads, m->mla.q_lora, m->mla.kv_lora, m->mla.qk_nope, m->mla.qk_rope,
                m->mla.v_head);
    } else {
        fprintf(out, "attention   %zu heads, %zu key/value heads, width %zu\n", m->heads,
                m->kv_heads, m->head_dim);
    }
}

static void print_shape(FILE *out, const moe_model_t *m)
{
    fprintf(out, "%s  (%s)\n", m->name, m->source);
    fprintf(out, "shape       hidden %zu, vocabulary %zu, %zu layers, %zu of them MoE", m->hidden,
            m->vocab, m->layers, moe_model_moe_layers(m));
    if (m->first_dense > 0) {
        fprintf(out, " (the first %zu are dense)", m->first_dense);
    }
    if (m->moe_every > 1) {
        fprintf(out, " (every %zuth)", m->moe_every);
    }
    fprintf(out, "\nexperts     %zu of inner width %zu, top-%zu, gate %s", m->experts,
            m->expert_ffn, m->top_k, m->gate);
    if (m->shared_experts > 0) {
        fprintf(out, "; %zu shared, %zu wide in all", m->shared_experts, moe_model_shared_width(m));
    }
    if (m->n_group > 0) {
        fprintf(out, "; best %zu of %zu groups", m->topk_group, m->n_group);
    }
    if (m->dense_ffn > 0) {
        fprintf(out, "; dense FFN %zu%s", m->dense_ffn,
                m->dense_residual ? " beside the experts of every layer" : "");
    }
    if (m->capacity_factor > 0) {
        fprintf(out, "; capacity factor %g", m->capacity_factor);
    }
    fprintf(out, "\n");
    print_attention(out, m);
    if (m->note[0] != '\0') {
        fprintf(out, "note        %s\n", m->note);
    }
}

static void print_sums(FILE *out, const moe_model_t *m, size_t sequence)
{
    moe_params_t p;
    moe_flops_t f;
    moe_model_params(m, &p);
    moe_model_flops(m, sequence, &f);
    fprintf(out, "token       ");
    for (int d = 0; d < MOE_DTYPES; d++) {
        fprintf(out, "%s%zu B %s", d > 0 ? ", " : "", moe_row_bytes((moe_dtype_t)d, m->hidden),
                moe_dtype_name((moe_dtype_t)d));
    }
    fprintf(out, " (fp8: elements and a scale of 4 B per %d)\n", MOE_FP8_BLOCK);
    fprintf(out, "parameters  %15.0f embedding\n", p.embedding);
    fprintf(out, "            %15.0f attention\n", p.attention);
    fprintf(out, "            %15.0f router\n", p.router);
    fprintf(out, "            %15.0f experts, %.0f of them active\n", p.experts, p.experts_active);
    fprintf(out, "            %15.0f shared experts\n", p.shared);
    fprintf(out, "            %15.0f dense FFN\n", p.dense);
    fprintf(out, "            %15.0f LM head\n", p.lm_head);
    fprintf(out, "            %15.0f total = %.2f B", p.total, p.total / 1e9);
    if (m->published_params_b > 0) {
        fprintf(out, " (published %g B)", m->published_params_b);
    }
    fprintf(out, "\n            %15.0f active = %.2f B", p.active, p.active / 1e9);
    if (m->published_active_b > 0) {
        fprintf(out, " (published %g B, by the publisher's own convention)", m->published_active_b);
    }
    fprintf(out,
            "\nFLOP        per token, sequence %zu, GFLOP: attention %.3f, dense FFN %.3f, experts "
            "%.3f, shared %.3f, head %.3f\n"
            "            forward %.2f, training %.2f (router, not counted in: %.3f)\n",
            sequence, f.attention / 1e9, f.dense / 1e9, f.experts / 1e9, f.shared / 1e9,
            f.head / 1e9, f.forward / 1e9, f.training / 1e9, f.router / 1e9);
}

/* Parameters are whole numbers, and doubles hold them exactly: they are recorded digit by digit. */
static json_t *parameters_record(const moe_model_t *m)
{
    moe_params_t p;
    moe_model_params(m, &p);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "embedding",
                     (json_int_t)p.embedding, "attention", (json_int_t)p.attention, "router",
                     (json_int_t)p.router, "experts", (json_int_t)p.experts, "experts_active",
                     (json_int_t)p.experts_active, "shared", (json_int_t)p.shared, "dense",
                     (json_int_t)p.dense, "lm_head", (json_int_t)p.lm_head, "total",
                     (json_int_t)p.total, "active", (json_int_t)p.active);
}

static json_t *model_record(const moe_model_t *m, size_t sequence)
{
    moe_flops_t f;
    moe_model_flops(m, sequence, &f);
    json_t *bytes = json_object();
    for (int d = 0; d < MOE_DTYPES; d++) {
        json_object_set_new(bytes, moe_dtype_name((moe_dtype_t)d),
                            json_integer((json_int_t)moe_row_bytes((moe_dtype_t)d, m->hidden)));
    }
    return json_pack(
        "{s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:{s:I, s:f, s:f, s:f}, s:s}",
        "record", "model", "schema", MOE_SCHEMA, "name", m->name, "hidden", (json_int_t)m->hidden,
        "expert_ffn", (json_int_t)m->expert_ffn, "experts", (json_int_t)m->experts, "top_k",
        (json_int_t)m->top_k, "layers", (json_int_t)m->layers, "moe_layers",
        (json_int_t)moe_model_moe_layers(m), "token_bytes", bytes, "parameters",
        parameters_record(m), "flop_per_token", "seq_len", (json_int_t)sequence, "forward",
        f.forward, "training", f.training, "router", f.router, "source", m->source);
}

static moe_status_t run_models(config_t *config, moe_error_t *error)
{
    const char *name = config->options.positional;
    FILE *out = config->quiet ? NULL : config->stdout_taken ? stderr : stdout;
    const size_t sequence = config->options.given[OPT_SEQ_LEN] ? config->sequence : SEQUENCE;
    moe_recorder_t *recorder = NULL;
    moe_model_t chosen;
    moe_status_t status =
        moe_recorder_create(config->options.value[OPT_JSON], NULL, &recorder, error);
    if (status == MOE_OK && name != NULL) {
        status = moe_model_find(name, &chosen, error);
    }
    for (size_t i = 0; status == MOE_OK && i < moe_model_count(); i++) {
        const moe_model_t *m = moe_model_at(i);
        if (name == NULL || strcmp(m->name, chosen.name) == 0) {
            status = moe_recorder_write(recorder, model_record(m, sequence), error);
        }
    }
    if (status == MOE_OK && out != NULL && name == NULL) {
        print_list(out);
    } else if (status == MOE_OK && out != NULL) {
        print_shape(out, &chosen);
        print_sums(out, &chosen, sequence);
    }
    moe_recorder_destroy(recorder);
    return status;
}

static int run(int argc, char **argv)
{
    return config_run(&command, argc, argv, run_models);
}

const command_entry_t models_command = {.command = &command, .run = run, .where = ""};
