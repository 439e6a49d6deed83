/* A check that cannot fail proves nothing: every fault that is planted here is found, in every style
 * that is one exchange of blocks and by every algorithm that sends them straight, and named; and the same layers are right before it and after it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_setting.h"

#define COLUMN ((size_t)5)

enum { DISPATCH, COMBINE };

/* ---- What a row carries ---- */

typedef struct carried {
    size_t row;    /* of the block */
    bool is_token; /* else padding; the rest is then 0 */
    uint64_t token;
    size_t expert;
    float weight;
} carried_t;

/* Whether a selection of `source` is the n-th kept one of `expert`; counts n down. */
static bool is_nth(const moe_batch_t *batch, size_t selection, size_t expert, size_t *n)
{
    return batch->kept[selection] && (size_t)batch->table.expert[selection] == expert &&
           (*n)-- == 0;
}

static carried_t nth_of_expert(const moe_batch_t *batch, size_t expert, size_t row, size_t n)
{
    const moe_table_t *table = &batch->table;
    for (size_t i = 0; i < table->tokens * table->top_k; i++) {
        if (is_nth(batch, i, expert, &n))
            return (carried_t){.row = row,
                               .is_token = true,
                               .token = table->first_token + i / table->top_k,
                               .expert = expert,
                               .weight = table->weight[i]};
    }
    return (carried_t){.row = row};
}

/* Of the rows that `source` sends to `dest` (and gets back from it), the heaviest that is a token or
 * is padding, and is not of the token `but`. */
static bool find_row(const world_t *w, const moe_style_ops_t *style, size_t source, size_t dest,
                     bool token, uint64_t but, carried_t *out)
{
    const moe_batch_t *batch = w->batch[source];
    bool found = false;
    size_t row = 0;
    for (size_t i = w->placement.first[dest]; i < w->placement.first[dest + 1]; i++) {
        const size_t expert = (size_t)w->placement.expert_at[i];
        const size_t block = style->block_rows(&w->sizes, batch->counts[expert]);
        for (size_t n = 0; n < block; n++, row++) {
            const carried_t c = nth_of_expert(batch, expert, row, n);
            if (c.is_token != token || (token && c.token == but) ||
                (found && c.weight <= out->weight))
                continue;
            *out = c;
            found = true;
        }
    }
    return found;
}

/* ---- Planting, and what the check must say ---- */

typedef struct plant {
    fault_kind_t kind;
    size_t exchange;
    bool padding;       /* the row is padding */
    size_t other_peer;  /* of swaps and duplicates */
    bool other_padding; /* the other row is */
    bool in_scale;      /* of flips: in the scale of FP8, not in an element */
    bool harmless;      /* nothing that anybody reads */
} plant_t;

typedef struct setting {
    const world_t *world;
    const moe_device_t *host;
    plant_t plant;
    /* Of the layer under test: */
    const moe_style_ops_t *style;
    dtype_pair_t dtypes;
    uint64_t seed; /* of the rows that meet the fault */
} setting_t;

/* One fault, and the rows that it is about. */
typedef struct planted {
    fault_t fault;
    carried_t at, other;
    size_t column; /* of flips */
} planted_t;

static bool find_places(const setting_t *s, planted_t *p)
{
    const plant_t *plant = &s->plant;
    const bool back = plant->exchange == COMBINE;
    p->fault.at.peer = PEER;
    p->fault.other.peer = plant->other_peer;
    if (!find_row(s->world, s->style, back ? FAULTY : PEER, back ? PEER : FAULTY, !plant->padding,
                  UINT64_MAX, &p->at))
        return false;
    p->fault.at.row = p->at.row;
    if (plant->kind != FAULT_SWAP && plant->kind != FAULT_DUPLICATE)
        return true;
    const size_t other = plant->other_peer;
    if (!find_row(s->world, s->style, back ? FAULTY : other, back ? other : FAULTY,
                  !plant->other_padding, p->at.token, &p->other))
        return false;
    p->fault.other.row = p->other.row;
    return true;
}

/* Where an error of sign weighs most. */
static size_t largest_column(const carried_t *c, uint64_t seed)
{
    size_t best = 0;
    int most = -1;
    for (size_t j = 0; j < HIDDEN; j++) {
        const int y = abs(moe_oracle_token(seed, c->token, j) + moe_oracle_bias(c->expert, j));
        best = y > most ? j : best;
        most = y > most ? y : most;
    }
    return best;
}

