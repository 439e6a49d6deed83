/* Faults that only some styles can have: in a round or a hop, in what travels behind a row, in a token
 * that should have gone to a second place, in a sum on the way back. Every one is found, by every
 * algorithm that sends blocks straight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_setting.h"

/* Tokens with experts on most ranks, two nodes. */
static const world_spec_t spread = {.skew = "zipf:0.5",
                                    .experts = 10,
                                    .top_k = 4,
                                    .tokens = 24,
                                    .ranks = RANKS,
                                    .ranks_per_node = 2,
                                    .seed = 5};

typedef struct setting {
    const world_t *world;
    const moe_device_t *host;
    const moe_style_ops_t *style;
} setting_t;

/* One style on this rank, with the transport that lies. */
typedef struct subject {
    const setting_t *setting;
    fault_transport_t *f;
    moe_layer_t *layer;
    const moe_plan_t *plan;
} subject_t;

typedef bool (*subject_fn)(const subject_t *s, char *text);

/* ---- Who reaches whom ---- */

static const moe_hop_t *hop_of(const moe_plan_t *plan, bool forward)
{
    return forward ? &plan->forward : &plan->hop;
}

static size_t node_ranks(const setting_t *s)
{
    return s->world->sizes.ranks_per_node;
}

/* Rank `peer` of the ranks that a hop reaches from `rank`. */
static size_t peer_rank(const setting_t *s, moe_scope_t scope, size_t rank, size_t peer)
{
    const size_t g = node_ranks(s);
    return scope == MOE_SCOPE_NODE   ? rank / g * g + peer
           : scope == MOE_SCOPE_RAIL ? peer * g + rank % g
                                     : peer;
}

static fault_part_t part_of(moe_scope_t scope)
{
    return scope == MOE_SCOPE_NODE   ? FAULT_IN_NODE
           : scope == MOE_SCOPE_RAIL ? FAULT_IN_RAIL
                                     : FAULT_IN_GROUP;
}

/* ---- Planting ---- */

static bool explain(const subject_t *s, const char *finding, char *text)
{
    layer_explain(s->layer, finding, text);
    return false;
}

/* Right before, found with the fault on FAULTY, right after. */
static bool is_found(const subject_t *s, const fault_t *fault, bool in_combine,
                     moe_check_result_t *result, char *text)
{
    moe_transport_t *t = &s->f->transport;
    char finding[RANK_TEXT];
    moe_error_t error = {0};
    fault_arm(s->f, NULL);
    if (!layer_is_right(s->layer, text))
        return false;
    fault_arm(s->f, t->rank == FAULTY ? fault : NULL);
    if (moe_layer_check(s->layer, MOE_CHECK_FULL, result, &error) != MOE_OK)
        return explain(s, error.text, text);
    const size_t planted = fault_planted(s->f);
    fault_arm(s->f, NULL);
    if (planted != (t->rank == FAULTY) || result->errors == 0 || result->in_combine != in_combine) {
        snprintf(finding, sizeof finding,
                 "rank %zu: fault %d in part %d, exchange %zu: planted %zu times, %zu errors, %s",
                 t->rank, (int)fault->kind, (int)fault->part, fault->exchange, planted,
                 result->errors, result->in_combine ? "in combine" : "in dispatch");
        return explain(s, finding, text);
    }
    return layer_is_right(s->layer, text);
}

static bool with_every_algorithm(moe_transport_t *t, const setting_t *setting, subject_fn body,
                                 char *text)
{
    fault_transport_t f;
    fault_transport_init(&f, t);
    const moe_layer_spec_t spec =
        faulty_spec(setting->world, &f.transport, setting->style, dtype_pairs[0]);
    layer_rank_t rank;
    RANK_EXPECT(layer_rank_create(&rank, &spec, setting->host, NULL) == MOE_OK);
    const subject_t s = {
        .setting = setting, .f = &f, .layer = rank.layer, .plan = moe_layer_plan(rank.layer)};
    for (size_t a = 0; a < LENGTH(direct_algorithms); a++) {
        RANK_EXPECT(moe_layer_use(rank.layer, direct_algorithm(a), NULL) == MOE_OK);
        if (!body(&s, text))
            return false;
    }
    layer_rank_destroy(&rank);
    return true;
}

typedef struct job {
    setting_t setting;
    const char *const *styles; /* up to NULL */
    subject_fn body;
} job_t;

