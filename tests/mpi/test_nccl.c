/* The NCCL transport and the algorithms on it, on as many ranks as it is started with: over the fakes of
 * tests/fakes/gpu (LD_LIBRARY_PATH) or on real GPUs, where ranks share them if there are too few. Rank 0
 * writes TAP. */
#include "nccl_ranks.h"

/* ---- Rows ---- */

static bool all_matrices(moe_transport_t *t, char *text)
{
    static const alltoallv_case_t cases[] = {
        {MATRIX_RANDOM, 0, 24, 9, 2},    {MATRIX_RANDOM, 1, 1, 3, 3},
        {MATRIX_UNIFORM, 1, 16, 7, 0},   {MATRIX_NOTHING, 1, 16, 1, 0},
        {MATRIX_NOTHING, 2, 16, 1, 2},   {MATRIX_EMPTY_RANK, 2, 40, 6, 3},
        {MATRIX_OWN_ONLY, 3, 8, 9, 2},   {MATRIX_HOT, 4, 2048, 16, 1},
        {MATRIX_RANDOM, 5, 4096, 48, 2},
    };
    /* `best` runs all the others many times over: one case is enough. */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!all_algorithms(t, &cases[i], i == 0, text))
            return false;
    }
    return true;
}

static bool groups(moe_transport_t *t, char *text)
{
    const alltoallv_case_t c = {MATRIX_RANDOM, 2, 12, 5, 2};
    moe_transport_t *half, *quarter;
    EXPECT(t->ops->split(t, (int)(t->rank % 2), &half, NULL) == MOE_OK);
    EXPECT(half->size == (t->size + 1 - t->rank % 2) / 2 && half->rank == t->rank / 2);
    EXPECT(half->ops->split(half, (int)(half->rank / 2), &quarter, NULL) == MOE_OK);
    EXPECT(quarter->size <= 2 && quarter->rank == half->rank % 2);
    const bool right = all_algorithms(half, &c, false, text);
    half->ops->destroy(half); /* the part of it goes on */
    const bool both =
        right && run_on(quarter, "pairwise", &c, text) && run_on(t, "linear", &c, text);
    quarter->ops->destroy(quarter);
    return both;
}

/* Rank 1 sends the second message only after an answer to the first: waiting for both would not end. */
static bool answer_in_between(moe_transport_t *t, char *text)
{
    moe_device_t *d = here.device;
    moe_row_type_t row;
    void *memory;
    char host[4] = "";
    EXPECT(t->ops->row_type(t, 1, &row, NULL) == MOE_OK);
    EXPECT(d->ops->alloc(d, "rows", 3, &memory, NULL) == MOE_OK);
    char *rows = memory;
    d->ops->copy(d, rows, t->rank == 0 ? "..c" : "ab.", 3);
    if (t->rank == 0) {
        EXPECT(t->ops->start_recv(t, rows, 1, row, 1, NULL) == MOE_OK);
        EXPECT(t->ops->start_recv(t, rows + 1, 1, row, 1, NULL) == MOE_OK);
        EXPECT(t->ops->finish_but(t, 1, NULL) == MOE_OK);
        EXPECT(t->ops->start_send(t, rows + 2, 1, row, 1, NULL) == MOE_OK);
        EXPECT(t->ops->finish_but(t, 1, NULL) == MOE_OK); /* not yet the answer */
        EXPECT(t->ops->finish(t, NULL) == MOE_OK);
    } else if (t->rank == 1) {
        EXPECT(t->ops->start_send(t, rows, 1, row, 0, NULL) == MOE_OK);
        EXPECT(t->ops->finish(t, NULL) == MOE_OK);
        EXPECT(t->ops->start_send(t, rows + 1, 1, row, 0, NULL) == MOE_OK);
        EXPECT(t->ops->finish(t, NULL) == MOE_OK);
        EXPECT(t->ops->start_recv(t, rows + 2, 1, row, 0, NULL) == MOE_OK);
        EXPECT(t->ops->finish_but(t, 5, NULL) == MOE_OK); /* fewer are under way */
        EXPECT(t->ops->finish(t, NULL) == MOE_OK);
    }
    d->ops->copy(d, host, rows, 3);
    EXPECT(d->ops->finish(d, NULL) == MOE_OK);
    EXPECT(t->rank > 1 || strcmp(host, "abc") == 0);
    d->ops->release(d, memory);
    return true;
}

/* ---- One block to all ---- */

