/* Rows of a device over MPI, staged through host memory or given to MPI as they are, on as many ranks
 * as it is started with. The device is the host's, but does a copy only when it is waited for; where
 * rows are staged its memory is out of MPI's reach. */
#include "../common/lazy_device.h"
#include "on_ranks.h"

/* One rank is one process. */
static lazy_device_t hidden, plain;

static moe_device_t *device_of(const moe_transport_t *t);

/* ---- Algorithms ---- */

static bool run_case(moe_transport_t *t, const char *name, const alltoallv_case_t *c, char *text)
{
    const moe_algorithm_ops_t *algorithm;
    EXPECT(moe_algorithm_find(name, &algorithm, NULL) == MOE_OK);
    return on_all_ranks(t, case_run(c, algorithm, t, device_of(t), text), text);
}

static bool all_matrices(moe_transport_t *t, char *text)
{
    static const alltoallv_case_t cases[] = {
        {MATRIX_RANDOM, 0, 24, 9, 2},  {MATRIX_UNIFORM, 1, 16, 7, 0},
        {MATRIX_NOTHING, 1, 16, 1, 0}, {MATRIX_EMPTY_RANK, 2, 40, 6, 3},
        {MATRIX_OWN_ONLY, 3, 8, 9, 2}, {MATRIX_HOT, 4, 2048, 16, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t a = 0; a < moe_algorithm_count(); a++) {
            const char *name = moe_algorithm_at(a)->name;
            /* `best` runs all the others many times over: one case is enough. */
            if ((i == 0 || strcmp(name, "best") != 0) && !run_case(t, name, &cases[i], text))
                return false;
        }
    }
    return true;
}

static bool long_blocks(moe_transport_t *t, char *text)
{
    const alltoallv_case_t c = {MATRIX_RANDOM, 5, 4096, 48, 2}; /* past the eager limits */
    return run_case(t, "native", &c, text) && run_case(t, "linear", &c, text) &&
           run_case(t, "birkhoff", &c, text);
}

/* ---- Exchanges under way ---- */

static bool several_under_way(moe_transport_t *t, char *text)
{
    static const alltoallv_case_t cases[] = {{MATRIX_RANDOM, 1, 4096, 32, 0},
                                             {MATRIX_UNIFORM, 2, 512, 9, 0},
                                             {MATRIX_NOTHING, 3, 16, 1, 0}};
    enum { CASES = sizeof cases / sizeof cases[0] };
    case_buffers_t b[CASES];
    bool right = true;
    for (size_t i = 0; i < CASES; i++) {
        EXPECT(case_create_on(&cases[i], t, device_of(t), &b[i], NULL));
        EXPECT(t->ops->prepare_alltoallv(t, &b[i].x, NULL) == MOE_OK);
    }
    EXPECT(t->ops->finish_alltoallv(t, &b[0].x, NULL) == MOE_FAILED);
    for (int run = 0; run < 3; run++) {
        for (size_t i = 0; i < CASES; i++)
            EXPECT(t->ops->start_alltoallv(t, &b[i].x, NULL) == MOE_OK);
        EXPECT(t->ops->start_alltoallv(t, &b[0].x, NULL) == MOE_FAILED);
        for (size_t i = 0; i < CASES; i++) {
            EXPECT(t->ops->finish_alltoallv(t, &b[i].x, NULL) == MOE_OK);
            EXPECT(case_fetch(&b[i], NULL) == MOE_OK);
            for (size_t from = 0; from < t->size && right; from++)
                right = b[i].recv == NULL || b[i].x.recv_rows[from] == 0 ||
                        b[i].recv[b[i].x.recv_first[from] * cases[i].row_bytes] ==
                            case_byte(&cases[i], from, t->rank, 0);
        }
    }
    for (size_t i = 0; i < CASES; i++) {
        t->ops->release_alltoallv(t, &b[i].x);
        case_destroy(&b[i]);
    }
    EXPECT(right);
    return true;
}

