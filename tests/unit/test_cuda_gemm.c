/* Matrix products of the CUDA device. Elements are small whole numbers: bf16 holds them, and every sum
 * of their products stays below 2^24, so fp32 holds it in whatever order it is made. Rounded once to
 * bf16 the result is one certain number, and is compared for equality. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cuda_setting.h"

/* A product on the GPU, and its result as it must be. */
typedef struct product {
    moe_gemm_t shape;
    pair_t a, b, c;
} product_t;

static int element(const pair_t *matrix, size_t at)
{
    uint16_t bits;
    memcpy(&bits, matrix->host + at * sizeof bits, sizeof bits);
    return (int)moe_bf16_to_float(bits);
}

static pair_t make_matrix(setting_t *s, size_t elements)
{
    const pair_t p = make_pair(s, elements * sizeof(uint16_t));
    for (size_t i = 0; i < elements; i++) {
        const uint16_t bits = moe_bf16_from_float((float)(rand() % 31 - 15));
        memcpy(p.host + i * sizeof bits, &bits, sizeof bits);
    }
    push_pair(&p);
    return p;
}

static product_t make_product(setting_t *s, moe_gemm_t shape)
{
    const size_t m = shape.m, n = shape.n, k = shape.k;
    const product_t p = {.shape = shape,
                         .a = make_matrix(s, m * k),
                         .b = make_matrix(s, k * n),
                         .c = make_output(s, m * n * sizeof(uint16_t))};
    for (size_t i = 0; i < m * n; i++) {
        int sum = 0;
        for (size_t l = 0; l < k; l++) {
            sum += element(&p.a, shape.transpose_a ? l * m + i / n : i / n * k + l) *
                   element(&p.b, shape.transpose_b ? i % n * k + l : l * n + i % n);
        }
        const uint16_t bits = moe_bf16_from_float((float)sum);
        memcpy(p.c.host + i * sizeof bits, &bits, sizeof bits);
    }
    return p;
}

static void drop_product(const product_t *p)
{
    drop_pair(&p->a);
    drop_pair(&p->b);
    drop_pair(&p->c);
}

static void multiply(setting_t *s, const product_t *products, size_t count)
{
    moe_gemm_t shape[8];
    const void *a[8], *b[8];
    void *c[8];
    for (size_t i = 0; i < count; i++) {
        shape[i] = products[i].shape;
        a[i] = products[i].a.gpu;
        b[i] = products[i].b.gpu;
        c[i] = products[i].c.gpu;
    }
    s->gpu->ops->gemm(s->gpu, count, shape, a, b, c);
    assert_finished(s->gpu);
}

