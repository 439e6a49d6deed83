#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef MOE_HAVE_HWLOC
#include <hwloc.h>
#endif

#include "moe/binding.h"
#include "moe/device.h"
#include "moe/system.h"

#define MAX_RANKS 64

/* ---- Views from one line ---- */

/* GPU 'A' of a host has bus number 10 and so on; those of two hosts may have the same address. */
static void put_pci(char pci[16], char gpu)
{
    snprintf(pci, 16, "0000:%02x:00.0", 0x10 + (unsigned)(gpu - 'A'));
}

/* A rank of `node` that sees the GPUs `seen` in this order ("CAB"), those of `near` near its cores. */
static moe_gpu_view_t rank_sees(size_t node, const char *seen, const char *near)
{
    moe_gpu_view_t view = {.node = node, .count = strlen(seen)};
    for (size_t i = 0; i < view.count; i++) {
        put_pci(view.pci[i], seen[i]);
        if (strchr(near, seen[i]) != NULL)
            view.near |= (uint32_t)1 << i;
    }
    return view;
}

static void assert_chosen(const moe_gpu_view_t *views, size_t ranks, bool share,
                          const size_t *expected)
{
    moe_error_t error = {0};
    size_t chosen[MAX_RANKS];
    if (moe_gpu_choose(views, ranks, share, chosen, &error) != MOE_OK)
        fail_msg("%s", error.text);
    for (size_t r = 0; r < ranks; r++) {
        if (chosen[r] != expected[r])
            fail_msg("rank %zu takes number %zu, not %zu", r, chosen[r], expected[r]);
    }
}

static void assert_refused(const moe_gpu_view_t *views, size_t ranks, bool share, const char *said)
{
    moe_error_t error = {0};
    size_t chosen[MAX_RANKS] = {[0] = 99, [1] = 99};
    assert_int_equal(moe_gpu_choose(views, ranks, share, chosen, &error), MOE_BAD_INPUT);
    assert_string_equal(error.text, said);
    assert_int_equal(chosen[0], 99); /* untouched */
    assert_int_equal(chosen[1], 99);
}

#define CHOSEN(views, share, ...)                                                                  \
    assert_chosen(views, sizeof(views) / sizeof(views)[0], share, (size_t[]){__VA_ARGS__})
#define REFUSED(views, share, said)                                                                \
    assert_refused(views, sizeof(views) / sizeof(views)[0], share, said)

/* ---- A GPU for each rank ---- */

static void test_ranks_take_gpus_in_order(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "ABCD", ""), rank_sees(0, "ABCD", ""),
                                    rank_sees(0, "ABCD", "")};
    CHOSEN(views, false, 0, 1, 2);
    assert_int_equal(moe_gpu_choose(NULL, 0, false, NULL, NULL), MOE_OK);
}

static void test_a_rank_that_sees_one_gpu_takes_it(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "C", ""), rank_sees(0, "A", ""),
                                    rank_sees(0, "B", "B")};
    CHOSEN(views, false, 0, 0, 0);
}

static void test_a_gpu_is_the_same_in_every_order_of_seeing(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "AB", ""), rank_sees(0, "AB", ""),
                                    rank_sees(0, "BAC", "")};
    CHOSEN(views, false, 0, 1, 2);
    const moe_gpu_view_t reversed[] = {rank_sees(0, "ABC", ""), rank_sees(0, "CBA", "")};
    CHOSEN(reversed, false, 0, 0);
}

static void test_each_node_has_its_own_gpus_however_ranks_are_dealt_out(void **state)
{
    (void)state;
    const moe_gpu_view_t in_blocks[] = {rank_sees(0, "AB", ""), rank_sees(0, "AB", ""),
                                        rank_sees(1, "AB", ""), rank_sees(1, "AB", "")};
    CHOSEN(in_blocks, false, 0, 1, 0, 1);
    const moe_gpu_view_t in_turn[] = {rank_sees(7, "AB", ""), rank_sees(2, "AB", ""),
                                      rank_sees(7, "AB", ""), rank_sees(SIZE_MAX, "B", ""),
                                      rank_sees(2, "AB", "")};
    CHOSEN(in_turn, false, 0, 0, 1, 0, 1);
}

