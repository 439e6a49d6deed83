/* Iterations on a clock of their own: time passes only where the test lets it pass, so every part of an
 * iteration is known to the last bit. Include after cmocka.h, in one file of a program. */
#ifndef MOE_TESTS_SLOW_ITERATION_H
#define MOE_TESTS_SLOW_ITERATION_H

#include <stdlib.h>
#include <string.h>

#include "../common/counting_device.h"
#include "../common/loopback_ranks.h"
#include "moe/iteration.h"
#include "world.h"

/* ---- A clock for each rank ---- */

static _Thread_local double clock_now;

/* In place of the library's: the linker takes this one. */
double moe_now(void)
{
    return clock_now;
}

/* What each thing takes, in seconds. Sums of such numbers are exact, in any order. */
#define GATHER_SECONDS   0.5       /* pack, arrange, restore: each */
#define REDUCE_SECONDS   0.25      /* unpack and weigh */
#define METADATA_SECONDS 4.0       /* one exchange of counts */
#define EXCHANGE_SECONDS 8.0       /* the first alltoallv; each further one 1 s more */
#define FLOAT_SECONDS    0x1p-20   /* a float of gradients */
#define BARRIER_SECONDS  1048576.0 /* on nobody's account */
#define FLOPS            1073741824.0

/* ---- A device that waits on that clock ---- */

static inline void slow_wait(moe_device_t *d, double seconds)
{
    (void)d;
    clock_now += seconds;
}

static inline void slow_gather(moe_device_t *d, void *to, size_t to_stride, moe_dtype_t to_dtype,
                               const void *from, size_t from_stride, moe_dtype_t from_dtype,
                               const size_t *index, size_t rows, size_t hidden)
{
    (void)d, (void)to, (void)to_stride, (void)to_dtype, (void)from, (void)from_stride;
    (void)from_dtype, (void)index, (void)rows, (void)hidden;
    clock_now += GATHER_SECONDS;
}

static inline void slow_reduce(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                               moe_dtype_t from_dtype, const size_t *first, const size_t *row,
                               const float *weight, size_t rows, size_t hidden)
{
    (void)d, (void)to, (void)to_dtype, (void)from, (void)from_dtype, (void)first, (void)row;
    (void)weight, (void)rows, (void)hidden;
    clock_now += REDUCE_SECONDS;
}

static inline void slow_device(counting_device_t *c, const moe_device_t *host)
{
    counting_device_init(c, host);
    c->ops.wait = slow_wait;
    c->ops.gather = slow_gather;
    c->ops.reduce = slow_reduce;
}

/* ---- A transport that counts, and takes its time ---- */

typedef struct slow_transport {
    moe_transport_t transport; /* first: its address is that of the whole */
    moe_transport_ops_t ops;
    const moe_transport_ops_t *real;
    size_t exchanges, metadata, barriers;
    size_t failures;
    size_t sums, floats, longest_sum;
    size_t exchanges_left; /* before one fails */
    /* In halves: a port carries one exchange after another while the rank goes on. */
    double port_free, arrives[16];
    size_t started, finished;
} slow_transport_t;

static inline slow_transport_t *slow_of(moe_transport_t *t)
{
    return (slow_transport_t *)t;
}

static inline moe_status_t slow_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                          moe_error_t *error)
{
    slow_transport_t *s = slow_of(t);
    if (s->exchanges_left == 0) {
        s->failures++;
        return moe_fail(error, MOE_FAILED, "the wire is cut");
    }
    s->exchanges_left--;
    clock_now += EXCHANGE_SECONDS + (double)s->exchanges++;
    return s->real->alltoallv(t, x, error);
}

/* What happened, a letter each: s(tart) and f(inish) of an exchange, E(xperts) of a chunk. */
static _Thread_local char history[64];

static inline void remember(char what)
{
    const size_t length = strlen(history);
    if (length + 1 < sizeof history) {
        history[length] = what;
        history[length + 1] = '\0';
    }
}

static inline moe_status_t slow_start_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                                moe_error_t *error)
{
    slow_transport_t *s = slow_of(t);
    s->port_free = (s->port_free > clock_now ? s->port_free : clock_now) + EXCHANGE_SECONDS +
                   (double)s->exchanges++;
    s->arrives[s->started++ % 16] = s->port_free;
    remember('s');
    return s->real->alltoallv(t, x, error);
}

static inline moe_status_t slow_finish_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                                 moe_error_t *error)
{
    (void)x, (void)error;
    slow_transport_t *s = slow_of(t);
    const double arrival = s->arrives[s->finished++ % 16];
    clock_now = arrival > clock_now ? arrival : clock_now;
    remember('f');
    return MOE_OK;
}

