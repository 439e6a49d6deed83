#include "options.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher.h"
#include "moe/system.h"

#define KEY_BASE  1000 /* past the characters, so that no option gets a letter */
#define KEY_HELP  (KEY_BASE + OPTIONS)
#define HELP_TEXT 512
/* The one letter: where a file is made, as compilers have it. */
#define KEY_OUTPUT 'o'

static const char *const group_titles[] = {"Model:",
                                           "Routing:",
                                           "Layout:",
                                           "Styles:",
                                           "Exchange:",
                                           "Compute:",
                                           "Measuring:",
                                           "Output:",
                                           "",
                                           "",
                                           "What is exchanged:",
                                           "GPUs:",
                                           "Summary:",
                                           "Rules:",
                                           "Suite:",
                                           "Prediction:",
                                           "Reproduction:",
                                           "",
                                           "Output:",
                                           "Files:",

                                           "Steps:",
                                           "What there is:"};

typedef struct parse_state {
    const command_t *command;
    options_t *out;
    moe_error_t *error;
    const option_row_t *awaits; /* the option whose second word comes next; NULL: none does */
} parse_state_t;

/* Options of two words, FORMAT FILE: argp knows of one, and hands over the other as an argument. */
static bool takes_file(option_t id)
{
    return id == OPT_IMPORT || id == OPT_EXPORT;
}

static error_t refuse_missing_file(const parse_state_t *parse)
{
    moe_fail(parse->error, MOE_BAD_INPUT, "--%s %s: a FILE must follow (--%s %s)",
             parse->awaits->name, parse->out->value[parse->awaits->id], parse->awaits->name,
             parse->awaits->argument);
    return EINVAL;
}

static bool takes(const command_t *command, option_t id)
{
    return (command->groups & option_row(id)->groups) != 0;
}

/* The word on the command line that the parser stumbled over. */
static moe_status_t unknown_option(const command_t *command, const char *word, moe_error_t *error)
{
    const char *names[OPTIONS];
    size_t count = 0;
    char name[64];
    snprintf(name, sizeof name, "%s", word + strspn(word, "-"));
    name[strcspn(name, "=")] = '\0';
    for (int id = 0; id < OPTIONS; id++) {
        const option_row_t *row = option_row((option_t)id);
        if (!takes(command, (option_t)id)) {
            continue;
        }
        names[count++] = row->name;
        if (strcmp(row->name, name) == 0) {
            return moe_fail(error, MOE_BAD_INPUT, "--%s %s", name,
                            row->argument != NULL ? "needs a value" : "takes no value");
        }
    }
    const char *nearest = moe_nearest(name, names, count);
    return moe_fail(error, MOE_BAD_INPUT,
                    "%s: no such option (or an ambiguous one) of `%s`%s%s; see `moe-a2a %s --help`",
                    word, command->name, nearest != NULL ? "; nearest: --" : "",
                    nearest != NULL ? nearest : "", command->name);
}

static error_t take_argument(parse_state_t *parse, const char *argument)
{
    const command_t *command = parse->command;
    options_t *out = parse->out;
    if (parse->awaits != NULL) {
        out->file[parse->awaits->id] = argument;
        parse->awaits = NULL;
        return 0;
    }
    const size_t most = command->arguments == NULL     ? 0
                        : command->most_arguments == 0 ? 1
                                                       : command->most_arguments;
    if (out->argument_count == most) {
        char number[48];
        snprintf(number, sizeof number, "at most %zu", most);
        moe_fail(parse->error, MOE_BAD_INPUT, "'%s': %s takes %s argument%s that %s no option",
                 argument, command->name,
                 most == 0   ? "no"
                 : most == 1 ? "one"
                             : number,
                 most > 1 ? "s" : "", most > 1 ? "are" : "is");
        return EINVAL;
    }
    out->arguments[out->argument_count++] = argument;
    out->positional = out->arguments[0];
    return 0;
}