/* Rank r has rows[r] rows of two bytes (r + 1, number), for everybody. */
static bool to_all(moe_transport_t *t, const size_t *rows, char *text)
{
    enum { ROW = 2 };
    moe_device_t *d = here.device;
    size_t *memory = calloc(4 * t->size, sizeof *memory), all = 0;
    EXPECT(memory != NULL);
    moe_alltoallv_t x = {.send_rows = memory,
                         .send_first = memory + t->size,
                         .recv_rows = rows,
                         .recv_first = memory + 2 * t->size};
    for (size_t p = 0; p < t->size; p++) {
        memory[p] = rows[t->rank];
        memory[2 * t->size + p] = all;
        all += rows[p];
    }
    const size_t own = rows[t->rank];
    unsigned char *host = calloc(all + 1, ROW);
    EXPECT(host != NULL && t->ops->row_type(t, ROW, &x.row, NULL) == MOE_OK);
    for (size_t i = 0; i < own; i++) {
        host[ROW * i] = (unsigned char)(t->rank + 1);
        host[ROW * i + 1] = (unsigned char)i;
    }
    void *send, *recv;
    EXPECT(d->ops->alloc(d, "rows", ROW * (own + 1), &send, NULL) == MOE_OK);
    EXPECT(d->ops->alloc(d, "rows", ROW * (all + 1), &recv, NULL) == MOE_OK);
    d->ops->copy(d, send, host, ROW * own);
    d->ops->fill_bytes(d, recv, 0, ROW * (all + 1));
    x.send = send;
    x.recv = recv;
    EXPECT(t->ops->prepare_alltoallv(t, &x, NULL) == MOE_OK);
    EXPECT(t->ops->alltoallv(t, &x, NULL) == MOE_OK && d->ops->finish(d, NULL) == MOE_OK);
    t->ops->release_alltoallv(t, &x);
    d->ops->copy(d, host, recv, ROW * (all + 1));
    bool right = host[ROW * all] == 0;
    for (size_t p = 0, at = 0; p < t->size; p++) {
        for (size_t i = 0; i < rows[p]; i++, at++)
            right = right && host[ROW * at] == p + 1 && host[ROW * at + 1] == i;
    }
    d->ops->release(d, send);
    d->ops->release(d, recv);
    free(host);
    free(memory);
    EXPECT(right);
    return true;
}

/* As long as everybody's, it is NCCL's all-gather; else it is messages. */
static bool gathered(moe_transport_t *t, char *text)
{
    size_t *rows = calloc(t->size, sizeof *rows);
    EXPECT(rows != NULL);
    bool right = to_all(t, rows, text);
    for (size_t p = 0; p < t->size; p++)
        rows[p] = 5;
    right = right && to_all(t, rows, text);
    rows[0] = 3;
    right = right && to_all(t, rows, text);
    rows[0] = 0;
    right = right && to_all(t, rows, text);
    free(rows);
    return on_all_ranks(t, right, text);
}

/* ---- The same rows over MPI ---- */

/* Staged through pinned memory; as they are only where MPI (or the fake, which is host memory) can. */
static bool over_mpi(moe_transport_t *t, char *text)
{
    static const alltoallv_case_t cases[] = {{MATRIX_RANDOM, 6, 24, 9, 2},
                                             {MATRIX_UNIFORM, 7, 16, 7, 0}};
    const bool takes = here.fake || moe_mpi_takes_cuda();
    bool right = true;
    for (int direct = 0; right && direct < (takes ? 2 : 1); direct++) {
        kept_transport_t kept;
        moe_transport_t *staged;
        EXPECT(moe_staged_create(keep_transport(&kept, here.mpi), here.device, direct != 0, &staged,
                                 NULL) == MOE_OK);
        for (size_t i = 0; right && i < 2; i++)
            right = all_algorithms(staged, &cases[i], false, text);
        right = right && on_all_ranks(t, gradients(staged, text), text);
        staged->ops->destroy(staged);
    }
    return right;
}

/* ---- Counts, and what is in host memory ---- */

/* More than the first buffers hold. */
static bool many_counts(moe_transport_t *t, char *text)
{
    const size_t each = 3000;
    size_t *count = calloc(t->size, sizeof *count);
    size_t *send = calloc(t->size * each, sizeof *send),
           *recv = calloc(t->size * each, sizeof *recv);
    EXPECT(count != NULL && send != NULL && recv != NULL);
    for (size_t peer = 0; peer < t->size; peer++) {
        count[peer] = each;
        for (size_t i = 0; i < each; i++)
            send[peer * each + i] = (t->rank << 40) + (peer << 20) + i;
    }
    bool right = t->ops->alltoall_sizes(t, send, count, recv, count, NULL) == MOE_OK;
    for (size_t peer = 0; peer < t->size; peer++) {
        for (size_t i = 0; i < each; i++)
            right = right && recv[peer * each + i] == (peer << 40) + (t->rank << 20) + i;
    }
    free(count);
    free(send);
    free(recv);
    EXPECT(right);
    return true;
}

