/* Options of alltoallv: what is exchanged, and how fast its links are. */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "moe/pairs.h"
#include "moe/system.h"

#define STANDARD_SIZES "1K:4M:2"
/* Bytes of a pair, more than any buffer holds. */
#define MAX_SIZE ((size_t)1 << 46)
/* Lines of a sweep: more are a mistake in the step. */
#define MAX_SIZES 4096
/* Bytes a second: less than a byte a minute is no network, and more than this is none yet. */
#define MIN_LINK 1.0
#define MAX_LINK 1e15

bool config_next_size(const config_t *config, size_t size, size_t *out)
{
    const bool past = config->size_adds
                          ? size > config->last_size || config->size_step > config->last_size - size
                          : size > config->last_size / config->size_step;
    if (past) {
        return false;
    }
    *out = config->size_adds ? size + config->size_step : size * config->size_step;
    return true;
}

static moe_status_t refuse_sizes(const char *text, const char *why, moe_error_t *error)
{
    return moe_fail(error, MOE_BAD_INPUT,
                    "--sizes '%.60s': %s; it is MIN:MAX:FACTOR (1K:4M:2), MIN:MAX:+STEP, or SIZE",
                    text, why);
}

static moe_status_t count_sizes(const config_t *c, const char *text, moe_error_t *error)
{
    size_t size = c->first_size, count = 1;
    while (count <= MAX_SIZES && config_next_size(c, size, &size)) {
        count++;
    }
    return count <= MAX_SIZES ? MOE_OK : refuse_sizes(text, "more than 4096 sizes", error);
}

/* parts[0..2]: MIN, MAX, STEP; absent ones NULL. */
static moe_status_t read_size_parts(config_t *c, char *const parts[3], const char *text,
                                    moe_error_t *error)
{
    static const char what[] = "--sizes (MIN:MAX:FACTOR, MIN:MAX:+STEP, or SIZE)";
    moe_status_t status = moe_parse_size(what, parts[0], 1, MAX_SIZE, &c->first_size, error);
    c->last_size = c->first_size;
    if (status == MOE_OK && parts[1] != NULL) {
        status = moe_parse_size(what, parts[1], 1, MAX_SIZE, &c->last_size, error);
    }
    c->size_step = 2;
    c->size_adds = parts[2] != NULL && parts[2][0] == '+';
    if (status == MOE_OK && parts[2] != NULL) {
        status = moe_parse_size(what, parts[2] + c->size_adds, c->size_adds ? 1 : 2, MAX_SIZE,
                                &c->size_step, error);
    }
    if (status == MOE_OK && c->last_size < c->first_size) {
        return refuse_sizes(text, "MAX is less than MIN", error);
    }
    return status == MOE_OK ? count_sizes(c, text, error) : status;
}

static moe_status_t read_sizes(config_t *c, moe_error_t *error)
{
    const char *text = c->options.given[OPT_SIZES] ? c->options.value[OPT_SIZES] : STANDARD_SIZES;
    char *copy = strdup(text), *rest = copy, *parts[3];
    if (copy == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "out of memory");
    }
    for (size_t i = 0; i < 3; i++) {
        parts[i] = strsep(&rest, ":");
    }
    const moe_status_t status = rest == NULL ? read_size_parts(c, parts, text, error)
                                             : refuse_sizes(text, "more than three parts", error);
    free(copy);
    return status;
}

/* Options of model and routing have no meaning but with --pattern. */
static moe_status_t refuse_model(const config_t *c, moe_error_t *error)
{
    for (int id = 0; id < OPTIONS; id++) {
        const bool of_model = id <= OPT_SEED || id == OPT_EP || id == OPT_DP;
        if (of_model && c->options.given[id]) {
            return moe_fail(error, MOE_BAD_INPUT,
                            "--%s: it decides the matrix of --pattern only, and there is none",
                            option_row((option_t)id)->name);
        }
    }
    return MOE_OK;
}

