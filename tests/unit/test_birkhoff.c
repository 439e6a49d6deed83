/* Stages of a traffic matrix: one-to-one, complete, and as short as the busiest port allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/exchange/birkhoff_rails.h"
#include "../../src/exchange/birkhoff_schedule.h"

/* ---- Matrices ---- */

typedef enum kind { EVEN, ZIPF, SPARSE, HOT, LOPSIDED, TINY, SPREAD, KINDS } kind_t;

static uint64_t random_next(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t random_rows(kind_t kind, size_t n, size_t from, size_t to, uint64_t *state)
{
    const size_t r = (size_t)(random_next(state) >> 20);
    switch (kind) {
    case EVEN:
        return 100;
    case ZIPF:
        return r % (1 + 20000 / (1 + to));
    case SPARSE:
        return r % 5 == 0 ? r / 5 % 5000 : 0;
    case HOT:
        return to == 0 ? 4000 : r % 400;
    case LOPSIDED:
        return from < n / 2 ? r % 1000 : to == n - 1;
    case TINY:
        return r % 3;
    case SPREAD: /* over many orders of magnitude */
        return (size_t)1 << r % 30;
    case KINDS:
        break;
    }
    return 0;
}

static size_t *random_matrix(kind_t kind, size_t n, uint64_t seed)
{
    uint64_t state = seed * 1000003 + n * 31 + kind;
    size_t *matrix = calloc(n * n, sizeof *matrix);
    for (size_t i = 0; i < n * n; i++)
        matrix[i] = random_rows(kind, n, i / n, i % n, &state);
    return matrix;
}

/* ---- Properties ---- */

static size_t busiest(const size_t *matrix, size_t n)
{
    size_t most = 0;
    for (size_t port = 0; port < n; port++) {
        size_t sent = 0, got = 0;
        for (size_t peer = 0; peer < n; peer++) {
            sent += peer == port ? 0 : matrix[port * n + peer];
            got += peer == port ? 0 : matrix[peer * n + port];
        }
        most = sent > most ? sent : most;
        most = got > most ? got : most;
    }
    return most;
}

/* Takes a stage's rows away from the matrix; returns the stage's length. */
static size_t take_stage(const moe_birkhoff_t *s, size_t stage, size_t *matrix)
{
    const size_t n = s->ports;
    unsigned char *receives = calloc(n, 1);
    size_t longest = 0;
    for (size_t from = 0; from < n; from++) {
        const size_t to = s->to[stage * n + from], rows = s->rows[stage * n + from];
        assert_true(to <= n && (to == n) == (rows == 0));
        if (to == n)
            continue;
        assert_true(to != from && !receives[to]++);
        assert_true(matrix[from * n + to] >= rows);
        matrix[from * n + to] -= rows;
        longest = rows > longest ? rows : longest;
    }
    free(receives);
    assert_true(longest > 0);
    return longest;
}

static void check_decomposition(const size_t *matrix, size_t n)
{
    moe_birkhoff_t s;
    assert_int_equal(moe_birkhoff_decompose(matrix, n, &s, NULL), MOE_OK);
    size_t *left = malloc(n * n * sizeof *left), length = 0;
    memcpy(left, matrix, n * n * sizeof *left);
    for (size_t stage = 0; stage < s.stages; stage++)
        length += take_stage(&s, stage, left);
    for (size_t i = 0; i < n * n; i++)
        assert_true(left[i] == 0 || i / n == i % n);
    const size_t most = busiest(matrix, n);
    assert_int_equal(s.bottleneck, most);
    assert_int_equal(s.length, length);
    assert_true(length >= most && length <= most + most / MOE_BIRKHOFF_SLACK);
    assert_true(s.stages <= n * n - 2 * n + 2);
    free(left);
    moe_birkhoff_destroy(&s);
    assert_null(s.to);
}

static void test_stages_are_one_to_one_complete_and_as_long_as_the_bottleneck(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 64};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (kind_t kind = 0; kind < KINDS; kind++) {
            for (uint64_t seed = 0; seed < (sizes[s] < 20 ? 10 : 2); seed++) {
                size_t *matrix = random_matrix(kind, sizes[s], seed);
                check_decomposition(matrix, sizes[s]);
                free(matrix);
            }
        }
    }
}

static void test_more_ports_than_a_word_has_bits(void **state)
{
    (void)state;
    size_t *matrix = random_matrix(ZIPF, 65, 1);
    check_decomposition(matrix, 65);
    free(matrix);
}

static void test_no_rows_need_no_stage(void **state)
{
    (void)state;
    const size_t matrix[9] = {[4] = 7};
    moe_birkhoff_t s;
    assert_int_equal(moe_birkhoff_decompose(matrix, 3, &s, NULL), MOE_OK);
    assert_int_equal(s.stages + s.length + s.bottleneck, 0);
    moe_birkhoff_destroy(&s);
}

static void test_a_permutation_is_one_stage(void **state)
{
    (void)state;
    const size_t matrix[9] = {[0 * 3 + 1] = 12, [1 * 3 + 2] = 12, [2 * 3 + 0] = 12};
    moe_birkhoff_t s;
    assert_int_equal(moe_birkhoff_decompose(matrix, 3, &s, NULL), MOE_OK);
    assert_int_equal(s.stages, 1);
    assert_int_equal(s.length, 12);
    moe_birkhoff_destroy(&s);
}

