/* MPI: token rows. A row is one element of a contiguous datatype, so counts are rows, and a
 * block may have more bytes than an int holds. */
#include "moe/transport.h"

#ifdef MOE_HAVE_MPI

#include <stdlib.h>
#include <string.h>

#include "moe/simulated.h"
#include "moe/system.h"
#include "mpi_state.h"
#include "row_blocks.h"

/* ---- Datatypes ---- */

static moe_status_t create_row(size_t row_bytes, moe_mpi_row_t **out, moe_error_t *error)
{
    int bytes = 0;
    moe_status_t status = moe_mpi_int(row_bytes, "bytes of a row", "lower --hidden", &bytes, error);
    if (status != MOE_OK)
        return status;
    void *memory;
    status = moe_alloc("a datatype", 1, sizeof(moe_mpi_row_t), &memory, error);
    if (status != MOE_OK)
        return status;
    moe_mpi_row_t *row = memory;
    row->bytes = row_bytes;
    status = moe_mpi_check(MPI_Type_contiguous(bytes, MPI_BYTE, &row->type), "MPI_Type_contiguous",
                           error);
    if (status == MOE_OK)
        status = moe_mpi_check(MPI_Type_commit(&row->type), "MPI_Type_commit", error);
    if (status != MOE_OK) {
        free(row);
        return status;
    }
    *out = row;
    return MOE_OK;
}

moe_status_t moe_mpi_row_type(moe_transport_t *t, size_t row_bytes, moe_row_type_t *out,
                              moe_error_t *error)
{
    if (row_bytes == 0)
        return moe_fail(error, MOE_BAD_INPUT, "a row of 0 bytes: it needs at least 1");
    moe_mpi_state_t *state = t->state;
    moe_mpi_row_t *row = state->rows;
    while (row != NULL && row->bytes != row_bytes)
        row = row->next;
    if (row == NULL) {
        const moe_status_t status = create_row(row_bytes, &row, error);
        if (status != MOE_OK)
            return status;
        row->next = state->rows;
        state->rows = row;
    }
    *out = (moe_row_type_t){.bytes = row_bytes, .handle = row};
    return MOE_OK;
}

static MPI_Datatype type_of(moe_row_type_t row)
{
    const moe_mpi_row_t *entry = row.handle;
    return entry->type;
}

/* ---- MPI_Alltoall and MPI_Alltoallv ---- */

/* The four arrays of MPI_Alltoallv, one after another. */
typedef struct prepared {
    MPI_Request request; /* of one that is under way; else MPI_REQUEST_NULL */
    int *send_count, *send_first, *recv_count, *recv_first; /* [ranks], into `arrays` */
    int arrays[];
} prepared_t;

#define ARRAYS 4

static moe_status_t convert(size_t size, const size_t *rows, const size_t *first, const char *what,
                            int *count, int *displacement, moe_error_t *error)
{
    static const char remedy[] = "lower --tokens";
    for (size_t rank = 0; rank < size; rank++) {
        /* The end of the block too: some algorithms of MPI libraries add the two. */
        int end = 0;
        moe_status_t status = moe_mpi_int(rows[rank], what, remedy, &count[rank], error);
        if (status == MOE_OK)
            status = moe_mpi_int(first[rank] + rows[rank], what, remedy, &end, error);
        if (status != MOE_OK)
            return status;
        displacement[rank] = (int)first[rank];
    }
    return MOE_OK;
}

