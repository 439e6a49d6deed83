/* One entry a subcommand; each stands in a file of its own. */
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

#include "options.h"

typedef struct command_entry {
    const command_t *command;
    int (*run)(int argc, char **argv); /* argv[1] is the subcommand; returns the exit status */
    const char *where;                 /* "[MPI]" or "" */
} command_entry_t;

extern const command_entry_t layer_command, iteration_command, alltoallv_command, pattern_command,
    models_command, launches_command, info_command;

#endif
