/* One entry a subcommand; each stands in a file of its own. */
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

#include "options.h"
#include "world.h"

typedef struct command_entry {
    const command_t *command;
    int (*run)(int argc, char **argv); /* argv[1] is the subcommand; returns the exit status */
    const char *where;                 /* "[MPI]" or "" */
    world_fn body;                     /* what it does on each rank; NULL: it has no ranks */
} command_entry_t;

extern const command_entry_t layer_command, iteration_command, alltoallv_command, pattern_command,
    models_command, info_command, compare_command, accept_command, suite_command, launches_command,
    predict_command, reproduce_command, report_command;

#endif
