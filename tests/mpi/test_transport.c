/* The MPI transport and the algorithms on it, on as many ranks as it is started with (1 and more).
 * Rank 0 writes TAP. With --abort one rank hangs and a thread of another ends the run, which must
 * exit with status 4. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "counts_case.h"
#include "huge_block.h"
#include "on_ranks.h"

/* ---- Algorithms ---- */

/* One after another, as seeds go on: none, even and uneven nodes, each rank a node of its own. */
static const size_t node_sizes[] = {0, 2, 3, 1};
#define NODE_SIZES (sizeof node_sizes / sizeof node_sizes[0])

static bool run_cases(moe_transport_t *t, matrix_t matrix, size_t row_bytes, size_t max_rows,
                      unsigned seeds, char *text)
{
    moe_device_t device = case_device();
    for (size_t a = 0; a < moe_algorithm_count(); a++) {
        /* `best` runs all the others many times over: one seed is enough. */
        const bool once = strcmp(moe_algorithm_at(a)->name, "best") == 0;
        for (unsigned seed = 0; seed < (once ? 1 : seeds); seed++) {
            const alltoallv_case_t c = {.matrix = matrix,
                                        .seed = seed,
                                        .row_bytes = row_bytes,
                                        .max_rows = max_rows,
                                        .ranks_per_node = node_sizes[seed % NODE_SIZES]};
            const bool right = case_run(&c, moe_algorithm_at(a), t, &device, text);
            if (!on_all_ranks(t, right, text))
                return false;
        }
    }
    return true;
}

static bool random_matrices(moe_transport_t *t, char *text)
{
    return run_cases(t, MATRIX_RANDOM, 24, 9, 8, text) &&
           run_cases(t, MATRIX_RANDOM, 1, 3, 2, text);
}

static bool long_blocks(moe_transport_t *t, char *text)
{
    /* Past the eager limits of both libraries. */
    return run_cases(t, MATRIX_RANDOM, 4096, 64, 3, text);
}

static bool equal_blocks(moe_transport_t *t, char *text)
{
    return run_cases(t, MATRIX_UNIFORM, 16, 7, 4, text) &&
           run_cases(t, MATRIX_UNIFORM, 4096, 24, 1, text);
}

static bool no_rows(moe_transport_t *t, char *text)
{
    return run_cases(t, MATRIX_NOTHING, 16, 1, 2, text);
}

static bool empty_rank(moe_transport_t *t, char *text)
{
    return run_cases(t, MATRIX_EMPTY_RANK, 40, 6, 4, text);
}

static bool own_rows(moe_transport_t *t, char *text)
{
    return run_cases(t, MATRIX_OWN_ONLY, 8, 9, 2, text);
}

/* Three of them, started one after another, and finished in that order while the others go on. */
static bool several_under_way(moe_transport_t *t, char *text)
{
    static const alltoallv_case_t cases[] = {{MATRIX_RANDOM, 1, 4096, 32, 0},
                                             {MATRIX_UNIFORM, 2, 512, 9, 0},
                                             {MATRIX_RANDOM, 3, 24, 9, 0},
                                             {MATRIX_NOTHING, 4, 16, 1, 0}};
    enum { CASES = sizeof cases / sizeof cases[0] };
    case_buffers_t b[CASES];
    bool right = true;
    for (size_t i = 0; i < CASES; i++) {
        EXPECT(case_create(&cases[i], t, &b[i], NULL));
        EXPECT(t->ops->prepare_alltoallv(t, &b[i].x, NULL) == MOE_OK);
    }
    for (int run = 0; run < 3; run++) {
        for (size_t i = 0; i < CASES; i++) {
            if (b[i].recv != NULL)
                memset(b[i].recv, CASE_POISON, b[i].recv_bytes);
            EXPECT(t->ops->start_alltoallv(t, &b[i].x, NULL) == MOE_OK);
        }
        for (size_t i = 0; i < CASES; i++) {
            EXPECT(t->ops->finish_alltoallv(t, &b[i].x, NULL) == MOE_OK);
            right = right && case_arrived(&cases[i], t, &b[i], text);
        }
    }
    for (size_t i = 0; i < CASES; i++) {
        t->ops->release_alltoallv(t, &b[i].x);
        case_destroy(&b[i]);
    }
    return right;
}