static bool control(moe_transport_t *t, char *text)
{
    size_t *all = calloc(t->size, sizeof *all);
    EXPECT(all != NULL);
    bool right = t->ops->allgather(t, &t->rank, sizeof t->rank, all, NULL) == MOE_OK;
    for (size_t rank = 0; rank < t->size; rank++)
        right = right && all[rank] == rank;
    free(all);
    EXPECT(right);
    size_t word = t->rank == t->size - 1 ? 77 : 0, node = 9, nodes = 9;
    double d = -(double)t->rank;
    EXPECT(t->ops->broadcast(t, &word, sizeof word, t->size - 1, NULL) == MOE_OK && word == 77);
    EXPECT(t->ops->reduce_doubles(t, &d, 1, MOE_MIN, NULL) == MOE_OK &&
           d == -(double)(t->size - 1));
    EXPECT(t->ops->nodes(t, &node, &nodes, NULL) == MOE_OK && node < nodes);
    EXPECT(t->ops->barrier(t, NULL) == MOE_OK);
    char version[128] = "", loaded[32] = "", start[48];
    t->ops->version(t, version, sizeof version);
    moe_nccl_version(loaded, sizeof loaded);
    snprintf(start, sizeof start, "NCCL %s over ", loaded);
    EXPECT(strncmp(version, start, strlen(start)) == 0 && strchr(version, '\n') == NULL);
    EXPECT(strlen(version) > strlen(start) && strcmp(t->ops->name, "nccl") == 0);
    return true;
}

/* ---- Recorded exchanges ---- */

typedef struct recorded {
    moe_transport_t *t;
    const moe_algorithm_ops_t *algorithm;
    case_buffers_t b;
} recorded_t;

static moe_status_t run_recorded(void *context, moe_error_t *error)
{
    recorded_t *r = context;
    return r->algorithm->run(r->t, here.device, &r->b.x, error);
}

/* Recorded once, nothing arrives by that; then done again and again. */
static bool record(moe_transport_t *t, const char *name, const alltoallv_case_t *c, char *text)
{
    moe_device_t *d = here.device;
    recorded_t r = {.t = t};
    moe_graph_t *graph;
    bool right = true;
    EXPECT(moe_algorithm_find(name, &r.algorithm, NULL) == MOE_OK);
    EXPECT(case_create_on(c, t, d, &r.b, NULL));
    EXPECT(case_prepare(r.algorithm, t, d, &r.b.x, NULL) == MOE_OK);
    EXPECT(case_exchange(c, r.algorithm, t, d, &r.b, &right, text, NULL) == MOE_OK && right);
    memset(r.b.recv, CASE_POISON, r.b.recv_bytes);
    d->ops->copy(d, r.b.x.recv, r.b.recv, r.b.recv_bytes);
    EXPECT(d->ops->capture(d, run_recorded, &r, &graph, NULL) == MOE_OK);
    EXPECT(case_fetch(&r.b, NULL) == MOE_OK);
    for (size_t i = 0; i < r.b.recv_bytes; i++)
        EXPECT(r.b.recv[i] == CASE_POISON);
    for (int run = 0; run < 3; run++) {
        memset(r.b.recv, CASE_POISON, r.b.recv_bytes);
        d->ops->copy(d, r.b.x.recv, r.b.recv, r.b.recv_bytes);
        d->ops->replay(d, graph);
        EXPECT(case_fetch(&r.b, NULL) == MOE_OK);
        right = right && case_arrived(c, t, &r.b, text);
    }
    d->ops->drop_graph(d, graph);
    case_release(r.algorithm, t, d, &r.b.x);
    case_destroy(&r.b);
    return right;
}

static bool recorded(moe_transport_t *t, char *text)
{
    static const alltoallv_case_t cases[] = {{MATRIX_RANDOM, 7, 40, 9, 2},
                                             {MATRIX_UNIFORM, 8, 24, 5, 2}};
    static const char *const names[] = {"native", "linear",       "pairwise",
                                        "bruck",  "hierarchical", "birkhoff"};
    for (size_t i = 0; i < 2; i++) {
        for (size_t a = 0; a < sizeof names / sizeof names[0]; a++) {
            if (!on_all_ranks(t, record(t, names[a], &cases[i], text), text))
                return false;
        }
    }
    return true;
}

