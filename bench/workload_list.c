#include "workload_list.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "ready_file.h"

static moe_status_t print_one(const char *name, bool names_only, moe_error_t *error)
{
    char path[PATH_MAX];
    moe_scenario_t *scenario = NULL;
    if (names_only) {
        printf("%s\n", name);
        return MOE_OK;
    }
    moe_status_t status = ready_file_find(&ready_workloads, name, path, sizeof path, error);
    if (status == MOE_OK) {
        status = moe_scenario_read(path, &scenario, error);
    }
    if (status == MOE_OK) {
        printf("%-18s %s\n", name, moe_scenario_isolates(scenario));
    }
    moe_scenario_destroy(scenario);
    return status;
}

moe_status_t workload_list(const config_t *config, moe_error_t *error)
{
    const bool names_only = config->options.given[OPT_NAMES];
    char *names[READY_NAMES];
    const size_t count = ready_file_names(&ready_workloads, names);
    moe_status_t status = MOE_OK;
    if (count == 0) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--list: patterns/workloads is not beside this program: install it, or run "
                        "it where it was built");
    }
    if (!names_only) {
        printf("%-18s %s\n", "workload", "what it isolates");
    }
    for (size_t i = 0; i < count; i++) {
        status = status == MOE_OK ? print_one(names[i], names_only, error) : status;
        free(names[i]);
    }
    return status;
}