static error_t parse_one(int key, char *argument, struct argp_state *state)
{
    parse_state_t *parse = state->input;
    if (parse->awaits != NULL && key != ARGP_KEY_ARG && parse->error->status == MOE_OK &&
        ((key >= KEY_BASE && key <= KEY_HELP) || key == ARGP_KEY_END)) {
        return refuse_missing_file(parse);
    }
    if (key >= KEY_BASE && key < KEY_BASE + OPTIONS) {
        const int id = key - KEY_BASE;
        parse->out->value[id] = argument != NULL ? argument : "yes";
        parse->out->given[id] = true;
        parse->awaits = takes_file((option_t)id) ? option_row((option_t)id) : NULL;
        return 0;
    }
    switch (key) {
    case KEY_HELP:
        parse->out->help = true;
        return 0;
    case KEY_OUTPUT:
        return parse_one(KEY_BASE + OPT_OUTPUT, argument, state);
    case ARGP_KEY_ARG:
        return take_argument(parse, argument);
    case ARGP_KEY_ERROR:
        if (parse->error->status == MOE_OK) {
            unknown_option(parse->command, state->argv[state->next - 1], parse->error);
        }
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *standard_of(const command_t *command, option_t id)
{
    const char *of_command = id == OPT_MAX_SECONDS ? command->standard_seconds
                             : id == OPT_COMPUTE   ? command->standard_compute
                                                   : NULL;
    return of_command != NULL ? of_command : option_row(id)->standard;
}

static unsigned first_group(const option_row_t *row)
{
    return row->groups & -row->groups;
}

/* argp's table for one subcommand: a heading for each group, then its rows. */
static void fill_argp(const command_t *command, struct argp_option *table, char (*texts)[HELP_TEXT])
{
    size_t n = 0;
    unsigned last_group = 0;
    int heading = 0;
    for (int id = 0; id < OPTIONS; id++) {
        const option_row_t *row = option_row((option_t)id);
        if (!takes(command, (option_t)id)) {
            continue;
        }
        if (first_group(row) != last_group) {
            last_group = first_group(row);
            const char *title = group_titles[__builtin_ctz(last_group)];
            heading++;
            if (title[0] != '\0') {
                table[n++] = (struct argp_option){.doc = title, .group = heading};
            }
        }
        const char *standard = standard_of(command, (option_t)id);
        snprintf(texts[id], HELP_TEXT, standard != NULL ? "%s (default: %s)" : "%s", row->help,
                 standard);
        table[n++] = (struct argp_option){.name = row->name,
                                          .key = id == OPT_OUTPUT ? KEY_OUTPUT : KEY_BASE + id,
                                          .arg = row->argument,
                                          .doc = texts[id],
                                          .group = heading};
    }
    table[n++] = (struct argp_option){
        .name = "help", .key = KEY_HELP, .doc = "Print this help", .group = heading + 1};
    table[n] = (struct argp_option){0};
}

static void print_help(const struct argp *argp, const char *command)
{
    char name[64];
    snprintf(name, sizeof name, "moe-a2a %s", command);
    if (launcher_rank() == 0) {
        argp_help(argp, stdout, ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK, name);
        fflush(stdout);
    }
}

moe_status_t options_parse(const command_t *command, int argc, char **argv, options_t *out,
                           moe_error_t *error)
{
    struct argp_option *table = NULL;
    char(*texts)[HELP_TEXT] = NULL;
    moe_error_t found = {0};
    *out = (options_t){0};
    for (int id = 0; id < OPTIONS; id++) {
        out->value[id] = standard_of(command, (option_t)id);
    }
    moe_status_t status =
        moe_alloc("options", (size_t)OPTIONS * 2, sizeof *table, (void **)&table, error);
    if (status == MOE_OK) {
        status = moe_alloc("options", OPTIONS, sizeof *texts, (void **)&texts, error);
    }
    if (status == MOE_OK) {
        fill_argp(command, table, texts);
        const struct argp argp = {.options = table,
                                  .parser = parse_one,
                                  .args_doc = command->arguments,
                                  .doc = command->help};
        parse_state_t parse = {.command = command, .out = out, .error = &found};
        if (argp_parse(&argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_IN_ORDER, NULL,
                       &parse) != 0 ||
            found.status != MOE_OK) {
            status = moe_fail(error, MOE_BAD_INPUT, "%s",
                              found.text[0] != '\0' ? found.text : "the options cannot be read");
        } else if (out->help) {
            print_help(&argp, command->name);
        }
    }
    free(texts);
    free(table);
    return status;
}
