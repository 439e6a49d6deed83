/* Augmenting paths, shortest first (the search of Hopcroft and Karp, SIAM J. Comput. 2(4), 1973, one
 * path at a time): a stage takes few edges away, so that few paths restore the last matching. Rows of
 * the graph are bit sets: a search of n ports takes n * n / 64 steps. */
#include "birkhoff_matching.h"

#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

#define WORD_BITS 64

static moe_status_t get(size_t count, void *out, moe_error_t *error)
{
    void *memory;
    const moe_status_t status =
        moe_alloc("a matching of ports", count, sizeof(uint64_t), &memory, error);
    if (status == MOE_OK)
        memcpy(out, &memory, sizeof memory);
    return status;
}

moe_status_t moe_matching_create(size_t ports, moe_matching_t *out, moe_error_t *error)
{
    moe_matching_t m = {.ports = ports, .words = (ports + WORD_BITS - 1) / WORD_BITS};
    moe_status_t status = get(ports * m.words, &m.edge, error);
    if (status == MOE_OK)
        status = get(m.words, &m.unseen, error);
    size_t **const arrays[] = {&m.to, &m.from, &m.parent, &m.queue};
    for (size_t i = 0; status == MOE_OK && i < sizeof arrays / sizeof arrays[0]; i++)
        status = get(ports, arrays[i], error);
    if (status != MOE_OK) {
        moe_matching_destroy(&m);
        return status;
    }
    for (size_t port = 0; port < ports; port++)
        m.to[port] = m.from[port] = ports;
    *out = m;
    return MOE_OK;
}

void moe_matching_destroy(moe_matching_t *m)
{
    free(m->edge);
    free(m->unseen);
    free(m->to);
    free(m->from);
    free(m->parent);
    free(m->queue);
    *m = (moe_matching_t){.ports = 0};
}

void moe_matching_set_edge(moe_matching_t *m, size_t from, size_t to, bool there)
{
    uint64_t *word = &m->edge[from * m->words + to / WORD_BITS];
    const uint64_t bit = (uint64_t)1 << to % WORD_BITS;
    if (there) {
        *word |= bit;
        return;
    }
    *word &= ~bit;
    if (m->to[from] == to)
        m->to[from] = m->from[to] = m->ports;
}

/* Turns the path that ends at receiver `to` over, back to its start. */
static void turn_over(moe_matching_t *m, size_t to)
{
    while (to != m->ports) {
        const size_t from = m->parent[to], before = m->to[from];
        m->to[from] = to;
        m->from[to] = from;
        to = before;
    }
}

static bool match_sender(moe_matching_t *m, size_t sender)
{
    memset(m->unseen, 0xff, m->words * sizeof *m->unseen);
    size_t head = 0, tail = 0;
    m->queue[tail++] = sender;
    while (head < tail) {
        const size_t from = m->queue[head++];
        for (size_t w = 0; w < m->words; w++) {
            uint64_t reached = m->edge[from * m->words + w] & m->unseen[w];
            m->unseen[w] &= ~reached;
            for (; reached != 0; reached &= reached - 1) {
                const size_t to = w * WORD_BITS + (size_t)__builtin_ctzll(reached);
                m->parent[to] = from;
                if (m->from[to] == m->ports) {
                    turn_over(m, to);
                    return true;
                }
                m->queue[tail++] = m->from[to];
            }
        }
    }
    return false;
}

bool moe_matching_complete(moe_matching_t *m)
{
    for (size_t sender = 0; sender < m->ports; sender++) {
        if (m->to[sender] == m->ports && !match_sender(m, sender))
            return false;
    }
    return true;
}