static void test_near_comes_before_a_low_number(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "ABCD", "CD"), rank_sees(0, "ABCD", "CD"),
                                    rank_sees(0, "ABCD", "AB"), rank_sees(0, "ABCD", "AB")};
    CHOSEN(views, false, 2, 3, 0, 1);
    const moe_gpu_view_t crowded[] = {rank_sees(0, "ABCD", "D"), rank_sees(0, "ABCD", "D")};
    CHOSEN(crowded, false, 3, 0);
}

static void test_ranks_make_room_where_more_are_then_near(void **state)
{
    (void)state;
    const moe_gpu_view_t both_near[] = {rank_sees(0, "AB", "AB"), rank_sees(0, "AB", "A")};
    CHOSEN(both_near, false, 1, 0);
    const moe_gpu_view_t not_bound[] = {rank_sees(0, "AB", ""), rank_sees(0, "AB", "A")};
    CHOSEN(not_bound, false, 1, 0);
}

static void test_ranks_make_room_for_one_that_sees_no_other(void **state)
{
    (void)state;
    const moe_gpu_view_t near_lost[] = {rank_sees(0, "AB", "A"), rank_sees(0, "A", "")};
    CHOSEN(near_lost, false, 1, 0);
    const moe_gpu_view_t in_a_row[] = {rank_sees(0, "AB", ""), rank_sees(0, "BC", ""),
                                       rank_sees(0, "CD", ""), rank_sees(0, "A", "")};
    CHOSEN(in_a_row, false, 1, 1, 1, 0);
}

static void test_as_few_ranks_move_as_can_be(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "AC", ""), rank_sees(0, "CD", ""),
                                    rank_sees(0, "BE", ""), rank_sees(0, "AB", "")};
    CHOSEN(views, false, 0, 0, 1, 1);
}

static void test_bits_past_the_gpus_that_are_seen_say_nothing(void **state)
{
    (void)state;
    moe_gpu_view_t views[] = {rank_sees(0, "AB", "B"), rank_sees(0, "AB", "")};
    views[0].near |= 0xfffffff0;
    views[1].near |= 0xfffffff0;
    CHOSEN(views, false, 1, 0);
}

static moe_gpu_view_t rank_sees_many(size_t first, size_t count)
{
    moe_gpu_view_t view = {.count = count};
    for (size_t i = 0; i < count && i < MOE_GPUS_MAX; i++)
        snprintf(view.pci[i], sizeof view.pci[i], "%04x:00:00.0", (unsigned)(first + i));
    return view;
}

static void test_a_rank_sees_32_gpus_and_a_node_may_have_more(void **state)
{
    (void)state;
    moe_gpu_view_t views[MAX_RANKS];
    size_t expected[MAX_RANKS];
    for (size_t r = 0; r < MAX_RANKS; r++) {
        views[r] = rank_sees_many(r / MOE_GPUS_MAX * MOE_GPUS_MAX, MOE_GPUS_MAX);
        expected[r] = r % MOE_GPUS_MAX;
    }
    assert_chosen(views, MAX_RANKS, false, expected);
    views[1].near = 0x80000000;
    expected[1] = 31;
    for (size_t r = 2; r < MOE_GPUS_MAX; r++)
        expected[r] = r - 1;
    assert_chosen(views, MAX_RANKS, false, expected);

    views[1].count = 33;
    assert_refused(views, MAX_RANKS, true,
                   "rank 1 sees 33 GPUs, the limit is 32: let it see fewer (CUDA_VISIBLE_DEVICES)");
}

