#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* Limits that no machine meets, so that products of a few sizes stay inside 64 bits. */
#define MAX_TOKENS ((size_t)1 << 30)
#define MAX_RANKS  ((size_t)1 << 20)
/* Threads of one process. */
#define MAX_LOOPBACK_RANKS ((size_t)1024)
#define MAX_REPS           ((size_t)10000000)
#define MIN_SECONDS        1e-3
#define MAX_SECONDS        1e7

const char *config_given(const config_t *c, option_t id)
{
    return c->options.given[id] ? c->options.value[id] : NULL;
}

/* "--name" of an option, for messages. */
static const char *label(option_t id, char text[64])
{
    snprintf(text, 64, "--%s", option_row(id)->name);
    return text;
}

moe_status_t config_read_size(const config_t *c, option_t id, size_t min, size_t max, size_t *out,
                              moe_error_t *error)
{
    char text[64];
    if (c->options.value[id] == NULL) {
        return MOE_OK;
    }
    return moe_parse_size(label(id, text), c->options.value[id], min, max, out, error);
}

moe_status_t config_name_option(option_t id, moe_status_t status, moe_error_t *error)
{
    char name[64], text[MOE_ERROR_TEXT];
    label(id, name);
    if (status == MOE_OK || error == NULL || strstr(error->text, name) != NULL) {
        return status;
    }
    snprintf(text, sizeof text, "%s", error->text);
    return moe_fail(error, status, "%s: %s", name, text);
}

/* ---- Model ---- */

static moe_status_t read_shape(config_t *c, moe_error_t *error)
{
    moe_model_t *m = &c->model;
    const struct {
        option_t id;
        size_t min, max;
        size_t *out;
    } sizes[] = {
        {OPT_HIDDEN, 1, (size_t)1 << 24, &m->hidden},
        {OPT_EXPERT_FFN, 1, (size_t)1 << 24, &m->expert_ffn},
        {OPT_EXPERTS, 1, MOE_MAX_EXPERTS, &m->experts},
        {OPT_TOP_K, 1, MOE_MAX_TOP_K, &m->top_k},
        {OPT_N_GROUP, 0, MOE_MAX_GROUPS, &m->n_group},
        {OPT_TOPK_GROUP, 0, MOE_MAX_GROUPS, &m->topk_group},
        {OPT_LAYERS, 1, MOE_MAX_LAYERS, &m->layers},
        {OPT_FIRST_DENSE, 0, MOE_MAX_LAYERS, &m->first_dense},
        {OPT_MOE_EVERY, 1, MOE_MAX_LAYERS, &m->moe_every},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        moe_status_t status =
            config_read_size(c, sizes[i].id, sizes[i].min, sizes[i].max, sizes[i].out, error);
        if (status != MOE_OK) {
            return status;
        }
    }
    if (m->n_group == 0 && !c->options.given[OPT_TOPK_GROUP]) {
        m->topk_group = 0; /* the preset's limit went with its groups */
    }
    return moe_model_check(m, error);
}

static moe_status_t read_dtypes(config_t *c, moe_error_t *error)
{
    moe_status_t status = moe_dtype_parse("--dtype", c->options.value[OPT_DTYPE], &c->dtype, error);
    if (status != MOE_OK) {
        return status;
    }
    c->combine_dtype = moe_memory_dtype(c->dtype);
    const char *combine = config_given(c, OPT_COMBINE_DTYPE);
    return combine != NULL ? moe_dtype_parse("--combine-dtype", combine, &c->combine_dtype, error)
                           : MOE_OK;
}

static moe_status_t read_capacity(config_t *c, moe_error_t *error)
{
    c->capacity.factor = c->model.capacity_factor;
    moe_status_t status = MOE_OK;
    if (config_given(c, OPT_CAPACITY_FACTOR) != NULL) {
        status = moe_parse_real("--capacity-factor", config_given(c, OPT_CAPACITY_FACTOR), 0, 1e6,
                                &c->capacity.factor, error);
    }
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_MIN_CAPACITY, 0, MAX_TOKENS, &c->capacity.min, error);
    }
    return status == MOE_OK
               ? moe_drop_parse("--drop", c->options.value[OPT_DROP], &c->capacity.drop, error)
               : status;
}

static moe_status_t read_model(config_t *c, moe_error_t *error)
{
    const char *name = config_given(c, OPT_MODEL);
    moe_status_t status = moe_model_find(name != NULL ? name : "mixtral-8x7b", &c->model, error);
    if (status != MOE_OK) {
        return status;
    }
    for (int id = OPT_HIDDEN; id <= OPT_MOE_EVERY && name == NULL; id++) {
        c->custom = c->custom || c->options.given[id];
    }
    if (c->custom) {
        snprintf(c->model.name, sizeof c->model.name, "custom");
    }
    status = read_shape(c, error);
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_TOKENS, 0, MAX_TOKENS, &c->tokens, error);
    }
    c->sequence = c->tokens > 0 ? c->tokens : 1;
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_SEQ_LEN, 1, MAX_TOKENS, &c->sequence, error);
    }
    if (status == MOE_OK) {
        status = read_dtypes(c, error);
    }
    return status == MOE_OK ? read_capacity(c, error) : status;
}

