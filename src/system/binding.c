#include "moe/binding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

#define FREE SIZE_MAX

enum { WORDS = MOE_BINDING_CORES / 64 };

/* The ranks of one node, and the cores that each has got so far: a matching of ranks, each as often as
 * it needs a core, with cores. */
typedef struct node {
    const moe_binding_t *every; /* of all nodes */
    size_t *ranks;              /* [count], ascending: those of this node */
    size_t count;
    size_t *owner;        /* [MOE_BINDING_CORES]: place in `ranks`, FREE */
    bool *asked;          /* [count] by the current search */
    bool *wants, *told;   /* [count] has too few cores; is in a finding */
    uint64_t seen[WORDS]; /* cores of the current search */
    size_t *about;        /* [count] ranks of a finding */
    void (*visit)(void *context, const moe_binding_finding_t *finding);
    void *context;
} node_t;

static const moe_binding_t *rank_at(const node_t *n, size_t place)
{
    return &n->every[n->ranks[place]];
}

static bool has(const uint64_t *words, size_t core)
{
    return (words[core / 64] >> core % 64 & 1) != 0;
}

static size_t count_of(const uint64_t *words)
{
    size_t sum = 0;
    for (size_t w = 0; w < WORDS; w++)
        sum += (size_t)__builtin_popcountll(words[w]);
    return sum;
}

static void add(uint64_t *sum, const uint64_t *words)
{
    for (size_t w = 0; w < WORDS; w++)
        sum[w] |= words[w];
}

static bool is_within(const uint64_t *words, const uint64_t *all)
{
    for (size_t w = 0; w < WORDS; w++) {
        if ((words[w] & ~all[w]) != 0)
            return false;
    }
    return true;
}

static void report(const node_t *n, moe_binding_fault_t fault, size_t count, size_t cores,
                   size_t need)
{
    const moe_binding_finding_t finding = {.fault = fault,
                                           .node = rank_at(n, 0)->node,
                                           .ranks = n->about,
                                           .count = count,
                                           .cores = cores,
                                           .need = need};
    n->visit(n->context, &finding);
}

/* ---- Cores ---- */

/* Gives the rank one core more, for which others may have to move (an augmenting path). */
static bool give_core(node_t *n, size_t place)
{
    const uint64_t *cores = rank_at(n, place)->cores;
    n->asked[place] = true;
    for (size_t core = 0; core < MOE_BINDING_CORES; core++) {
        if (!has(cores, core) || has(n->seen, core) || n->owner[core] == place)
            continue;
        n->seen[core / 64] |= (uint64_t)1 << core % 64;
        if (n->owner[core] == FREE || give_core(n, n->owner[core])) {
            n->owner[core] = place;
            return true;
        }
    }
    return false;
}

static bool search(node_t *n, size_t place)
{
    memset(n->asked, 0, n->count * sizeof *n->asked);
    memset(n->seen, 0, sizeof n->seen);
    return give_core(n, place);
}

/* The ranks that a search in vain has asked have too few cores together, and so they have with any
 * other that has none beside those. */
static void report_too_few(node_t *n)
{
    uint64_t theirs[WORDS] = {0};
    size_t count = 0, need = 0, host = 0;
    for (size_t place = 0; place < n->count; place++) {
        host = rank_at(n, place)->host_cores > host ? rank_at(n, place)->host_cores : host;
        if (n->asked[place])
            add(theirs, rank_at(n, place)->cores);
    }
    for (size_t place = 0; place < n->count; place++) {
        if (is_within(rank_at(n, place)->cores, theirs)) {
            n->told[place] = true;
            n->about[count++] = n->ranks[place];
            need += rank_at(n, place)->need;
        }
    }
    const size_t cores = count_of(theirs);
    report(n, cores >= host ? MOE_BINDING_OVERSUBSCRIBED : MOE_BINDING_SHARED, count, cores, need);
}

