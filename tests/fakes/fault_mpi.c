/* Plants a fault into the exchange of token rows of one rank, under MPI's profiling interface: the
 * program is the one that users run. Preloaded by tests/program/faults.sh. Steered by the environment:
 *
 *   MOE_FAULT       flip: a bit of an element that arrived is another
 *                   swap: two rows that arrived have changed places
 *                   lose: a row does not arrive (its place keeps what it held)
 *                   hang: the call does not return
 *                   fail: the call returns an error
 *                   memory: there is none for rows, before any exchange
 *   MOE_FAULT_RANK  of MPI_COMM_WORLD; default 1
 *   MOE_FAULT_IN    collective: MPI_Alltoall, MPI_Alltoallv; messages: MPI_Isend, MPI_Irecv,
 *                   MPI_Waitall; default both
 *   MOE_FAULT_AT    only in the n-th exchange of that kind, from 1; default in all
 *
 * Rows are told from control data by their datatype, which is no predefined one. Faults of data are
 * planted where rows have arrived, so that MPI itself sees nothing wrong. */
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_BLOCKS 1024

typedef enum where { COLLECTIVE, MESSAGES, KINDS } where_t;

/* Rows from one other rank. */
typedef struct block {
    char *rows;
    size_t count, row_bytes;
    char *held; /* the first row's bytes before anything arrived; NULL: not needed */
} block_t;

/* Under a profiling interface there is no handle to keep state in. One thread calls MPI. */
static struct {
    long exchanges[KINDS];
    block_t posted[MOST_BLOCKS]; /* receives that are under way */
    size_t count;
} state;

static bool fault_is(const char *name)
{
    const char *fault = getenv("MOE_FAULT");
    return fault != NULL && strcmp(fault, name) == 0;
}

static bool is_rows(MPI_Datatype type)
{
    int integers, addresses, types, combiner = MPI_COMBINER_NAMED;
    PMPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner);
    return combiner != MPI_COMBINER_NAMED;
}

/* Is the exchange that is under way (the `number`-th of its kind) to be spoilt on this rank? */
static bool chosen(where_t kind, long number)
{
    static const char *const names[KINDS] = {"collective", "messages"};
    const char *rank = getenv("MOE_FAULT_RANK"), *in = getenv("MOE_FAULT_IN"),
               *at = getenv("MOE_FAULT_AT");
    int mine;
    PMPI_Comm_rank(MPI_COMM_WORLD, &mine);
    return mine == (rank != NULL ? atoi(rank) : 1) &&
           (in == NULL || strcmp(in, names[kind]) == 0) && (at == NULL || number == atol(at));
}

