/* The NCCL transport and the algorithms on it, on as many ranks as it is started with: over the fakes of
 * tests/fakes/gpu (LD_LIBRARY_PATH) or on real GPUs, where ranks share them if there are too few. Rank 0
 * writes TAP. With --fault a fault that the environment plants is waited for: the run must end with
 * status 4. */
#include <unistd.h>

#include "moe/measure.h"
#include "on_ranks.h"

#define TIMEOUT_SECONDS 60.0

/* One rank is one process. */
static struct {
    moe_transport_t *mpi;
    moe_device_t *device;
    size_t gpu;
    bool share, fake; /* the GPUs are none */
    moe_nccl_spec_t spec;
} here;

/* ---- Handles ---- */

typedef struct nccl {
    kept_transport_t control;
    moe_transport_t *t;
} nccl_t;

/* One more transport of all ranks. */
static moe_status_t create(nccl_t *n, const moe_nccl_spec_t *spec, moe_error_t *error)
{
    return moe_nccl_create(spec, keep_transport(&n->control, here.mpi), &n->t, error);
}

static void destroy(nccl_t *n)
{
    n->t->ops->destroy(n->t);
}

static const char *real_gpus(moe_transport_t *t)
{
    (void)t;
    return here.fake ? NULL : "for the fake NCCL";
}

static const char *needs_two(moe_transport_t *t)
{
    return t->size < 2 ? "for 2 ranks and more" : NULL;
}

static const char *needs_two_and_the_fake(moe_transport_t *t)
{
    return needs_two(t) != NULL ? needs_two(t) : real_gpus(t);
}

/* ---- Algorithms ---- */

static bool run_on(moe_transport_t *t, const char *name, const alltoallv_case_t *c, char *text)
{
    const moe_algorithm_ops_t *algorithm;
    EXPECT(moe_algorithm_find(name, &algorithm, NULL) == MOE_OK);
    return on_all_ranks(t, case_run(c, algorithm, t, here.device, text), text);
}

static bool all_algorithms(moe_transport_t *t, const alltoallv_case_t *c, bool best, char *text)
{
    for (size_t a = 0; a < moe_algorithm_count(); a++) {
        const char *name = moe_algorithm_at(a)->name;
        if ((best || strcmp(name, "best") != 0) && !run_on(t, name, c, text))
            return false;
    }
    return true;
}

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

/* ---- Counts and gradients ---- */

/* Rank r gives peer p (r + p) % 3 numbers, each r * 100 + p. */
static bool counts(moe_transport_t *t, char *text)
{
    size_t *memory = calloc(6 * t->size, sizeof *memory);
    EXPECT(memory != NULL);
    size_t *const count = memory, *const send = count + t->size, *const recv = send + 2 * t->size;
    size_t sent = 0, at = 0;
    for (size_t peer = 0; peer < t->size; peer++) {
        count[peer] = (t->rank + peer) % 3;
        for (size_t i = 0; i < count[peer]; i++)
            send[sent++] = t->rank * 100 + peer;
    }
    bool right = t->ops->alltoall_sizes(t, send, count, recv, count, NULL) == MOE_OK;
    for (size_t peer = 0; peer < t->size; peer++) {
        for (size_t i = 0; i < count[peer]; i++)
            right = right && recv[at++] == peer * 100 + t->rank;
    }
    free(memory);
    EXPECT(right);
    size_t largest = SIZE_MAX - t->rank, other = t->rank + 5;
    EXPECT(t->ops->max_size(t, &largest, NULL) == MOE_OK && largest == SIZE_MAX);
    EXPECT(t->ops->max_size(t, &other, NULL) == MOE_OK && other == t->size + 4);
    return true;
}

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