moe_status_t moe_mpi_prepare_alltoallv(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error)
{
    moe_status_t status = moe_transport_check_blocks(t, x, error);
    if (status != MOE_OK)
        return status;
    void *memory;
    status = moe_alloc("counts of rows", 1, sizeof(prepared_t) + ARRAYS * t->size * sizeof(int),
                       &memory, error);
    if (status != MOE_OK)
        return status;
    prepared_t *prepared = memory;
    prepared->request = MPI_REQUEST_NULL;
    prepared->send_count = prepared->arrays;
    prepared->send_first = prepared->send_count + t->size;
    prepared->recv_count = prepared->send_first + t->size;
    prepared->recv_first = prepared->recv_count + t->size;
    status = convert(t->size, x->send_rows, x->send_first, "rows sent by a rank",
                     prepared->send_count, prepared->send_first, error);
    if (status == MOE_OK)
        status = convert(t->size, x->recv_rows, x->recv_first, "rows received by a rank",
                         prepared->recv_count, prepared->recv_first, error);
    if (status != MOE_OK) {
        free(prepared);
        return status;
    }
    moe_mpi_release_alltoallv(t, x);
    x->prepared = prepared;
    return MOE_OK;
}

void moe_mpi_release_alltoallv(moe_transport_t *t, moe_alltoallv_t *x)
{
    (void)t;
    free(x->prepared);
    x->prepared = NULL;
}

static moe_status_t fail_order(const char *call, const char *what, moe_error_t *error)
{
    return moe_fail(error, MOE_FAILED, "%s: called %s", call, what);
}

moe_status_t moe_mpi_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error)
{
    const moe_mpi_state_t *state = t->state;
    const prepared_t *p = x->prepared;
    const MPI_Datatype type = type_of(x->row);
    if (p == NULL)
        return fail_order("alltoallv", "before prepare_alltoallv", error);
    if (x->uniform)
        return moe_mpi_check(MPI_Alltoall(x->send, p->send_count[0], type, x->recv,
                                          p->recv_count[0], type, state->comm),
                             "MPI_Alltoall", error);
    return moe_mpi_check(MPI_Alltoallv(x->send, p->send_count, p->send_first, type, x->recv,
                                       p->recv_count, p->recv_first, type, state->comm),
                         "MPI_Alltoallv", error);
}

/* ---- The same, under way while the caller computes ---- */

moe_status_t moe_mpi_start_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                     moe_error_t *error)
{
    const moe_mpi_state_t *state = t->state;
    prepared_t *p = x->prepared;
    const MPI_Datatype type = type_of(x->row);
    if (p == NULL)
        return fail_order("start_alltoallv", "before prepare_alltoallv", error);
    if (p->request != MPI_REQUEST_NULL)
        return fail_order("start_alltoallv", "while this exchange is under way", error);
    if (x->uniform)
        return moe_mpi_check(MPI_Ialltoall(x->send, p->send_count[0], type, x->recv,
                                           p->recv_count[0], type, state->comm, &p->request),
                             "MPI_Ialltoall", error);
    return moe_mpi_check(MPI_Ialltoallv(x->send, p->send_count, p->send_first, type, x->recv,
                                        p->recv_count, p->recv_first, type, state->comm,
                                        &p->request),
                         "MPI_Ialltoallv", error);
}

moe_status_t moe_mpi_finish_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                      moe_error_t *error)
{
    (void)t;
    prepared_t *p = x->prepared;
    if (p == NULL || p->request == MPI_REQUEST_NULL)
        return fail_order("finish_alltoallv", "before start_alltoallv", error);
    return moe_mpi_check(MPI_Wait(&p->request, MPI_STATUS_IGNORE), "MPI_Wait", error);
}

/* ---- Point to point ---- */

/* All messages of an algorithm: between two ranks they match in the order of their starts. */
#define ROWS_TAG 0

