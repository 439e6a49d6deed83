#include "compute_operands.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <Random123/philox.h>

#include "moe/system.h"

/* Of the most that a device may spend on operands: for results and for scratch, large enough for
 * panels that keep a BLAS at its full rate. */
#define SHARE_OF_RESULT  4
#define SHARE_OF_SCRATCH 4

/* A panel is at least so wide, where the matrix is: below, a GEMM only waits for memory. */
#define LEAST_EDGE 64

/* Operands start on a cache line, or what a GPU reads at once. */
#define LINE_BYTES 64

/* Philox's key (principle: randomness is keyed by what it is for). ASCII "pool". */
#define POOL_KEY 0x706f6f6cu

/* So many numbers are made, and the pool repeats them: what is read must be cold memory, not new
 * numbers. A prime, so that a column of a matrix, at whatever stride, holds no number twice. */
#define PERIOD ((size_t)262139)

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t saturating_product(size_t a, size_t b)
{
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

static size_t saturating_sum(size_t a, size_t b)
{
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

/* ---- Sizes ---- */

static size_t element_bytes(const moe_device_t *d)
{
    return moe_dtype_bytes(d->ops->gemm_dtype);
}

/* grouped: experts go through together. */
static void add_shape(moe_operand_sizes_t *sizes, const moe_gemm_t *s, size_t times, bool grouped,
                      size_t most_scratch)
{
    const size_t a = saturating_product(s->m, s->k), b = saturating_product(s->k, s->n);
    const size_t c = saturating_product(s->m, s->n);
    sizes->pool = saturating_sum(sizes->pool, saturating_product(times, saturating_sum(a, b)));
    /* Gradients are as large as what they are gradients of. */
    sizes->result = max_size(sizes->result, max_size(a, max_size(b, c)));
    /* At least one row of an expert, in and between its GEMMs. */
    const size_t row = s->k + s->n;
    const size_t rows = saturating_product(s->m, row);
    const size_t all = grouped ? saturating_sum(sizes->scratch, rows) : rows;
    sizes->scratch = max_size(sizes->scratch, min_size(all, max_size(most_scratch, row)));
}

moe_operand_sizes_t moe_operand_sizes(const moe_device_t *d, const moe_gemm_list_t *lists,
                                      size_t count)
{
    moe_operand_sizes_t sizes = {.pool = 0};
    const size_t most = d->ops->most_operands / element_bytes(d);
    const size_t least = d->ops->least_operands / element_bytes(d);
    for (size_t l = 0; l < count; l++) {
        for (size_t i = 0; i < lists[l].count; i++)
            add_shape(&sizes, &lists[l].shape[i], lists[l].times[i], d->ops->gemm_group > 1,
                      most / SHARE_OF_SCRATCH);
    }
    /* Between the two the pool holds every operand of the lists once. */
    if (sizes.pool > 0)
        sizes.pool = min_size(max_size(sizes.pool, least), most);
    sizes.result = min_size(sizes.result, most / SHARE_OF_RESULT);
    return sizes;
}

size_t moe_operand_bytes(const moe_device_t *d, moe_operand_sizes_t sizes)
{
    const size_t elements = saturating_sum(saturating_sum(sizes.pool, sizes.result), sizes.scratch);
    return saturating_product(elements, element_bytes(d));
}

/* ---- Memory ---- */

/* Elements lie in [-bound, bound], bound = 1/sqrt(widest), so that an expert's output stays finite
 * in every dtype: a sum of k <= widest products of inputs |x| <= M with independent elements of the
 * pool passes 8 M with a probability of 2 exp(-32) at most (Hoeffding 1963), so two GEMMs in a row
 * stay within 64 M = 1,024 of the oracle's rows (M = 16), far below the 65,504 of fp16. */
static float bound_of(const moe_gemm_list_t *lists, size_t count)
{
    size_t widest = 1;
    for (size_t l = 0; l < count; l++) {
        for (size_t i = 0; i < lists[l].count; i++)
            widest = max_size(widest, max_size(lists[l].shape[i].n, lists[l].shape[i].k));
    }
    return (float)(1.0 / sqrt((double)widest));
}

static void random_floats(float *to, size_t count, float bound)
{
    const float scale = bound / (float)INT32_MAX;
    const philox4x32_key_t key = {{POOL_KEY, 0}};
    for (size_t i = 0; i < count; i += 4) {
        const philox4x32_ctr_t counter = {{(uint32_t)(i / 4), 0, 0, 0}};
        const philox4x32_ctr_t random = philox4x32(counter, key);
        for (size_t j = 0; j < 4 && i + j < count; j++)
            to[i + j] = scale * (float)(int32_t)random.v[j];
    }
}

/* As elements of `dtype`, in host memory. */
static void convert(moe_dtype_t dtype, void *numbers, size_t count)
{
    const float *from = numbers;
    uint16_t *to = numbers; /* element i ends before float i begins, or with it */
    for (size_t i = 0; dtype == MOE_BF16 && i < count; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        to[i] = (uint16_t)(bits >> 16); /* the nearest towards 0: any number will do */
    }
}

static moe_status_t fill_pool(moe_device_t *d, const moe_operands_t *o, float bound,
                              moe_error_t *error)
{
    void *memory = NULL;
    const size_t period = min_size(PERIOD, o->size.pool);
    const moe_status_t status = moe_alloc("random numbers", PERIOD, sizeof(float), &memory, error);
    if (status != MOE_OK)
        return status;
    random_floats(memory, PERIOD, bound);
    convert(d->ops->gemm_dtype, memory, PERIOD);
    for (size_t first = 0; period > 0 && first < o->size.pool; first += period)
        d->ops->copy(d, o->pool + first * o->element, memory,
                     min_size(period, o->size.pool - first) * o->element);
    free(memory);
    return MOE_OK;
}

static moe_status_t alloc_elements(moe_device_t *d, const char *what, size_t elements, char **out,
                                   moe_error_t *error)
{
    if (elements == 0) {
        *out = NULL;
        return MOE_OK;
    }
    void *memory = NULL;
    const moe_status_t status = d->ops->alloc(d, what, elements * element_bytes(d), &memory, error);
    if (status == MOE_OK)
        *out = memory;
    return status;
}

moe_status_t moe_operands_create(moe_device_t *d, const moe_gemm_list_t *lists, size_t count,
                                 moe_operands_t *out, moe_error_t *error)
{
    moe_operands_t o = {.size = moe_operand_sizes(d, lists, count), .element = element_bytes(d)};
    moe_status_t status = alloc_elements(d, "operands of GEMMs", o.size.pool, &o.pool, error);
    if (status == MOE_OK)
        status = alloc_elements(d, "results of GEMMs", o.size.result, &o.result, error);
    if (status == MOE_OK)
        status = alloc_elements(d, "rows of experts", o.size.scratch, &o.scratch, error);
    if (status == MOE_OK)
        status = fill_pool(d, &o, bound_of(lists, count), error);
    if (status != MOE_OK) {
        moe_operands_release(d, &o);
        return status;
    }
    *out = o;
    return MOE_OK;
}

void moe_operands_release(moe_device_t *d, moe_operands_t *operands)
{
    char *const memory[] = {operands->scratch, operands->result, operands->pool};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) {
        if (memory[i] != NULL)
            d->ops->release(d, memory[i]);
    }
    *operands = (moe_operands_t){.at = 0};
}

/* ---- GEMMs ---- */

/* The next operand. Two of one GEMM overlap where they do not fit the pool together: both are only
 * read. */
static const char *take(moe_operands_t *o, size_t elements)
{
    assert(elements <= o->size.pool);
    if (elements > o->size.pool - o->at)
        o->at = 0;
    const char *operand = o->pool + o->at * o->element;
    const size_t line = LINE_BYTES / o->element;
    o->at = min_size(o->at + (elements + line - 1) / line * line, o->size.pool);
    return operand;
}

/* The largest panels whose operands fit the pool, and whose result fits its place where it has only
 * that. n is split first, as a weight matrix is split by its columns. */
static moe_gemm_t panel_of(const moe_operands_t *o, const moe_gemm_t *shape, bool has_result)
{
    moe_gemm_t panel = *shape;
    panel.k = min_size(shape->k, o->size.pool / LEAST_EDGE);
    panel.m = min_size(shape->m, o->size.pool / panel.k);
    panel.n = min_size(shape->n, o->size.pool / panel.k);
    if (!has_result && saturating_product(panel.m, panel.n) > o->size.result) {
        panel.n =
            max_size(min_size(panel.n, o->size.result / panel.m), min_size(panel.n, LEAST_EDGE));
        panel.m = min_size(panel.m, o->size.result / panel.n);
    }
    assert(panel.m > 0 && panel.n > 0 && panel.k > 0);
    return panel;
}

static const char *element_at(const moe_operands_t *o, const void *matrix, size_t number)
{
    return (const char *)matrix + number * o->element;
}

/* The panel at row i and column j of the result and at step l of the sum. In a given matrix, panels
 * of the same rows (of B: of the same l) lie side by side. */
static moe_matrices_t place_panel(moe_operands_t *o, const moe_gemm_t *whole,
                                  const moe_gemm_t *part, size_t i, size_t j, size_t l,
                                  const moe_matrices_t *where)
{
    return (moe_matrices_t){
        .a = where->a != NULL ? element_at(o, where->a, i * whole->k + part->m * l)
                              : take(o, part->m * part->k),
        .b = where->b != NULL ? element_at(o, where->b, l * whole->n + part->k * j)
                              : take(o, part->k * part->n),
        .c = where->c != NULL ? (char *)element_at(o, where->c, i * whole->n + part->m * j)
                              : o->result};
}

void moe_operands_gemm(moe_device_t *d, moe_operands_t *operands, const moe_gemm_t *shape,
                       const moe_matrices_t *where)
{
    const moe_gemm_t panel = panel_of(operands, shape, where->c != NULL);
    moe_gemm_t part = panel;
    for (size_t i = 0; i < shape->m; i += panel.m) {
        part.m = min_size(panel.m, shape->m - i);
        for (size_t j = 0; j < shape->n; j += panel.n) {
            part.n = min_size(panel.n, shape->n - j);
            for (size_t l = 0; l < shape->k; l += panel.k) {
                part.k = min_size(panel.k, shape->k - l);
                const moe_matrices_t at = place_panel(operands, shape, &part, i, j, l, where);
                moe_device_gemm(d, &part, at.a, at.b, at.c);
            }
        }
    }
}

static bool is_whole(const moe_operands_t *o, const moe_gemm_t *shape, const moe_matrices_t *where)
{
    const moe_gemm_t panel = panel_of(o, shape, where->c != NULL);
    return panel.m == shape->m && panel.n == shape->n && panel.k == shape->k;
}

void moe_operands_gemms(moe_device_t *d, moe_operands_t *operands, const moe_gemm_t *shape,
                        const moe_matrices_t *where, size_t count)
{
    const void *a[MOE_GEMM_GROUP], *b[MOE_GEMM_GROUP];
    void *c[MOE_GEMM_GROUP];
    bool whole = true;
    assert(count <= MOE_GEMM_GROUP);
    for (size_t i = 0; i < count; i++)
        whole = whole && is_whole(operands, &shape[i], &where[i]);
    for (size_t i = 0; i < count; i++) {
        if (!whole) {
            moe_operands_gemm(d, operands, &shape[i], &where[i]);
            continue;
        }
        const moe_matrices_t at = place_panel(operands, &shape[i], &shape[i], 0, 0, 0, &where[i]);
        a[i] = at.a;
        b[i] = at.b;
        c[i] = at.c;
    }
    if (whole && count > 0)
        d->ops->gemm(d, count, shape, a, b, c);
}