/* Flips turn the sign of one element (little-endian), or of a scale. */
static bool make_fault(const setting_t *s, planted_t *p)
{
    const plant_t *plant = &s->plant;
    *p = (planted_t){.fault = {.kind = plant->kind, .exchange = plant->exchange, .mask = 0x80}};
    if (!find_places(s, p))
        return false;
    const bool back = plant->exchange == COMBINE;
    const size_t size = moe_dtype_bytes(back ? s->dtypes.combine : s->dtypes.dispatch);
    p->column = back && p->at.is_token ? largest_column(&p->at, s->seed) : COLUMN;
    p->fault.byte = (p->column + 1) * size - 1;
    if (plant->in_scale) {
        p->column = 0; /* the first that the scale makes wrong */
        p->fault.byte = HIDDEN + sizeof(float) - 1;
    }
    return true;
}

static double x_of(const setting_t *s, const carried_t *c, size_t column)
{
    return c->is_token ? moe_oracle_token(s->seed, c->token, column) : 0;
}

/* What every element of a token is after combine, before rounding. */
static double combined_of(const setting_t *s, uint64_t token, size_t column)
{
    const world_t *w = s->world;
    const moe_batch_t *batch = w->batch[token / traffic.tokens];
    const size_t top_k = batch->table.top_k, t = (size_t)(token - batch->table.first_token);
    double sum = 0;
    for (size_t i = t * top_k; i < (t + 1) * top_k; i++)
        sum += (double)batch->table.weight[i] *
               (moe_oracle_token(s->seed, token, column) +
                moe_oracle_bias((size_t)batch->table.expert[i], column));
    return sum;
}

/* bf16 has 8 significant bits. */
static bool is_near(double value, double expected)
{
    return fabs(value - expected) <= fabs(expected) / 256 + 1e-6;
}

static bool names_the_values(moe_transport_t *t, const setting_t *s, const planted_t *p,
                             const moe_mismatch_t *at, char *text)
{
    const bool back = s->plant.exchange == COMBINE;
    const double expected =
        back ? combined_of(s, at->token, at->column) : x_of(s, &p->at, at->column);
    RANK_EXPECT(s->plant.kind == FAULT_SWAP ||
                (back ? is_near(at->expected, expected) : at->expected == expected));
    switch (s->plant.kind) {
    case FAULT_FLIP:
        RANK_EXPECT(at->column == p->column);
        RANK_EXPECT(back || s->plant.in_scale || at->got == -expected);
        RANK_EXPECT(!back ||
                    is_near(at->got, expected - 2 * (double)p->at.weight *
                                                    (x_of(s, &p->at, p->column) +
                                                     moe_oracle_bias(p->at.expert, p->column))));
        break;
    case FAULT_LOSE: /* what lies there is no number, let alone the right one */
        RANK_EXPECT(isnan(at->got));
        break;
    case FAULT_DUPLICATE:
        RANK_EXPECT(back || at->got == x_of(s, &p->other, at->column));
        break;
    default:
        break;
    }
    return true;
}

/* Rank, token or padding, column, expected, got: in the words that a user reads. */
static bool describes_it(moe_transport_t *t, const setting_t *s, const moe_check_result_t *result,
                         char *text)
{
    char said[RANK_TEXT], token[64], where[64], values[96];
    moe_check_describe(result, said, sizeof said);
    snprintf(where, sizeof where, "rank %zu: after %s: row %zu, ", result->rank,
             s->plant.exchange == COMBINE ? "combine" : "dispatch", result->at.row);
    if (result->at.token == MOE_TOKEN_PADDING)
        snprintf(token, sizeof token, " padding, column %zu: ", result->at.column);
    else
        snprintf(token, sizeof token, " token %" PRIu64 ", column %zu: ", result->at.token,
                 result->at.column);
    snprintf(values, sizeof values, "expected %g, got %g (%zu wrong elements in all)",
             result->at.expected, result->at.got, result->errors);
    RANK_EXPECT(strstr(said, where) == said);
    RANK_EXPECT(strstr(said, token) != NULL);
    RANK_EXPECT(strstr(said, values) != NULL);
    return true;
}

