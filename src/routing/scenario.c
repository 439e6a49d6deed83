/* From a scenario to tokens, loads, and the popularity that realises them. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

#include "gate.h"
#include "moe/system.h"
#include "popularity.h"
#include "real.h"

static size_t greatest_common_divisor(size_t a, size_t b)
{
    while (b > 0) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

size_t moe_scenario_cycle(const moe_scenario_t *scenario, size_t ranks)
{
    const size_t listed = scenario->steps_listed > 0 ? scenario->steps_listed : 1;
    const size_t turn =
        scenario->rotate > 0 ? ranks / greatest_common_divisor(ranks, scenario->rotate) : 1;
    return listed / greatest_common_divisor(listed, turn) * turn;
}

bool moe_scenario_varies(const moe_scenario_t *scenario)
{
    return scenario->rules > 0 || scenario->rotate > 0;
}

bool moe_scenario_ranks_differ(const moe_scenario_t *scenario)
{
    return scenario->rules > 0 || scenario->ranks_listed > 0;
}

static bool names_nodes(const moe_scenario_t *scenario)
{
    for (size_t i = 0; i < scenario->rules; i++) {
        const moe_rank_rule_t *rule = &scenario->rule[i];
        if (rule->from.set->by_node)
            return true;
        for (size_t p = 0; p < rule->parts; p++) {
            if (rule->part[p].to.set->by_node)
                return true;
        }
    }
    return false;
}

size_t moe_scenario_node_ranks(const moe_scenario_t *scenario, size_t ranks, size_t ranks_per_node)
{
    if (!names_nodes(scenario))
        return 0;
    if (ranks_per_node > 0 && ranks_per_node < ranks)
        return ranks_per_node;
    size_t best = 1;
    for (size_t n = 1; n * n <= ranks; n++)
        best = ranks % n == 0 ? n : best;
    return best;
}

size_t moe_scenario_tokens(const moe_scenario_t *scenario, size_t tokens, size_t rank,
                           uint32_t step)
{
    double held = (double)tokens;
    if (scenario->ranks_listed > 0)
        held *= scenario->by_rank[rank % scenario->ranks_listed];
    if (scenario->steps_listed > 0)
        held *= scenario->by_step[step % scenario->steps_listed];
    return (size_t)(held + 0.5);
}

/* ---- Loads ---- */

/* weight[experts], at the experts' places. */
static moe_status_t weigh(const moe_routing_spec_t *spec, size_t layer, uint32_t step,
                          double *weight, moe_error_t *error)
{
    const moe_scenario_t *s = spec->scenario;
    const size_t experts = spec->experts, ranks = spec->home->ranks;
    const size_t hot = s->hot > 0 ? s->hot : experts / ranks > 0 ? experts / ranks : 1;
    const size_t first = (s->at + (size_t)step % ranks * (s->rotate % ranks)) % ranks;
    void *order = NULL, *by_place = NULL;
    if (s->law->counts_hot && hot > experts)
        return moe_fail(error, MOE_BAD_INPUT,
                        "workload '%s': %zu hot experts, but the model has %zu", s->name, hot,
                        experts);
    moe_status_t status = moe_alloc("workload", experts, sizeof(uint16_t), &order, error);
    if (status == MOE_OK)
        status = moe_alloc("workload", experts, sizeof(double), &by_place, error);
    if (status == MOE_OK) {
        const uint16_t *expert = order;
        const double *heaviest_first = by_place;
        s->order->fill(spec, layer, first, order);
        s->law->fill(s->parameter, hot, experts, by_place);
        for (size_t r = 0; r < experts; r++)
            weight[expert[r]] = heaviest_first[r];
    }
    free(by_place);
    free(order);
    return status;
}

static const moe_rank_rule_t *rule_for(const moe_scenario_t *s, const moe_reach_t *reach)
{
    for (size_t i = 0; i < s->rules; i++) {
        const moe_some_ranks_t *from = &s->rule[i].from;
        if (from->set->holds(reach, from->number, reach->source))
            return &s->rule[i];
    }
    return NULL;
}

static bool part_holds(const moe_rank_rule_t *rule, size_t part, const moe_reach_t *reach,
                       size_t rank)
{
    const moe_some_ranks_t *to = &rule->part[part].to;
    if (!to->set->others)
        return to->set->holds(reach, to->number, rank);
    for (size_t p = 0; p < rule->parts; p++) {
        const moe_some_ranks_t *beside = &rule->part[p].to;
        if (!beside->set->others && beside->set->holds(reach, beside->number, rank))
            return false;
    }
    return true;
}