static bool in_those_styles(moe_transport_t *t, void *context, char *text)
{
    const job_t *job = context;
    for (size_t i = 0; job->styles[i] != NULL; i++) {
        setting_t setting = job->setting;
        RANK_EXPECT(moe_style_find(job->styles[i], &setting.style, NULL) == MOE_OK);
        if (!with_every_algorithm(t, &setting, job->body, text))
            return false;
    }
    return true;
}

static void plant(void **state, const char *const *styles, subject_fn body)
{
    world_t world;
    world_create(&world, &spread);
    job_t job = {.setting = {.world = &world, .host = *state}, .styles = styles, .body = body};
    assert_int_equal(run_ranks(RANKS, in_those_styles, &job), 0);
    world_destroy(&world);
}

/* ---- Wrong displacements ---- */

/* Rows of round r between FAULTY and the first peer of a hop: sent by it in dispatch are those that it
 * gets in combine. */
static size_t rows_of_round(const moe_hop_t *hop, size_t r, bool sent)
{
    if (hop->rounds == 0)
        return sent ? hop->send_rows[0] : hop->recv_rows[0];
    return sent ? hop->round[r].send_rows[0] : hop->round[r].recv_rows[0];
}

/* Blocks with rows that FAULTY sends to (gets from) that peer before round r of dispatch, of combine. */
static size_t blocks_before(const moe_hop_t *hop, size_t r, bool back, bool sends)
{
    const size_t rounds = hop->rounds > 0 ? hop->rounds : 1;
    size_t blocks = 0;
    for (size_t i = 0; back && i < rounds; i++)
        blocks += rows_of_round(hop, i, sends) > 0;
    for (size_t i = 0; i < r; i++)
        blocks += rows_of_round(hop, i, sends != back) > 0;
    return blocks;
}

typedef struct displacement {
    fault_kind_t kind;
    bool forward, back;
    size_t round;
} displacement_t;

/* Of `rows`, how many the block has must be the same on all ranks to agree on what is planted. */
static bool rows_at_faulty(const subject_t *s, const displacement_t *d, size_t *rows,
                           size_t *before, char *text)
{
    moe_transport_t *t = &s->f->transport;
    const moe_hop_t *hop = hop_of(s->plan, d->forward);
    const bool sends = d->kind == FAULT_SHIFT;
    size_t found[2] = {0, 0};
    if (t->rank == FAULTY) {
        found[0] = rows_of_round(hop, d->round, sends != d->back);
        found[1] = blocks_before(hop, d->round, d->back, sends);
    }
    RANK_EXPECT(t->ops->reduce_sizes(t, found, LENGTH(found), MOE_MAX, NULL) == MOE_OK);
    *rows = found[0];
    *before = found[1];
    return true;
}

/* Two rows at least, so that another one is wrong. A shifted block needs one behind it, which the one
 * copy of allgather does not have. */
static bool displace(const subject_t *s, const displacement_t *d, size_t *planted, char *text)
{
    size_t rows, before;
    moe_check_result_t result;
    if (!rows_at_faulty(s, d, &rows, &before, text))
        return false;
    const bool one_copy = s->plan->hop.back_first != NULL;
    if (rows < 2 || (d->kind == FAULT_SHIFT && !d->back && one_copy))
        return true;
    const fault_t fault = {.kind = d->kind,
                           .part = part_of(hop_of(s->plan, d->forward)->scope),
                           .exchange = before,
                           .at = {.peer = 0, .row = 0}};
    (*planted)++;
    return is_found(s, &fault, d->back, &result, text);
}

static bool displace_in_every_round(const subject_t *s, char *text)
{
    moe_transport_t *t = &s->f->transport;
    static const fault_kind_t kinds[] = {FAULT_SLIDE, FAULT_SHIFT};
    size_t rounds = s->plan->hop.rounds > 0 ? s->plan->hop.rounds : 1;
    for (int hops = 0; hops <= s->plan->two_hops; hops++) {
        for (int way = 0; way < 4; way++) {
            size_t planted = 0;
            for (size_t r = 0; r < rounds; r++) {
                const displacement_t d = {
                    .kind = kinds[way / 2], .forward = hops, .back = way % 2, .round = r};
                if (!displace(s, &d, &planted, text))
                    return false;
            }
            const bool can_shift = s->plan->hop.back_first == NULL || way != 2;
            RANK_EXPECT(planted >= (can_shift ? (rounds > 1 ? rounds - 1 : 1) : 0));
        }
        rounds = 1; /* of the second hop */
    }
    return true;
}