/* ---- The rest ---- */

static bool gradients(moe_transport_t *t, char *text)
{
    enum { FLOATS = 10007 };
    static float values[FLOATS];
    moe_device_t *d = device_of(t);
    void *memory;
    for (size_t i = 0; i < FLOATS; i++)
        values[i] = (float)(t->rank * (i % 97));
    EXPECT(d->ops->alloc(d, "gradients", sizeof values, &memory, NULL) == MOE_OK);
    d->ops->copy(d, memory, values, sizeof values);
    EXPECT(t->ops->sum_floats(t, memory, FLOATS, NULL) == MOE_OK);
    d->ops->copy(d, values, memory, sizeof values);
    EXPECT(d->ops->finish(d, NULL) == MOE_OK);
    d->ops->release(d, memory);
    for (size_t i = 0; i < FLOATS; i++)
        EXPECT(values[i] == (float)(i % 97 * t->size * (t->size - 1) / 2));
    return true;
}

static bool groups(moe_transport_t *t, char *text)
{
    const alltoallv_case_t c = {MATRIX_RANDOM, 1, 12, 5, 0};
    moe_transport_t *half;
    EXPECT(t->ops->split(t, (int)(t->rank % 2), &half, NULL) == MOE_OK);
    EXPECT(half->size == (t->size + 1 - t->rank % 2) / 2 && half->rank == t->rank / 2);
    bool right = true;
    for (size_t a = 0; right && a < moe_algorithm_count(); a++)
        right =
            on_all_ranks(half, case_run(&c, moe_algorithm_at(a), half, device_of(t), text), text);
    half->ops->destroy(half);
    return right;
}

static bool names(moe_transport_t *t, char *text)
{
    char version[128] = "";
    t->ops->version(t, version, sizeof version);
    EXPECT(strcmp(t->ops->name, "mpi") == 0);
    EXPECT(strncmp(version, "Open MPI", 8) == 0 || strncmp(version, "MPICH", 5) == 0);
    return true;
}

static const rank_test_t tests[] = {
    {"all matrices arrive by every algorithm", all_matrices, NULL},
    {"blocks past the eager limit arrive", long_blocks, NULL},
    {"several exchanges are under way at once", several_under_way, NULL},
    {"gradients are summed in device memory", gradients, NULL},
    {"groups are staged too", groups, NULL},
    {"name and version are the inner transport's", names, NULL},
};
#define TESTS (sizeof tests / sizeof tests[0])

static bool direct;

static moe_device_t *device_of(const moe_transport_t *t)
{
    (void)t;
    return direct ? &plain.device : &hidden.device;
}

static moe_transport_t *mpi;

/* MPI is started once, and both modes are tested on it. */
static bool run_mode(bool as_it_is)
{
    kept_transport_t kept;
    moe_transport_t *t;
    direct = as_it_is;
    if (moe_staged_create(keep_transport(&kept, mpi), device_of(NULL), direct, &t, NULL) != MOE_OK)
        return false;
    bool right = true;
    for (size_t i = 0; i < TESTS; i++)
        right = run_test(t, &tests[i], (direct ? TESTS : 0) + i + 1) && right;
    t->ops->destroy(t);
    return right;
}

int main(int argc, char **argv)
{
    moe_error_t error = {.status = MOE_OK};
    if (moe_mpi_create(&argc, &argv, &mpi, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return error.status;
    }
    lazy_device_init(&hidden, true);
    lazy_device_init(&plain, false);
    if (mpi->rank == 0)
        printf("1..%zu\n", 2 * TESTS);
    const bool staged = run_mode(false);
    const bool as_it_is = run_mode(true);
    lazy_device_end(&hidden);
    lazy_device_end(&plain);
    mpi->ops->destroy(mpi);
    return staged && as_it_is ? 0 : 1;
}