/* Adds a part's share to the loads of its experts, in proportion to their weights. */
static moe_status_t share_out(const moe_routing_spec_t *spec, const moe_rank_rule_t *rule,
                              size_t part, const moe_reach_t *reach, const double *weight,
                              double *load, moe_error_t *error)
{
    const moe_some_ranks_t *to = &rule->part[part].to;
    const int32_t *rank_of = spec->home->rank_of;
    double total = 0;
    for (size_t e = 0; e < spec->experts; e++) {
        if (part_holds(rule, part, reach, (size_t)rank_of[e]))
            total += weight[e];
    }
    if (!(total > 0)) {
        char number[24] = "";
        if (to->set->numbered)
            snprintf(number, sizeof number, " %zu", to->number);
        return moe_fail(error, MOE_BAD_INPUT,
                        "workload '%s': of %zu ranks%s none that holds experts is '%s%s' to rank "
                        "%zu: start more ranks, on more nodes, or take another workload",
                        spec->scenario->name, reach->ranks,
                        to->set->by_node ? " in these nodes" : "", to->set->name, number,
                        reach->source);
    }
    for (size_t e = 0; e < spec->experts; e++) {
        if (part_holds(rule, part, reach, (size_t)rank_of[e]))
            load[e] += rule->part[part].share * weight[e] / total;
    }
    return MOE_OK;
}

static moe_status_t apply_rules(const moe_routing_spec_t *spec, size_t source, const double *weight,
                                double *load, moe_error_t *error)
{
    const moe_scenario_t *s = spec->scenario;
    const size_t ranks = spec->home->ranks;
    const size_t nodes_of = moe_scenario_node_ranks(s, ranks, spec->ranks_per_node);
    const moe_reach_t reach = {
        .ranks = ranks, .node_ranks = nodes_of > 0 ? nodes_of : ranks, .source = source};
    const moe_rank_rule_t *rule = rule_for(s, &reach);
    moe_status_t status = MOE_OK;
    for (size_t e = 0; e < spec->experts; e++)
        load[e] = rule == NULL ? weight[e] : 0;
    for (size_t p = 0; status == MOE_OK && rule != NULL && p < rule->parts; p++) {
        if (rule->part[p].share > 0)
            status = share_out(spec, rule, p, &reach, weight, load, error);
    }
    return status;
}

/* Scales loads to a sum of 1 with none above `most`: those that would be are held there. */
static void hold(double *load, size_t experts, double most)
{
    size_t held = 0;
    for (bool again = true; again;) {
        double rest = 0;
        again = false;
        for (size_t e = 0; e < experts; e++)
            rest += load[e] < most ? load[e] : 0;
        const double scale = rest > 0 ? (1 - (double)held * most) / rest : 0;
        for (size_t e = 0; e < experts; e++) {
            if (load[e] >= most)
                continue;
            load[e] *= scale;
            if (load[e] >= most) {
                load[e] = most;
                held++;
                again = true;
            }
        }
    }
}

/* Experts that a token surely finds in the groups that its gate leaves it: of the topk_group groups with
 * the fewest experts in reach, or of all that have any. */
static size_t reached_in_groups(const moe_routing_spec_t *spec, const double *load)
{
    const size_t size = spec->experts / spec->n_group;
    size_t in_group[MOE_MAX_GROUPS], groups = 0, sum = 0;
    for (size_t g = 0; g < spec->n_group; g++) {
        size_t reached = 0;
        for (size_t e = g * size; e < (g + 1) * size; e++)
            reached += load[e] > 0;
        size_t at = groups;
        for (; reached > 0 && at > 0 && in_group[at - 1] > reached; at--)
            in_group[at] = in_group[at - 1];
        if (reached > 0) {
            in_group[at] = reached;
            groups++;
        }
    }
    for (size_t g = 0; g < groups && g < spec->topk_group; g++)
        sum += in_group[g];
    return sum;
}

static moe_status_t check_reach(const moe_routing_spec_t *spec, size_t source, const double *load,
                                moe_error_t *error)
{
    size_t reached = 0;
    for (size_t e = 0; e < spec->experts; e++)
        reached += load[e] > 0;
    if (reached < spec->top_k)
        return moe_fail(error, MOE_BAD_INPUT,
                        "workload '%s': tokens of rank %zu reach %zu experts, and top-k %zu needs "
                        "as many different ones: lower top-k, or take more experts a rank",
                        spec->scenario->name, source, reached, spec->top_k);
    const size_t found = moe_gate_limits(spec) ? reached_in_groups(spec, load) : reached;
    if (found < spec->top_k)
        return moe_fail(error, MOE_BAD_INPUT,
                        "workload '%s': tokens of rank %zu reach %zu experts, but the gate leaves "
                        "a token %zu of %zu groups, in which as few as %zu of them are, and top-k "
                        "is %zu: take a gate without groups (--gate softmax), another placement, "
                        "or lower top-k",
                        spec->scenario->name, source, reached, spec->topk_group, spec->n_group,
                        found, spec->top_k);
    return MOE_OK;
}