static void check_cores(node_t *n)
{
    for (size_t core = 0; core < MOE_BINDING_CORES; core++)
        n->owner[core] = FREE;
    memset(n->told, 0, n->count * sizeof *n->told);
    memset(n->wants, 0, n->count * sizeof *n->wants);
    for (size_t place = 0; place < n->count; place++) {
        for (size_t i = 0; i < rank_at(n, place)->need && !n->wants[place]; i++)
            n->wants[place] = !search(n, place);
    }
    for (size_t place = 0; place < n->count; place++) {
        if (n->wants[place] && !n->told[place]) {
            (void)search(n, place); /* in vain again: shows who is in the way */
            report_too_few(n);
        }
    }
}

/* ---- Devices ---- */

static void check_gpus(node_t *n)
{
    size_t count = 0;
    for (size_t place = 0; place < n->count; place++) {
        if (rank_at(n, place)->gpu == MOE_FAR)
            n->about[count++] = n->ranks[place];
    }
    if (count > 0)
        report(n, MOE_BINDING_GPU_FAR, count, 0, 0);
}

static void check_fabric(node_t *n)
{
    for (size_t place = 0; place < n->count; place++) {
        if (rank_at(n, place)->fabric != MOE_FAR)
            return;
        n->about[place] = n->ranks[place];
    }
    report(n, MOE_BINDING_FABRIC_FAR, n->count, 0, 0);
}

/* ---- Nodes ---- */

static void check_node(node_t *n, bool several)
{
    check_cores(n);
    check_gpus(n);
    if (several)
        check_fabric(n);
}

/* The ranks of the first node behind `last`; false: there is none. */
static bool next_node(node_t *n, size_t total, bool first, size_t *last)
{
    size_t node = SIZE_MAX;
    n->count = 0;
    for (size_t r = 0; r < total; r++) {
        const moe_binding_t *rank = &n->every[r];
        if (!rank->known || (!first && rank->node <= *last) || rank->node > node)
            continue;
        if (rank->node < node)
            n->count = 0;
        node = rank->node;
        n->ranks[n->count++] = r;
    }
    *last = node;
    return n->count > 0;
}

static bool on_several_nodes(const moe_binding_t *ranks, size_t count)
{
    for (size_t r = 1; r < count; r++) {
        if (ranks[r].node != ranks[0].node)
            return true;
    }
    return false;
}

moe_status_t moe_binding_check(const moe_binding_t *ranks, size_t count,
                               void (*visit)(void *context, const moe_binding_finding_t *finding),
                               void *context, moe_error_t *error)
{
    size_t *numbers = NULL;
    bool *flags = NULL;
    moe_status_t status = moe_alloc("bindings", 2 * count + MOE_BINDING_CORES, sizeof *numbers,
                                    (void **)&numbers, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc("bindings", 3 * count, sizeof *flags, (void **)&flags, error);
    if (status == MOE_OK) {
        node_t n = {.every = ranks,
                    .ranks = numbers,
                    .about = numbers + count,
                    .owner = numbers + 2 * count,
                    .asked = flags,
                    .wants = flags + count,
                    .told = flags + 2 * count,
                    .visit = visit,
                    .context = context};
        const bool several = on_several_nodes(ranks, count);
        size_t last = 0;
        for (bool first = true; next_node(&n, count, first, &last); first = false)
            check_node(&n, several);
    }
    free(flags);
    free(numbers);
    return status;
}

char *moe_binding_list(const size_t *ranks, size_t count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0, end; i < count; i = end) {
        char range[48];
        for (end = i + 1; end < count && ranks[end] == ranks[end - 1] + 1; end++)
            ;
        int length = end - i == 1
                         ? snprintf(range, sizeof range, "%s%zu", i > 0 ? "," : "", ranks[i])
                         : snprintf(range, sizeof range, "%s%zu-%zu", i > 0 ? "," : "", ranks[i],
                                    ranks[end - 1]);
        if (used + (size_t)length + sizeof ",..." > size) {
            snprintf(text + used, size - used, "%s...", i > 0 ? "," : "");
            break;
        }
        memcpy(text + used, range, (size_t)length + 1);
        used += (size_t)length;
    }
    return text;
}
