/* What tests on several ranks share. */
#ifndef TESTS_ON_RANKS_H
#define TESTS_ON_RANKS_H

#include "../common/alltoallv_case.h"

/* A test does this rank's part; false and a text where something is wrong. */
typedef bool (*test_fn)(moe_transport_t *t, char *text);

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            snprintf(text, CASE_TEXT, "rank %zu of %zu, line %d: not so: %s", t->rank, t->size,    \
                     __LINE__, #condition);                                                        \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

/* Whether it went right on all ranks. A rank that goes on while another has given up would hang. */
static inline bool on_all_ranks(moe_transport_t *t, bool right, char *text)
{
    size_t all = right;
    const bool agreed = t->ops->reduce_sizes(t, &all, 1, MOE_MIN, NULL) == MOE_OK && all != 0;
    if (right && !agreed)
        snprintf(text, CASE_TEXT, "rank %zu: another rank failed", t->rank);
    return agreed;
}

/* ---- A transport that is used by one handle after another ---- */

/* A copy of a handle (which must not care for its address: MPI's does not) that can be given away, and
 * destroyed, while the transport stays. */
typedef struct kept_transport {
    moe_transport_t transport;
    moe_transport_ops_t ops;
} kept_transport_t;

static inline void kept_destroy(moe_transport_t *t)
{
    (void)t;
}

/* *k must stay where it is. */
static inline moe_transport_t *keep_transport(kept_transport_t *k, const moe_transport_t *t)
{
    k->ops = *t->ops;
    k->ops.destroy = kept_destroy;
    k->transport = *t;
    k->transport.ops = &k->ops;
    return &k->transport;
}

/* ---- TAP: rank 0 writes it ---- */

typedef struct rank_test {
    const char *name;
    test_fn run;
    const char *(*left_out)(moe_transport_t *t); /* the reason, the same on all ranks, or NULL */
} rank_test_t;

/* Returns whether the test passed on all ranks; each rank that failed says why. */
static inline bool run_test(moe_transport_t *t, const rank_test_t *test, size_t number)
{
    const char *reason = test->left_out != NULL ? test->left_out(t) : NULL;
    char text[CASE_TEXT] = "";
    size_t right = reason != NULL || test->run(t, text);
    if (!right)
        fprintf(stderr, "# %s\n", text);
    if (t->ops->reduce_sizes(t, &right, 1, MOE_MIN, NULL) != MOE_OK)
        right = 0;
    if (t->rank == 0) {
        printf("%sok %zu - %s%s%s\n", right ? "" : "not ", number, test->name,
               reason != NULL ? " # SKIP " : "", reason != NULL ? reason : "");
        fflush(stdout);
    }
    return right != 0;
}

static inline bool run_tests(moe_transport_t *t, const rank_test_t *tests, size_t count)
{
    bool right = true;
    if (t->rank == 0)
        printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++)
        right = run_test(t, &tests[i], i + 1) && right;
    return right;
}

#endif