static inline moe_status_t slow_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                               const size_t *send_count, size_t *recv,
                                               const size_t *recv_count, moe_error_t *error)
{
    clock_now += METADATA_SECONDS;
    slow_of(t)->metadata++;
    return slow_of(t)->real->alltoall_sizes(t, send, send_count, recv, recv_count, error);
}

static inline moe_status_t slow_barrier(moe_transport_t *t, moe_error_t *error)
{
    clock_now += BARRIER_SECONDS;
    slow_of(t)->barriers++;
    return slow_of(t)->real->barrier(t, error);
}

static inline moe_status_t slow_sum_floats(moe_transport_t *t, float *values, size_t count,
                                           moe_error_t *error)
{
    (void)error;
    slow_transport_t *s = slow_of(t);
    s->sums++;
    s->floats += count;
    s->longest_sum = count > s->longest_sum ? count : s->longest_sum;
    values[0] = values[count - 1] = 0; /* they are really there */
    clock_now += FLOAT_SECONDS * (double)count;
    return MOE_OK;
}

static inline void slow_transport(slow_transport_t *s, const moe_transport_t *real)
{
    *s = (slow_transport_t){
        .transport = *real, .ops = *real->ops, .real = real->ops, .exchanges_left = SIZE_MAX};
    s->ops.alltoallv = slow_alltoallv;
    s->ops.start_alltoallv = slow_start_alltoallv;
    s->ops.finish_alltoallv = slow_finish_alltoallv;
    s->ops.alltoall_sizes = slow_alltoall_sizes;
    s->ops.barrier = slow_barrier;
    s->ops.sum_floats = slow_sum_floats;
    s->transport.ops = &s->ops;
}

/* ---- An engine that looks at what it is given ---- */

static _Thread_local size_t wrong_lists; /* experts whose GEMMs are not those of their rows */

static inline void careful_experts(moe_compute_t *c, const moe_gemm_list_t *list,
                                   const moe_expert_t *expert, size_t count, moe_dtype_t in_dtype,
                                   moe_dtype_t out_dtype, size_t hidden, bool backward)
{
    for (size_t e = 0; e < count; e++) {
        for (size_t i = 0; i < list[e].count; i++)
            wrong_lists += list[e].shape[i].m != expert[e].rows;
        wrong_lists += (list[e].count == 0) != (expert[e].rows == 0);
    }
    remember('E');
    const moe_compute_ops_t *real = c->state;
    real->experts(c, list, expert, count, in_dtype, out_dtype, hidden, backward);
}

/* The engines of this test have no state of their own. */
static inline void make_careful(moe_compute_t *c, moe_compute_ops_t *ops)
{
    c->state = (void *)c->ops;
    *ops = *c->ops;
    ops->experts = careful_experts;
    c->ops = ops;
}

/* ---- One rank of an iteration ---- */

#define MOE_LAYERS   2
#define DENSE_LAYERS 1
#define RANKS        3

/* Every width another, so that none can stand for another. */
static const moe_model_t small = {.name = "small",
                                  .hidden = 8,
                                  .expert_ffn = 16,
                                  .experts = 5,
                                  .top_k = 2,
                                  .layers = 8,
                                  .moe_every = 1,
                                  .heads = 3,
                                  .kv_heads = 1,
                                  .head_dim = 4,
                                  .vocab = 40,
                                  .shared_experts = 1,
                                  .shared_ffn = 12,
                                  .dense_ffn = 24,
                                  .glu = true};

typedef struct setting {
    const world_t *world[MOE_LAYERS];
    const moe_device_t *host;
    const char *style, *compute;
    moe_model_t model;
    moe_pass_t pass;
    bool gradients;
    size_t total_moe, total_dense; /* of the model */
    size_t chunks;                 /* of a layer: MOE_LAYERS of one, or one of each; 0: 1 */
} setting_t;

static inline size_t chunks_of(const setting_t *s)
{
    return s->chunks > 0 ? s->chunks : 1;
}

typedef struct rank {
    counting_device_t device;
    slow_transport_t group, world, replicas;
    moe_layer_t *layer[MOE_LAYERS];
    moe_workspace_t *workspace[MOE_LAYERS]; /* of each chunk */
    moe_compute_t *compute;
    moe_compute_ops_t compute_ops;
    moe_iteration_t *iteration;
    moe_iteration_spec_t spec;
    double seconds[MOE_ITERATION_COLUMNS];
} rank_t;

