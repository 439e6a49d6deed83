/* NCCL: the handle. Rows and counts go over NCCL, what is small and in host memory over the control
 * transport. */
#include "moe/transport.h"

#ifndef MOE_HAVE_NCCL

bool moe_nccl_built_in(void)
{
    return false;
}

void moe_nccl_version(char *text, size_t size)
{
    if (size > 0)
        text[0] = '\0';
}

moe_status_t moe_nccl_create(const moe_nccl_spec_t *spec, moe_transport_t *control,
                             moe_transport_t **out, moe_error_t *error)
{
    (void)spec, (void)control, (void)out;
    return moe_fail(error, MOE_BAD_INPUT,
                    "--transport nccl: this program was built without NCCL; build it where nccl.h "
                    "lies beside CUDA or in NCCL_HOME (make CUDA_HOME=/usr/local/cuda), or use "
                    "--transport mpi");
}

const moe_nccl_facts_t *moe_nccl_facts(const moe_transport_t *t)
{
    (void)t;
    return NULL;
}

moe_nccl_path_t moe_nccl_path(moe_transport_t *t, const moe_alltoallv_t *x)
{
    (void)t, (void)x;
    return MOE_NCCL_PATH_UNKNOWN;
}

#else

#include <stdio.h>
#include <stdlib.h>

#include "../device/cuda_state.h"
#include "moe/system.h"
#include "nccl_state.h"

bool moe_nccl_built_in(void)
{
    return true;
}

/* ---- What goes over control ---- */

static moe_transport_t *control_of(const moe_transport_t *t)
{
    return moe_nccl_of(t)->control;
}

static moe_status_t nccl_barrier(moe_transport_t *t, moe_error_t *error)
{
    moe_device_t *d = moe_nccl_device(moe_nccl_of(t));
    const moe_status_t status = d->ops->finish(d, error);
    return status == MOE_OK ? control_of(t)->ops->barrier(control_of(t), error) : status;
}

static moe_status_t nccl_broadcast(moe_transport_t *t, void *bytes, size_t count, size_t root,
                                   moe_error_t *error)
{
    return control_of(t)->ops->broadcast(control_of(t), bytes, count, root, error);
}

static moe_status_t nccl_allgather(moe_transport_t *t, const void *mine, size_t bytes, void *all,
                                   moe_error_t *error)
{
    return control_of(t)->ops->allgather(control_of(t), mine, bytes, all, error);
}

static moe_status_t nccl_reduce_sizes(moe_transport_t *t, size_t *values, size_t count,
                                      moe_reduce_t how, moe_error_t *error)
{
    return control_of(t)->ops->reduce_sizes(control_of(t), values, count, how, error);
}

static moe_status_t nccl_reduce_doubles(moe_transport_t *t, double *values, size_t count,
                                        moe_reduce_t how, moe_error_t *error)
{
    return control_of(t)->ops->reduce_doubles(control_of(t), values, count, how, error);
}

static moe_status_t nccl_exchange_bytes(moe_transport_t *t, size_t peer, const void *send,
                                        void *recv, size_t bytes, moe_error_t *error)
{
    return control_of(t)->ops->exchange_bytes(control_of(t), peer, send, recv, bytes, error);
}

static moe_status_t nccl_nodes(moe_transport_t *t, size_t *node, size_t *nodes, moe_error_t *error)
{
    return control_of(t)->ops->nodes(control_of(t), node, nodes, error);
}

static void nccl_version(moe_transport_t *t, char *text, size_t size)
{
    char control[192];
    control_of(t)->ops->version(control_of(t), control, sizeof control);
    snprintf(text, size, "NCCL %s over %s", moe_nccl_of(t)->run->facts.version, control);
}

/* ---- Life ---- */

static void free_run(moe_nccl_run_t *run)
{
    pthread_cond_destroy(&run->abort_ended_changed);
    pthread_mutex_destroy(&run->lock);
    free(run);
}

/* Takes the handle out of the run. true: it was the last. */
static bool leave_run(moe_nccl_state_t *state, bool *aborted)
{
    moe_nccl_run_t *run = state->run;
    pthread_mutex_lock(&run->lock);
    for (moe_nccl_state_t **at = &run->handles; *at != NULL; at = &(*at)->next) {
        if (*at == state) {
            *at = state->next;
            break;
        }
    }
    const bool last = run->handles == NULL;
    *aborted = atomic_load(&run->aborted);
    pthread_mutex_unlock(&run->lock);
    return last;
}

static void nccl_destroy(moe_transport_t *t)
{
    if (t == NULL)
        return;
    moe_nccl_state_t *state = moe_nccl_of(t);
    moe_nccl_run_t *run = state->run;
    bool aborted = false;
    while (state->memory != NULL)
        moe_nccl_release_rows(t, state->memory->memory);
    const bool last = leave_run(state, &aborted);
    if (last)
        moe_cuda_unwatch(run->facts.spec.device, run);
    if (!aborted)
        moe_nccl_end_comm(run, state->comm);
    moe_nccl_free_counts(state);
    state->control->ops->destroy(state->control);
    if (last)
        free_run(run);
    free(state->messages);
    free(state);
    free(t);
}

static moe_status_t nccl_split(moe_transport_t *t, int color, moe_transport_t **out,
                               moe_error_t *error);