/* ---- Memory that NCCL knows ---- */

static bool registered(moe_transport_t *t, char *text)
{
    static const moe_nccl_path_t paths[] = {[MOE_NCCL_REGISTER_OFF] = MOE_NCCL_PATH_KERNELS,
                                            [MOE_NCCL_REGISTER_WINDOW] = MOE_NCCL_PATH_KERNELS,
                                            [MOE_NCCL_REGISTER_SYMMETRIC] = MOE_NCCL_PATH_KERNELS,
                                            [MOE_NCCL_REGISTER_COPY] = MOE_NCCL_PATH_COPY_ENGINES};
    for (int how = MOE_NCCL_REGISTER_OFF; how <= MOE_NCCL_REGISTER_COPY; how++) {
        nccl_t n;
        moe_nccl_spec_t spec = here.spec;
        spec.registration = (moe_nccl_register_t)how;
        EXPECT(create(&n, &spec, NULL) == MOE_OK);
        const bool right = exchange_registered(n.t, paths[how], text);
        if (!on_all_ranks(t, right, text))
            return false;
        destroy(&n);
    }
    return true;
}

/* One rank has no memory left: none gets any, and all say so. */
static bool no_memory(moe_transport_t *t, char *text)
{
    for (int how = MOE_NCCL_REGISTER_OFF; how <= MOE_NCCL_REGISTER_SYMMETRIC; how += 2) {
        nccl_t n;
        moe_nccl_spec_t spec = here.spec;
        moe_error_t error = {.status = MOE_OK};
        void *memory = NULL;
        const size_t bytes = how != MOE_NCCL_REGISTER_OFF || t->rank == 0 ? (size_t)1 << 60 : 1000;
        spec.registration = (moe_nccl_register_t)how;
        EXPECT(create(&n, &spec, NULL) == MOE_OK);
        EXPECT(n.t->ops->alloc_rows(n.t, "rows", bytes, &memory, &error) == MOE_BAD_INPUT);
        EXPECT(memory == NULL && error.text[0] != '\0');
        EXPECT(n.t->ops->alloc_rows(n.t, "rows", 1000, &memory, NULL) == MOE_OK);
        n.t->ops->release_rows(n.t, memory);
        destroy(&n);
    }
    return true;
}

static bool nonblocking(moe_transport_t *t, char *text)
{
    const alltoallv_case_t c = {MATRIX_RANDOM, 4, 24, 5, 2};
    nccl_t n;
    moe_nccl_spec_t spec = here.spec;
    moe_transport_t *half;
    setenv("NCCL_COMM_BLOCKING", "0", 1);
    spec.registration = MOE_NCCL_REGISTER_SYMMETRIC;
    EXPECT(create(&n, &spec, NULL) == MOE_OK);
    EXPECT(n.t->ops->split(n.t, (int)(t->rank % 2), &half, NULL) == MOE_OK);
    bool right = all_algorithms(n.t, &c, false, text) && all_algorithms(half, &c, false, text) &&
                 counts_and_largest(n.t, text) && gradients(n.t, text) &&
                 exchange_registered(n.t, MOE_NCCL_PATH_KERNELS, text);
    half->ops->destroy(half);
    destroy(&n);
    unsetenv("NCCL_COMM_BLOCKING");
    return on_all_ranks(t, right, text);
}

/* ---- All of them ---- */

static const rank_test_t tests[] = {
    {"all matrices arrive by every algorithm", all_matrices, NULL},
    {"groups split, work and outlive their parents", groups, NULL},
    {"one block goes to all, as long as the others' or not", gathered, NULL},
    {"the latest messages need not be waited for", answer_in_between, needs_two},
    {"the same rows go over MPI, staged and as they are", over_mpi, NULL},
    {"counts go to their peers, and the largest to all", counts_and_largest, NULL},
    {"many counts fit", many_counts, NULL},
    {"gradients are summed", gradients, NULL},
    {"control goes over MPI, and the version names both", control, NULL},
    {"an exchange is recorded, and done again", recorded, NULL},
    {"memory that NCCL knows carries rows, and the path is told", registered, NULL},
    {"a rank without memory stops all", no_memory, NULL},
    {"communicators may be nonblocking", nonblocking, NULL},
};

int main(int argc, char **argv)
{
    start_nccl_tests(&argc, &argv);
    return run_nccl_tests(tests, sizeof tests / sizeof tests[0]);
}
