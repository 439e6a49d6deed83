#include "trace_report.h"

#include <string.h>

#include "moe/record.h"

const char *trace_kind_name(const moe_trace_t *trace)
{
    return trace->kind == MOE_TRACE_CHOICES  ? "choices"
           : trace->kind == MOE_TRACE_COUNTS ? "counts"
                                             : "map";
}

void trace_describe(const moe_trace_t *trace, char text[TRACE_TEXT])
{
    const char *const more = trace->experts_known ? "" : " or more";
    char ranks[48] = "", steps[48] = "";
    if (trace->has_ranks) {
        snprintf(ranks, sizeof ranks, " of %zu ranks", trace->ranks);
    }
    if (trace->has_steps) {
        snprintf(steps, sizeof steps, ", %zu steps", trace->steps);
    }
    if (trace->kind == MOE_TRACE_CHOICES) {
        snprintf(text, TRACE_TEXT, "%zu tokens%s, %zu layer%s%s; top-%zu of %zu experts%s",
                 trace->tokens / trace->layers / trace->steps, ranks, trace->layers,
                 trace->layers == 1 ? "" : "s", steps, trace->top_k, trace->experts, more);
    } else if (trace->kind == MOE_TRACE_COUNTS) {
        snprintf(text, TRACE_TEXT, "counts%s, %zu layer%s%s; %zu experts%s", ranks, trace->layers,
                 trace->layers == 1 ? "" : "s", steps, trace->experts, more);
    } else {
        snprintf(text, TRACE_TEXT, "%zu slots, %zu layers; %zu experts or more", trace->slots,
                 trace->layers, trace->experts);
    }
}

/* How many times a run takes what the trace has. */
typedef struct repeats {
    double tokens; /* in the layer (and rank) that has the fewest */
    double layers, steps;
} repeats_t;

static repeats_t repeats_of(const config_t *c)
{
    const moe_trace_t *t = c->routing.skew.trace;
    const moe_trace_run_t *run = &c->routing.run;
    const bool by_rank = moe_trace_by_rank(t, run);
    const size_t part = by_rank ? 1 : t->ranks, cells = t->steps * t->layers * t->ranks;
    const double in_a_row =
        t->has_steps ? 1 : (double)c->steps; /* steps that go on with its tokens */
    const double needed =
        in_a_row * (double)run->tokens_per_rank * (by_rank ? 1 : (double)run->ranks);
    size_t fewest = t->tokens;
    for (size_t i = 0; i < cells; i += part) {
        const size_t there = t->first[i + part] - t->first[i];
        fewest = there > 0 && there < fewest ? there : fewest;
    }
    return (repeats_t){.tokens = needed / (double)fewest,
                       .layers = (double)moe_model_moe_layers(&c->model) / (double)t->layers,
                       .steps = t->has_steps ? (double)c->steps / (double)t->steps : 0};
}

void trace_print(FILE *out, const config_t *c)
{
    const moe_trace_t *t = c->routing.skew.trace;
    char text[TRACE_TEXT];
    if (t == NULL) {
        return;
    }
    trace_describe(t, text);
    fprintf(out, "          (%s%s: %s)\n", t->format, t->packed ? ", gzip" : "", text);
    if (t->empty_layers > 0) {
        fprintf(out, "          (%zu more layers without any count are left out)\n",
                t->empty_layers);
    }
    if (!moe_skew_is_traced(&c->routing.skew)) {
        fprintf(out, "          (popularity of experts: %s of all steps together)\n",
                t->kind == MOE_TRACE_COUNTS ? "counts" : "choices");
        return;
    }
    const repeats_t repeats = repeats_of(c);
    fprintf(out, "          (%s%s)\n",
            moe_trace_by_rank(t, &c->routing.run) ? "each rank takes the choices of its own number"
                                                  : "choices are dealt out over the ranks in order",
            t->weight == NULL ? "; it has no weights: equal ones are taken" : "");
    if (repeats.tokens > 1) {
        fprintf(out, "          (the run has %.2f times the tokens of the trace: they REPEAT)\n",
                repeats.tokens);
    }
    if (repeats.layers > 1) {
        fprintf(out,
                "          (the model has %.2f times the MoE layers of the trace: they "
                "REPEAT)\n",
                repeats.layers);
    }
    if (repeats.steps > 1) {
        fprintf(out, "          (the run has %.2f times the steps of the trace: they REPEAT)\n",
                repeats.steps);
    }
}

json_t *trace_record(const config_t *c)
{
    const moe_trace_t *t = c->routing.skew.trace;
    if (t == NULL) {
        return NULL;
    }
    json_t *record = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "format", t->format, "kind",
                               trace_kind_name(t), "steps", (json_int_t)t->steps, "layers",
                               (json_int_t)t->layers, "ranks", (json_int_t)t->ranks, "experts",
                               (json_int_t)t->experts, "hash", moe_json_hash(t->hash));
    if (moe_skew_is_traced(&c->routing.skew)) {
        const repeats_t repeats = repeats_of(c);
        json_object_set_new(record, "tokens", json_integer((json_int_t)t->tokens));
        json_object_set_new(
            record, "dealt",
            json_string(moe_trace_by_rank(t, &c->routing.run) ? "by rank" : "in order"));
        json_object_set_new(record, "has_weights", json_boolean(t->weight != NULL));
        json_object_set_new(record, "repeats_tokens", json_real(repeats.tokens));
        json_object_set_new(record, "repeats_layers", json_real(repeats.layers));
        if (repeats.steps > 0) {
            json_object_set_new(record, "repeats_steps", json_real(repeats.steps));
        }
    }
    return record;
}