/* ---- Lists of names ---- */

typedef moe_status_t (*add_fn)(config_t *c, const char *name, moe_error_t *error);

static moe_status_t add_style(config_t *c, const char *name, moe_error_t *error)
{
    const moe_style_ops_t *style;
    moe_status_t status = config_name_option(OPT_STYLE, moe_style_find(name, &style, error), error);
    for (size_t i = 0; status == MOE_OK && i < c->styles; i++) {
        if (c->style[i] == style) {
            return MOE_OK;
        }
    }
    if (status == MOE_OK && c->styles < MAX_LIST) {
        c->style[c->styles++] = style;
    }
    return status;
}

static moe_status_t add_algorithm(config_t *c, const char *name, moe_error_t *error)
{
    const moe_algorithm_ops_t *algorithm;
    moe_status_t status =
        config_name_option(OPT_ALGORITHM, moe_algorithm_find(name, &algorithm, error), error);
    for (size_t i = 0; status == MOE_OK && i < c->algorithms; i++) {
        if (c->algorithm[i] == algorithm) {
            return MOE_OK;
        }
    }
    if (status == MOE_OK && c->algorithms < MAX_LIST) {
        c->algorithm[c->algorithms++] = algorithm;
    }
    return status;
}

static moe_status_t read_list(config_t *c, const char *what, const char *text, add_fn add,
                              moe_error_t *error)
{
    char *copy = strdup(text), *rest = copy;
    moe_status_t status = copy != NULL ? MOE_OK : moe_fail(error, MOE_BAD_INPUT, "out of memory");
    while (status == MOE_OK && rest != NULL) {
        const char *name = strsep(&rest, ",");
        status = name[0] != '\0' ? add(c, name, error)
                                 : moe_fail(error, MOE_BAD_INPUT,
                                            "%s '%s': an empty name in the list", what, text);
    }
    free(copy);
    return status;
}

static moe_status_t read_styles(config_t *c, moe_error_t *error)
{
    const char *list = c->options.value[OPT_STYLE];
    if (list == NULL) {
        list = c->command->standard_style;
    }
    if (list != NULL && strcmp(list, "all") != 0) {
        return read_list(c, "--style", list, add_style, error);
    }
    c->all_styles = true;
    for (size_t i = 0; i < moe_style_count() && i < MAX_LIST; i++) {
        c->style[c->styles++] = moe_style_at(i);
    }
    return MOE_OK;
}

static moe_status_t read_algorithms(config_t *c, moe_error_t *error)
{
    const char *list = c->options.value[OPT_ALGORITHM];
    if (strcmp(list, "all") != 0) {
        return read_list(c, "--algorithm", list, add_algorithm, error);
    }
    for (size_t i = 0; i < moe_algorithm_count() && i < MAX_LIST; i++) {
        c->algorithm[c->algorithms++] = moe_algorithm_at(i);
    }
    return MOE_OK;
}

/* ---- Layout, compute, measuring ---- */

static moe_status_t read_layout(config_t *c, moe_error_t *error)
{
    c->ranks = 8;
    const bool threads = (c->command->groups & GROUP_EXCHANGE) != 0;
    moe_status_t status = config_read_size(
        c, OPT_RANKS, 1, threads ? MAX_LOOPBACK_RANKS : MAX_RANKS, &c->ranks, error);
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_EP, 1, MAX_RANKS, &c->ep, error);
    }
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_DP, 1, MAX_RANKS, &c->dp, error);
    }
    return status == MOE_OK
               ? config_read_size(c, OPT_RANKS_PER_NODE, 1, MAX_RANKS, &c->ranks_per_node, error)
               : status;
}

static moe_status_t read_compute(config_t *c, moe_error_t *error)
{
    const char *pass = c->options.value[OPT_PASS];
    moe_compute_t *probe = NULL;
    c->compute = c->options.value[OPT_COMPUTE];
    const bool of_machine =
        (c->command->groups & GROUP_PREDICT) != 0 && strcmp(c->compute, "machine") == 0;
    moe_status_t status =
        of_machine ? MOE_OK : moe_compute_create("--compute", c->compute, NULL, &probe, error);
    if (status != MOE_OK) {
        return status;
    }
    moe_compute_destroy(probe);
    if (strcmp(pass, "forward") == 0) {
        c->pass = MOE_FORWARD;
    } else if (strcmp(pass, "training") == 0) {
        c->pass = MOE_TRAINING;
    } else {
        return moe_fail(error, MOE_BAD_INPUT, "--pass %s: there is forward and training", pass);
    }
    status = config_read_overlap(c, error);
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_THREADS, 0, 4096, &c->threads, error);
    }
    return status == MOE_OK ? config_read_size(c, OPT_MEASURE_LAYERS, 0, MOE_MAX_LAYERS,
                                               &c->measure_layers, error)
                            : status;
}