static moe_status_t read_source(config_t *c, moe_error_t *error)
{
    const bool *given = c->options.given;
    if (given[OPT_SIZES] + given[OPT_MATRIX] + given[OPT_PATTERN] > 1) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s and %s: only one of --sizes, --matrix and --pattern says what is "
                        "exchanged",
                        given[OPT_SIZES] ? "--sizes" : "--matrix",
                        given[OPT_PATTERN] ? "--pattern" : "--matrix");
    }
    c->source = given[OPT_MATRIX]                          ? RAW_MATRIX
                : given[OPT_PATTERN]                       ? RAW_PATTERN
                : given[OPT_PER_PAIR] && !given[OPT_SIZES] ? RAW_PAIRS
                                                           : RAW_SIZES;
    moe_status_t status = c->source == RAW_PATTERN ? MOE_OK : refuse_model(c, error);
    c->alternate = given[OPT_ALTERNATE];
    if (c->alternate && (c->source == RAW_SIZES || c->source == RAW_PAIRS)) {
        return moe_fail(error, MOE_BAD_INPUT, "--alternate goes with --matrix or --pattern");
    }
    return status == MOE_OK && c->source == RAW_SIZES ? read_sizes(c, error) : status;
}

static moe_status_t read_pairs(config_t *c, moe_error_t *error)
{
    const bool *given = c->options.given;
    if (c->measure.free_running && (c->per_pair || c->alternate)) {
        return moe_fail(error, MOE_BAD_INPUT, "--sync none: %s starts at a barrier",
                        c->per_pair ? "--per-pair" : "--alternate");
    }
    if (c->source == RAW_PAIRS && given[OPT_GRAPH]) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--graph: messages between pairs of ranks are not recorded as graphs; with "
                        "--per-pair it goes with --sizes, --matrix or --pattern");
    }
    if (given[OPT_PAIR_BYTES] && !c->per_pair) {
        return moe_fail(error, MOE_BAD_INPUT, "--pair-bytes: it is the message of --per-pair");
    }
    if (c->source == RAW_PAIRS && given[OPT_ALGORITHM]) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--algorithm: pairs of ranks need none; with --per-pair it goes with "
                        "--sizes, --matrix or --pattern");
    }
    moe_status_t status = moe_parse_size("--pair-bytes", c->options.value[OPT_PAIR_BYTES], 2,
                                         MOE_PAIRS_BYTES_MAX, &c->pair_bytes, error);
    if (status == MOE_OK && c->pair_bytes % 2 != 0) {
        return moe_fail(error, MOE_BAD_INPUT, "--pair-bytes %zu: not an even number",
                        c->pair_bytes);
    }
    return status;
}

moe_status_t config_read_matrix_bytes(config_t *c, moe_error_t *error)
{
    const char *text = c->options.value[OPT_MATRIX_BYTES];
    if (text != NULL && !c->options.given[OPT_MATRIX] && !c->options.given[OPT_IMPORT]) {
        return moe_fail(error, MOE_BAD_INPUT, "--matrix-bytes: there is no matrix that it is for");
    }
    return text == NULL
               ? MOE_OK
               : moe_parse_size("--matrix-bytes", text, 1, MAX_SIZE, &c->matrix_bytes, error);
}

moe_status_t config_read_raw(config_t *config, moe_error_t *error)
{
    moe_status_t status = read_source(config, error);
    if (status == MOE_OK) {
        status = read_pairs(config, error);
    }
    if (status == MOE_OK) {
        status = config_read_matrix_bytes(config, error);
    }
    const char *link = config->options.value[OPT_LINK_BANDWIDTH];
    if (status != MOE_OK || link == NULL) {
        return status;
    }
    if (strcmp(link, "measure") == 0) {
        config->measure_link = true;
        return MOE_OK;
    }
    return moe_parse_rate("--link-bandwidth (a rate, or measure)", link, MIN_LINK, MAX_LINK,
                          &config->link_bandwidth, error);
}
