#include <stdlib.h>

#include "capacity.h"
#include "moe/system.h"

/* A selection of an expert that is chosen more often than it has slots. */
typedef struct candidate {
    uint32_t key; /* smaller is kept first; equals in order of `selection` */
    size_t selection;
} candidate_t;

static int compare(const void *a, const void *b)
{
    const candidate_t *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->selection < y->selection ? -1 : x->selection > y->selection;
}

static uint32_t random_key(const moe_drop_rule_t *rule, uint64_t token, size_t choice)
{
    uint32_t word[4];
    moe_random(rule->seed, MOE_FOR_DROP, rule->layer, rule->step, token, (uint32_t)(choice / 4),
               word);
    return word[choice % 4];
}

static uint32_t key_of(const moe_drop_rule_t *rule, const moe_table_t *table, size_t selection)
{
    const size_t token = selection / table->top_k, choice = selection % table->top_k;
    switch (rule->drop) {
    case MOE_DROP_PROBABILITY:
        return (uint32_t)((1 - table->weight[selection]) * MOE_WEIGHT_ONE); /* exact */
    case MOE_DROP_RANDOM:
        return random_key(rule, table->first_token + token, choice);
    case MOE_DROP_POSITION:
        break;
    }
    return (uint32_t)choice;
}

/* end[e]: where the candidates of e will end once collect() has put them in; returns how many. */
static size_t reserve_places(const size_t *selected, size_t slots, size_t experts, size_t *end)
{
    size_t sum = 0;
    for (size_t e = 0; e < experts; e++) {
        end[e] = sum;
        sum += selected[e] > slots ? selected[e] : 0;
    }
    return sum;
}

static void collect(const moe_drop_rule_t *rule, const moe_table_t *table, const size_t *selected,
                    size_t *end, candidate_t *candidates)
{
    const size_t selections = table->tokens * table->top_k;
    for (size_t i = 0; i < selections; i++) {
        const int32_t e = table->expert[i];
        if (e != MOE_NO_EXPERT && selected[e] > rule->slots) {
            candidates[end[e]++] = (candidate_t){.key = key_of(rule, table, i), .selection = i};
        }
    }
}

static moe_status_t drop(const moe_drop_rule_t *rule, const moe_table_t *table, size_t experts,
                         const size_t *selected, uint8_t *kept, moe_error_t *error)
{
    void *places, *memory;
    const char *what = "the order of dropping";
    moe_status_t status = moe_alloc(what, experts, sizeof(size_t), &places, error);
    if (status != MOE_OK) {
        return status;
    }
    size_t *end = places;
    const size_t crowd = reserve_places(selected, rule->slots, experts, end);
    status = moe_alloc(what, crowd, sizeof(candidate_t), &memory, error);
    if (status != MOE_OK) {
        goto free_places;
    }
    candidate_t *candidates = memory;
    collect(rule, table, selected, end, candidates);
    for (size_t e = 0; e < experts; e++) {
        if (selected[e] <= rule->slots) {
            continue;
        }
        qsort(candidates + end[e] - selected[e], selected[e], sizeof *candidates, compare);
        for (size_t i = end[e] - selected[e] + rule->slots; i < end[e]; i++) {
            kept[candidates[i].selection] = 0;
        }
    }
    free(memory);
free_places:
    free(places);
    return status;
}

moe_status_t moe_capacity_keep(const moe_drop_rule_t *rule, const moe_table_t *table,
                               size_t experts, const size_t *selected, uint8_t *kept,
                               size_t *counts, moe_error_t *error)
{
    const size_t selections = table->tokens * table->top_k;
    for (size_t i = 0; i < selections; i++) {
        kept[i] = table->expert[i] != MOE_NO_EXPERT;
    }
    bool over = false;
    for (size_t e = 0; e < experts; e++) {
        counts[e] = selected[e] < rule->slots ? selected[e] : rule->slots;
        over = over || selected[e] > rule->slots;
    }
    return over ? drop(rule, table, experts, selected, kept, error) : MOE_OK;
}
