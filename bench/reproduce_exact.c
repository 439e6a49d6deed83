/* Figures that follow by arithmetic: each reckoned by the library, where it has the formula. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "moe/system.h"
#include "reproduce.h"

#define NOT_STATED ((allowance_t){-1, -1})
#define GIGA       1e9

/* One case of an entry. */
typedef struct exact_case {
    const entry_t *entry;
    size_t number;
    const json_t *object;
    figures_t *out;
    moe_error_t *error;
} exact_case_t;

static double input(const exact_case_t *c, const char *name)
{
    return json_number_value(json_object_get(c->object, name));
}

/* Whole numbers that the library takes; a file that gives none gets its message from there. */
static size_t whole(const exact_case_t *c, const char *name)
{
    const double value = input(c, name);
    return value > 0 && value < 1e15 ? (size_t)value : 0;
}

static const char *label_of(const exact_case_t *c)
{
    const char *label = json_string_value(json_object_get(c->object, "case"));
    return label != NULL ? label : "";
}

/* Puts ours beside the published one, where the case states it. */
static moe_status_t put(const exact_case_t *c, const char *quantity, double computed)
{
    const json_t *published = json_object_get(json_object_get(c->object, "published"), quantity);
    const json_t *within = json_object_get(c->object, "within");
    const allowance_t allowance = {within != NULL ? json_number_value(within) : -1, -1};
    if (published == NULL)
        return MOE_OK;
    if (!json_is_string(published))
        return entry_fail(c->entry, c->number, c->error,
                          "published.%s: is no text: its digits count", quantity);
    return figures_add(c->out, label_of(c), quantity, json_string_value(published), computed, true,
                       allowance, c->error);
}

static moe_status_t model_of(const exact_case_t *c, moe_model_t *out)
{
    const char *name = json_string_value(json_object_get(c->object, "model"));
    return moe_model_find(name != NULL ? name : "", out, c->error);
}

/* ---- The checks ---- */

static moe_status_t token_bytes(const exact_case_t *c)
{
    moe_model_t m;
    const moe_status_t status = model_of(c, &m);
    return status == MOE_OK ? put(c, "bytes", (double)moe_row_bytes(MOE_BF16, m.hidden)) : status;
}

static moe_status_t capacity(const exact_case_t *c)
{
    const size_t experts = whole(c, "experts");
    if (experts == 0)
        return entry_fail(c->entry, c->number, c->error, "experts: must be 1 or more");
    return put(c, "slots",
               (double)moe_capacity_slots(whole(c, "tokens"), experts, whole(c, "top_k"),
                                          input(c, "capacity_factor"), whole(c, "min_capacity")));
}

static moe_status_t parameters(const exact_case_t *c)
{
    moe_model_t m;
    moe_params_t p;
    moe_status_t status = model_of(c, &m);
    if (status != MOE_OK)
        return status;
    moe_model_params(&m, &p);
    const struct {
        const char *name;
        double value;
    } values[] = {{"embedding", p.embedding},   {"attention", p.attention},
                  {"experts_total", p.experts}, {"experts_active", p.experts_active},
                  {"lm_head", p.lm_head},       {"total_b", p.total / GIGA}};
    for (size_t i = 0; status == MOE_OK && i < sizeof values / sizeof *values; i++)
        status = put(c, values[i].name, values[i].value);
    return status;
}

static moe_status_t losses(const exact_case_t *c)
{
    const json_t *first = json_object_get(c->object, "first_choice");
    const json_t *probability = json_object_get(c->object, "probability");
    const size_t experts = json_array_size(first);
    moe_gate_sums_t sums;
    if (experts == 0 || json_array_size(probability) != experts)
        return entry_fail(c->entry, c->number, c->error,
                          "first_choice and probability: one value for each expert");
    moe_status_t status = moe_gate_sums_create(experts, &sums, c->error);
    if (status != MOE_OK)
        return status;
    sums.tokens = input(c, "tokens");
    for (size_t e = 0; e < experts; e++) {
        sums.first_choice[e] = json_number_value(json_array_get(first, e));
        sums.probability[e] = json_number_value(json_array_get(probability, e));
    }
    status = put(c, "aux_loss", moe_aux_loss(&sums));
    if (status == MOE_OK)
        status = put(c, "importance_cv2", moe_importance_cv2(&sums));
    moe_gate_sums_destroy(&sums);
    return status;
}

/* Rows that a rank of four sends in style exact, for the choices of its tokens. */
static moe_status_t sent_rows(const exact_case_t *c)
{
    enum { MOST = 64 };
    const json_t *choices = json_object_get(c->object, "choices");
    const size_t experts = whole(c, "experts"), ranks = whole(c, "ranks");
    size_t counts[MOST] = {0}, rows[MOST], tokens[MOST];
    const moe_style_ops_t *exact = NULL;
    moe_placement_t placement;
    if (experts > MOST || ranks > MOST)
        return entry_fail(c->entry, c->number, c->error, "experts, ranks: at most %d here", MOST);
    for (size_t i = 0; i < json_array_size(choices); i++) {
        const json_t *choice = json_array_get(choices, i);
        if (!json_is_integer(choice) || json_integer_value(choice) < 0 ||
            (size_t)json_integer_value(choice) >= experts)
            return entry_fail(c->entry, c->number, c->error,
                              "choices[%zu]: is no expert, a whole number below %zu", i, experts);
        counts[json_integer_value(choice)]++;
    }
    moe_status_t status = moe_style_find("exact", &exact, c->error);
    if (status == MOE_OK)
        status = moe_placement_create("block", experts, ranks, &placement, c->error);
    if (status != MOE_OK)
        return status;
    const moe_sizes_t sizes = {
        .placement = &placement, .top_k = 1, .tokens_max = json_array_size(choices)};
    moe_sent_t sent = {.rows = rows, .tokens = tokens};
    moe_style_count_rows(exact, &sizes, counts, &sent);
    for (size_t r = 0; status == MOE_OK && r < ranks; r++) {
        char quantity[32];
        snprintf(quantity, sizeof quantity, "to_gpu_%zu", r);
        status = put(c, quantity, (double)rows[r]);
    }
    moe_placement_destroy(&placement);
    return status;
}