static void test_a_wrong_displacement_is_found_in_every_round_and_hop(void **state)
{
    static const char *const styles[] = {"padded",    "padded-max", "exact", "exact-per-expert",
                                         "allgather", "dedup",      "slots", "two-hop",
                                         "hier",      NULL};
    plant(state, styles, displace_in_every_round);
}

/* ---- Lost duplicates ---- */

/* A row on its way to FAULTY. */
typedef struct place {
    size_t row;   /* of the block */
    size_t rank;  /* who holds the token */
    size_t token; /* its number there */
} place_t;

/* Units of `span` ranks that hold kept experts of a token; whether `unit` is one. */
static size_t units_of(const world_t *w, size_t rank, size_t t, size_t span, size_t unit, bool *has)
{
    const moe_batch_t *b = w->batch[rank];
    uint32_t seen = 0;
    for (size_t i = t * b->table.top_k; i < (t + 1) * b->table.top_k; i++)
        seen |= b->kept[i] ? 1U << (size_t)w->placement.rank_of[b->table.expert[i]] / span : 0;
    *has = seen >> unit & 1;
    return (size_t)__builtin_popcount(seen);
}

/* Whether some row of the block from `from` to peer `to` of its first hop is of that token; which. Rows
 * follow the tokens. */
static size_t row_in_first_hop(const setting_t *s, size_t from, size_t span, size_t unit, size_t t)
{
    size_t row = 0;
    for (size_t before = 0; before < t; before++) {
        bool has = false;
        units_of(s->world, from, before, span, unit, &has);
        row += has || strcmp(s->style->name, "allgather") == 0;
    }
    return row;
}

/* By the first hop, or by the only one: span is what the style sends one row to. */
static bool find_duplicate(const setting_t *s, size_t from, size_t span, place_t *out)
{
    const size_t unit = FAULTY / span;
    for (size_t t = 0; t < s->world->tokens[from]; t++) {
        bool has = false;
        if (units_of(s->world, from, t, span, unit, &has) >= 2 && has) {
            *out = (place_t){
                .row = row_in_first_hop(s, from, span, unit, t), .rank = from, .token = t};
            return true;
        }
    }
    return false;
}

/* By the second hop: the forwarder (number 0 of FAULTY's node) sends the rows of the first node first. */
static bool find_forwarded(const setting_t *s, place_t *out)
{
    const size_t from = 0, g = node_ranks(s), first = FAULTY / g * g;
    size_t row = 0;
    for (size_t t = 0; t < s->world->tokens[from]; t++) {
        bool here = false, beside = false;
        units_of(s->world, from, t, 1, FAULTY, &here);
        units_of(s->world, from, t, 1, first, &beside);
        if (here && beside) {
            *out = (place_t){.row = row, .rank = from, .token = t};
            return true;
        }
        row += here;
    }
    return false;
}

/* The lowest rank of FAULTY's node that holds an expert of the token: the first to miss it. */
static size_t first_behind(const setting_t *s, const place_t *p)
{
    const size_t g = node_ranks(s);
    size_t rank = FAULTY / g * g;
    bool has = false;
    for (units_of(s->world, p->rank, p->token, 1, rank, &has); !has;)
        units_of(s->world, p->rank, p->token, 1, ++rank, &has);
    return rank;
}

/* A duplicate on its way to FAULTY, by each hop. */
static bool place_in(const subject_t *s, bool forward, place_t *out, size_t *rank)
{
    const setting_t *setting = s->setting;
    const moe_hop_t *hop = hop_of(s->plan, forward);
    const bool by_node = s->plan->two_hops && !forward;
    const size_t from = peer_rank(setting, hop->scope, FAULTY, 0);
    const bool found = forward
                           ? find_forwarded(setting, out)
                           : find_duplicate(setting, from, by_node ? node_ranks(setting) : 1, out);
    *rank = found && by_node ? first_behind(setting, out) : FAULTY;
    return found;
}

static uint64_t global_token(const subject_t *s, const place_t *p)
{
    return s->setting->world->first_token[p->rank] + p->token;
}

