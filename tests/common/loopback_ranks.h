/* Runs a body on every rank of a loopback group, each in a thread of its own. */
#ifndef TESTS_LOOPBACK_RANKS_H
#define TESTS_LOOPBACK_RANKS_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "moe/transport.h"

#define RANK_TEXT 256

/* Does one rank's part of a test; false and a text in `text` where something is wrong. cmocka's own
 * assertions may be used by the main thread only. */
typedef bool (*rank_body_fn)(moe_transport_t *t, void *context, char *text);

#define RANK_EXPECT(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            snprintf(text, RANK_TEXT, "rank %zu of %zu, line %d: not so: %s", t->rank, t->size,    \
                     __LINE__, #condition);                                                        \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static inline moe_row_type_t row_of(moe_transport_t *t, size_t bytes)
{
    moe_row_type_t row = {.bytes = 0};
    t->ops->row_type(t, bytes, &row, NULL);
    return row;
}

typedef struct rank_thread {
    pthread_t thread;
    moe_transport_t *transport;
    rank_body_fn body;
    void *context;
    bool right;
    char text[RANK_TEXT];
} rank_thread_t;

static inline void *rank_thread_main(void *argument)
{
    rank_thread_t *rank = argument;
    rank->right = rank->body(rank->transport, rank->context, rank->text);
    /* Others may wait for a rank that has given up. */
    if (!rank->right)
        rank->transport->ops->abort(rank->transport, MOE_FAILED);
    rank->transport->ops->destroy(rank->transport);
    return NULL;
}

/* Number of ranks that failed; what they say goes to stderr. */
static inline size_t run_ranks(size_t size, rank_body_fn body, void *context)
{
    moe_error_t error = {.status = MOE_OK};
    moe_transport_t **transports = calloc(size, sizeof *transports);
    rank_thread_t *ranks = calloc(size, sizeof *ranks);
    size_t wrong = size;
    if (moe_loopback_create(size, transports, &error) != MOE_OK) {
        fprintf(stderr, "%s\n", error.text);
        goto free_all;
    }
    for (size_t r = 0; r < size; r++) {
        ranks[r] = (rank_thread_t){.transport = transports[r], .body = body, .context = context};
        if (pthread_create(&ranks[r].thread, NULL, rank_thread_main, &ranks[r]) != 0)
            abort();
    }
    wrong = 0;
    for (size_t r = 0; r < size; r++) {
        pthread_join(ranks[r].thread, NULL);
        wrong += !ranks[r].right;
        if (!ranks[r].right)
            fprintf(stderr, "%s\n", ranks[r].text);
    }
free_all:
    free(transports);
    free(ranks);
    return wrong;
}

#endif
