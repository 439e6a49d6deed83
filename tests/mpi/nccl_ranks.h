/* What tests of the NCCL transport share: this rank's GPU, and transports of all ranks on it. */
#ifndef TESTS_NCCL_RANKS_H
#define TESTS_NCCL_RANKS_H

#include "counts_case.h"
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
static inline moe_status_t create(nccl_t *n, const moe_nccl_spec_t *spec, moe_error_t *error)
{
    return moe_nccl_create(spec, keep_transport(&n->control, here.mpi), &n->t, error);
}

static inline void destroy(nccl_t *n)
{
    n->t->ops->destroy(n->t);
}

static inline const char *real_gpus(moe_transport_t *t)
{
    (void)t;
    return here.fake ? NULL : "for the fake NCCL";
}

static inline const char *needs_two(moe_transport_t *t)
{
    return t->size < 2 ? "for 2 ranks and more" : NULL;
}

static inline const char *needs_two_and_the_fake(moe_transport_t *t)
{
    return needs_two(t) != NULL ? needs_two(t) : real_gpus(t);
}

/* ---- Exchanges ---- */

static inline bool run_on(moe_transport_t *t, const char *name, const alltoallv_case_t *c,
                          char *text)
{
    const moe_algorithm_ops_t *algorithm;
    EXPECT(moe_algorithm_find(name, &algorithm, NULL) == MOE_OK);
    return on_all_ranks(t, case_run(c, algorithm, t, here.device, text), text);
}

static inline bool all_algorithms(moe_transport_t *t, const alltoallv_case_t *c, bool best,
                                  char *text)
{
    for (size_t a = 0; a < moe_algorithm_count(); a++) {
        const char *name = moe_algorithm_at(a)->name;
        if ((best || strcmp(name, "best") != 0) && !run_on(t, name, c, text))
            return false;
    }
    return true;
}

/* Equal blocks between two pieces of it, other sizes on every rank but for those. */
static inline bool exchange_registered(moe_transport_t *t, moe_nccl_path_t expected, char *text)
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

/* ---- Counts and gradients ---- */

static inline bool counts_and_largest(moe_transport_t *t, char *text)
{
    if (!counts(t, text))
        return false;
    size_t largest = SIZE_MAX - t->rank, other = t->rank + 5;
    EXPECT(t->ops->max_size(t, &largest, NULL) == MOE_OK && largest == SIZE_MAX);
    EXPECT(t->ops->max_size(t, &other, NULL) == MOE_OK && other == t->size + 4);
    return true;
}

static inline bool gradients(moe_transport_t *t, char *text)
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

/* ---- Start ---- */

/* Why nothing can be tested here, the same on all ranks; "" where it can. */
static inline void find_gpu(char *reason, size_t size)
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

static inline moe_nccl_spec_t spec_here(void)
{
    moe_nccl_spec_t spec = {
        .device = here.device, .timeout_seconds = TIMEOUT_SECONDS, .share_gpu = here.share};
    snprintf(spec.label, sizeof spec.label, "host h, GPU %zu", here.gpu);
    return spec;
}

/* MPI, and this rank's GPU. Where there is none it says so, and the process ends well. */
static inline void start_nccl_tests(int *argc, char ***argv)
{
    moe_error_t error = {.status = MOE_OK};
    char reason[sizeof error.text];
    if (moe_mpi_create(argc, argv, &here.mpi, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(error.status);
    }
    find_gpu(reason, sizeof reason);
    here.spec = spec_here();
    if (reason[0] == '\0')
        return;
    if (here.mpi->rank == 0)
        printf("1..1\nok 1 - rows move over NCCL # SKIP %s\n", reason);
    here.mpi->ops->destroy(here.mpi);
    exit(0);
}

/* Runs them on a transport of all ranks, and ends all. The exit status of the process. */
static inline int run_nccl_tests(const rank_test_t *tests, size_t count)
{
    moe_error_t error = {.status = MOE_OK};
    nccl_t n;
    if (create(&n, &here.spec, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        here.mpi->ops->abort(here.mpi, error.status);
    }
    const bool right = run_tests(n.t, tests, count);
    destroy(&n);
    here.device->ops->destroy(here.device);
    here.mpi->ops->destroy(here.mpi);
    return right ? 0 : 1;
}

#endif