static bool is_found(moe_transport_t *t, const setting_t *s, const planted_t *p,
                     const moe_check_result_t *result, char *text)
{
    if (s->plant.harmless) {
        RANK_EXPECT(result->errors == 0);
        return true;
    }
    RANK_EXPECT(result->errors > 0 && result->at.count > 0);
    RANK_EXPECT(result->in_combine == (s->plant.exchange == COMBINE));
    RANK_EXPECT(result->rank == (s->plant.kind == FAULT_SHIFT ? PEER : FAULTY));
    RANK_EXPECT(result->at.column < HIDDEN);
    if (s->plant.kind == FAULT_SHIFT)
        return describes_it(t, s, result, text);
    const bool is_at = result->at.token == (p->at.is_token ? p->at.token : MOE_TOKEN_PADDING);
    const bool is_other =
        result->at.token == (p->other.is_token ? p->other.token : MOE_TOKEN_PADDING);
    RANK_EXPECT(is_at || (s->plant.kind == FAULT_SWAP && is_other));
    return names_the_values(t, s, p, &result->at, text) && describes_it(t, s, result, text);
}

/* ---- On every rank ---- */

static bool catch_it(fault_transport_t *f, const setting_t *s, const planted_t *p,
                     moe_layer_t *layer, char *text)
{
    moe_transport_t *t = &f->transport;
    char finding[RANK_TEXT];
    moe_check_result_t result;
    fault_arm(f, NULL);
    if (!layer_is_right(layer, text)) /* what it leaves is what a lost row would find */
        return false;
    fault_arm(f, t->rank == FAULTY ? &p->fault : NULL);
    RANK_EXPECT(moe_layer_check(layer, MOE_CHECK_FULL, &result, NULL) == MOE_OK);
    RANK_EXPECT(f->planted == (t->rank == FAULTY && s->plant.kind != FAULT_NONE));
    fault_arm(f, NULL);
    if (!is_found(t, s, p, &result, finding)) {
        layer_explain(layer, finding, text);
        return false;
    }
    return layer_is_right(layer, text);
}

static bool catch_by_every_algorithm(fault_transport_t *f, const setting_t *s, char *text)
{
    moe_transport_t *t = &f->transport;
    planted_t planted;
    if (!make_fault(s, &planted)) {
        /* `exact` and `slots` have no padding; every style has tokens. */
        RANK_EXPECT(s->plant.padding || s->plant.other_padding);
        RANK_EXPECT(s->style->metadata == MOE_METADATA_COUNTS || s->style->fixed_slots);
        return true;
    }
    const moe_layer_spec_t spec = faulty_spec(s->world, t, s->style, s->dtypes);
    layer_rank_t rank;
    RANK_EXPECT(layer_rank_create(&rank, &spec, s->host, NULL) == MOE_OK);
    for (size_t a = 0; a < LENGTH(direct_algorithms); a++) {
        setting_t now = *s; /* every check has rows of its own; the second one meets the fault */
        now.seed = moe_layer_spec(rank.layer)->data_seed + 2;
        RANK_EXPECT(make_fault(&now, &planted));
        RANK_EXPECT(moe_layer_use(rank.layer, direct_algorithm(a), NULL) == MOE_OK);
        if (!catch_it(f, &now, &planted, rank.layer, text))
            return false;
    }
    layer_rank_destroy(&rank);
    return true;
}

static bool is_one_exchange_of_blocks(const moe_style_ops_t *style)
{
    return style->block_rows != NULL && style->plan == NULL && !style->round_per_expert;
}

static bool catch_in_every_style(moe_transport_t *t, void *context, char *text)
{
    setting_t s = *(const setting_t *)context;
    fault_transport_t f;
    fault_transport_init(&f, t);
    for (size_t style = 0; style < moe_style_count(); style++) {
        s.style = moe_style_at(style);
        if (!is_one_exchange_of_blocks(s.style))
            continue; /* see test_fault_styles.c */
        for (size_t pair = 0; pair < DTYPE_PAIRS; pair++) {
            s.dtypes = dtype_pairs[pair];
            const moe_dtype_t carried =
                s.plant.exchange == COMBINE ? s.dtypes.combine : s.dtypes.dispatch;
            if (s.plant.in_scale && carried != MOE_FP8)
                continue;
            if (!catch_by_every_algorithm(&f, &s, text))
                return false;
        }
    }
    return true;
}