static bool gradients(moe_transport_t *t, char *text)
{
    enum { FLOATS = 100003 };
    static float values[FLOATS];
    moe_device_t *d = here.device;
    void *memory;
    for (size_t i = 0; i < FLOATS; i++)
        values[i] = (float)(t->rank * (i % 97));
    EXPECT(d->ops->alloc(d, "gradients", sizeof values, &memory, NULL) == MOE_OK);
    d->ops->copy(d, memory, values, sizeof values);
    EXPECT(t->ops->sum_floats(t, memory, FLOATS, NULL) == MOE_OK);
    EXPECT(t->ops->sum_floats(t, memory, 0, NULL) == MOE_OK);
    d->ops->copy(d, values, memory, sizeof values);
    EXPECT(d->ops->finish(d, NULL) == MOE_OK);
    d->ops->release(d, memory);
    for (size_t i = 0; i < FLOATS; i++)
        EXPECT(values[i] == (float)(i % 97 * t->size * (t->size - 1) / 2));
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

/* Equal blocks between two pieces of it, other sizes on every rank but for those. */
static bool exchange_registered(moe_transport_t *t, moe_nccl_path_t expected, char *text)
{
    const alltoallv_case_t c = {MATRIX_UNIFORM, 3, 512, 8, 0};
    const moe_algorithm_ops_t *native;
    moe_device_t *d = here.device;
    case_buffers_t b;
    void *send, *recv, *nothing;
    bool right = true;
    EXPECT(moe_algorithm_find("native", &native, NULL) == MOE_OK);
    EXPECT(case_create(&c, t, &b, NULL));
    EXPECT(t->ops->alloc_rows(t, "rows", b.recv_bytes + t->rank * 5000, &send, NULL) == MOE_OK);
    EXPECT(t->ops->alloc_rows(t, "rows", b.recv_bytes, &recv, NULL) == MOE_OK);
    EXPECT(t->ops->alloc_rows(t, "no rows", 0, &nothing, NULL) == MOE_OK && nothing != NULL);
    d->ops->copy(d, send, b.send, b.recv_bytes);
    b.x.send = send;
    b.x.recv = recv;
    b.device = d;
    EXPECT(case_prepare(native, t, d, &b.x, NULL) == MOE_OK);
    EXPECT(case_exchange(&c, native, t, d, &b, &right, text, NULL) == MOE_OK);
    const moe_nccl_path_t path = moe_nccl_path(t, &b.x);
    EXPECT(!here.fake || path == expected);
    EXPECT(case_exchange(&c, native, t, d, &b, &right, text, NULL) == MOE_OK);
    b.x.uniform = false;
    EXPECT(moe_nccl_path(t, &b.x) == MOE_NCCL_PATH_UNKNOWN);
    case_release(native, t, d, &b.x);
    t->ops->release_rows(t, nothing);
    t->ops->release_rows(t, recv);
    t->ops->release_rows(t, send);
    t->ops->release_rows(t, NULL);
    b.device = NULL;
    case_destroy(&b);
    return right;
}

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

/* ---- What is refused ---- */

static bool refusals(moe_transport_t *t, char *text)
{
    moe_error_t error = {.status = MOE_OK};
    moe_row_type_t row;
    char byte = 0;
    EXPECT(t->ops->row_type(t, 0, &row, NULL) == MOE_BAD_INPUT);
    EXPECT(t->ops->row_type(t, 24, &row, NULL) == MOE_OK && row.bytes == 24);
    EXPECT(t->ops->start_send(t, &byte, 1, row, t->size, &error) == MOE_FAILED);
    EXPECT(strstr(error.text, "start_send: rank") != NULL);
    EXPECT(t->ops->start_recv(t, &byte, 1, row, t->rank, NULL) == MOE_FAILED);
    const moe_alltoallv_t x = {.row = row};
    EXPECT(t->ops->alltoallv(t, &x, &error) == MOE_FAILED);
    EXPECT(strstr(error.text, "before prepare_alltoallv") != NULL);
    const moe_nccl_facts_t *facts = moe_nccl_facts(t);
    EXPECT(facts != NULL && moe_nccl_facts(here.mpi) == NULL);
    EXPECT(facts->version[0] != '\0' && facts->spec.device == here.device);
    EXPECT(!here.share || facts->spec.max_ctas > 0);
    return true;
}

static bool wrong_options(moe_transport_t *t, char *text)
{
    nccl_t n;
    moe_error_t error = {.status = MOE_OK};
    moe_nccl_spec_t spec = here.spec;
    moe_device_t *host;
    EXPECT(moe_host_device_create(1, 1, &host, NULL) == MOE_OK);
    spec.device = host;
    EXPECT(create(&n, &spec, &error) == MOE_BAD_INPUT && strstr(error.text, "--device") != NULL);
    host->ops->destroy(host);
    spec = here.spec;
    spec.min_ctas = 9;
    spec.max_ctas = 8;
    EXPECT(create(&n, &spec, &error) == MOE_BAD_INPUT && strstr(error.text, "--nccl-ctas 9,8"));
    spec = here.spec;
    spec.timeout_seconds = t->rank == 0 ? 0 : 1; /* one rank only: all hear of it */
    EXPECT(create(&n, &spec, &error) == MOE_BAD_INPUT);
    EXPECT(strstr(error.text, t->rank == 0 ? "--timeout" : "another rank") != NULL);
    return true;
}

/* Options that an older library does not have, and what it has instead of ncclAlltoAll. */
static bool old_library(moe_transport_t *t, char *text)
{
    const alltoallv_case_t c = {MATRIX_UNIFORM, 3, 16, 5, 0};
    nccl_t n;
    moe_error_t error = {.status = MOE_OK};
    moe_nccl_spec_t spec = here.spec;
    setenv("MOE_FAKE_NCCL_VERSION", "2.26.2", 1);
    spec.registration = MOE_NCCL_REGISTER_SYMMETRIC;
    EXPECT(create(&n, &spec, &error) == MOE_BAD_INPUT);
    EXPECT(strstr(error.text, "--nccl-register symmetric needs NCCL 2.27.0") != NULL &&
           strstr(error.text, "2.26.2 is loaded") != NULL);
    spec = here.spec;
    spec.channels_per_peer = 2;
    EXPECT(create(&n, &spec, &error) == MOE_BAD_INPUT);
    EXPECT(strstr(error.text, "--nccl-channels-per-peer needs NCCL 2.28.0") != NULL);
    spec = here.spec;
    spec.registration = MOE_NCCL_REGISTER_WINDOW; /* without windows, by ncclCommRegister() */
    EXPECT(create(&n, &spec, NULL) == MOE_OK);
    EXPECT(!moe_nccl_facts(n.t)->has_alltoall &&
           strcmp(moe_nccl_facts(n.t)->version, "2.26.2") == 0);
    const bool right =
        exchange_registered(n.t, MOE_NCCL_PATH_KERNELS, text) && run_on(n.t, "native", &c, text);
    destroy(&n);
    unsetenv("MOE_FAKE_NCCL_VERSION");
    return on_all_ranks(t, right, text);
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
                 counts(n.t, text) && gradients(n.t, text) &&
                 exchange_registered(n.t, MOE_NCCL_PATH_KERNELS, text);
    half->ops->destroy(half);
    destroy(&n);
    unsetenv("NCCL_COMM_BLOCKING");
    return on_all_ranks(t, right, text);
}

/* ---- Faults: each on a device and a transport of its own, which are of no use afterwards ---- */

typedef struct faulty {
    moe_device_t *device;
    nccl_t n;
} faulty_t;

static bool create_faulty(faulty_t *f)
{
    moe_nccl_spec_t spec = here.spec;
    if (moe_cuda_device_create(here.gpu, &f->device, NULL) != MOE_OK)
        return false;
    spec.device = f->device;
    return create(&f->n, &spec, NULL) == MOE_OK;
}

static void destroy_faulty(faulty_t *f)
{
    destroy(&f->n);
    f->device->ops->destroy(f->device);
}

static void plant(const char *fault, size_t rank)
{
    char number[16];
    snprintf(number, sizeof number, "%zu", rank);
    setenv("MOE_FAKE_NCCL_RANK", number, 1);
    setenv("MOE_FAKE_NCCL_FAULT", fault, 1);
}

static void unplant(void)
{
    unsetenv("MOE_FAKE_NCCL_FAULT");
    unsetenv("MOE_FAKE_NCCL_RANK");
    unsetenv("MOE_FAKE_NCCL_AT");
    unsetenv("MOE_FAKE_NCCL_BYTES");
}

/* The rank that has the cause speaks at once, the others when it has. */
static bool asynchronous(moe_transport_t *t, char *text)
{
    const alltoallv_case_t c = {MATRIX_UNIFORM, 4, 8, 3, 0};
    const moe_algorithm_ops_t *linear;
    moe_error_t error = {.status = MOE_OK};
    faulty_t f;
    case_buffers_t b;
    EXPECT(create_faulty(&f));
    EXPECT(moe_algorithm_find("linear", &linear, NULL) == MOE_OK);
    EXPECT(case_create_on(&c, f.n.t, f.device, &b, NULL));
    plant("async", 1);
    setenv("MOE_FAKE_NCCL_BYTES", "8", 1);
    f.n.t->doing = "dispatch";
    const double begin = moe_now();
    moe_status_t status = linear->run(f.n.t, f.device, &b.x, &error);
    if (status == MOE_OK)
        status = f.device->ops->finish(f.device, &error);
    const double seconds = moe_now() - begin;
    unplant();
    char start[160];
    snprintf(start, sizeof start,
             "rank %zu (%s): dispatch: NCCL reports an asynchronous error: ", t->rank,
             here.spec.label);
    EXPECT(status == MOE_FAILED);
    EXPECT(strncmp(error.text, start, strlen(start)) == 0);
    EXPECT(strstr(error.text, t->rank == 1 ? "planted: a link went down" : "another rank") != NULL);
    EXPECT(t->rank == 1 ? seconds < 0.9 : seconds > 0.9);
    EXPECT(seconds < 20);
    EXPECT(t->ops->barrier(t, NULL) == MOE_OK);
    destroy_faulty(&f);
    b.device = NULL;
    case_destroy(&b);
    return true;
}

static bool sizes_differ(moe_transport_t *t, char *text)
{
    moe_error_t error = {.status = MOE_OK};
    faulty_t f;
    void *memory;
    EXPECT(create_faulty(&f));
    EXPECT(f.device->ops->alloc(f.device, "rows", 64, &memory, NULL) == MOE_OK);
    moe_transport_t *n = f.n.t;
    const moe_row_type_t row = {.bytes = 4};
    moe_status_t status = MOE_OK;
    if (t->rank == 0)
        status = n->ops->start_send(n, memory, 2, row, 1, NULL);
    if (t->rank == 1)
        status = n->ops->start_recv(n, memory, 1, row, 0, NULL);
    if (status == MOE_OK)
        status = n->ops->finish(n, &error);
    if (status == MOE_OK)
        status = f.device->ops->finish(f.device, &error);
    EXPECT(status == (t->rank < 2 ? MOE_FAILED : MOE_OK));
    EXPECT(t->rank != 0 || strstr(error.text, "rank 0 sends 8 bytes, rank 1 expects 4") != NULL);
    EXPECT(t->rank != 1 || strstr(error.text, "rank 1 expects 4 bytes, rank 0 sends 8") != NULL);
    EXPECT(t->ops->barrier(t, NULL) == MOE_OK);
    destroy_faulty(&f);
    return true;
}

static bool corrupted(moe_transport_t *t, char *text)
{
    const alltoallv_case_t c = {MATRIX_UNIFORM, 4, 64, 3, 0};
    const moe_algorithm_ops_t *native;
    char found[CASE_TEXT] = "";
    case_buffers_t b;
    bool right = true;
    EXPECT(moe_algorithm_find("native", &native, NULL) == MOE_OK);
    EXPECT(case_create_on(&c, t, here.device, &b, NULL));
    EXPECT(case_prepare(native, t, here.device, &b.x, NULL) == MOE_OK);
    plant("corrupt", t->size - 1);
    setenv("MOE_FAKE_NCCL_BYTES", "128", 1);
    setenv("MOE_FAKE_NCCL_AT", "1", 1);
    EXPECT(case_exchange(&c, native, t, here.device, &b, &right, found, NULL) == MOE_OK);
    unplant();
    EXPECT(right == (t->rank != t->size - 1));
    case_release(native, t, here.device, &b.x);
    case_destroy(&b);
    return true;
}

/* A host pointer where a device pointer belongs: NCCL refuses it in the call. */
static bool errors_name_their_call(moe_transport_t *t, char *text)
{
    moe_error_t error = {.status = MOE_OK};
    char byte = 0, expected[160];
    const moe_row_type_t row = {.bytes = 1};
    t->doing = "combine";
    EXPECT(t->ops->start_send(t, &byte, 1, row, (t->rank + 1) % t->size, NULL) == MOE_OK);
    EXPECT(t->ops->finish(t, &error) == MOE_FAILED);
    t->doing = NULL;
    snprintf(expected, sizeof expected, "rank %zu (%s): combine: ncclSend failed: invalid argument",
             t->rank, here.spec.label);
    EXPECT(strncmp(error.text, expected, strlen(expected)) == 0);
    EXPECT(strstr(error.text, "is no device memory") != NULL);
    return true;
}

/* ---- All of them ---- */

static const rank_test_t tests[] = {
    {"all matrices arrive by every algorithm", all_matrices, NULL},
    {"groups split, work and outlive their parents", groups, NULL},
    {"the latest messages need not be waited for", answer_in_between, needs_two},
    {"counts go to their peers, and the largest to all", counts, NULL},
    {"many counts fit", many_counts, NULL},
    {"gradients are summed", gradients, NULL},
    {"control goes over MPI, and the version names both", control, NULL},
    {"an exchange is recorded, and done again", recorded, NULL},
    {"memory that NCCL knows carries rows, and the path is told", registered, NULL},
    {"a rank without memory stops all", no_memory, NULL},
    {"what makes no sense is refused", refusals, NULL},
    {"options are refused on all ranks", wrong_options, NULL},
    {"an older library is told from a newer one", old_library, real_gpus},
    {"communicators may be nonblocking", nonblocking, NULL},
    {"an error of NCCL names its call", errors_name_their_call, needs_two_and_the_fake},
    {"wrong data is seen", corrupted, needs_two_and_the_fake},
    {"an asynchronous error ends the wait, the cause first", asynchronous, needs_two_and_the_fake},
    {"a message longer than expected is an error", sizes_differ, needs_two_and_the_fake},
};
#define TESTS (sizeof tests / sizeof tests[0])

/* Why nothing can be tested here, the same on all ranks; "" where it can. */
static void find_gpu(char *reason, size_t size)
{
    moe_gpu_t gpus[MOE_GPUS_MAX];
    moe_error_t error = {.status = MOE_OK};
    size_t count = 0, most;
    moe_status_t status = MOE_OK;
    reason[0] = '\0';
    if (!moe_nccl_built_in())
        status = moe_fail(&error, MOE_BAD_INPUT, "built without NCCL");
    if (status == MOE_OK)
        status = moe_cuda_gpus(gpus, MOE_GPUS_MAX, &count, &error);
    if (status == MOE_OK) {
        here.gpu = here.mpi->rank % count;
        here.fake = strncmp(gpus[here.gpu].name, "fake", 4) == 0;
        here.share = here.mpi->size > count; /* all ranks on one node: such are these tests */
        status = moe_cuda_device_create(here.gpu, &here.device, &error);
    }
    most = status;
    if (here.mpi->ops->reduce_sizes(here.mpi, &most, 1, MOE_MAX, NULL) != MOE_OK || most != MOE_OK)
        snprintf(reason, size, "%s", error.text[0] != '\0' ? error.text : "another rank has none");
}

static moe_nccl_spec_t spec_here(void)
{
    moe_nccl_spec_t spec = {
        .device = here.device, .timeout_seconds = TIMEOUT_SECONDS, .share_gpu = here.share};
    snprintf(spec.label, sizeof spec.label, "host h, GPU %zu", here.gpu);
    return spec;
}

/* Exchanges until the fault comes; whoever sees it ends the run. A watchdog ends it where none does. */
static void end_by_watchdog(void *context)
{
    nccl_t *n = context;
    fprintf(stderr, "rank %zu: watchdog\n", here.mpi->rank);
    n->t->ops->abort(n->t, MOE_FAILED);
}

static int wait_for_fault(void)
{
    const alltoallv_case_t c = {MATRIX_UNIFORM, 4, 64, 3, 0};
    const moe_algorithm_ops_t *native;
    nccl_t n;
    case_buffers_t b;
    moe_watchdog_t *watchdog;
    bool right = true;
    char text[CASE_TEXT];
    moe_error_t error = {.status = MOE_OK};
    here.spec.timeout_seconds = 2;
    moe_status_t status = create(&n, &here.spec, &error);
    if (status != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        here.mpi->ops->abort(here.mpi, status);
    }
    status = moe_watchdog_create(3, end_by_watchdog, &n, &watchdog, &error);
    moe_algorithm_find("native", &native, NULL);
    if (status == MOE_OK && case_create_on(&c, n.t, here.device, &b, &error))
        status = case_prepare(native, n.t, here.device, &b.x, &error);
    for (int run = 0; status == MOE_OK && run < 20; run++)
        status = case_exchange(&c, native, n.t, here.device, &b, &right, text, &error);
    fprintf(stderr, "%s\n", status == MOE_OK ? "no fault came" : error.text);
    n.t->ops->abort(n.t, status == MOE_OK ? MOE_WRONG_DATA : status);
    return 1;
}

int main(int argc, char **argv)
{
    moe_error_t error = {.status = MOE_OK};
    char reason[sizeof error.text];
    if (moe_mpi_create(&argc, &argv, &here.mpi, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return error.status;
    }
    find_gpu(reason, sizeof reason);
    if (reason[0] != '\0') {
        if (here.mpi->rank == 0)
            printf("1..1\nok 1 - rows move over NCCL # SKIP %s\n", reason);
        here.mpi->ops->destroy(here.mpi);
        return 0;
    }
    here.spec = spec_here();
    if (argc > 1 && strcmp(argv[1], "--fault") == 0)
        return wait_for_fault();
    nccl_t n;
    if (create(&n, &here.spec, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        here.mpi->ops->abort(here.mpi, error.status);
    }
    const bool right = run_tests(n.t, tests, TESTS);
    destroy(&n);
    here.device->ops->destroy(here.device);
    here.mpi->ops->destroy(here.mpi);
    return right ? 0 : 1;
}