/* EP communication limit of a decode step: arXiv 2505.09343, section 2.3. */
static moe_status_t decode_limit(const exact_case_t *c)
{
    const double row =
        (input(c, "dispatch_bytes") + input(c, "combine_bytes")) * input(c, "hidden");
    const double seconds =
        row * input(c, "tokens") * input(c, "experts") / (input(c, "link_GBps") * GIGA);
    const moe_status_t status = put(c, "comm_us", seconds * 1e6);
    return status == MOE_OK
               ? put(c, "tpot_ms", seconds * input(c, "micro_batches") * input(c, "layers") * 1e3)
               : status;
}

/* Rows of tokens * top_k selections. */
static moe_status_t selection_bytes(const exact_case_t *c)
{
    const char *name = json_string_value(json_object_get(c->object, "dtype"));
    moe_dtype_t dtype;
    moe_status_t status = moe_dtype_parse("dtype", name != NULL ? name : "", &dtype, c->error);
    if (status != MOE_OK)
        return status;
    const double row = (double)moe_row_bytes(dtype, whole(c, "hidden"));
    const double useful = input(c, "tokens") * input(c, "top_k") * row;
    const double padded = input(c, "tokens") * input(c, "experts") * row;
    status = put(c, "bytes", useful);
    if (status == MOE_OK)
        status = put(c, "padded_bytes", padded);
    if (status == MOE_OK)
        status = put(c, "ratio", padded / useful);
    return status == MOE_OK ? put(c, "GBps", useful / input(c, "us") / 1e3) : status;
}

/* Distinct of `units` equal parts of the experts that a token of uniform routing reaches:
 * U * (1 - C(E - E/U, K) / C(E, K)). */
static moe_status_t distinct_units(const exact_case_t *c)
{
    const double experts = input(c, "experts"), units = input(c, "units");
    double none = 1;
    for (size_t k = 0; (double)k < input(c, "top_k"); k++)
        none *= (experts - experts / units - (double)k) / (experts - (double)k);
    const double distinct = units * (1 - none);
    moe_status_t status = put(c, "distinct", distinct);
    const double row = (double)moe_row_bytes(MOE_FP8, whole(c, "hidden"));
    return status == MOE_OK
               ? put(c, "GBps", input(c, "tokens") * row * distinct / input(c, "us") / 1e3)
               : status;
}

static moe_status_t training_flop(const exact_case_t *c)
{
    moe_model_t m;
    moe_flops_t flops;
    const moe_status_t status = model_of(c, &m);
    if (status != MOE_OK)
        return status;
    moe_model_flops(&m, whole(c, "sequence"), &flops);
    return put(c, "gflop", flops.training / GIGA);
}

/* padded share = 1 - (1 - drop share) / factor, of a routing that is really made. */
static moe_status_t padding_identity(const exact_case_t *c)
{
    const double zeros = input(c, "zeros");
    reproduction_t r;
    char *options[MOST_OPTIONS];
    if (zeros > 0)
        return put(c, "most_top_k_over_experts", 1 - zeros);
    const size_t count =
        entry_options(json_object_get(c->object, "options"), NULL, options, MOST_OPTIONS);
    const moe_status_t status =
        reproduce_predict(c->entry, c->number, options, count, NULL, &r, c->error);
    if (status != MOE_OK)
        return status;
    return put(c, "difference",
               fabs(r.padding_share - (1 - (1 - r.drop_share) / input(c, "capacity_factor"))));
}

/* ---- By name ---- */

static const struct {
    const char *name;
    moe_status_t (*check)(const exact_case_t *c);
} checks[] = {
    {"token-bytes", token_bytes},
    {"capacity", capacity},
    {"parameters", parameters},
    {"losses", losses},
    {"sent-rows", sent_rows},
    {"decode-limit", decode_limit},
    {"selection-bytes", selection_bytes},
    {"distinct-units", distinct_units},
    {"training-flop", training_flop},
    {"padding-identity", padding_identity},
};
#define CHECKS (sizeof checks / sizeof *checks)

moe_status_t reproduce_exact(const entry_t *entry, figures_t *out, moe_error_t *error)
{
    const char *name = entry_text(entry, "check");
    const json_t *cases = json_object_get(entry->object, "cases");
    size_t check = 0;
    while (check < CHECKS && strcmp(checks[check].name, name) != 0)
        check++;
    if (check == CHECKS)
        return entry_fail(entry, 0, error, "check '%.60s': there is no such arithmetic", name);
    if (json_array_size(cases) == 0)
        return entry_fail(entry, 0, error, "cases: there are none");
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < json_array_size(cases); i++) {
        const exact_case_t c = {entry, i + 1, json_array_get(cases, i), out, error};
        const size_t before = out->count;
        status = checks[check].check(&c);
        if (status == MOE_OK && out->count == before)
            status = entry_fail(entry, i + 1, error, "published: states nothing that is reckoned");
    }
    return status;
}
