#include "suite_items.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

#define OLMOE  "--model olmoe-1b-7b --skew zipf:1.0 "
#define STYLES OLMOE "--tokens 512 --capacity-factor 1.25 --style all "

/* A pair sweep, equal blocks and a skewed pattern at three sizes, all styles in both placements, and
 * iterations of two models. */
static const suite_item_t acceptance[] = {
    {"01-pairs", &alltoallv_command, "--per-pair", 3},
    {"02-uniform", &alltoallv_command, "--sizes 64K:4M:8 --algorithm native,pairwise", 6},
    {"03-skewed-small", &alltoallv_command, "--pattern " OLMOE "--tokens 64", 1},
    {"04-skewed-medium", &alltoallv_command, "--pattern " OLMOE "--tokens 512", 1},
    {"05-skewed-large", &alltoallv_command, "--pattern " OLMOE "--tokens 4096", 1},
    {"06-styles-block", &layer_command, STYLES "--placement block --per-rank", 9},
    {"07-styles-round-robin", &layer_command, STYLES "--placement round-robin --per-rank", 9},
    {"08-iteration-olmoe", &iteration_command,
     OLMOE "--tokens 512 --capacity-factor 1.25 --style exact,padded --measure-layers 1", 6},
    {"09-iteration-mixtral", &iteration_command,
     "--model mixtral-8x7b --skew zipf:1.0 --tokens 256 --style exact --measure-layers 1", 3},
};

/* Whether it works at all, in a minute on a laptop. */
static const suite_item_t quick[] = {
    {"01-pairs", &alltoallv_command, "--per-pair --pair-bytes 64K", 2},
    {"02-uniform", &alltoallv_command, "--sizes 64K:1M:16", 2},
    {"03-skewed", &alltoallv_command, "--pattern " OLMOE "--tokens 64", 1},
    {"04-styles", &layer_command, OLMOE "--tokens 64 --style padded-max,exact --per-rank", 2},
    {"05-iteration", &iteration_command, OLMOE "--tokens 32 --style exact --measure-layers 1", 2},
};

static const suite_profile_t profiles[] = {
    {"acceptance", 1200, acceptance, sizeof acceptance / sizeof *acceptance},
    {"quick", 30, quick, sizeof quick / sizeof *quick},
};
#define PROFILES (sizeof profiles / sizeof *profiles)

moe_status_t suite_find(const char *name, const suite_profile_t **out, moe_error_t *error)
{
    for (size_t i = 0; name != NULL && i < PROFILES; i++) {
        if (strcmp(name, profiles[i].name) == 0) {
            *out = &profiles[i];
            return MOE_OK;
        }
    }
    return moe_fail(error, MOE_BAD_INPUT, "%.60s: there is acceptance and quick",
                    name != NULL ? name : "which suite");
}

/* ---- A command line ---- */

#define WORDS_BEFORE 2 /* the program, the command */
#define WORD         4096
/* Set-up, warm-up and checks take the rest. */
#define SHARE_MEASURED 0.6
#define LEAST_SECONDS  0.2
#define MOST_SECONDS   10.0

static char *copy_word(const char *format, const char *a, const char *b)
{
    char text[WORD];
    snprintf(text, sizeof text, format, a, b);
    return strdup(text);
}

/* Of the suite's own options those that say where and how: the item's say what. */
static bool is_passed_on(const config_t *config, const command_t *command, int id)
{
    const option_row_t *row = option_row((option_t)id);
    const unsigned where = GROUP_LAYOUT | GROUP_EXCHANGE | GROUP_GPU | GROUP_MEASURE;
    return config->options.given[id] && (row->groups & where) != 0 &&
           (row->groups & command->groups) != 0 && id != OPT_MAX_SECONDS && id != OPT_ALGORITHM;
}

static size_t add_words(char **line, size_t count, const char *words)
{
    char *copy = strdup(words), *rest = copy;
    for (char *word; rest != NULL && (word = strsep(&rest, " ")) != NULL;) {
        if (word[0] != '\0') {
            line[count++] = strdup(word);
        }
    }
    free(copy);
    return count;
}

static size_t add_options(char **line, size_t count, const config_t *config,
                          const command_t *command)
{
    for (int id = 0; id < OPTIONS; id++) {
        const option_row_t *row = option_row((option_t)id);
        if (is_passed_on(config, command, id)) {
            line[count++] = copy_word(row->argument != NULL ? "--%s=%s" : "--%s", row->name,
                                      config->options.value[id]);
        }
    }
    /* The network is judged: where GEMMs would be a host's, their time on a GPU is waited instead. */
    if ((command->groups & GROUP_COMPUTE) != 0) {
        line[count++] = strdup(config->cuda ? "--compute=gemm" : "--compute=gpu:h100");
    }
    return count;
}

static double seconds_of_row(const suite_profile_t *profile, double seconds)
{
    size_t rows = 0;
    for (size_t i = 0; i < profile->items; i++) {
        rows += profile->item[i].rows;
    }
    double row = SHARE_MEASURED * seconds / (double)rows;
    row = row < LEAST_SECONDS ? LEAST_SECONDS : row > MOST_SECONDS ? MOST_SECONDS : row;
    return row;
}

double suite_item_seconds(const suite_profile_t *profile, const suite_item_t *item, double seconds)
{
    return seconds_of_row(profile, seconds) * (double)item->rows;
}

/* A sweep over pairs is one row to its command. */
static double seconds_to_give(const suite_profile_t *profile, const suite_item_t *item,
                              double seconds)
{
    return strstr(item->words, "--per-pair") != NULL ? suite_item_seconds(profile, item, seconds)
                                                     : seconds_of_row(profile, seconds);
}

moe_status_t suite_line(const suite_profile_t *profile, const suite_item_t *item,
                        const config_t *config, double seconds, const char *records, int *count,
                        char ***out, moe_error_t *error)
{
    char **line = NULL, text[32];
    const size_t room = WORDS_BEFORE + strlen(item->words) + OPTIONS + 4;
    const moe_status_t status =
        moe_alloc("a command line", room, sizeof *line, (void **)&line, error);
    if (status != MOE_OK) {
        return status;
    }
    size_t used = 0;
    snprintf(text, sizeof text, "%.3g", seconds_to_give(profile, item, seconds));
    line[used++] = strdup(config->argv[0]);
    line[used++] = strdup(item->entry->command->name);
    used = add_words(line, used, item->words);
    used = add_options(line, used, config, item->entry->command);
    line[used++] = copy_word("--max-seconds=%s%s", text, "");
    line[used++] = copy_word("--json=%s%s", records, "");
    for (size_t i = 0; i < used; i++) {
        if (line[i] == NULL) {
            suite_free_line(line);
            return moe_fail(error, MOE_BAD_INPUT, "out of memory");
        }
    }
    *count = (int)used;
    *out = line;
    return MOE_OK;
}

void suite_free_line(char **line)
{
    for (size_t i = 0; line != NULL && line[i] != NULL; i++) {
        free(line[i]);
    }
    free(line);
}
