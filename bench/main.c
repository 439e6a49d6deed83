#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "launcher.h"
#include "moe/simulated.h"
#include "moe/system.h"
#include "world.h"

static const command_entry_t *const commands[] = {
    &iteration_command, &layer_command,  &alltoallv_command, &pattern_command,  &predict_command,
    &compare_command,   &accept_command, &suite_command,     &launches_command, &reproduce_command,
    &report_command,    &models_command, &info_command,
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void print_help(FILE *out)
{
    fprintf(out, "moe-a2a " MOE_VERSION
                 ": what the all-to-all of Mixture-of-Experts traffic costs on this machine\n\n"
                 "usage: [mpirun -np N] moe-a2a COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        const command_t *c = commands[i]->command;
        fprintf(out, "  %-10s %-6s %s\n", c->name, commands[i]->where, c->summary);
    }
    fprintf(out, "\n[MPI]: on all ranks of mpirun or srun; started bare it runs alone.\n"
                 "`moe-a2a COMMAND --help` lists the options of a command.\n"
                 "exit status: 0 done, 1 wrong data, 2 usage or bad input, 3 inconclusive, "
                 "4 the run failed\n");
}

static int unknown_command(const char *name)
{
    const char *names[COMMANDS];
    moe_error_t error = {0};
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i]->command->name;
    }
    const char *nearest = moe_nearest(name, names, COMMANDS);
    (void)moe_fail(&error, MOE_BAD_INPUT, "%s: no such command%s%s; see `moe-a2a --help`", name,
                   nearest != NULL ? "; nearest: " : "", nearest != NULL ? nearest : "");
    return world_refuse(&error);
}

static int run_command(const command_entry_t *entry, int argc, char **argv)
{
    moe_error_t error = {0};
    moe_simulation_t simulation;
    if (moe_simulated() && moe_simulation_read(&simulation, &error) != MOE_OK) {
        return world_refuse(&error);
    }
    if (entry->where[0] == '\0' && launcher_ranks() > 1) {
        (void)moe_fail(&error, MOE_BAD_INPUT,
                       "%s runs in one process, and %ld were launched: start it without mpirun",
                       entry->command->name, launcher_ranks());
        return world_refuse(&error);
    }
    const int status = entry->run(argc, argv);
    moe_simulation_ended();
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return MOE_BAD_INPUT;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return MOE_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("moe-a2a " MOE_VERSION);
        return MOE_OK;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i]->command->name) == 0) {
            return run_command(commands[i], argc, argv);
        }
    }
    return unknown_command(argv[1]);
}