/* ---- Too few ---- */

static void test_more_ranks_than_gpus_are_refused(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "AB", ""), rank_sees(1, "AB", ""),
                                    rank_sees(1, "BA", ""), rank_sees(0, "AB", ""),
                                    rank_sees(1, "AB", "A")};
    REFUSED(
        views, false,
        "rank 4 is left without a GPU: its node has 3 ranks and 2 GPUs: start at most 2 ranks on "
        "a node, or give --share-gpu (for tests, not for performance)");
    const moe_gpu_view_t same[] = {rank_sees(0, "A", ""), rank_sees(0, "A", "")};
    REFUSED(
        same, false,
        "rank 1 is left without a GPU: its node has 2 ranks and 1 GPU: start at most 1 rank on a "
        "node, or give --share-gpu (for tests, not for performance)");
}

static void test_ranks_that_see_too_few_of_the_gpus_are_refused(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "CDE", ""), rank_sees(0, "AB", ""),
                                    rank_sees(0, "A", ""), rank_sees(0, "B", "")};
    REFUSED(views, false,
            "rank 3 is left without a GPU: its node has 4 ranks and 5 GPUs, but 3 of the ranks see "
            "only 2 of the GPUs: let them see more (CUDA_VISIBLE_DEVICES), start fewer ranks on a "
            "node, or give --share-gpu (for tests, not for performance)");
}

static void test_a_rank_that_sees_no_gpu_is_refused(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "A", ""), rank_sees(1, "", "")};
    for (int share = 0; share < 2; share++)
        REFUSED(views, share != 0,
                "rank 1 sees no GPU: start it on a node with GPUs, and let it see one "
                "(CUDA_VISIBLE_DEVICES)");
}

/* ---- Sharing ---- */

static void test_sharing_ranks_spread_evenly(void **state)
{
    (void)state;
    const moe_gpu_view_t five[] = {rank_sees(0, "AB", ""), rank_sees(0, "AB", ""),
                                   rank_sees(0, "AB", ""), rank_sees(0, "AB", ""),
                                   rank_sees(0, "AB", "")};
    CHOSEN(five, true, 0, 1, 0, 1, 0);
    const moe_gpu_view_t single[] = {rank_sees(0, "A", ""), rank_sees(0, "A", ""),
                                     rank_sees(1, "A", "")};
    CHOSEN(single, true, 0, 0, 0);
}

static void test_sharing_ranks_spread_before_they_are_near(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "AB", "B"), rank_sees(0, "AB", "B"),
                                    rank_sees(0, "AB", "B"), rank_sees(0, "AB", "A")};
    CHOSEN(views, true, 1, 0, 1, 0);
    const moe_gpu_view_t blind[] = {rank_sees(0, "AB", ""), rank_sees(0, "A", ""),
                                    rank_sees(0, "A", "")};
    CHOSEN(blind, true, 1, 0, 0);
}

static void test_ranks_that_may_share_do_not_where_they_need_not(void **state)
{
    (void)state;
    const moe_gpu_view_t views[] = {rank_sees(0, "AB", "A"), rank_sees(0, "A", "")};
    CHOSEN(views, true, 1, 0);
}

/* ---- Against all choices that there are ---- */

#define FEW  4
#define NONE UINT64_MAX

/* Sharers count more than distances, of which there are at most FEW. */
static uint64_t cost_of(const moe_gpu_view_t *views, size_t ranks, bool share, const size_t *chosen)
{
    uint64_t cost = 0;
    for (size_t r = 0; r < ranks; r++) {
        const moe_gpu_view_t *v = &views[r];
        cost += v->near != 0 && (v->near >> chosen[r] & 1) == 0;
        for (size_t before = 0; before < r; before++) {
            if (strcmp(v->pci[chosen[r]], views[before].pci[chosen[before]]) != 0)
                continue;
            if (!share)
                return NONE;
            cost += FEW + 1;
        }
    }
    return cost;
}