/* Started twice, finished twice, or neither prepared nor started. */
static bool halves_out_of_order(moe_transport_t *t, char *text)
{
    const alltoallv_case_t c = {MATRIX_RANDOM, 5, 8, 4, 0};
    case_buffers_t b;
    moe_error_t error = {.status = MOE_OK};
    EXPECT(case_create(&c, t, &b, NULL));
    EXPECT(t->ops->start_alltoallv(t, &b.x, &error) == MOE_FAILED);
    EXPECT(strstr(error.text, "start_alltoallv: called before prepare_alltoallv") != NULL);
    EXPECT(t->ops->finish_alltoallv(t, &b.x, NULL) == MOE_FAILED);
    EXPECT(t->ops->prepare_alltoallv(t, &b.x, NULL) == MOE_OK);
    EXPECT(t->ops->finish_alltoallv(t, &b.x, &error) == MOE_FAILED);
    EXPECT(strstr(error.text, "finish_alltoallv: called before start_alltoallv") != NULL);
    EXPECT(t->ops->start_alltoallv(t, &b.x, NULL) == MOE_OK);
    EXPECT(t->ops->start_alltoallv(t, &b.x, NULL) == MOE_FAILED);
    EXPECT(t->ops->finish_alltoallv(t, &b.x, NULL) == MOE_OK);
    EXPECT(t->ops->finish_alltoallv(t, &b.x, NULL) == MOE_FAILED);
    t->ops->release_alltoallv(t, &b.x);
    case_destroy(&b);
    return true;
}

static bool hot_rank(moe_transport_t *t, char *text)
{
    return run_cases(t, MATRIX_HOT, 2048, 16, 3, text);
}

/* ---- What MPI cannot count is refused before anything is sent ---- */

static bool refusals(moe_transport_t *t, char *text)
{
    moe_error_t error = {.status = MOE_OK};
    moe_row_type_t row, same;
    EXPECT(t->ops->row_type(t, 0, &row, NULL) == MOE_BAD_INPUT);
    EXPECT(t->ops->row_type(t, (size_t)1 << 31, &row, &error) == MOE_BAD_INPUT);
    EXPECT(strstr(error.text, "2147483648") != NULL && strstr(error.text, "--hidden") != NULL);
    EXPECT(t->ops->row_type(t, 24, &row, NULL) == MOE_OK);
    EXPECT(t->ops->row_type(t, 24, &same, NULL) == MOE_OK && same.handle == row.handle);
    size_t *rows = calloc(2 * t->size, sizeof *rows);
    EXPECT(rows != NULL);
    moe_alltoallv_t x = {.row = row,
                         .send_rows = rows,
                         .send_first = rows + t->size,
                         .recv_rows = rows,
                         .recv_first = rows + t->size};
    const moe_status_t unprepared = t->ops->alltoallv(t, &x, NULL);
    rows[t->size - 1] = (size_t)3000 * 1000 * 1000;
    const moe_status_t many = t->ops->prepare_alltoallv(t, &x, &error);
    rows[t->size - 1] = 1;
    rows[2 * t->size - 1] = (size_t)2147483647;
    const moe_status_t far = t->ops->prepare_alltoallv(t, &x, NULL);
    const bool clean = x.prepared == NULL;
    free(rows);
    EXPECT(unprepared == MOE_FAILED);
    EXPECT(many == MOE_BAD_INPUT && far == MOE_BAD_INPUT && clean);
    EXPECT(strstr(error.text, "3000000000") != NULL && strstr(error.text, "--tokens") != NULL);
    return true;
}

/* A call that MPI itself refuses: the text names the call. */
static bool errors_name_their_call(moe_transport_t *t, char *text)
{
    moe_error_t error = {.status = MOE_OK};
    char byte = 0;
    moe_row_type_t row;
    EXPECT(t->ops->row_type(t, 1, &row, NULL) == MOE_OK);
    EXPECT(t->ops->start_send(t, &byte, 1, row, t->size + 5, &error) == MOE_FAILED);
    EXPECT(strncmp(error.text, "MPI_Isend failed: ", 18) == 0 && strlen(error.text) > 18);
    EXPECT(t->ops->finish(t, NULL) == MOE_OK);
    return true;
}

/* Open MPI 4.1: ompi_request_default_wait_all() leaves by way of WAIT_SYNC_RELEASE() when a
 * request had failed before the call, and spins there, as nobody will signal; the program's
 * watchdog ends that. */
