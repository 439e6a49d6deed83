#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "moe/system.h"

/* What may be shown: names that begin so. A name that must match whole ends in '='. */
static const char *const allowed[] = {
    /* MPI and the libraries below it */
    "OMPI_MCA_",
    "PMIX_MCA_",
    "MPICH_",
    "MPIR_CVAR_",
    "I_MPI_",
    "MV2_",
    "UCX_",
    "UCC_",
    "HCOLL_",
    "FI_",
    "PSM2_",
    "PSM3_",
    /* GPUs */
    "NCCL_",
    "CUDA_VISIBLE_DEVICES=",
    "CUDA_DEVICE_ORDER=",
    "CUDA_DEVICE_MAX_CONNECTIONS=",
    "CUDA_LAUNCH_BLOCKING=",
    "CUDA_MODULE_LOADING=",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=",
    "NVIDIA_VISIBLE_DEVICES=",
    /* Threads of BLAS */
    "OMP_NUM_THREADS=",
    "OMP_PROC_BIND=",
    "OMP_PLACES=",
    "OMP_DYNAMIC=",
    "OMP_WAIT_POLICY=",
    "GOMP_CPU_AFFINITY=",
    "KMP_AFFINITY=",
    "OPENBLAS_NUM_THREADS=",
    "OPENBLAS_CORETYPE=",
    "MKL_NUM_THREADS=",
    "BLIS_NUM_THREADS=",
    /* Slurm: where the ranks were put */
    "SLURM_NNODES=",
    "SLURM_JOB_NUM_NODES=",
    "SLURM_STEP_NUM_NODES=",
    "SLURM_NTASKS=",
    "SLURM_NPROCS=",
    "SLURM_STEP_NUM_TASKS=",
    "SLURM_NTASKS_PER_",
    "SLURM_TASKS_PER_NODE=",
    "SLURM_STEP_TASKS_PER_NODE=",
    "SLURM_CPUS_PER_TASK=",
    "SLURM_GPUS_PER_",
    "SLURM_THREADS_PER_CORE=",
    "SLURM_CPU_BIND",
    "SLURM_GPU_BIND=",
    "SLURM_MEM_BIND",
    "SLURM_CPU_FREQ_REQ=",
    "SLURM_DISTRIBUTION=",
    "SLURM_HINT=",
    "SLURM_MPI_TYPE=",
    "SLURM_NETWORK=",
    "SLURM_TOPOLOGY_ADDR",
};

/* What a launcher leaves behind for its own processes: addresses, jobs, directories, keys
 * (orte_precondition_transports is one). It steers nothing that a reader could repeat. */
static const char *const refused[] = {
    "OMPI_MCA_orte_",        "OMPI_MCA_ess",
    "OMPI_MCA_initial_wdir", "OMPI_MCA_shmem_RUNTIME_QUERY_hint",
    "PMIX_MCA_ptl_",         "MPIR_CVAR_CH3_INTERFACE_HOSTNAME",
    "NCCL_COMM_ID",
};

/* Words that a secret's or an address' name has, wherever they stand. */
static const char *const secretive[] = {
    "TOKEN",      "KEY",    "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE",
    "CREDENTIAL", "COOKIE", "AUTH",   "URI",      "URL",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* `variable` is "NAME=value", so that "NAME=" in a list matches a whole name. */
static bool begins_with_any(const char *variable, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(variable, list[i], strlen(list[i])) == 0)
            return true;
    }
    return false;
}

static bool has_secretive_name(const char *variable, size_t name_length)
{
    for (size_t i = 0; i < COUNT(secretive); i++) {
        const size_t length = strlen(secretive[i]);
        for (size_t at = 0; at + length <= name_length; at++) {
            if (strncasecmp(variable + at, secretive[i], length) == 0)
                return true;
        }
    }
    return false;
}

static bool is_shown(const char *variable)
{
    const char *equals = strchr(variable, '=');
    return equals != NULL && begins_with_any(variable, allowed, COUNT(allowed)) &&
           !begins_with_any(variable, refused, COUNT(refused)) &&
           !has_secretive_name(variable, (size_t)(equals - variable));
}

static int compare_names(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    const size_t x_length = strcspn(x, "="), y_length = strcspn(y, "=");
    const int order = strncmp(x, y, x_length < y_length ? x_length : y_length);
    return order != 0 ? order : (x_length > y_length) - (x_length < y_length);
}

void moe_environment_visit(void (*visit)(void *context, const char *name, const char *value),
                           void *context)
{
    size_t count = 0, shown = 0;
    while (environ != NULL && environ[count] != NULL)
        count++;
    char **variables = calloc(count + 1, sizeof *variables);
    if (variables == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        if (is_shown(environ[i]))
            variables[shown++] = environ[i];
    }
    qsort(variables, shown, sizeof *variables, compare_names);
    for (size_t i = 0; i < shown; i++) {
        char *name = strdup(variables[i]);
        if (name == NULL)
            break;
        char *equals = strchr(name, '=');
        *equals = '\0';
        visit(context, name, equals + 1);
        free(name);
    }
    free(variables);
}