/* What the program takes rows from; MPI has other ways. */
void *aligned_alloc(size_t alignment, size_t bytes)
{
    void *memory = NULL;
    int up = 0;
    if (fault_is("memory")) {
        PMPI_Initialized(&up);
        if (up && chosen(COLLECTIVE, 1)) {
            return NULL;
        }
    }
    return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

static void hang(void)
{
    for (;;) {
        pause();
    }
}

/* ---- Faults of data ---- */

/* The first element that is not 0, of elements of two bytes; 0 where all are. */
static size_t nonzero_element(const char *row, size_t bytes)
{
    for (size_t i = 0; i + 1 < bytes; i += 2) {
        if (row[i + 1] != 0) {
            return i;
        }
    }
    return 0;
}

static bool flip(const block_t *block)
{
    block->rows[nonzero_element(block->rows, block->row_bytes)] ^= 0x40;
    return true;
}

static bool swap(const block_t *block)
{
    const size_t bytes = block->row_bytes;
    for (size_t r = 1; r < block->count; r++) {
        char *a = block->rows, *b = block->rows + r * bytes;
        if (memcmp(a, b, bytes) != 0) {
            for (size_t i = 0; i < bytes; i++) {
                const char byte = a[i];
                a[i] = b[i];
                b[i] = byte;
            }
            return true;
        }
    }
    return false;
}

static bool lose(const block_t *block)
{
    if (block->held != NULL) {
        memcpy(block->rows, block->held, block->row_bytes);
    }
    return block->held != NULL;
}

/* ---- Blocks ---- */

/* Called before anything may arrive in the buffer. */
static void add_block(block_t *blocks, size_t *count, const void *buffer, size_t first_row,
                      size_t rows, MPI_Datatype type)
{
    int size = 0;
    PMPI_Type_size(type, &size);
    if (rows == 0 || *count == MOST_BLOCKS) {
        return;
    }
    const size_t bytes = (size_t)size;
    block_t block = {.rows = (char *)buffer + first_row * bytes, .count = rows, .row_bytes = bytes};
    if (fault_is("lose")) {
        block.held = malloc(bytes);
    }
    if (block.held != NULL) {
        memcpy(block.held, block.rows, bytes);
    }
    blocks[(*count)++] = block;
}

/* After all have arrived: spoils the first block that can be, if any is to be. */
static void end_blocks(block_t *blocks, size_t count, bool spoilt)
{
    bool done = !spoilt;
    for (size_t b = 0; b < count; b++) {
        if (!done) {
            done = fault_is("flip")   ? flip(&blocks[b])
                   : fault_is("swap") ? swap(&blocks[b])
                                      : lose(&blocks[b]);
        }
        free(blocks[b].held);
    }
}

/* ---- Collectives ---- */

/* Blocks that will arrive from other ranks. counts NULL: `each` rows from every rank. */
static size_t arriving(block_t *blocks, const void *buffer, int each, const int *counts,
                       const int *first, MPI_Datatype type, MPI_Comm comm)
{
    size_t count = 0;
    int size, rank;
    PMPI_Comm_size(comm, &size);
    PMPI_Comm_rank(comm, &rank);
    for (int r = 0; r < size; r++) {
        if (r != rank) {
            add_block(blocks, &count, buffer, (size_t)(counts != NULL ? first[r] : r * each),
                      (size_t)(counts != NULL ? counts[r] : each), type);
        }
    }
    return count;
}

static bool chosen_collective(MPI_Datatype type)
{
    const bool spoilt = is_rows(type) && chosen(COLLECTIVE, ++state.exchanges[COLLECTIVE]);
    if (spoilt && fault_is("hang")) {
        hang();
    }
    return spoilt;
}

int MPI_Alltoallv(const void *send, const int *send_counts, const int *send_first,
                  MPI_Datatype send_type, void *recv, const int *recv_counts, const int *recv_first,
                  MPI_Datatype recv_type, MPI_Comm comm)
{
    if (!chosen_collective(recv_type)) {
        return PMPI_Alltoallv(send, send_counts, send_first, send_type, recv, recv_counts,
                              recv_first, recv_type, comm);
    }
    if (fault_is("fail")) {
        return MPI_ERR_OTHER;
    }
    block_t blocks[MOST_BLOCKS];
    const size_t count = arriving(blocks, recv, 0, recv_counts, recv_first, recv_type, comm);
    const int code = PMPI_Alltoallv(send, send_counts, send_first, send_type, recv, recv_counts,
                                    recv_first, recv_type, comm);
    end_blocks(blocks, count, code == MPI_SUCCESS);
    return code;
}

int MPI_Alltoall(const void *send, int send_count, MPI_Datatype send_type, void *recv,
                 int recv_count, MPI_Datatype recv_type, MPI_Comm comm)
{
    if (!chosen_collective(recv_type)) {
        return PMPI_Alltoall(send, send_count, send_type, recv, recv_count, recv_type, comm);
    }
    if (fault_is("fail")) {
        return MPI_ERR_OTHER;
    }
    block_t blocks[MOST_BLOCKS];
    const size_t count = arriving(blocks, recv, recv_count, NULL, NULL, recv_type, comm);
    const int code = PMPI_Alltoall(send, send_count, send_type, recv, recv_count, recv_type, comm);
    end_blocks(blocks, count, code == MPI_SUCCESS);
    return code;
}

/* ---- Messages: an exchange is what one MPI_Waitall completes ---- */

int MPI_Irecv(void *buffer, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    if (is_rows(type)) {
        add_block(state.posted, &state.count, buffer, 0, (size_t)count, type);
    }
    return PMPI_Irecv(buffer, count, type, from, tag, comm, request);
}

int MPI_Isend(const void *buffer, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    if (is_rows(type) && fault_is("fail") && chosen(MESSAGES, state.exchanges[MESSAGES] + 1)) {
        return MPI_ERR_OTHER;
    }
    return PMPI_Isend(buffer, count, type, to, tag, comm, request);
}

int MPI_Waitall(int count, MPI_Request *requests, MPI_Status *statuses)
{
    const size_t posted = state.count;
    const bool spoilt = posted > 0 && chosen(MESSAGES, ++state.exchanges[MESSAGES]);
    if (spoilt && fault_is("hang")) {
        hang();
    }
    const int code = PMPI_Waitall(count, requests, statuses);
    end_blocks(state.posted, posted, spoilt && code == MPI_SUCCESS);
    state.count = 0;
    return code;
}
