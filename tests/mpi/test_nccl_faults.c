/* What the NCCL transport refuses, and what it does when NCCL fails, on as many ranks as it is started
 * with (nccl_ranks.h). With --fault it waits for a fault that the environment plants in the fake NCCL
 * (tests/fakes/gpu/nccl.c): the run must end with status 4. */
#include "moe/measure.h"
#include "nccl_ranks.h"

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

static const char *needs_gpus_of_their_own(moe_transport_t *t)
{
    return here.share ? "for ranks with a GPU of their own" : needs_two_and_the_fake(t);
}

/* Two ranks on one GPU, without a word about it. */
static bool one_gpu(moe_transport_t *t, char *text)
{
    nccl_t n;
    moe_error_t error = {.status = MOE_OK};
    moe_nccl_spec_t spec = here.spec;
    EXPECT(moe_cuda_device_create(0, &spec.device, NULL) == MOE_OK);
    EXPECT(create(&n, &spec, &error) == MOE_FAILED);
    EXPECT(strstr(error.text, "ncclCommInitRankConfig failed: invalid usage") != NULL);
    EXPECT(strstr(error.text, "Duplicate GPU") != NULL &&
           strstr(error.text, "--share-gpu") != NULL);
    spec.device->ops->destroy(spec.device);
    return t->size > 0;
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
    {"what makes no sense is refused", refusals, NULL},
    {"options are refused on all ranks", wrong_options, NULL},
    {"an older library is told from a newer one", old_library, real_gpus},
    {"two ranks on one GPU hear of --share-gpu", one_gpu, needs_gpus_of_their_own},
    {"an error of NCCL names its call", errors_name_their_call, needs_two_and_the_fake},
    {"wrong data is seen", corrupted, needs_two_and_the_fake},
    {"an asynchronous error ends the wait, the cause first", asynchronous, needs_two_and_the_fake},
    {"a message longer than expected is an error", sizes_differ, needs_two_and_the_fake},
};

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
    start_nccl_tests(&argc, &argv);
    if (argc > 1 && strcmp(argv[1], "--fault") == 0)
        return wait_for_fault();
    return run_nccl_tests(tests, sizeof tests / sizeof tests[0]);
}
