/* MPI: start, end, and the handle. The calls are in mpi_rows.c and mpi_control.c. */
#include "moe/transport.h"

#ifndef MOE_HAVE_MPI

bool moe_mpi_built_in(void)
{
    return false;
}

bool moe_mpi_takes_cuda(void)
{
    return false;
}

moe_status_t moe_mpi_create(int *argc, char ***argv, moe_transport_t **out, moe_error_t *error)
{
    (void)argc;
    (void)argv;
    (void)out;
    return moe_fail(error, MOE_BAD_INPUT,
                    "--transport mpi: this program was built without MPI; install it (apt-get "
                    "install libopenmpi-dev openmpi-bin) and run make again, or use --transport "
                    "loopback");
}

#else

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moe/simulated.h"
#include "moe/system.h"
#include "mpi_state.h"

#if defined(OPEN_MPI) && defined(__has_include)
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif
#endif

bool moe_mpi_built_in(void)
{
    return true;
}

/* MPI itself has no such question: Open MPI and its kin have one in an extension, MPICH and its kin
 * another. Both answer for the library as it runs, with what its environment switches off. */
bool moe_mpi_takes_cuda(void)
{
#if defined(OMPI_HAVE_MPI_EXT_CUDA) && OMPI_HAVE_MPI_EXT_CUDA
    return MPIX_Query_cuda_support() != 0;
#elif defined(MPIX_GPU_SUPPORT_CUDA)
    int supported = 0;
    return MPIX_GPU_query_support(MPIX_GPU_SUPPORT_CUDA, &supported) == MPI_SUCCESS &&
           supported != 0;
#else
    return false;
#endif
}

moe_status_t moe_mpi_fail(int code, const char *call, moe_error_t *error)
{
    char text[MPI_MAX_ERROR_STRING] = "no text";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return moe_fail(error, MOE_FAILED, "%s failed: %s", call, text);
}

moe_status_t moe_mpi_int(size_t value, const char *what, const char *remedy, int *out,
                         moe_error_t *error)
{
    if (value > INT_MAX)
        return moe_fail(error, MOE_BAD_INPUT, "%s: %zu, and MPI counts to %d: %s", what, value,
                        INT_MAX, remedy);
    *out = (int)value;
    return MOE_OK;
}

/* First line of what the library says of itself, runs of blanks as one. */
static void mpi_version(moe_transport_t *t, char *text, size_t size)
{
    (void)t;
    char whole[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    if (size == 0)
        return;
    MPI_Get_library_version(whole, &length);
    size_t used = 0;
    for (const char *c = whole; *c != '\0' && *c != '\n' && used + 1 < size; c++) {
        const bool blank = isspace((unsigned char)*c) != 0;
        if (blank && (used == 0 || text[used - 1] == ' '))
            continue;
        text[used++] = blank ? ' ' : *c;
    }
    while (used > 0 && text[used - 1] == ' ')
        used--;
    text[used] = '\0';
}

/* Called by a watchdog's thread while the rank's own thread hangs in MPI. Below
 * MPI_THREAD_MULTIPLE the standard does not allow that, but the run is lost already; Open MPI
 * and MPICH take no lock at this level and end all ranks. MPI_COMM_WORLD: a group of the ranks
 * must not end without the rest. */
static void mpi_abort(moe_transport_t *t, moe_status_t status)
{
    (void)t;
    fflush(stdout);
    fflush(stderr);
    /* Simulated ranks are all in this process. */
    if (!moe_simulated())
        MPI_Abort(MPI_COMM_WORLD, (int)status);
    _exit((int)status);
}

static void mpi_destroy(moe_transport_t *t)
{
    if (t == NULL)
        return;
    moe_mpi_state_t *state = t->state;
    while (state->rows != NULL) {
        moe_mpi_row_t *row = state->rows;
        state->rows = row->next;
        MPI_Type_free(&row->type);
        free(row);
    }
    MPI_Comm_free(&state->comm);
    if (state->finalise)
        MPI_Finalize();
    free(state->requests);
    free(state->statuses);
    free(state->sizes_calls);
    free(state);
    free(t);
}

static const moe_transport_ops_t mpi_ops = {
    .name = "mpi",
    .row_type = moe_mpi_row_type,
    .prepare_alltoallv = moe_mpi_prepare_alltoallv,
    .release_alltoallv = moe_mpi_release_alltoallv,
    .alltoallv = moe_mpi_alltoallv,
    .start_alltoallv = moe_mpi_start_alltoallv,
    .finish_alltoallv = moe_mpi_finish_alltoallv,
    .start_send = moe_mpi_start_send,
    .start_recv = moe_mpi_start_recv,
    .finish = moe_mpi_finish,
    .finish_but = moe_mpi_finish_but,
    .sum_floats = moe_mpi_sum_floats,
    .barrier = moe_mpi_barrier,
    .broadcast = moe_mpi_broadcast,
    .allgather = moe_mpi_allgather,
    .alltoall_sizes = moe_mpi_alltoall_sizes,
    .max_size = moe_mpi_max_size,
    .reduce_sizes = moe_mpi_reduce_sizes,
    .reduce_doubles = moe_mpi_reduce_doubles,
    .exchange_bytes = moe_mpi_exchange_bytes,
    .split = moe_mpi_split,
    .nodes = moe_mpi_nodes,
    .version = mpi_version,
    .abort = mpi_abort,
    .destroy = mpi_destroy,
};

static moe_status_t fill_handle(moe_transport_t *t, MPI_Comm comm, moe_error_t *error)
{
    moe_mpi_state_t *state = t->state;
    int rank, size;
    moe_status_t status = moe_mpi_check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN),
                                        "MPI_Comm_set_errhandler", error);
    if (status == MOE_OK)
        status = moe_mpi_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank", error);
    if (status == MOE_OK)
        status = moe_mpi_check(MPI_Comm_size(comm, &size), "MPI_Comm_size", error);
    if (status != MOE_OK)
        return status;
    t->rank = (size_t)rank;
    t->size = (size_t)size;
    void *memory;
    status = moe_alloc("counts", t->size, 4 * sizeof(int), &memory, error);
    if (status == MOE_OK)
        state->sizes_calls = memory;
    return status;
}