static const char *truncation_is_left_out(moe_transport_t *t)
{
    char version[32];
    t->ops->version(t, version, sizeof version);
    if (strncmp(version, "Open MPI", 8) == 0)
        return "MPI_Waitall of Open MPI may spin on a failed request";
    return t->size < 2 ? "for 2 ranks and more" : NULL;
}

/* Rank 0 sends more than rank 1 expects; the others look on. */
static bool truncation(moe_transport_t *t, char *text)
{
    moe_error_t error = {.status = MOE_OK};
    char rows[8] = {0};
    moe_row_type_t row;
    EXPECT(t->ops->row_type(t, 4, &row, NULL) == MOE_OK);
    if (t->rank == 0) {
        EXPECT(t->ops->start_send(t, rows, 2, row, 1, NULL) == MOE_OK);
        EXPECT(t->ops->finish(t, NULL) == MOE_OK);
    } else if (t->rank == 1) {
        EXPECT(t->ops->start_recv(t, rows, 1, row, 0, NULL) == MOE_OK);
        EXPECT(t->ops->finish(t, &error) == MOE_FAILED);
        EXPECT(strncmp(error.text, "MPI_Waitall failed: ", 20) == 0);
        EXPECT(strstr(error.text, "runcat") != NULL);
    }
    return true;
}

/* ---- Control ---- */

static bool control(moe_transport_t *t, char *text)
{
    const size_t p = t->size, mine = t->rank * 7;
    size_t *all = calloc(p, sizeof *all);
    EXPECT(all != NULL);
    bool right = t->ops->allgather(t, &mine, sizeof mine, all, NULL) == MOE_OK;
    for (size_t rank = 0; rank < p; rank++)
        right = right && all[rank] == rank * 7;
    free(all);
    EXPECT(right);
    char word[4] = "no";
    if (t->rank == p - 1)
        strcpy(word, "yes");
    EXPECT(t->ops->broadcast(t, word, sizeof word, p - 1, NULL) == MOE_OK);
    EXPECT(strcmp(word, "yes") == 0);
    size_t s[2] = {t->rank + 1, SIZE_MAX - t->rank};
    EXPECT(t->ops->reduce_sizes(t, s, 1, MOE_SUM, NULL) == MOE_OK && s[0] == p * (p + 1) / 2);
    EXPECT(t->ops->reduce_sizes(t, s, 2, MOE_MAX, NULL) == MOE_OK && s[1] == SIZE_MAX);
    double d = -(double)t->rank;
    EXPECT(t->ops->reduce_doubles(t, &d, 1, MOE_MIN, NULL) == MOE_OK && d == -(double)(p - 1));
    size_t largest = SIZE_MAX - t->rank, other = t->rank + 5;
    EXPECT(t->ops->max_size(t, &largest, NULL) == MOE_OK && largest == SIZE_MAX);
    EXPECT(t->ops->max_size(t, &other, NULL) == MOE_OK && other == p + 4);
    EXPECT(t->ops->barrier(t, NULL) == MOE_OK);
    return true;
}

/* A word goes up the ranks, and neighbours in pairs swap words. */
static bool words(moe_transport_t *t, char *text)
{
    size_t word = 5, swapped = 0;
    if (t->rank > 0)
        EXPECT(t->ops->exchange_bytes(t, t->rank - 1, NULL, &word, sizeof word, NULL) == MOE_OK);
    EXPECT(word == 5 + t->rank);
    word++;
    if (t->rank + 1 < t->size)
        EXPECT(t->ops->exchange_bytes(t, t->rank + 1, &word, NULL, sizeof word, NULL) == MOE_OK);
    const size_t peer = t->rank ^ 1;
    if (peer < t->size) {
        EXPECT(t->ops->exchange_bytes(t, peer, &word, &swapped, sizeof word, NULL) == MOE_OK);
        EXPECT(swapped == 6 + peer);
    }
    return true;
}

static bool gradients(moe_transport_t *t, char *text)
{
    enum { FLOATS = 10007 };
    float *values = malloc(FLOATS * sizeof *values);
    EXPECT(values != NULL);
    for (size_t i = 0; i < FLOATS; i++)
        values[i] = (float)(t->rank * (i % 97));
    bool right = t->ops->sum_floats(t, values, FLOATS, NULL) == MOE_OK;
    for (size_t i = 0; i < FLOATS; i++)
        right = right && values[i] == (float)(i % 97 * t->size * (t->size - 1) / 2);
    free(values);
    EXPECT(right);
    EXPECT(t->ops->sum_floats(t, NULL, 0, NULL) == MOE_OK);
    return true;
}

