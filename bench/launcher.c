#include "launcher.h"

#include <stddef.h>
#include <stdlib.h>

#include "moe/simulated.h"

/* Of Open MPI, of PMI-1 and PMI-2 (MPICH, Intel MPI, MVAPICH), of Slurm's srun; PMIx has no word for
 * the number of ranks. */
static const char *const size_variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                             "SLURM_STEP_NUM_TASKS", NULL};
static const char *const rank_variables[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK",
                                             "SLURM_PROCID", NULL};
/* Slurm sets SLURM_PROCID in a batch script too, where srun has not started anything yet. */
static const char *const launch_variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK",
                                               "SLURM_STEP_ID", NULL};

static const char *first_set(const char *const *variables)
{
    for (; *variables != NULL; variables++) {
        const char *value = getenv(*variables);
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

bool launcher_present(void)
{
    return moe_simulated() || first_set(launch_variables) != NULL;
}

long launcher_ranks(void)
{
    if (moe_simulated()) {
        return (long)moe_simulated_ranks();
    }
    const char *text = first_set(size_variables);
    return text != NULL ? strtol(text, NULL, 10) : 1;
}

long launcher_rank(void)
{
    if (moe_simulated()) {
        return (long)moe_simulated_rank();
    }
    const char *text = launcher_present() ? first_set(rank_variables) : NULL;
    return text != NULL ? strtol(text, NULL, 10) : 0;
}