/* Room for one more request. */
static moe_status_t reserve(moe_mpi_state_t *state, moe_error_t *error)
{
    if (state->started < state->capacity)
        return MOE_OK;
    const size_t capacity = state->capacity > 0 ? 2 * state->capacity : 64;
    void *requests, *statuses;
    moe_status_t status = moe_alloc("requests", capacity, sizeof(MPI_Request), &requests, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc("statuses", capacity, sizeof(MPI_Status), &statuses, error);
    if (status != MOE_OK) {
        free(requests);
        return status;
    }
    if (state->started > 0)
        memcpy(requests, state->requests, state->started * sizeof(MPI_Request));
    free(state->requests);
    free(state->statuses);
    state->requests = requests;
    state->statuses = statuses;
    state->capacity = capacity;
    return MOE_OK;
}

moe_status_t moe_mpi_start_send(moe_transport_t *t, const void *rows, size_t count,
                                moe_row_type_t row, size_t to, moe_error_t *error)
{
    moe_mpi_state_t *state = t->state;
    int rows_int = 0;
    moe_status_t status =
        moe_mpi_int(count, "rows of a message", "lower --tokens", &rows_int, error);
    if (status == MOE_OK)
        status = reserve(state, error);
    if (status == MOE_OK)
        status = moe_mpi_check(MPI_Isend(rows, rows_int, type_of(row), (int)to, ROWS_TAG,
                                         state->comm, &state->requests[state->started]),
                               "MPI_Isend", error);
    if (status == MOE_OK)
        state->started++;
    return status;
}

moe_status_t moe_mpi_start_recv(moe_transport_t *t, void *rows, size_t count, moe_row_type_t row,
                                size_t from, moe_error_t *error)
{
    moe_mpi_state_t *state = t->state;
    int rows_int = 0;
    moe_status_t status =
        moe_mpi_int(count, "rows of a message", "lower --tokens", &rows_int, error);
    if (status == MOE_OK)
        status = reserve(state, error);
    if (status == MOE_OK)
        status = moe_mpi_check(MPI_Irecv(rows, rows_int, type_of(row), (int)from, ROWS_TAG,
                                         state->comm, &state->requests[state->started]),
                               "MPI_Irecv", error);
    if (status == MOE_OK)
        state->started++;
    return status;
}

/* On a simulated network one after another, which is as long: SMPI's MPI_Waitall looks at all requests whenever one
 * of them completes. */
static int wait_all(moe_mpi_state_t *state, size_t count)
{
    int code = MPI_SUCCESS;
    if (!moe_simulated())
        return MPI_Waitall((int)count, state->requests, state->statuses);
    for (size_t i = 0; code == MPI_SUCCESS && i < count; i++)
        code = MPI_Wait(&state->requests[i], &state->statuses[i]);
    return code;
}

moe_status_t moe_mpi_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error)
{
    moe_mpi_state_t *state = t->state;
    if (state->started <= latest)
        return MOE_OK;
    const size_t count = state->started - latest;
    int code = wait_all(state, count);
    for (size_t i = 0; code == MPI_ERR_IN_STATUS && i < count; i++) {
        const int own = state->statuses[i].MPI_ERROR;
        if (own != MPI_SUCCESS && own != MPI_ERR_PENDING)
            code = own;
    }
    memmove(state->requests, state->requests + count, latest * sizeof(MPI_Request));
    state->started = latest;
    return moe_mpi_check(code, "MPI_Waitall", error);
}

moe_status_t moe_mpi_finish(moe_transport_t *t, moe_error_t *error)
{
    return moe_mpi_finish_but(t, 0, error);
}

/* ---- Gradients ---- */

/* Floats in one MPI_Allreduce: 1 GiB, so that neither counts nor the bytes that some libraries
 * compute in an int pass INT_MAX. */
#define SUM_CHUNK ((size_t)1 << 28)

moe_status_t moe_mpi_sum_floats(moe_transport_t *t, float *values, size_t count, moe_error_t *error)
{
    const moe_mpi_state_t *state = t->state;
    moe_status_t status = MOE_OK;
    while (status == MOE_OK && count > 0) {
        const size_t chunk = count < SUM_CHUNK ? count : SUM_CHUNK;
        status = moe_mpi_check(
            MPI_Allreduce(MPI_IN_PLACE, values, (int)chunk, MPI_FLOAT, MPI_SUM, state->comm),
            "MPI_Allreduce", error);
        values += chunk;
        count -= chunk;
    }
    return status;
}

#endif