/* On failure MPI is neither finalised nor the communicator freed: both wait for all ranks. The
 * program ends, and MPI's launcher ends the others. */
moe_status_t moe_mpi_handle_create(MPI_Comm comm, bool finalise, moe_transport_t **out,
                                   moe_error_t *error)
{
    void *handle, *memory;
    moe_status_t status = moe_alloc("a transport", 1, sizeof(moe_transport_t), &handle, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc("a transport", 1, sizeof(moe_mpi_state_t), &memory, error);
    if (status != MOE_OK)
        goto free_handle;
    moe_mpi_state_t *state = memory;
    moe_transport_t *t = handle;
    *state = (moe_mpi_state_t){.comm = comm, .finalise = finalise};
    *t = (moe_transport_t){.ops = &mpi_ops, .state = state};
    status = fill_handle(t, comm, error);
    if (status != MOE_OK)
        goto free_state;
    *out = t;
    return MOE_OK;

free_state:
    free(memory);
free_handle:
    free(handle);
    return status;
}

static moe_status_t start_mpi(int *argc, char ***argv, bool *started, moe_error_t *error)
{
    int initialised = 0, finalised = 0, provided = MPI_THREAD_SINGLE;
    MPI_Initialized(&initialised);
    MPI_Finalized(&finalised);
    if (finalised)
        return moe_fail(error, MOE_FAILED,
                        "MPI was finalised in this process: it cannot start again");
    *started = !initialised;
    if (initialised)
        return MOE_OK;
    const moe_status_t status = moe_mpi_check(
        MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread", error);
    /* SMPI allows none, and no watchdog stands beside a simulation. */
    if (status == MOE_OK && provided < MPI_THREAD_FUNNELED && !moe_simulated())
        return moe_fail(error, MOE_FAILED,
                        "MPI_Init_thread: this MPI allows no threads beside it (level %d, needed "
                        "%d: MPI_THREAD_FUNNELED)",
                        provided, MPI_THREAD_FUNNELED);
    return status;
}

/* Ranks that the launcher has started, by its own word; 0 where it is silent. */
static long launched_ranks(const char *variable)
{
    const char *text = getenv(variable);
    return text != NULL ? strtol(text, NULL, 10) : 0;
}

/* The launcher of one MPI starts a program of another as so many programs of one rank each, which
 * would measure nothing and say so nowhere; so does srun, told of a PMI that the MPI does not speak. */
static moe_status_t check_launcher(int size, moe_error_t *error)
{
    static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    bool by_mpirun = false;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const long launched = launched_ranks(variables[i]);
        by_mpirun = by_mpirun || launched > 0;
        if (size == 1 && launched > 1)
            return moe_fail(
                error, MOE_BAD_INPUT,
                "%s is %ld, but this program's MPI sees 1 rank: the launcher belongs to "
                "another MPI than the one it was built with (build it with that one's "
                "mpicc: make MPICC=..., or use the other mpirun)",
                variables[i], launched);
    }
    /* An mpirun inside a step starts its daemons by srun, and ranks inherit what that one said. */
    const long tasks = by_mpirun ? 0 : launched_ranks("SLURM_STEP_NUM_TASKS");
    if (size == 1 && tasks > 1)
        return moe_fail(error, MOE_BAD_INPUT,
                        "srun started %ld tasks, but this program's MPI sees 1 rank: give srun the "
                        "--mpi that the MPI was built for (--mpi=pmix for Open MPI, --mpi=pmi2 for "
                        "MPICH; `srun --mpi=list` tells what there is)",
                        tasks);
    return MOE_OK;
}

moe_status_t moe_mpi_create(int *argc, char ***argv, moe_transport_t **out, moe_error_t *error)
{
    bool started = false;
    MPI_Comm comm;
    int size = 0;
    moe_status_t status = start_mpi(argc, argv, &started, error);
    if (status != MOE_OK)
        return status;
    /* Errors of calls that have no communicator are raised on this one. */
    status = moe_mpi_check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                           "MPI_Comm_set_errhandler", error);
    if (status == MOE_OK)
        status = moe_mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size", error);
    if (status == MOE_OK)
        status = check_launcher(size, error);
    if (status == MOE_OK)
        status = moe_mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup", error);
    if (status == MOE_OK)
        status = moe_mpi_handle_create(comm, started, out, error);
    return status;
}

#endif