static inline bool make_layers(rank_t *r, const setting_t *s, moe_transport_t *t, char *text)
{
    moe_layer_spec_t spec = {.transport = &r->group.transport,
                             .device = &r->device.device,
                             .algorithm = moe_algorithm_at(0),
                             .hidden = s->model.hidden,
                             .dtype = MOE_FP32,
                             .combine_dtype = MOE_FP32};
    RANK_EXPECT(moe_style_find(s->style, &spec.style, NULL) == MOE_OK);
    RANK_EXPECT(strcmp(spec.algorithm->name, "native") == 0); /* one alltoallv an exchange */
    for (size_t i = 0; i < MOE_LAYERS; i++) {
        spec.workload = &s->world[i]->workload;
        spec.chunk = i % chunks_of(s);
        RANK_EXPECT(moe_layer_create(&spec, &r->layer[i], NULL) == MOE_OK);
    }
    const size_t chunks = chunks_of(s), of_chunk = MOE_LAYERS / chunks;
    for (size_t i = 0; i < chunks; i++) /* of all layers, or of one */
        RANK_EXPECT(moe_workspace_create(r->layer + i, of_chunk, &r->workspace[i], NULL) == MOE_OK);
    for (size_t i = 0; i < MOE_LAYERS; i++)
        RANK_EXPECT(moe_layer_bind(r->layer[i], r->workspace[i % chunks], NULL) == MOE_OK);
    return true;
}

static inline bool make_iteration(rank_t *r, const setting_t *s, moe_transport_t *t, char *text)
{
    r->spec = (moe_iteration_spec_t){.model = &s->model,
                                     .pass = s->pass,
                                     .tokens = s->world[0]->tokens[t->rank],
                                     .sequence = 4,
                                     .compute = r->compute,
                                     .world = &r->world.transport,
                                     .replicas = &r->replicas.transport,
                                     .gradients = s->gradients,
                                     .local_experts = moe_layer_local_experts(r->layer[0]),
                                     .moe_layers = r->layer,
                                     .measured_moe = MOE_LAYERS / chunks_of(s),
                                     .chunks = chunks_of(s),
                                     .measured_dense = DENSE_LAYERS,
                                     .total_moe = s->total_moe,
                                     .total_dense = s->total_dense};
    RANK_EXPECT(moe_iteration_create(&r->spec, &r->iteration, NULL) == MOE_OK);
    const size_t before = r->device.bytes;
    RANK_EXPECT(moe_iteration_prepare(r->iteration, NULL) == MOE_OK);
    RANK_EXPECT(r->device.bytes - before == moe_iteration_bytes(r->iteration));
    return true;
}

static inline bool rank_create(rank_t *r, const setting_t *s, moe_transport_t *t, char *text)
{
    *r = (rank_t){0};
    slow_device(&r->device, s->host);
    slow_transport(&r->group, t);
    slow_transport(&r->world, t);
    slow_transport(&r->replicas, t);
    const char *compute = s->compute;
    RANK_EXPECT(moe_compute_create("--compute", compute, &r->device.device, &r->compute, NULL) ==
                MOE_OK);
    make_careful(r->compute, &r->compute_ops);
    if (!make_layers(r, s, t, text) || !make_iteration(r, s, t, text))
        return false;
    slow_transport(&r->group, t); /* what set-up counted is of no interest */
    return true;
}

static inline bool rank_destroy(rank_t *r, const moe_transport_t *t, char *text)
{
    moe_iteration_destroy(r->iteration);
    moe_compute_destroy(r->compute);
    for (size_t i = 0; i < MOE_LAYERS; i++)
        moe_layer_destroy(r->layer[i]);
    for (size_t i = 0; i < MOE_LAYERS; i++)
        moe_workspace_destroy(r->workspace[i]);
    RANK_EXPECT(r->device.blocks == 0);
    return true;
}

/* Runs one iteration on every rank and lets `look` judge it. */
typedef bool (*look_fn)(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text);

typedef struct judged {
    setting_t setting;
    look_fn look;
} judged_t;

static inline bool iterate_and_look(moe_transport_t *t, void *context, char *text)
{
    const judged_t *j = context;
    rank_t r;
    if (!rank_create(&r, &j->setting, t, text))
        return false;
    RANK_EXPECT(moe_iteration_repeat(r.iteration, r.seconds, NULL) == MOE_OK);
    if (!j->look(&r, &j->setting, t, text))
        return false;
    return rank_destroy(&r, t, text);
}

/* Two layers with routing of their own; more tokens on rank 0, none on rank 1. */
static const world_spec_t traffic = {.skew = "zipf:1.0",
                                     .top_k = 2,
                                     .ranks = RANKS,
                                     .tokens = 10,
                                     .fuller_rank = 1,
                                     .empty_rank = 2,
                                     .seed = 5};