static void plant(void **state, plant_t what)
{
    world_t world;
    world_create(&world, &traffic);
    setting_t setting = {.world = &world, .host = *state, .plant = what};
    assert_int_equal(run_ranks(RANKS, catch_in_every_style, &setting), 0);
    world_destroy(&world);
}

/* ---- Rows ---- */

static void test_no_fault_is_no_error(void **state)
{
    plant(state, (plant_t){.kind = FAULT_NONE, .harmless = true});
}

static void test_a_flip_in_padding_that_comes_back_is_no_error(void **state)
{
    /* Nobody reads it. */
    plant(state,
          (plant_t){.kind = FAULT_FLIP, .exchange = COMBINE, .padding = true, .harmless = true});
}

static void test_a_flipped_byte_is_found_after_dispatch(void **state)
{
    plant(state, (plant_t){.kind = FAULT_FLIP, .exchange = DISPATCH});
}

static void test_a_flipped_byte_is_found_after_combine(void **state)
{
    plant(state, (plant_t){.kind = FAULT_FLIP, .exchange = COMBINE});
}

static void test_a_flipped_byte_of_padding_is_found_after_dispatch(void **state)
{
    plant(state, (plant_t){.kind = FAULT_FLIP, .exchange = DISPATCH, .padding = true});
}

static void test_a_flipped_byte_of_a_scale_is_found_after_dispatch(void **state)
{
    plant(state, (plant_t){.kind = FAULT_FLIP, .exchange = DISPATCH, .in_scale = true});
}

static void test_two_swapped_rows_of_a_block_are_found_after_dispatch(void **state)
{
    plant(state, (plant_t){.kind = FAULT_SWAP, .exchange = DISPATCH, .other_peer = PEER});
}

static void test_two_swapped_rows_of_a_block_are_found_after_combine(void **state)
{
    plant(state, (plant_t){.kind = FAULT_SWAP, .exchange = COMBINE, .other_peer = PEER});
}

static void test_two_swapped_rows_of_two_peers_are_found_after_dispatch(void **state)
{
    plant(state, (plant_t){.kind = FAULT_SWAP, .exchange = DISPATCH, .other_peer = OTHER});
}

static void test_two_swapped_rows_of_two_peers_are_found_after_combine(void **state)
{
    plant(state, (plant_t){.kind = FAULT_SWAP, .exchange = COMBINE, .other_peer = OTHER});
}

static void test_a_token_in_the_place_of_padding_is_found(void **state)
{
    plant(state,
          (plant_t){
              .kind = FAULT_SWAP, .exchange = DISPATCH, .other_peer = PEER, .other_padding = true});
}

static void test_a_row_lost_in_dispatch_is_found_though_the_last_one_lies_there(void **state)
{
    plant(state, (plant_t){.kind = FAULT_LOSE, .exchange = DISPATCH});
}

static void test_a_row_lost_in_combine_is_found_though_the_last_one_lies_there(void **state)
{
    plant(state, (plant_t){.kind = FAULT_LOSE, .exchange = COMBINE});
}

static void test_a_row_of_padding_lost_in_dispatch_is_found(void **state)
{
    plant(state, (plant_t){.kind = FAULT_LOSE, .exchange = DISPATCH, .padding = true});
}

static void test_a_row_duplicated_over_another_is_found_after_dispatch(void **state)
{
    plant(state, (plant_t){.kind = FAULT_DUPLICATE, .exchange = DISPATCH, .other_peer = PEER});
}

static void test_a_row_duplicated_over_another_peers_is_found_after_dispatch(void **state)
{
    plant(state, (plant_t){.kind = FAULT_DUPLICATE, .exchange = DISPATCH, .other_peer = OTHER});
}

static void test_a_row_duplicated_over_another_is_found_after_combine(void **state)
{
    plant(state, (plant_t){.kind = FAULT_DUPLICATE, .exchange = COMBINE, .other_peer = PEER});
}

static void test_padding_over_a_token_is_found(void **state)
{
    plant(state, (plant_t){.kind = FAULT_DUPLICATE,
                           .exchange = DISPATCH,
                           .other_peer = PEER,
                           .other_padding = true});
}