static moe_status_t read_check(config_t *c, moe_error_t *error)
{
    static const char *const names[] = {
        [MOE_CHECK_OFF] = "off", [MOE_CHECK_SAMPLE] = "sample", [MOE_CHECK_FULL] = "full"};
    const char *text = c->options.value[OPT_CHECK];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            c->check = (moe_check_t)i;
            return MOE_OK;
        }
    }
    return moe_fail(error, MOE_BAD_INPUT, "--check %s: there is full, sample and off", text);
}

/* Free-running: of the raw exchange only; layer has its `total` for that, an iteration runs free as it is. */
static moe_status_t read_sync(config_t *c, moe_error_t *error)
{
    const char *text = c->options.value[OPT_SYNC];
    const bool raw = (c->command->groups & GROUP_RAW) != 0;
    c->measure.free_running = raw && strcmp(text, "none") == 0;
    c->measure.round_time = strcmp(text, "round-time") == 0;
    if (c->measure.free_running || c->measure.round_time || strcmp(text, "barrier") == 0) {
        return MOE_OK;
    }
    return moe_fail(error, MOE_BAD_INPUT, "--sync %s: there is %s", text,
                    raw ? "barrier, round-time and none" : "barrier and round-time");
}

static moe_status_t read_measure(config_t *c, moe_error_t *error)
{
    const char *const *value = c->options.value;
    moe_measure_spec_t *m = &c->measure;
    double percent = 0;
    moe_status_t status = config_read_size(c, OPT_WARMUP, 0, MAX_REPS, &m->warmup, error);
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_MIN_REPS, 1, MAX_REPS, &m->min_reps, error);
    }
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_MAX_REPS, 1, MAX_REPS, &m->max_reps, error);
    }
    if (status == MOE_OK) {
        status = moe_parse_time("--max-seconds", value[OPT_MAX_SECONDS], MIN_SECONDS, MAX_SECONDS,
                                &m->max_seconds, error);
    }
    if (status == MOE_OK) {
        status =
            moe_parse_time("--timeout", value[OPT_TIMEOUT], 0.1, MAX_SECONDS, &c->timeout, error);
    }
    if (status == MOE_OK) {
        status = moe_parse_real("--ci", value[OPT_CI], 0, 100, &percent, error);
        m->ci = percent / 100;
    }
    if (status == MOE_OK && m->min_reps > m->max_reps) {
        if (c->options.given[OPT_MIN_REPS]) {
            return moe_fail(error, MOE_BAD_INPUT, "--min-reps %zu: more than --max-reps %zu",
                            m->min_reps, m->max_reps);
        }
        m->min_reps = m->max_reps; /* a cap below the default floor is meant */
    }
    if (status == MOE_OK && c->options.given[OPT_LAUNCH]) {
        status = config_read_size(c, OPT_LAUNCH, 1, MAX_REPS, &c->launch, error);
    }
    if (status == MOE_OK) {
        status = read_sync(c, error);
    }
    return status == MOE_OK ? read_check(c, error) : status;
}

/* ---- All of it ---- */

static moe_status_t read_sequence(config_t *c, moe_error_t *error)
{
    return config_read_size(c, OPT_SEQ_LEN, 1, MAX_TOKENS, &c->sequence, error);
}

static moe_status_t read_output(config_t *c, moe_error_t *error)
{
    const char *json = config_given(c, OPT_JSON), *csv = config_given(c, OPT_CSV);
    const bool json_out = json != NULL && strcmp(json, "-") == 0;
    const bool csv_out = csv != NULL && strcmp(csv, "-") == 0;
    if (json_out && csv_out) {
        return moe_fail(error, MOE_BAD_INPUT, "--json - and --csv -: one of them may have stdout");
    }
    c->stdout_taken = json_out || csv_out;
    c->raw = c->options.given[OPT_RAW];
    c->per_rank = c->options.given[OPT_PER_RANK];
    c->per_pair = c->options.given[OPT_PER_PAIR];
    c->quiet = c->options.given[OPT_QUIET];
    return MOE_OK;
}