/* ---- Groups ---- */

static bool groups(moe_transport_t *t, char *text)
{
    moe_transport_t *half;
    EXPECT(t->ops->split(t, (int)(t->rank % 2), &half, NULL) == MOE_OK);
    const bool placed = half->size == (t->size + 1 - t->rank % 2) / 2 && half->rank == t->rank / 2;
    const bool moved = run_cases(half, MATRIX_RANDOM, 12, 5, 2, text);
    half->ops->destroy(half);
    EXPECT(placed);
    return on_all_ranks(t, moved, text) && run_cases(t, MATRIX_RANDOM, 12, 5, 1, text);
}

/* The tests run on one host: all ranks share its memory. */
static bool one_node(moe_transport_t *t, char *text)
{
    size_t node = 9, nodes = 9;
    EXPECT(t->ops->nodes(t, &node, &nodes, NULL) == MOE_OK);
    EXPECT(node == 0 && nodes == 1);
    return true;
}

static bool version(moe_transport_t *t, char *text)
{
    char whole[256] = "", cut[8];
    t->ops->version(t, whole, sizeof whole);
    EXPECT(strncmp(whole, "Open MPI v", 10) == 0 || strncmp(whole, "MPICH Version: ", 15) == 0);
    EXPECT(strchr(whole, '\n') == NULL && strstr(whole, "  ") == NULL);
    EXPECT(whole[strlen(whole) - 1] != ' ');
    EXPECT(!moe_mpi_takes_cuda() || moe_mpi_built_in()); /* it can be asked */
    t->ops->version(t, cut, sizeof cut);
    EXPECT(strlen(cut) < sizeof cut && strncmp(cut, whole, strlen(cut)) == 0);
    return true;
}

/* ---- TAP ---- */

static const rank_test_t tests[] = {
    {"random matrices with empty blocks arrive by every algorithm", random_matrices, NULL},
    {"blocks past the eager limit arrive", long_blocks, NULL},
    {"equal blocks arrive", equal_blocks, NULL},
    {"no rows need no buffers", no_rows, NULL},
    {"a rank without rows does not hold up the others", empty_rank, NULL},
    {"rows that stay on their rank are copied", own_rows, NULL},
    {"one hot rank receives all", hot_rank, NULL},
    {"several exchanges are under way at once", several_under_way, NULL},
    {"the two halves of an exchange are called in their order", halves_out_of_order, NULL},
    {"what MPI cannot count is refused with a remedy", refusals, NULL},
    {"an error of MPI names its call", errors_name_their_call, NULL},
    {"a message longer than expected is an error", truncation, truncation_is_left_out},
    {"gather, broadcast and reductions give all ranks the same", control, NULL},
    {"two ranks exchange bytes, one way or both", words, NULL},
    {"counts go to their peers", counts, NULL},
    {"gradients are summed", gradients, NULL},
    {"groups split, work and end", groups, NULL},
    {"ranks of one host are on one node", one_node, NULL},
    {"the version is one line", version, NULL},
    {"a block of more than INT_MAX bytes arrives, by the collective and as a message", huge_block,
     huge_is_left_out},
};
#define TESTS (sizeof tests / sizeof tests[0])

static void *abort_from_a_thread(void *transport)
{
    moe_transport_t *t = transport;
    usleep(200 * 1000);
    t->ops->abort(t, MOE_FAILED);
    return NULL;
}

/* All ranks but the last hang in a barrier; a thread of rank 0 ends them, as the watchdog does. */
static void hang_and_abort(moe_transport_t *t)
{
    pthread_t thread;
    if (t->rank == 0 && pthread_create(&thread, NULL, abort_from_a_thread, t) != 0)
        exit(1);
    if (t->rank + 1 == t->size)
        sleep(60);
    t->ops->barrier(t, NULL);
    exit(1);
}

int main(int argc, char **argv)
{
    moe_transport_t *t;
    moe_error_t error = {.status = MOE_OK};
    if (moe_mpi_create(&argc, &argv, &t, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return error.status;
    }
    if (argc > 1 && strcmp(argv[1], "--abort") == 0)
        hang_and_abort(t);
    const bool right = run_tests(t, tests, TESTS);
    t->ops->destroy(t);
    return right ? 0 : 1;
}
