/* The fake NCCL: messages of a group, over MPI. Both sides first tell each other what they will send and
 * what they expect, so that none begins before the other has come: as strict as NCCL's kernels are when
 * their buffers are full. Then the rows go. Nothing here waits for ever: an abort ends it, and so does
 * the failure of another rank. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nccl_state.h"

/* MPI counts bytes in an int. */
#define CHUNK ((size_t)64 << 20)

typedef struct head {
    uint64_t bytes, kind;
} head_t;

static int tag(const struct ncclComm *comm, fake_tag_t kind)
{
    return comm->context * FAKE_TAGS + (int)kind;
}

void fake_nccl_fail(ncclComm_t comm, ncclResult_t result)
{
    static char nothing; /* until the process ends: the message may stay where it is */
    comm->async = result;
    for (int rank = 0; rank < comm->size; rank++) {
        MPI_Request request;
        if (rank == comm->rank)
            continue;
        MPI_Isend(&nothing, 1, MPI_BYTE, comm->world[rank], tag(comm, FAKE_TAG_FAILED),
                  MPI_COMM_WORLD, &request);
        MPI_Request_free(&request);
    }
}

/* ---- Waiting ---- */

static bool another_has_failed(ncclComm_t comm)
{
    int there = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, tag(comm, FAKE_TAG_FAILED), MPI_COMM_WORLD, &there,
               MPI_STATUS_IGNORE);
    if (!there)
        return false;
    comm->async = ncclRemoteError;
    snprintf(comm->last_error, sizeof comm->last_error, "another rank has failed");
    return true;
}

/* What will not be needed any more. */
static void drop(MPI_Request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (requests[i] == MPI_REQUEST_NULL)
            continue;
        MPI_Cancel(&requests[i]);
        MPI_Request_free(&requests[i]);
    }
}

static fake_end_t wait_for(ncclComm_t comm, MPI_Request *requests, size_t count)
{
    size_t through = 0;
    for (size_t turn = 0;; turn++) {
        for (int done = 1; done && through < count; through += done != 0)
            MPI_Test(&requests[through], &done, MPI_STATUS_IGNORE);
        if (through == count)
            return FAKE_DONE;
        const bool aborted = fake_nccl_is_aborted(comm);
        if (aborted || another_has_failed(comm)) {
            drop(requests, count);
            return aborted ? FAKE_ABORTED : FAKE_FAILED;
        }
        fake_nccl_nap(turn);
    }
}

/* ---- Both sides agree ---- */

static bool differs(ncclComm_t comm, const fake_op_t *op, const head_t *theirs)
{
    if (theirs->bytes == op->bytes && theirs->kind == op->kind)
        return false;
    const char *mine = op->sends ? "sends" : "expects", *other = op->sends ? "expects" : "sends";
    if (theirs->kind != op->kind)
        (void)fake_nccl_say(comm, ncclInvalidUsage, "rank %d %s type %u, rank %d %s type %u",
                            comm->rank, mine, (unsigned)op->kind, op->peer, other,
                            (unsigned)theirs->kind);
    else
        (void)fake_nccl_say(comm, ncclInvalidUsage, "rank %d %s %zu bytes, rank %d %s %zu",
                            comm->rank, mine, op->bytes, op->peer, other, (size_t)theirs->bytes);
    return true;
}

static fake_end_t compare(ncclComm_t comm, const fake_op_t *ops, size_t count)
{
    head_t *heads = calloc(2 * count + 1, sizeof *heads);
    MPI_Request *requests = calloc(2 * count + 1, sizeof(MPI_Request));
    size_t used = 0;
    bool wrong = heads == NULL || requests == NULL;
    for (size_t i = 0; !wrong && i < count; i++) {
        const fake_op_t *op = &ops[i];
        const int peer = comm->world[op->peer];
        heads[2 * i] = (head_t){.bytes = op->bytes, .kind = op->kind};
        MPI_Isend(&heads[2 * i], sizeof(head_t), MPI_BYTE, peer,
                  tag(comm, op->sends ? FAKE_TAG_SENDER : FAKE_TAG_RECEIVER), MPI_COMM_WORLD,
                  &requests[used++]);
        MPI_Irecv(&heads[2 * i + 1], sizeof(head_t), MPI_BYTE, peer,
                  tag(comm, op->sends ? FAKE_TAG_RECEIVER : FAKE_TAG_SENDER), MPI_COMM_WORLD,
                  &requests[used++]);
    }
    fake_end_t end = wrong ? FAKE_FAILED : wait_for(comm, requests, used);
    for (size_t i = 0; end == FAKE_DONE && i < count; i++)
        wrong = differs(comm, &ops[i], &heads[2 * i + 1]) || wrong;
    if (wrong) {
        fake_nccl_fail(comm, ncclInvalidUsage);
        end = FAKE_FAILED;
    }
    if (end == FAKE_DONE)
        free(heads);
    else
        comm->kept = heads;
    free(requests);
    return end;
}