moe_status_t config_read(const command_t *command, int argc, char **argv, config_t *out,
                         moe_error_t *error)
{
    static const struct {
        unsigned groups;
        moe_status_t (*read)(config_t *c, moe_error_t *error);
    } readers[] = {
        {GROUP_MODEL, read_model},
        {GROUP_ROUTING, config_read_routing},
        {GROUP_LAYOUT, read_layout},
        {GROUP_STYLE, read_styles},
        {GROUP_EXCHANGE, config_read_gpu},
        {GROUP_EXCHANGE | GROUP_PREDICT, read_algorithms},
        {GROUP_COMPUTE | GROUP_PREDICT, read_compute},
        {GROUP_MEASURE, read_measure},
        {GROUP_OUTPUT | GROUP_LIST | GROUP_SUITE, read_output},
        {GROUP_LIST, read_sequence},
        {GROUP_RAW, config_read_raw},
        {GROUP_PATTERN, config_read_matrix_bytes},
    };
    *out = (config_t){.command = command, .argc = argc, .argv = argv, .chunks = 1, .steps = 1};
    /* argv[1] is the subcommand; the parser takes it for the program's name. */
    moe_status_t status = options_parse(command, argc - 1, argv + 1, &out->options, error);
    for (size_t i = 0;
         status == MOE_OK && !out->options.help && i < sizeof readers / sizeof *readers; i++) {
        if (command->groups & readers[i].groups) {
            status = readers[i].read(out, error);
        }
    }
    return status;
}

void config_destroy(config_t *config)
{
    moe_skew_destroy(&config->routing.skew);
    moe_scenario_destroy(config->scenario);
    config->scenario = NULL;
}

moe_status_t config_lay_out(config_t *config, size_t ranks, moe_error_t *error)
{
    if (config->options.given[OPT_RANKS] && config->ranks != ranks) {
        return moe_fail(
            error, MOE_BAD_INPUT,
            "--ranks %zu: MPI has started %zu, and it decides (mpirun -np N); --ranks is "
            "for pattern and --transport loopback",
            config->ranks, ranks);
    }
    if (config->ep == 0 && config->dp == 0) {
        config->ep = ranks;
        config->dp = 1;
    } else if (config->ep == 0) {
        config->ep = ranks / config->dp;
    } else if (config->dp == 0) {
        config->dp = ranks / config->ep;
    }
    if (config->ep == 0 || config->dp == 0 || config->ep * config->dp != ranks) {
        return moe_fail(
            error, MOE_BAD_INPUT,
            "--ep %s times --dp %s is not the %zu ranks of this run: both must divide them",
            config->options.value[OPT_EP] != NULL ? config->options.value[OPT_EP] : "(not given)",
            config->options.value[OPT_DP] != NULL ? config->options.value[OPT_DP] : "(not given)",
            ranks);
    }
    if (config->placement != NULL && moe_eplb_asked(config->placement)) {
        const moe_status_t status = config_check_eplb(config, error);
        if (status != MOE_OK) {
            return config_name_option(OPT_PLACEMENT, status, error);
        }
    }
    if (config->tokens > 0 && ranks > MOE_MAX_TOKENS / config->tokens) {
        return moe_fail(error, MOE_BAD_INPUT, "--tokens %zu on %zu ranks: too many tokens in all",
                        config->tokens, ranks);
    }
    config->routing.run = (moe_trace_run_t){.ranks = ranks, .tokens_per_rank = config->tokens};
    return MOE_OK;
}

moe_status_t config_text(const config_t *config, char **out, moe_error_t *error)
{
    size_t size = 0;
    FILE *text = open_memstream(out, &size);
    if (text == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "out of memory");
    }
    fprintf(text, "command=%s\n", config->command->name);
    for (int id = 0; id < OPTIONS; id++) {
        if (config->options.value[id] != NULL) {
            fprintf(text, "--%s=%s\n", option_row((option_t)id)->name, config->options.value[id]);
        }
    }
    if (config->scenario != NULL) { /* the file of that name may differ from host to host */
        fprintf(text, "--workload (the hash of its file)=%016" PRIx64 "\n",
                moe_scenario_hash(config->scenario));
    }
    if (config->routing.skew.trace != NULL) {
        fprintf(text, "what the file of --skew holds=%016" PRIx64 "\n",
                config->routing.skew.trace->hash);
    }
    fclose(text);
    return MOE_OK;
}

/* ---- A command that runs alone ---- */

int config_run(const command_t *command, int argc, char **argv,
               moe_status_t (*work)(config_t *config, moe_error_t *error))
{
    config_t config;
    moe_error_t error = {0};
    moe_status_t status = config_read(command, argc, argv, &config, &error);
    if (status == MOE_OK && !config.options.help) {
        status = work(&config, &error);
    }
    if (status != MOE_OK) {
        fprintf(stderr, "moe-a2a %s: %s\n", command->name, error.text);
    }
    config_destroy(&config);
    return (int)status;
}