static uint64_t least_cost(const moe_gpu_view_t *views, size_t ranks, bool share)
{
    uint64_t least = NONE;
    size_t chosen[FEW] = {0};
    for (size_t r = 0; r < ranks;) {
        const uint64_t cost = cost_of(views, ranks, share, chosen);
        if (cost < least)
            least = cost;
        for (r = 0; r < ranks && ++chosen[r] == views[r].count; r++)
            chosen[r] = 0;
    }
    return least;
}

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*state >> 33);
}

/* Some of the GPUs in some order. */
static moe_gpu_view_t draw_view(uint64_t *random)
{
    char seen[FEW + 1] = "ABCD";
    for (size_t i = FEW - 1; i > 0; i--) {
        const size_t j = draw(random) % (i + 1);
        const char other = seen[j];
        seen[j] = seen[i];
        seen[i] = other;
    }
    seen[1 + draw(random) % FEW] = '\0';
    moe_gpu_view_t view = rank_sees(0, seen, "");
    view.near = draw(random) & draw(random);
    view.near &= ((uint32_t)1 << view.count) - 1;
    return view;
}

static void test_no_other_choice_is_better(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (size_t trial = 0; trial < 20000; trial++) {
        moe_gpu_view_t views[FEW];
        const size_t ranks = 1 + draw(&random) % FEW;
        for (size_t r = 0; r < ranks; r++)
            views[r] = draw_view(&random);
        const bool share = draw(&random) % 2 != 0;
        size_t chosen[FEW];
        const uint64_t least = least_cost(views, ranks, share);
        const moe_status_t status = moe_gpu_choose(views, ranks, share, chosen, NULL);
        assert_int_equal(status, least == NONE ? MOE_BAD_INPUT : MOE_OK);
        if (status == MOE_OK)
            assert_true(cost_of(views, ranks, share, chosen) == least);
    }
}

/* ---- What is near ---- */

#ifdef MOE_HAVE_HWLOC

/* A host as hwloc writes it: two packages of a NUMA node, one core and one GPU each, and a third GPU
 * whose place is not told. */
#define SETS(set, nodes)                                                                           \
    " cpuset=\"" set "\" complete_cpuset=\"" set "\" nodeset=\"" nodes "\""                        \
    " complete_nodeset=\"" nodes "\""
#define GPU(index, address)                                                                        \
    "<object type=\"PCIDev\" gp_index=\"" index "\" pci_busid=\"" address "\""                     \
    " pci_type=\"0302 [10de:2330] [10de:16c1] a1\" pci_link_speed=\"0.000000\"/>"
#define PACKAGE(n, node, address)                                                                  \
    "<object type=\"Package\" os_index=\"" n "\"" SETS(                                            \
        "%s", node) " gp_index=\"1" n "\">"                                                        \
                    "<object type=\"NUMANode\" os_index=\"" n "\"" SETS(                           \
                        "%s", node) " gp_index=\"2" n "\"/>"                                       \
                                    "<object type=\"Core\" os_index=\"0\"" SETS(                   \
                                        "%s", node) " gp_index=\"3" n "\">"                        \
                                                    "<object type=\"PU\" os_index=\"%u\"" SETS(    \
                                                        "%s", node) " gp_index=\"4" n              \
                                                                    "\"/></object>" GPU(           \
                                                                        "5" n,                     \
                                                                        address) "</object>"
#define HEAD                                                                                       \
    "<?xml version=\"1.0\"?><!DOCTYPE topology SYSTEM \"hwloc2.dtd\"><topology version=\"2.0\">"   \
    "<object type=\"Machine\" os_index=\"0\"" SETS(                                                \
        "%s", "0x3") " allowed_cpuset=\"%s\" allowed_nodeset=\"0x3\" gp_index=\"1\">"