static const moe_gemm_t shapes[] = {
    {.m = 1, .n = 1, .k = 1},   {.m = 16, .n = 24, .k = 32}, {.m = 5, .n = 3, .k = 7},
    {.m = 64, .n = 8, .k = 40}, {.m = 3, .n = 4, .k = 0},    {.m = 0, .n = 8, .k = 8},
    {.m = 8, .n = 0, .k = 8},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void test_products_of_whole_numbers_are_exact(void **state)
{
    for (size_t i = 0; i < SHAPES * 4; i++) {
        moe_gemm_t shape = shapes[i / 4];
        shape.transpose_a = i % 2 == 1;
        shape.transpose_b = i % 4 >= 2;
        const product_t p = make_product(*state, shape);
        multiply(*state, &p, 1);
        assert_same(&p.c, "%zu x %zu x %zu%s%s", shape.m, shape.n, shape.k,
                    shape.transpose_a ? ", A transposed" : "",
                    shape.transpose_b ? ", B transposed" : "");
        drop_product(&p);
    }
}

/* As experts have rows: some many, some none. `unit`: a side that is no multiple of 8 cannot be given
 * to the library as a group. */
static void check_group(setting_t *s, size_t unit, bool transpose_a, bool transpose_b)
{
    static const size_t rows[] = {5, 0, 64, 1, 0, 17, 8, 3};
    enum { EXPERTS = sizeof rows / sizeof *rows };
    product_t products[EXPERTS];
    for (size_t i = 0; i < EXPERTS; i++) {
        products[i] = make_product(
            s, (moe_gemm_t){.m = transpose_a ? (rows[i] + unit - 1) / unit * unit : rows[i],
                            .n = 4 * unit,
                            .k = i == 3 ? 0 : 2 * unit,
                            .transpose_a = transpose_a,
                            .transpose_b = transpose_b});
    }
    for (int again = 0; again < 2; again++) {
        multiply(s, products, EXPERTS);
        for (size_t i = 0; i < EXPERTS; i++) {
            assert_same(&products[i].c, "product %zu of a group", i);
        }
    }
    for (size_t i = 0; i < EXPERTS; i++) {
        drop_product(&products[i]);
    }
}

static void test_a_group_is_each_of_its_products(void **state)
{
    for (size_t i = 0; i < 4; i++) {
        check_group(*state, 8, i % 2 == 1, i >= 2);
        check_group(*state, 7, i % 2 == 1, i >= 2);
    }
}

static void test_a_group_of_nothing_is_no_work(void **state)
{
    setting_t *s = *state;
    const product_t empty[] = {make_product(s, shapes[5]), make_product(s, shapes[6])};
    multiply(s, empty, 2);
    multiply(s, empty, 0);
    drop_product(&empty[0]);
    drop_product(&empty[1]);
}

/* Operands that are cold each time lie in many places: more than the device remembers. */
static void test_many_different_groups_are_each_multiplied(void **state)
{
    setting_t *s = *state;
    enum { PLACES = 1300, SIDE = 8 };
    const size_t bytes = SIDE * SIDE * sizeof(uint16_t);
    const pair_t a = make_matrix(s, SIDE * SIDE), b = make_matrix(s, SIDE * SIDE);
    const pair_t c = make_output(s, PLACES * 2 * bytes);
    const moe_gemm_t shape = {.m = SIDE, .n = SIDE, .k = SIDE}, both[] = {shape, shape};
    for (size_t i = 0; i < PLACES; i++) {
        s->gpu->ops->gemm(s->gpu, 2, both, (const void *[]){a.gpu, b.gpu},
                          (const void *[]){b.gpu, a.gpu},
                          (void *[]){c.gpu + 2 * i * bytes, c.gpu + (2 * i + 1) * bytes});
    }
    unsigned char *results = pull(&c);
    for (size_t i = 1; i < PLACES; i++) {
        assert_memory_equal(results + 2 * i * bytes, results, 2 * bytes);
    }
    free(results);
    drop_pair(&a);
    drop_pair(&b);
    drop_pair(&c);
}

static void test_both_lanes_multiply(void **state)
{
    setting_t *s = *state;
    product_t p[] = {make_product(s, shapes[1]), make_product(s, shapes[3])};
    for (size_t i = 0; i < 2; i++) {
        s->gpu->ops->lane(s->gpu, i == 0 ? MOE_LANE_EXCHANGE : MOE_LANE_COMPUTE);
        moe_device_gemm(s->gpu, &p[i].shape, p[i].a.gpu, p[i].b.gpu, p[i].c.gpu);
    }
    assert_finished(s->gpu);
    assert_same(&p[0].c, "the lane of exchanges");
    assert_same(&p[1].c, "the lane of compute");
    drop_product(&p[0]);
    drop_product(&p[1]);
}

/* A graph multiplies what is there when it is replayed. */
static moe_status_t multiply_group(void *context, moe_error_t *error)
{
    product_t *p = context;
    moe_device_t *d = p->c.setting->gpu;
    (void)error;
    d->ops->gemm(d, 2, (const moe_gemm_t[]){p[0].shape, p[1].shape},
                 (const void *[]){p[0].a.gpu, p[1].a.gpu}, (const void *[]){p[0].b.gpu, p[1].b.gpu},
                 (void *[]){p[0].c.gpu, p[1].c.gpu});
    return MOE_OK;
}

static void test_a_group_can_be_recorded(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    product_t p[] = {make_product(s, shapes[1]), make_product(s, shapes[3])};
    multiply(s, p, 2); /* sets the library up, as a first repetition does */
    d->ops->fill_bytes(d, p[0].c.gpu, 0, p[0].c.bytes);
    d->ops->fill_bytes(d, p[1].c.gpu, 0, p[1].c.bytes);
    moe_graph_t *graph = NULL;
    assert_int_equal(d->ops->capture(d, multiply_group, p, &graph, NULL), MOE_OK);
    d->ops->replay(d, graph);
    assert_same(&p[0].c, "the first product of a graph");
    assert_same(&p[1].c, "the second product of a graph");
    d->ops->drop_graph(d, graph);
    drop_product(&p[0]);
    drop_product(&p[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_of_whole_numbers_are_exact),
        cmocka_unit_test(test_a_group_is_each_of_its_products),
        cmocka_unit_test(test_a_group_of_nothing_is_no_work),
        cmocka_unit_test(test_many_different_groups_are_each_multiplied),
        cmocka_unit_test(test_both_lanes_multiply),
        cmocka_unit_test(test_a_group_can_be_recorded),
    };
    return RUN_CUDA_TESTS("CUDA products", tests, false);
}