static inline void on_ranks(void **state, setting_t s, rank_body_fn body, look_fn look)
{
    world_t world[MOE_LAYERS];
    world_spec_t spec = traffic;
    s.model = s.model.hidden != 0 ? s.model : small;
    spec.experts = s.model.experts;
    for (size_t i = 0; i < MOE_LAYERS; i++, spec.seed++) {
        world_create(&world[i], &spec);
        s.world[i] = &world[i];
    }
    s.host = *state;
    if (s.total_moe == 0) {
        s.total_moe = MOE_LAYERS;
        s.total_dense = DENSE_LAYERS;
    }
    s.style = s.style != NULL ? s.style : "exact";
    s.compute = s.compute != NULL ? s.compute : "model:1073741824,1";
    judged_t judged = {.setting = s, .look = look};
    assert_int_equal(run_ranks(RANKS, body, &judged), 0);
    for (size_t i = 0; i < MOE_LAYERS; i++)
        world_destroy(&world[i]);
}

static inline void iterate(void **state, setting_t s, look_fn look)
{
    on_ranks(state, s, iterate_and_look, look);
}

/* ---- The formulas ---- */

static inline double part(const rank_t *r, moe_part_t which)
{
    return r->seconds[MOE_COLUMN_PART0 + which];
}

static inline double ffn_flops(const moe_model_t *m, double tokens, size_t inner)
{
    return 2 * (m->glu ? 3 : 2) * tokens * (double)m->hidden * (double)inner;
}

/* Sequences of 4 tokens, the last one shorter: whole squares of scores (docs/measuring.md). */
static inline double attention_flops(const moe_model_t *m, size_t tokens)
{
    const double t = (double)tokens, head = (double)m->head_dim, heads = (double)m->heads;
    const double projections =
        2 * t * (double)m->hidden * head * (2 * heads + 2 * (double)m->kv_heads);
    const double rest = (double)(tokens % 4);
    return projections + 4 * heads * head * ((t - rest) / 4 * 16 + rest * rest);
}

static inline double expert_flops(const rank_t *r, const moe_model_t *m)
{
    double rows = 0;
    for (size_t i = 0; i < MOE_LAYERS; i++)
        rows += (double)moe_layer_plan(r->layer[i])->expert_first[r->spec.local_experts];
    return ffn_flops(m, rows, m->expert_ffn);
}

/* Of a forward pass, extrapolated. */
static inline double compute_seconds(const rank_t *r, const setting_t *s)
{
    const moe_model_t *m = &s->model;
    const double tokens = (double)r->spec.tokens, hidden = (double)m->hidden;
    const double attention = attention_flops(m, r->spec.tokens);
    double beside = attention + 2 * tokens * hidden * (double)m->experts +
                    ffn_flops(m, tokens, m->shared_experts * m->shared_ffn);
    beside += m->dense_residual ? ffn_flops(m, tokens, m->dense_ffn) : 0;
    const double moe =
        beside * (double)s->total_moe + expert_flops(r, m) * (double)s->total_moe / MOE_LAYERS;
    const double dense = (attention + ffn_flops(m, tokens, m->dense_ffn)) * (double)s->total_dense;
    return (moe + dense + 2 * tokens * hidden * (double)m->vocab) / FLOPS;
}

/* Gradients of what all ranks hold, and of the experts of this rank. */
static inline double world_floats(const setting_t *s)
{
    const moe_model_t *m = &s->model;
    const double h = (double)m->hidden, ffn = m->glu ? 3 * h : 2 * h;
    const double attention = h * (double)(m->head_dim * (2 * m->heads + 2 * m->kv_heads));
    const double dense = attention + ffn * (double)m->dense_ffn;
    const double beside = attention + h * (double)m->experts +
                          ffn * (double)(m->shared_experts * m->shared_ffn) +
                          (m->dense_residual ? ffn * (double)m->dense_ffn : 0);
    return 2 * h * (double)m->vocab + DENSE_LAYERS * dense + MOE_LAYERS * beside;
}

static inline double replica_floats(const rank_t *r, const setting_t *s)
{
    return MOE_LAYERS * (double)r->spec.local_experts * 3 * (double)s->model.hidden *
           (double)s->model.expert_ffn;
}

/* Exchanges number first, first + step, ...: each 1 s longer than the one before it. */
static inline double exchange_seconds(size_t first, size_t step, size_t count)
{
    double seconds = 0;
    for (size_t i = 0; i < count; i++)
        seconds += EXCHANGE_SECONDS + (double)(first + i * step);
    return seconds;
}

static inline bool parts_add_up(const rank_t *r, const moe_transport_t *t, char *text)
{
    double sum = 0;
    for (int p = 0; p < MOE_PARTS; p++) {
        RANK_EXPECT(part(r, (moe_part_t)p) >= 0);
        sum += part(r, (moe_part_t)p);
    }
    RANK_EXPECT(sum == r->seconds[MOE_COLUMN_ITERATION]);
    RANK_EXPECT(wrong_lists == 0);
    return true;
}

#endif