/* ---- Rows ---- */

static size_t chunks_of(const fake_op_t *op)
{
    return (op->bytes + CHUNK - 1) / CHUNK;
}

static size_t start_rows(ncclComm_t comm, const fake_op_t *op, MPI_Request *requests)
{
    size_t used = 0;
    for (size_t at = 0; at < op->bytes; at += CHUNK) {
        char *memory = (char *)op->memory + at;
        const int bytes = (int)(op->bytes - at < CHUNK ? op->bytes - at : CHUNK);
        const int peer = comm->world[op->peer], data = tag(comm, FAKE_TAG_DATA);
        if (op->sends)
            MPI_Isend(memory, bytes, MPI_BYTE, peer, data, MPI_COMM_WORLD, &requests[used++]);
        else
            MPI_Irecv(memory, bytes, MPI_BYTE, peer, data, MPI_COMM_WORLD, &requests[used++]);
    }
    return used;
}

static fake_end_t move_rows(ncclComm_t comm, const fake_op_t *ops, size_t count)
{
    size_t room = 1, used = 0;
    for (size_t i = 0; i < count; i++)
        room += chunks_of(&ops[i]);
    MPI_Request *requests = calloc(room, sizeof(MPI_Request));
    if (requests == NULL)
        return FAKE_FAILED;
    for (int sends = 0; sends < 2; sends++) {
        for (size_t i = 0; i < count; i++) {
            if (ops[i].sends == (sends != 0))
                used += start_rows(comm, &ops[i], requests + used);
        }
    }
    const fake_end_t end = wait_for(comm, requests, used);
    free(requests);
    return end;
}

/* ---- From a rank to itself: the n-th send is for the n-th receive ---- */

static bool move_own(ncclComm_t comm, const fake_op_t *ops, size_t count)
{
    size_t from = 0, to = 0;
    for (;;) {
        while (from < count && !(ops[from].sends && ops[from].peer == comm->rank))
            from++;
        while (to < count && (ops[to].sends || ops[to].peer != comm->rank))
            to++;
        if (from == count || to == count)
            break;
        const head_t theirs = {.bytes = ops[to].bytes, .kind = ops[to].kind};
        if (differs(comm, &ops[from], &theirs))
            return false;
        memmove(ops[to].memory, ops[from].memory, ops[from].bytes);
        from++;
        to++;
    }
    if (from == count && to == count)
        return true;
    (void)fake_nccl_say(comm, ncclInvalidUsage, "a message to oneself has one side only");
    return false;
}

/* ---- All of it ---- */

fake_end_t fake_nccl_exchange(ncclComm_t comm, const fake_op_t *ops, size_t count, bool data)
{
    fake_op_t *others = calloc(count + 1, sizeof *others);
    size_t used = 0;
    if (others == NULL)
        return FAKE_FAILED;
    for (size_t i = 0; i < count; i++) {
        if (ops[i].peer != comm->rank)
            others[used++] = ops[i];
    }
    __atomic_add_fetch(&comm->busy, 1, __ATOMIC_ACQ_REL);
    fake_end_t end = FAKE_DONE;
    if (data && !move_own(comm, ops, count)) {
        fake_nccl_fail(comm, ncclInvalidUsage);
        end = FAKE_FAILED;
    }
    if (end == FAKE_DONE)
        end = compare(comm, others, used);
    if (end == FAKE_DONE && data)
        end = move_rows(comm, others, used);
    __atomic_sub_fetch(&comm->busy, 1, __ATOMIC_ACQ_REL);
    free(others);
    return end;
}
