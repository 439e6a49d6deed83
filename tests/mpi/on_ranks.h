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

#endif