static const char host_form[] = HEAD PACKAGE("0", "0x1", "0000:1b:00.0")
    PACKAGE("1", "0x2", "0001:9d:00.0") GPU("60", "0000:fe:00.0") "</object></topology>";

static const char gpus[][16] = {
    "0001:9D:00.0", "0000:1b:00.0", "0000:fe:00.0", "0000:1c:00.0", "nowhere", "", "0000:1b:00.0"};
#define ON_FIRST  0x42 /* bits of those */
#define ON_SECOND 0x01

/* Two cores that this process may run on stand for those of the host. */
typedef struct two_cores {
    hwloc_topology_t real;
    hwloc_bitmap_t allowed, both, core[2];
    char path[40];
} two_cores_t;

static void free_cores(two_cores_t *t)
{
    hwloc_bitmap_free(t->allowed);
    hwloc_bitmap_free(t->both);
    hwloc_bitmap_free(t->core[0]);
    hwloc_bitmap_free(t->core[1]);
    hwloc_topology_destroy(t->real);
}

/* False where there is one only. */
static bool find_cores(two_cores_t *t)
{
    *t = (two_cores_t){.allowed = hwloc_bitmap_alloc(), .both = hwloc_bitmap_alloc()};
    assert_int_equal(hwloc_topology_init(&t->real), 0);
    assert_int_equal(hwloc_topology_load(t->real), 0);
    assert_int_equal(hwloc_get_cpubind(t->real, t->allowed, HWLOC_CPUBIND_PROCESS), 0);
    int cpu = -1;
    for (size_t i = 0; i < 2; i++) {
        t->core[i] = hwloc_bitmap_alloc();
        cpu = hwloc_bitmap_next(t->allowed, cpu);
        if (cpu < 0) {
            free_cores(t);
            return false;
        }
        hwloc_bitmap_set(t->core[i], (unsigned)cpu);
        hwloc_bitmap_set(t->both, (unsigned)cpu);
    }
    return true;
}

static void write_host(two_cores_t *t)
{
    char *both, *core[2], text[8192];
    hwloc_bitmap_asprintf(&both, t->both);
    for (size_t i = 0; i < 2; i++)
        hwloc_bitmap_asprintf(&core[i], t->core[i]);
#define OF_PACKAGE(i)                                                                              \
    core[i], core[i], core[i], core[i], core[i], core[i],                                          \
        (unsigned)hwloc_bitmap_first(t->core[i]), core[i], core[i]
    const int size =
        snprintf(text, sizeof text, host_form, both, both, both, OF_PACKAGE(0), OF_PACKAGE(1));
    assert_true(size > 0 && (size_t)size < sizeof text);
    strcpy(t->path, "/tmp/moe-locality-XXXXXX");
    const int fd = mkstemp(t->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, (size_t)size), size);
    close(fd);
    free(both);
    free(core[0]);
    free(core[1]);
}

static void assert_near(const two_cores_t *t, hwloc_const_bitmap_t bound, size_t count,
                        uint32_t expected)
{
    assert_int_equal(hwloc_set_cpubind(t->real, bound, HWLOC_CPUBIND_PROCESS), 0);
    const uint32_t near = moe_near_pci(gpus, count);
    assert_int_equal(hwloc_set_cpubind(t->real, t->allowed, HWLOC_CPUBIND_PROCESS), 0);
    assert_int_equal(near, expected);
}

static void test_gpus_are_near_where_the_process_is_bound(void **state)
{
    (void)state;
    two_cores_t t;
    if (!find_cores(&t))
        skip();
    write_host(&t);
    setenv("HWLOC_XMLFILE", t.path, 1);
    setenv("HWLOC_THISSYSTEM", "1", 1);
    const size_t count = sizeof gpus / sizeof gpus[0];
    assert_near(&t, t.core[0], count, ON_FIRST);
    assert_near(&t, t.core[0], 2, ON_FIRST & 0x3);
    assert_near(&t, t.core[0], 0, 0);
    assert_near(&t, t.core[1], count, ON_SECOND);
    assert_near(&t, t.both, count, 0);
    unsetenv("HWLOC_XMLFILE");
    unsetenv("HWLOC_THISSYSTEM");
    unlink(t.path);
    free_cores(&t);
}