static bool lose_duplicates(const subject_t *s, char *text)
{
    moe_transport_t *t = &s->f->transport;
    for (int forward = 0; forward <= s->plan->two_hops; forward++) {
        place_t place;
        size_t rank;
        moe_check_result_t result;
        RANK_EXPECT(place_in(s, forward, &place, &rank));
        const fault_t fault = {.kind = FAULT_LOSE,
                               .part = part_of(hop_of(s->plan, forward)->scope),
                               .at = {.peer = 0, .row = place.row}};
        if (!is_found(s, &fault, false, &result, text))
            return false;
        RANK_EXPECT(result.rank == rank);
        RANK_EXPECT(result.at.token == global_token(s, &place));
    }
    return true;
}

static const char *const summing[] = {"allgather", "dedup", "two-hop", NULL};

static void test_a_token_that_misses_its_second_place_is_found(void **state)
{
    plant(state, summing, lose_duplicates);
}

/* The sum that comes back from the first peer; row 0 of it is that of a token of FAULTY, or of a rank
 * that FAULTY forwards for. */
static bool lose_sums(const subject_t *s, char *text)
{
    moe_transport_t *t = &s->f->transport;
    for (int forward = 0; forward <= s->plan->two_hops; forward++) {
        moe_check_result_t result;
        const fault_t fault = {.kind = FAULT_LOSE,
                               .part = part_of(hop_of(s->plan, forward)->scope),
                               .exchange = 1,
                               .at = {.peer = 0, .row = 0}};
        if (!is_found(s, &fault, true, &result, text))
            return false;
        RANK_EXPECT(forward
                        ? result.rank % node_ranks(s->setting) == FAULTY % node_ranks(s->setting)
                        : result.rank == FAULTY);
    }
    return true;
}

static void test_a_partial_sum_that_does_not_come_back_is_found(void **state)
{
    plant(state, summing, lose_sums);
}

/* ---- Side data ---- */

static bool flip_side_bytes(const subject_t *s, char *text)
{
    moe_transport_t *t = &s->f->transport;
    const setting_t *setting = s->setting;
    const size_t side = moe_style_side_bytes(setting->style, &setting->world->sizes);
    const size_t row_bytes = moe_row_bytes(dtype_pairs[0].dispatch, HIDDEN);
    RANK_EXPECT(side > 0);
    for (size_t i = 0; i < side * (1 + (size_t)s->plan->two_hops); i++) {
        const bool forward = i >= side;
        place_t place = {0};
        size_t rank = FAULTY;
        moe_check_result_t result;
        /* Slots have a row for each selection: its first is as good as any. */
        RANK_EXPECT(setting->style->fixed_slots || place_in(s, forward, &place, &rank));
        const fault_t fault = {.kind = FAULT_FLIP,
                               .part = part_of(hop_of(s->plan, forward)->scope),
                               .at = {.peer = 0, .row = place.row},
                               .byte = row_bytes + i % side,
                               .mask = 1};
        if (!is_found(s, &fault, false, &result, text))
            return false;
        RANK_EXPECT(result.rank == rank && result.at.column == HIDDEN + i % side);
        RANK_EXPECT(((unsigned)result.at.expected ^ (unsigned)result.at.got) == 1);
        RANK_EXPECT(setting->style->fixed_slots || result.at.token == global_token(s, &place));
    }
    return true;
}

static void test_every_byte_behind_a_row_is_looked_at(void **state)
{
    static const char *const styles[] = {"allgather", "dedup", "two-hop", "slots", NULL};
    plant(state, styles, flip_side_bytes);
}

/* ---- Wrong plans ---- */

/* Checks with what is spoilt on FAULTY. */
static bool spoilt_is_found(const subject_t *s, bool in_combine, char *text)
{
    moe_transport_t *t = &s->f->transport;
    moe_check_result_t result;
    RANK_EXPECT(moe_layer_check(s->layer, MOE_CHECK_FULL, &result, NULL) == MOE_OK);
    if (result.errors == 0 || result.in_combine != in_combine) {
        char finding[RANK_TEXT];
        snprintf(finding, sizeof finding, "a spoilt plan makes %zu errors %s", result.errors,
                 result.in_combine ? "in combine" : "in dispatch");
        return explain(s, finding, text);
    }
    return true;
}