static const moe_transport_ops_t nccl_ops = {
    .name = "nccl",
    .row_type = moe_nccl_row_type,
    .prepare_alltoallv = moe_nccl_prepare_alltoallv,
    .release_alltoallv = moe_nccl_release_alltoallv,
    .alltoallv = moe_nccl_alltoallv,
    .start_send = moe_nccl_start_send,
    .start_recv = moe_nccl_start_recv,
    .finish = moe_nccl_finish,
    .finish_but = moe_nccl_finish_but,
    .sum_floats = moe_nccl_sum_floats,
    .alloc_rows = moe_nccl_alloc_rows,
    .release_rows = moe_nccl_release_rows,
    .alltoall_sizes = moe_nccl_alltoall_sizes,
    .max_size = moe_nccl_max_size,
    .barrier = nccl_barrier,
    .broadcast = nccl_broadcast,
    .allgather = nccl_allgather,
    .reduce_sizes = nccl_reduce_sizes,
    .reduce_doubles = nccl_reduce_doubles,
    .exchange_bytes = nccl_exchange_bytes,
    .split = nccl_split,
    .nodes = nccl_nodes,
    .version = nccl_version,
    .abort = moe_nccl_abort,
    .destroy = nccl_destroy,
};

/* A handle without a communicator: that is made last, so that nothing that follows can fail. */
static moe_status_t create_handle(moe_nccl_run_t *run, moe_transport_t *control,
                                  moe_transport_t **out, moe_error_t *error)
{
    void *handle, *memory;
    moe_status_t status = moe_alloc("a transport", 1, sizeof(moe_transport_t), &handle, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc("a transport", 1, sizeof(moe_nccl_state_t), &memory, error);
    if (status != MOE_OK) {
        free(handle);
        return status;
    }
    moe_transport_t *t = handle;
    moe_nccl_state_t *state = memory;
    *state = (moe_nccl_state_t){.run = run, .t = t, .control = control};
    *t = (moe_transport_t){
        .ops = &nccl_ops, .rank = control->rank, .size = control->size, .state = state};
    *out = t;
    return MOE_OK;
}

static void free_handle(moe_transport_t *t)
{
    if (t != NULL)
        free(t->state);
    free(t);
}

static void join_run(moe_transport_t *t, ncclComm_t comm)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    moe_nccl_run_t *run = state->run;
    pthread_mutex_lock(&run->lock);
    state->comm = comm;
    state->next = run->handles;
    run->handles = state;
    pthread_mutex_unlock(&run->lock);
}

/* On failure the parts of control are left: their end waits for all ranks, and the program ends. */
static moe_status_t nccl_split(moe_transport_t *t, int color, moe_transport_t **out,
                               moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    moe_transport_t *control = NULL, *part = NULL;
    ncclComm_t comm = NULL;
    moe_status_t status = state->control->ops->split(state->control, color, &control, error);
    if (status == MOE_OK)
        status = create_handle(state->run, control, &part, error);
    if (status == MOE_OK)
        status = moe_nccl_split_comm(state, color, &comm, error);
    if (status != MOE_OK) {
        free_handle(part);
        return status;
    }
    join_run(part, comm);
    *out = part;
    return MOE_OK;
}

/* What can fail on this rank alone, before any rank waits for another in NCCL. */
static moe_status_t prepare(const moe_nccl_spec_t *spec, moe_transport_t *control,
                            moe_nccl_run_t *run, moe_transport_t **out, moe_error_t *error)
{
    moe_status_t status = moe_nccl_look(spec, run, error);
    if (status == MOE_OK)
        status = create_handle(run, control, out, error);
    if (status != MOE_OK)
        return status;
    status = moe_cuda_watch(spec->device, moe_nccl_poll, run, error);
    if (status != MOE_OK) {
        free_handle(*out);
        *out = NULL;
    }
    return status;
}

moe_status_t moe_nccl_create(const moe_nccl_spec_t *spec, moe_transport_t *control,
                             moe_transport_t **out, moe_error_t *error)
{
    void *memory = NULL;
    moe_transport_t *t = NULL;
    ncclComm_t comm = NULL;
    moe_nccl_run_t *run = NULL;
    moe_status_t status = moe_alloc("a transport", 1, sizeof *run, &memory, error);
    if (status == MOE_OK) {
        run = memory;
        run->world_rank = control->rank;
        pthread_mutex_init(&run->lock, NULL);
        pthread_cond_init(&run->abort_ended_changed, NULL);
        status = prepare(spec, control, run, &t, error);
    }
    status = moe_nccl_agree(control, status, "cannot use NCCL as asked", error);
    if (status == MOE_OK)
        status = moe_nccl_agree(control, moe_nccl_share(run, control, error),
                                "could not prepare to share a GPU", error);
    if (status == MOE_OK)
        status = moe_nccl_init(run, control, &comm, error);
    if (status == MOE_OK && t != NULL) {
        join_run(t, comm);
        *out = t;
        return MOE_OK;
    }
    if (t != NULL)
        moe_cuda_unwatch(spec->device, run);
    free_handle(t);
    if (run != NULL)
        free_run(run);
    return status;
}

const moe_nccl_facts_t *moe_nccl_facts(const moe_transport_t *t)
{
    return t->ops == &nccl_ops ? &moe_nccl_of(t)->run->facts : NULL;
}

#endif