static void test_a_block_sent_from_one_row_too_far_is_found_after_dispatch(void **state)
{
    plant(state, (plant_t){.kind = FAULT_SHIFT, .exchange = DISPATCH});
}

static void test_a_block_sent_from_one_row_too_far_is_found_after_combine(void **state)
{
    plant(state, (plant_t){.kind = FAULT_SHIFT, .exchange = COMBINE});
}

/* ---- A sample ---- */

/* Row 0 by expert is the first that the lowest rank sends for the first local expert. */
static bool sample_row(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    fault_transport_t f;
    fault_transport_init(&f, t);
    const moe_layer_spec_t spec =
        faulty_spec(s->world, &f.transport, moe_style_at(0), dtype_pairs[0]);
    layer_rank_t rank;
    RANK_EXPECT(layer_rank_create(&rank, &spec, s->host, NULL) == MOE_OK);
    RANK_EXPECT(traffic.tokens > MOE_CHECK_STRIDE); /* rows of a block of `padded` */
    for (size_t row = 0; row <= MOE_CHECK_STRIDE; row++) {
        const fault_t fault = {
            .kind = FAULT_LOSE, .at = {.peer = 0, .row = row}, .exchange = DISPATCH};
        moe_check_result_t result;
        fault_arm(&f, t->rank == FAULTY ? &fault : NULL);
        RANK_EXPECT(moe_layer_check(rank.layer, MOE_CHECK_SAMPLE, &result, NULL) == MOE_OK);
        fault_arm(&f, NULL);
        const bool looked_at = row % MOE_CHECK_STRIDE == 0;
        RANK_EXPECT(looked_at == (result.errors > 0 && !result.in_combine));
        RANK_EXPECT(!looked_at || (result.rank == FAULTY && result.at.row == row));
    }
    layer_rank_destroy(&rank);
    return true;
}

static void test_a_sample_looks_at_every_16th_row(void **state)
{
    world_t world;
    world_create(&world, &traffic);
    setting_t setting = {.world = &world, .host = *state};
    assert_int_equal(run_ranks(RANKS, sample_row, &setting), 0);
    world_destroy(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_fault_is_no_error),
        cmocka_unit_test(test_a_flip_in_padding_that_comes_back_is_no_error),
        cmocka_unit_test(test_a_flipped_byte_is_found_after_dispatch),
        cmocka_unit_test(test_a_flipped_byte_is_found_after_combine),
        cmocka_unit_test(test_a_flipped_byte_of_padding_is_found_after_dispatch),
        cmocka_unit_test(test_a_flipped_byte_of_a_scale_is_found_after_dispatch),
        cmocka_unit_test(test_two_swapped_rows_of_a_block_are_found_after_dispatch),
        cmocka_unit_test(test_two_swapped_rows_of_a_block_are_found_after_combine),
        cmocka_unit_test(test_two_swapped_rows_of_two_peers_are_found_after_dispatch),
        cmocka_unit_test(test_two_swapped_rows_of_two_peers_are_found_after_combine),
        cmocka_unit_test(test_a_token_in_the_place_of_padding_is_found),
        cmocka_unit_test(test_a_row_lost_in_dispatch_is_found_though_the_last_one_lies_there),
        cmocka_unit_test(test_a_row_lost_in_combine_is_found_though_the_last_one_lies_there),
        cmocka_unit_test(test_a_row_of_padding_lost_in_dispatch_is_found),
        cmocka_unit_test(test_a_row_duplicated_over_another_is_found_after_dispatch),
        cmocka_unit_test(test_a_row_duplicated_over_another_peers_is_found_after_dispatch),
        cmocka_unit_test(test_a_row_duplicated_over_another_is_found_after_combine),
        cmocka_unit_test(test_padding_over_a_token_is_found),
        cmocka_unit_test(test_a_block_sent_from_one_row_too_far_is_found_after_dispatch),
        cmocka_unit_test(test_a_block_sent_from_one_row_too_far_is_found_after_combine),
        cmocka_unit_test(test_a_sample_looks_at_every_16th_row),
    };
    return cmocka_run_group_tests_name("exchange", tests, host_set_up, host_tear_down);
}