static void test_few_stages_carry_dense_matrices(void **state)
{
    (void)state;
    /* n - 1 at the least; the theorem's bound is n^2 - 2 n + 2. */
    for (size_t n = 8; n <= 64; n *= 2) {
        size_t *matrix = random_matrix(ZIPF, n, 7);
        moe_birkhoff_t s;
        assert_int_equal(moe_birkhoff_decompose(matrix, n, &s, NULL), MOE_OK);
        assert_in_range(s.stages, n - 1, 10 * n);
        moe_birkhoff_destroy(&s);
        free(matrix);
    }
}

static void test_rows_past_the_range_are_refused(void **state)
{
    (void)state;
    const size_t matrix[9] = {[1] = SIZE_MAX / 2, [2] = SIZE_MAX / 2};
    moe_birkhoff_t s = {.ports = 77};
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(moe_birkhoff_decompose(matrix, 3, &s, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "port 0"));
    assert_int_equal(s.ports, 77);
}

/* ---- Ranks of a node ---- */

/* Every row of the flow is in one piece, and every rail has its share. */
static void check_flow(moe_rails_t *rails, const size_t *flows, size_t a, size_t b)
{
    const moe_node_map_t *map = &rails->map;
    const size_t of_a = moe_node_size(map, a), of_b = moe_node_size(map, b);
    const size_t width = of_a < of_b ? of_a : of_b, fullest = flows[a * map->nodes + b];
    size_t *seen = calloc(map->ranks * map->ranks, sizeof *seen),
           *load = calloc(width, sizeof *load);
    moe_rails_deal(rails, a, b);
    for (size_t i = 0; i < rails->pieces; i++) {
        const moe_rail_piece_t *piece = &rails->piece[i];
        assert_true(moe_node_of(map, piece->from) == a && moe_node_of(map, piece->to) == b);
        assert_true(piece->rail < width && piece->rows > 0);
        /* Pieces of a block come in the order of its rows, without a gap. */
        size_t *row = &seen[piece->from * map->ranks + piece->to];
        assert_int_equal(*row, piece->first);
        *row += piece->rows;
        load[piece->rail] += piece->rows;
    }
    for (size_t from = 0; from < of_a; from++) {
        for (size_t to = 0; to < of_b; to++) {
            const size_t at =
                (moe_node_first(map, a) + from) * map->ranks + moe_node_first(map, b) + to;
            assert_int_equal(seen[at], rails->matrix[at]);
        }
    }
    for (size_t rail = 0; rail < width; rail++)
        assert_true(load[rail] == fullest || load[rail] + 1 == fullest);
    free(seen);
    free(load);
}

static void check_rails(const size_t *matrix, size_t ranks, size_t per_node)
{
    const moe_node_map_t map = moe_node_map(ranks, per_node);
    moe_rails_t rails;
    assert_int_equal(moe_rails_create(matrix, &map, &rails, NULL), MOE_OK);
    size_t *flows = calloc(map.nodes * map.nodes, sizeof *flows);
    moe_rails_flows(&rails, flows);
    for (size_t a = 0; a < map.nodes; a++) {
        for (size_t b = 0; b < map.nodes; b++) {
            if (a != b)
                check_flow(&rails, flows, a, b);
            else
                assert_int_equal(flows[a * map.nodes + b], 0);
        }
    }
    check_decomposition(flows, map.nodes);
    free(flows);
    moe_rails_destroy(&rails);
}

static void test_every_row_is_dealt_once_and_rails_carry_alike(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{2, 1}, {4, 2},  {5, 2},  {7, 3},
                                      {8, 4}, {16, 4}, {17, 8}, {64, 8}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (kind_t kind = 0; kind < KINDS; kind++) {
            size_t *matrix = random_matrix(kind, sizes[s][0], 3);
            check_rails(matrix, sizes[s][0], sizes[s][1]);
            free(matrix);
        }
    }
}

static void test_rows_stay_on_their_rank_where_balance_allows(void **state)
{
    (void)state;
    /* Two nodes of two ranks; rank 0 has 6 rows for rank 2, rank 1 has 6 for rank 3. */
    const size_t matrix[16] = {[0 * 4 + 2] = 6, [1 * 4 + 3] = 6};
    const moe_node_map_t map = moe_node_map(4, 2);
    moe_rails_t rails;
    assert_int_equal(moe_rails_create(matrix, &map, &rails, NULL), MOE_OK);
    moe_rails_deal(&rails, 0, 1);
    assert_int_equal(rails.pieces, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(rails.piece[i].rail, rails.piece[i].from);
    moe_rails_destroy(&rails);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages_are_one_to_one_complete_and_as_long_as_the_bottleneck),
        cmocka_unit_test(test_more_ports_than_a_word_has_bits),
        cmocka_unit_test(test_no_rows_need_no_stage),
        cmocka_unit_test(test_a_permutation_is_one_stage),
        cmocka_unit_test(test_few_stages_carry_dense_matrices),
        cmocka_unit_test(test_rows_past_the_range_are_refused),
        cmocka_unit_test(test_every_row_is_dealt_once_and_rails_carry_alike),
        cmocka_unit_test(test_rows_stay_on_their_rank_where_balance_allows),
    };
    return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