static bool swap_is_found(const subject_t *s, size_t *a, size_t *b, bool in_combine, char *text)
{
    moe_transport_t *t = &s->f->transport;
    const size_t was_a = *a, was_b = *b;
    RANK_EXPECT(t->rank != FAULTY || was_a != was_b);
    if (t->rank == FAULTY) {
        *a = was_b;
        *b = was_a;
    }
    const bool found = spoilt_is_found(s, in_combine, text);
    *a = was_a;
    *b = was_b;
    return found && layer_is_right(s->layer, text);
}

/* A row of one block and one of another change places: each goes to the wrong peer of its hop. */
static bool misdirect(const subject_t *s, char *text)
{
    for (int forward = 0; forward <= s->plan->two_hops; forward++) {
        const moe_hop_t *hop = hop_of(s->plan, forward);
        size_t *a = &hop->gather[hop->send_first[0]];
        size_t *b = &hop->gather[hop->send_first[hop->peers - 1] + 1];
        b -= *b == *a; /* the same one may go to both */
        if (!swap_is_found(s, a, b, false, text))
            return false;
    }
    return true;
}

static void test_a_row_to_the_wrong_rank_or_by_the_wrong_forwarder_is_found(void **state)
{
    static const char *const styles[] = {"dedup", "two-hop", "hier", NULL};
    plant(state, styles, misdirect);
}

/* The first term of two sums of a forwarder. */
static bool missum(const subject_t *s, char *text)
{
    const moe_hop_t *forward = &s->plan->forward;
    return swap_is_found(s, &forward->reduce_row[0],
                         &forward->reduce_row[forward->reduce_first[forward->before - 1]], true,
                         text);
}

static void test_a_forwarder_that_sums_the_wrong_rows_is_found(void **state)
{
    static const char *const styles[] = {"two-hop", NULL};
    plant(state, styles, missum);
}

static bool weight_is_found(const subject_t *s, float *weight, char *text)
{
    moe_transport_t *t = &s->f->transport;
    const float was = *weight;
    *weight = t->rank == FAULTY ? was / 2 : was;
    const bool found = spoilt_is_found(s, true, text);
    *weight = was;
    return found && layer_is_right(s->layer, text);
}

static float *heaviest(float *weight, size_t count)
{
    float *most = weight;
    for (size_t i = 0; i < count; i++)
        most = weight[i] > *most ? &weight[i] : most;
    return most;
}

/* The first term of the first sum at the source that is none of zeros: of allgather's, one for each
 * rank, that of a rank with an expert. */
static float *first_term(const subject_t *s)
{
    size_t term = 0;
    if (s->plan->hop.back_first != NULL) {
        bool has = false;
        for (units_of(s->setting->world, s->plan->rank, 0, 1, term, &has); !has;)
            units_of(s->setting->world, s->plan->rank, 0, 1, ++term, &has);
    }
    return &s->plan->hop.reduce_weight[term];
}

static bool weigh_wrongly(const subject_t *s, char *text)
{
    const moe_plan_t *plan = s->plan;
    if (!weight_is_found(s, first_term(s), text))
        return false;
    if (plan->two_hops && !weight_is_found(s, &plan->forward.reduce_weight[0], text))
        return false;
    if (plan->return_weight == NULL)
        return true;
    const size_t rows = plan->expert_first[plan->local_experts];
    return weight_is_found(s, heaviest(plan->return_weight, rows), text);
}

static void test_a_sum_with_a_wrong_weight_is_found_wherever_it_is_made(void **state)
{
    static const char *const styles[] = {"padded",    "padded-max", "exact", "exact-per-expert",
                                         "allgather", "dedup",      "slots", "two-hop",
                                         "hier",      NULL};
    plant(state, styles, weigh_wrongly);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_displacement_is_found_in_every_round_and_hop),
        cmocka_unit_test(test_a_token_that_misses_its_second_place_is_found),
        cmocka_unit_test(test_a_partial_sum_that_does_not_come_back_is_found),
        cmocka_unit_test(test_every_byte_behind_a_row_is_looked_at),
        cmocka_unit_test(test_a_row_to_the_wrong_rank_or_by_the_wrong_forwarder_is_found),
        cmocka_unit_test(test_a_forwarder_that_sums_the_wrong_rows_is_found),
        cmocka_unit_test(test_a_sum_with_a_wrong_weight_is_found_wherever_it_is_made),
    };
    return cmocka_run_group_tests_name("exchange", tests, host_set_up, host_tear_down);
}