/* Far is only what the host says is elsewhere: of a process that may run everywhere nothing is. */
static void test_gpus_are_far_where_the_process_is_not_bound(void **state)
{
    (void)state;
    two_cores_t t;
    if (!find_cores(&t))
        skip();
    write_host(&t);
    setenv("HWLOC_XMLFILE", t.path, 1);
    setenv("HWLOC_THISSYSTEM", "1", 1);
    for (size_t i = 0; i < sizeof gpus / sizeof gpus[0]; i++) {
        const bool first = (ON_FIRST >> i & 1) != 0, second = (ON_SECOND >> i & 1) != 0;
        assert_int_equal(hwloc_set_cpubind(t.real, t.core[0], HWLOC_CPUBIND_PROCESS), 0);
        assert_int_equal(moe_binding_near(gpus[i]), first    ? MOE_NEAR
                                                    : second ? MOE_FAR
                                                             : MOE_NEAR_UNKNOWN);
        assert_int_equal(hwloc_set_cpubind(t.real, t.both, HWLOC_CPUBIND_PROCESS), 0);
        assert_int_equal(moe_binding_near(gpus[i]), MOE_NEAR_UNKNOWN);
    }
    assert_int_equal(hwloc_set_cpubind(t.real, t.allowed, HWLOC_CPUBIND_PROCESS), 0);
    unsetenv("HWLOC_XMLFILE");
    unsetenv("HWLOC_THISSYSTEM");
    unlink(t.path);
    free_cores(&t);
}

#endif

static void test_no_gpu_is_near_that_the_host_does_not_know(void **state)
{
    (void)state;
    static const char unknown[40][16] = {"ffff:ff:1f.7"};
    assert_int_equal(moe_near_pci(unknown, 40), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_take_gpus_in_order),
        cmocka_unit_test(test_a_rank_that_sees_one_gpu_takes_it),
        cmocka_unit_test(test_a_gpu_is_the_same_in_every_order_of_seeing),
        cmocka_unit_test(test_each_node_has_its_own_gpus_however_ranks_are_dealt_out),
        cmocka_unit_test(test_near_comes_before_a_low_number),
        cmocka_unit_test(test_ranks_make_room_where_more_are_then_near),
        cmocka_unit_test(test_ranks_make_room_for_one_that_sees_no_other),
        cmocka_unit_test(test_as_few_ranks_move_as_can_be),
        cmocka_unit_test(test_bits_past_the_gpus_that_are_seen_say_nothing),
        cmocka_unit_test(test_a_rank_sees_32_gpus_and_a_node_may_have_more),
        cmocka_unit_test(test_more_ranks_than_gpus_are_refused),
        cmocka_unit_test(test_ranks_that_see_too_few_of_the_gpus_are_refused),
        cmocka_unit_test(test_a_rank_that_sees_no_gpu_is_refused),
        cmocka_unit_test(test_sharing_ranks_spread_evenly),
        cmocka_unit_test(test_sharing_ranks_spread_before_they_are_near),
        cmocka_unit_test(test_ranks_that_may_share_do_not_where_they_need_not),
        cmocka_unit_test(test_no_other_choice_is_better),
#ifdef MOE_HAVE_HWLOC
        cmocka_unit_test(test_gpus_are_near_where_the_process_is_bound),
        cmocka_unit_test(test_gpus_are_far_where_the_process_is_not_bound),
#endif
        cmocka_unit_test(test_no_gpu_is_near_that_the_host_does_not_know),
    };
    return cmocka_run_group_tests_name("gpu_choice", tests, NULL, NULL);
}