moe_status_t moe_scenario_loads(const moe_routing_spec_t *spec, size_t layer, uint32_t step,
                                size_t source, double *load, moe_error_t *error)
{
    const size_t experts = spec->experts, top_k = spec->top_k;
    void *weight = NULL;
    moe_status_t status = moe_alloc("workload", experts, sizeof(double), &weight, error);
    if (status == MOE_OK)
        status = weigh(spec, layer, step, weight, error);
    if (status == MOE_OK)
        status = apply_rules(spec, source, weight, load, error);
    free(weight);
    if (status != MOE_OK)
        return status;
    status = check_reach(spec, source, load, error);
    if (status != MOE_OK)
        return status;
    double total = 0;
    for (size_t e = 0; e < experts; e++)
        total += load[e];
    for (size_t e = 0; e < experts; e++) /* below any limit, for hold() */
        load[e] /= total * (double)(top_k + 1) * (double)experts;
    hold(load, experts, 1 / (double)top_k);
    return MOE_OK;
}

moe_status_t moe_scenario_check(const moe_routing_spec_t *spec, moe_error_t *error)
{
    const moe_scenario_t *s = spec->scenario;
    const size_t sources = s->rules > 0 ? spec->home->ranks : 1;
    const bool moves = !s->order->by_rank || s->rotate > 0;
    void *load = NULL;
    if (s->rules > 0 && moves && s->law->counts_hot && s->parameter[0] == 0)
        return moe_fail(error, MOE_BAD_INPUT,
                        "workload '%s': hot experts of heat 0 are never chosen, and where they lie "
                        "changes by layer or step, so a rank that sends to few ranks may find none "
                        "there: give a heat above 0, leave out the rules, or let them lie in one "
                        "place (where, without rotate)",
                        s->name);
    moe_status_t status = moe_alloc("workload", spec->experts, sizeof(double), &load, error);
    for (size_t source = 0; status == MOE_OK && source < sources; source++)
        status = moe_scenario_loads(spec, 0, 0, source, load, error);
    free(load);
    return status;
}

/* ---- Popularity ---- */

/* Nearly all tokens: an expert that every token chooses would have to be infinitely popular. */
#define SURE (1 - 0x1p-13)

/* An expert that a token chooses with probability q among K of E has, drawn without replacement in
 * proportion to p, p ~ -ln(1 - q) (B. Rosen, Ann. Math. Statist. 43, 1972: successive sampling; exact
 * as E and K grow). */
static void popularity_of(double *load, size_t experts, size_t top_k)
{
    for (size_t e = 0; e < experts; e++) {
        const double chosen = load[e] * (double)top_k;
        load[e] = -moe_real_log(1 - (chosen < SURE ? chosen : SURE));
    }
}

/* Running sums are rounded, so that units sum to MOE_MASS exactly. */
static void make_units(const double *popularity, size_t experts, uint64_t *units)
{
    double total = 0, sum = 0;
    size_t reached = 0;
    for (size_t e = 0; e < experts; e++) {
        total += popularity[e];
        reached += popularity[e] > 0;
    }
    const uint64_t spare = MOE_MASS - reached;
    uint64_t given = 0;
    for (size_t e = 0, seen = 0; e < experts; e++) {
        units[e] = 0;
        if (!(popularity[e] > 0))
            continue;
        sum += popularity[e];
        seen++;
        const uint64_t until =
            seen < reached ? (uint64_t)(sum / total * (double)spare + 0.5) : spare;
        units[e] = 1 + (until - given);
        given = until;
    }
}

moe_status_t moe_scenario_units(const moe_routing_spec_t *spec, size_t layer, uint32_t step,
                                size_t source, uint64_t *units, moe_error_t *error)
{
    void *load = NULL;
    moe_status_t status = moe_alloc("workload", spec->experts, sizeof(double), &load, error);
    if (status == MOE_OK)
        status = moe_scenario_loads(spec, layer, step, source, load, error);
    if (status == MOE_OK) {
        popularity_of(load, spec->experts, spec->top_k);
        make_units(load, spec->experts, units);
    }
    free(load);
    return status;
}
