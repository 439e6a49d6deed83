/* The timeline on a clock of its own: time passes only where the test lets it pass, so every part of
 * an iteration is known to the last bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../common/counting_device.h"
#include "../common/loopback_ranks.h"
#include "moe/iteration.h"
#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

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

static void slow_wait(moe_device_t *d, double seconds)
{
    (void)d;
    clock_now += seconds;
}

static void slow_gather(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                        moe_dtype_t from_dtype, const size_t *index, size_t rows, size_t hidden)
{
    (void)d, (void)to, (void)to_dtype, (void)from, (void)from_dtype, (void)index;
    (void)rows, (void)hidden;
    clock_now += GATHER_SECONDS;
}

static void slow_reduce(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                        moe_dtype_t from_dtype, const size_t *first, const size_t *row,
                        const float *weight, size_t rows, size_t hidden)
{
    (void)d, (void)to, (void)to_dtype, (void)from, (void)from_dtype, (void)first, (void)row;
    (void)weight, (void)rows, (void)hidden;
    clock_now += REDUCE_SECONDS;
}

static void slow_device(counting_device_t *c, const moe_device_t *host)
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
    size_t sums, floats, longest_sum;
    size_t exchanges_left; /* before one fails */
} slow_transport_t;

static slow_transport_t *slow_of(moe_transport_t *t)
{
    return (slow_transport_t *)t;
}

static moe_status_t slow_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error)
{
    slow_transport_t *s = slow_of(t);
    if (s->exchanges_left == 0)
        return moe_fail(error, MOE_FAILED, "the wire is cut");
    s->exchanges_left--;
    clock_now += EXCHANGE_SECONDS + (double)s->exchanges++;
    return s->real->alltoallv(t, x, error);
}

static moe_status_t slow_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                        const size_t *send_count, size_t *recv,
                                        const size_t *recv_count, moe_error_t *error)
{
    clock_now += METADATA_SECONDS;
    slow_of(t)->metadata++;
    return slow_of(t)->real->alltoall_sizes(t, send, send_count, recv, recv_count, error);
}

static moe_status_t slow_barrier(moe_transport_t *t, moe_error_t *error)
{
    clock_now += BARRIER_SECONDS;
    slow_of(t)->barriers++;
    return slow_of(t)->real->barrier(t, error);
}

static moe_status_t slow_sum_floats(moe_transport_t *t, float *values, size_t count,
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

static void slow_transport(slow_transport_t *s, const moe_transport_t *real)
{
    *s = (slow_transport_t){
        .transport = *real, .ops = *real->ops, .real = real->ops, .exchanges_left = SIZE_MAX};
    s->ops.alltoallv = slow_alltoallv;
    s->ops.alltoall_sizes = slow_alltoall_sizes;
    s->ops.barrier = slow_barrier;
    s->ops.sum_floats = slow_sum_floats;
    s->transport.ops = &s->ops;
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
} setting_t;

typedef struct rank {
    counting_device_t device;
    slow_transport_t group, world, replicas;
    moe_layer_t *layer[MOE_LAYERS];
    moe_workspace_t *workspace;
    moe_compute_t *compute;
    moe_iteration_t *iteration;
    moe_iteration_spec_t spec;
    double seconds[MOE_ITERATION_COLUMNS];
} rank_t;

static bool make_layers(rank_t *r, const setting_t *s, moe_transport_t *t, char *text)
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
        RANK_EXPECT(moe_layer_create(&spec, &r->layer[i], NULL) == MOE_OK);
    }
    RANK_EXPECT(moe_workspace_create(r->layer, MOE_LAYERS, &r->workspace, NULL) == MOE_OK);
    for (size_t i = 0; i < MOE_LAYERS; i++)
        RANK_EXPECT(moe_layer_bind(r->layer[i], r->workspace, NULL) == MOE_OK);
    return true;
}

static bool make_iteration(rank_t *r, const setting_t *s, moe_transport_t *t, char *text)
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
                                     .measured_moe = MOE_LAYERS,
                                     .measured_dense = DENSE_LAYERS,
                                     .total_moe = s->total_moe,
                                     .total_dense = s->total_dense};
    RANK_EXPECT(moe_iteration_create(&r->spec, &r->iteration, NULL) == MOE_OK);
    const size_t before = r->device.bytes;
    RANK_EXPECT(moe_iteration_prepare(r->iteration, NULL) == MOE_OK);
    RANK_EXPECT(r->device.bytes - before == moe_iteration_bytes(r->iteration));
    return true;
}

static bool rank_create(rank_t *r, const setting_t *s, moe_transport_t *t, char *text)
{
    *r = (rank_t){0};
    slow_device(&r->device, s->host);
    slow_transport(&r->group, t);
    slow_transport(&r->world, t);
    slow_transport(&r->replicas, t);
    const char *compute = s->compute;
    RANK_EXPECT(moe_compute_create("--compute", compute, &r->device.device, &r->compute, NULL) ==
                MOE_OK);
    if (!make_layers(r, s, t, text) || !make_iteration(r, s, t, text))
        return false;
    slow_transport(&r->group, t); /* what set-up counted is of no interest */
    return true;
}

static bool rank_destroy(rank_t *r, const moe_transport_t *t, char *text)
{
    moe_iteration_destroy(r->iteration);
    moe_compute_destroy(r->compute);
    for (size_t i = 0; i < MOE_LAYERS; i++)
        moe_layer_destroy(r->layer[i]);
    moe_workspace_destroy(r->workspace);
    RANK_EXPECT(r->device.blocks == 0);
    return true;
}

/* Runs one iteration on every rank and lets `look` judge it. */
typedef bool (*look_fn)(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text);

typedef struct judged {
    setting_t setting;
    look_fn look;
} judged_t;

static bool iterate_and_look(moe_transport_t *t, void *context, char *text)
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

static void on_ranks(void **state, setting_t s, rank_body_fn body, look_fn look)
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

static void iterate(void **state, setting_t s, look_fn look)
{
    on_ranks(state, s, iterate_and_look, look);
}

/* ---- The formulas ---- */

static double part(const rank_t *r, moe_part_t which)
{
    return r->seconds[MOE_COLUMN_PART0 + which];
}

static double ffn_flops(const moe_model_t *m, double tokens, size_t inner)
{
    return 2 * (m->glu ? 3 : 2) * tokens * (double)m->hidden * (double)inner;
}

/* Sequences of 4 tokens, the last one shorter: whole squares of scores (docs/measuring.md). */
static double attention_flops(const moe_model_t *m, size_t tokens)
{
    const double t = (double)tokens, head = (double)m->head_dim, heads = (double)m->heads;
    const double projections =
        2 * t * (double)m->hidden * head * (2 * heads + 2 * (double)m->kv_heads);
    const double rest = (double)(tokens % 4);
    return projections + 4 * heads * head * ((t - rest) / 4 * 16 + rest * rest);
}

static double expert_flops(const rank_t *r, const moe_model_t *m)
{
    double rows = 0;
    for (size_t i = 0; i < MOE_LAYERS; i++)
        rows += (double)moe_layer_plan(r->layer[i])->expert_first[r->spec.local_experts];
    return ffn_flops(m, rows, m->expert_ffn);
}

/* Of a forward pass, extrapolated. */
static double compute_seconds(const rank_t *r, const setting_t *s)
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
static double world_floats(const setting_t *s)
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

static double replica_floats(const rank_t *r, const setting_t *s)
{
    return MOE_LAYERS * (double)r->spec.local_experts * 3 * (double)s->model.hidden *
           (double)s->model.expert_ffn;
}

/* Exchanges number first, first + step, ...: each 1 s longer than the one before it. */
static double exchange_seconds(size_t first, size_t step, size_t count)
{
    double seconds = 0;
    for (size_t i = 0; i < count; i++)
        seconds += EXCHANGE_SECONDS + (double)(first + i * step);
    return seconds;
}

/* ---- Calls ---- */

static bool forward_calls(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    (void)s;
    RANK_EXPECT(r->group.exchanges == 2 * MOE_LAYERS);
    RANK_EXPECT(r->group.metadata == MOE_LAYERS);
    RANK_EXPECT(r->world.sums == 0 && r->replicas.sums == 0);
    RANK_EXPECT(r->world.barriers == 1 && r->group.barriers == 0 && r->replicas.barriers == 0);
    return true;
}

static void test_a_forward_pass_exchanges_twice_a_moe_layer(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD}, forward_calls);
}

static void test_gradients_are_of_training_alone(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD, .gradients = true}, forward_calls);
}

static bool training_calls(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                           char *text)
{
    (void)s;
    RANK_EXPECT(r->group.exchanges == 4 * MOE_LAYERS);
    RANK_EXPECT(r->group.metadata == MOE_LAYERS); /* of the forward pass: counts are known then */
    RANK_EXPECT(r->world.sums == 0 && r->replicas.sums == 0);
    RANK_EXPECT(part(r, MOE_PART_ALLREDUCE) == 0);
    RANK_EXPECT(moe_iteration_bytes(r->iteration) == 0);
    return true;
}

static void test_training_exchanges_four_times_a_moe_layer(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING}, training_calls);
}

static bool no_metadata(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    (void)s;
    RANK_EXPECT(r->group.metadata == 0 && part(r, MOE_PART_METADATA) == 0);
    RANK_EXPECT(r->group.exchanges == 4 * MOE_LAYERS);
    return true;
}

static void test_padded_needs_no_metadata(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING, .style = "padded"}, no_metadata);
}

/* ---- Time ---- */

static bool parts_add_up(const rank_t *r, const moe_transport_t *t, char *text)
{
    double sum = 0;
    for (int p = 0; p < MOE_PARTS; p++) {
        RANK_EXPECT(part(r, (moe_part_t)p) >= 0);
        sum += part(r, (moe_part_t)p);
    }
    RANK_EXPECT(sum == r->seconds[MOE_COLUMN_ITERATION]);
    return true;
}

static double permute_seconds(const rank_t *r)
{
    /* Rows of a rank with one expert arrive in order. */
    const size_t gathers = r->spec.local_experts > 1 ? 3 : 1;
    return (double)gathers * GATHER_SECONDS + REDUCE_SECONDS;
}

static bool forward_parts(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    const double scale = (double)s->total_moe / MOE_LAYERS;
    RANK_EXPECT(part(r, MOE_PART_METADATA) == scale * MOE_LAYERS * METADATA_SECONDS);
    RANK_EXPECT(part(r, MOE_PART_DISPATCH) == scale * exchange_seconds(0, 2, MOE_LAYERS));
    RANK_EXPECT(part(r, MOE_PART_COMBINE) == scale * exchange_seconds(1, 2, MOE_LAYERS));
    RANK_EXPECT(part(r, MOE_PART_PERMUTE) == scale * MOE_LAYERS * permute_seconds(r));
    RANK_EXPECT(part(r, MOE_PART_COMPUTE) == compute_seconds(r, s));
    RANK_EXPECT(r->spec.tokens == 0 || compute_seconds(r, s) > 0);
    RANK_EXPECT(part(r, MOE_PART_ALLREDUCE) == 0);
    RANK_EXPECT(r->seconds[MOE_COLUMN_COMPUTE_ONLY] == part(r, MOE_PART_COMPUTE));
    RANK_EXPECT(moe_iteration_is_extrapolated(&r->spec) ==
                (s->total_moe != MOE_LAYERS || s->total_dense != DENSE_LAYERS));
    return parts_add_up(r, t, text);
}

static void test_each_part_has_its_own_time(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD}, forward_parts);
}

static void test_measured_layers_stand_for_all_of_their_kind(void **state)
{
    /* 2 measured MoE layers for 5, 1 dense for 3; the head is there once. */
    iterate(state, (setting_t){.pass = MOE_FORWARD, .total_moe = 5, .total_dense = 3},
            forward_parts);
    iterate(state, (setting_t){.pass = MOE_FORWARD, .total_moe = 2, .total_dense = 7},
            forward_parts);
}

static void test_a_residual_is_computed_beside_the_experts(void **state)
{
    moe_model_t arctic = small;
    arctic.dense_residual = true;
    arctic.glu = false;
    iterate(state,
            (setting_t){.pass = MOE_FORWARD, .model = arctic, .total_moe = 3, .total_dense = 1},
            forward_parts);
}

static bool training_parts(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                           char *text)
{
    const double scale = (double)s->total_moe / MOE_LAYERS;
    const size_t both = 2 * MOE_LAYERS;
    RANK_EXPECT(part(r, MOE_PART_METADATA) == scale * MOE_LAYERS * METADATA_SECONDS);
    RANK_EXPECT(part(r, MOE_PART_DISPATCH) == scale * exchange_seconds(0, 2, both));
    RANK_EXPECT(part(r, MOE_PART_COMBINE) == scale * exchange_seconds(1, 2, both));
    RANK_EXPECT(part(r, MOE_PART_PERMUTE) == scale * (double)both * permute_seconds(r));
    RANK_EXPECT(part(r, MOE_PART_COMPUTE) == 3 * compute_seconds(r, s)); /* backward: twice */
    RANK_EXPECT(r->seconds[MOE_COLUMN_COMPUTE_ONLY] == part(r, MOE_PART_COMPUTE));
    return parts_add_up(r, t, text);
}

static void test_backward_computes_twice_and_exchanges_as_much(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING}, training_parts);
    iterate(state, (setting_t){.pass = MOE_TRAINING, .total_moe = 6, .total_dense = 2},
            training_parts);
}

static bool nothing_computed(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                             char *text)
{
    (void)s;
    RANK_EXPECT(part(r, MOE_PART_COMPUTE) == 0 && r->seconds[MOE_COLUMN_COMPUTE_ONLY] == 0);
    RANK_EXPECT(part(r, MOE_PART_DISPATCH) > 0);
    return parts_add_up(r, t, text);
}

static void test_no_compute_takes_no_time(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING, .compute = "none"}, nothing_computed);
}

static bool half_the_compute(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                             char *text)
{
    RANK_EXPECT(part(r, MOE_PART_COMPUTE) == compute_seconds(r, s) / 2);
    RANK_EXPECT(part(r, MOE_PART_DISPATCH) == exchange_seconds(0, 2, MOE_LAYERS));
    return parts_add_up(r, t, text);
}

static void test_a_device_twice_as_fast_computes_half_as_long(void **state)
{
    iterate(state, (setting_t){.pass = MOE_FORWARD, .compute = "model:2147483648,1"},
            half_the_compute);
}

/* The next repetition starts from nothing. */
static bool repeat_thrice(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = &((const judged_t *)context)->setting;
    rank_t r;
    if (!rank_create(&r, s, t, text))
        return false;
    for (size_t i = 0; i < 3; i++) {
        r.group.exchanges = 0;
        RANK_EXPECT(moe_iteration_repeat(r.iteration, r.seconds, NULL) == MOE_OK);
        if (!training_parts(&r, s, t, text))
            return false;
    }
    return rank_destroy(&r, t, text);
}

static void test_repetitions_do_not_add_up(void **state)
{
    on_ranks(state, (setting_t){.pass = MOE_TRAINING}, repeat_thrice, NULL);
}

/* ---- Gradients ---- */

static bool gradients_are_summed(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                                 char *text)
{
    const double world = world_floats(s), replicas = replica_floats(r, s);
    RANK_EXPECT(r->world.sums > 0 && (double)r->world.floats == world);
    RANK_EXPECT((double)r->replicas.floats == replicas);
    RANK_EXPECT(r->group.sums == 0);
    /* 25 MiB buckets, as frameworks fill them. */
    const size_t bucket = 25 * 1024 * 1024 / sizeof(float);
    RANK_EXPECT(r->world.longest_sum <= bucket && r->replicas.longest_sum <= bucket);
    RANK_EXPECT(moe_iteration_bytes(r->iteration) == bucket * sizeof(float));
    RANK_EXPECT(part(r, MOE_PART_ALLREDUCE) == (world + replicas) * FLOAT_SECONDS);
    return parts_add_up(r, t, text);
}

static void test_gradients_are_summed_over_the_world_and_over_replicas(void **state)
{
    iterate(state, (setting_t){.pass = MOE_TRAINING, .gradients = true}, gradients_are_summed);
}

static void test_a_rank_without_experts_computes_the_rest(void **state)
{
    moe_model_t few = small;
    few.experts = 2; /* on 3 ranks */
    iterate(state, (setting_t){.pass = MOE_TRAINING, .model = few}, training_parts);
    iterate(state, (setting_t){.pass = MOE_TRAINING, .gradients = true, .model = few},
            gradients_are_summed);
}

static bool two_buckets(const rank_t *r, const setting_t *s, const moe_transport_t *t, char *text)
{
    /* Embedding and head are more than one bucket; a dense and two MoE layers are one each. */
    RANK_EXPECT(r->world.sums == 2 + DENSE_LAYERS + MOE_LAYERS);
    return gradients_are_summed(r, s, t, text);
}

static void test_gradients_travel_in_buckets(void **state)
{
    moe_model_t wide = small;
    wide.vocab = 500000; /* 2 * 8 * 500,000 floats: 30.5 MiB */
    iterate(state, (setting_t){.pass = MOE_TRAINING, .gradients = true, .model = wide},
            two_buckets);
}

static bool gradients_of_all_layers(const rank_t *r, const setting_t *s, const moe_transport_t *t,
                                    char *text)
{
    const moe_model_t *m = &s->model;
    const double once = 2 * (double)m->hidden * (double)m->vocab;
    const double attention = (double)(m->hidden * m->head_dim * (2 * m->heads + 2 * m->kv_heads));
    const double dense = attention + 3 * (double)(m->hidden * m->dense_ffn);
    const double moe = world_floats(s) + replica_floats(r, s) - once - DENSE_LAYERS * dense;
    RANK_EXPECT(part(r, MOE_PART_ALLREDUCE) ==
                (once + dense * (double)s->total_dense / DENSE_LAYERS +
                 moe * (double)s->total_moe / MOE_LAYERS) *
                    FLOAT_SECONDS);
    return parts_add_up(r, t, text);
}

static void test_gradients_of_layers_not_run_are_extrapolated(void **state)
{
    iterate(state,
            (setting_t){.pass = MOE_TRAINING, .gradients = true, .total_moe = 6, .total_dense = 4},
            gradients_of_all_layers);
}

/* ---- What goes wrong ---- */

static bool cut_the_wire(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = &((const judged_t *)context)->setting;
    rank_t r;
    if (!rank_create(&r, s, t, text))
        return false;
    for (size_t left = 0; left < 4 * MOE_LAYERS; left++) {
        moe_error_t error = {0};
        r.group.exchanges = 0;
        r.group.exchanges_left = left;
        const double untouched = -1;
        r.seconds[MOE_COLUMN_ITERATION] = untouched;
        RANK_EXPECT(moe_iteration_repeat(r.iteration, r.seconds, &error) == MOE_FAILED);
        RANK_EXPECT(strcmp(error.text, "the wire is cut") == 0);
        RANK_EXPECT(r.group.exchanges == left); /* and none after it */
        RANK_EXPECT(r.seconds[MOE_COLUMN_ITERATION] == untouched);
    }
    r.group.exchanges_left = SIZE_MAX;
    r.group.exchanges = 0;
    RANK_EXPECT(moe_iteration_repeat(r.iteration, r.seconds, NULL) == MOE_OK);
    return training_parts(&r, s, t, text) && rank_destroy(&r, t, text);
}

static void test_a_failing_exchange_ends_the_iteration(void **state)
{
    on_ranks(state, (setting_t){.pass = MOE_TRAINING}, cut_the_wire, NULL);
}

/* ---- One layer alone ---- */

static bool time_the_phases(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = &((const judged_t *)context)->setting;
    rank_t r;
    double seconds[MOE_LAYER_COLUMNS];
    if (!rank_create(&r, s, t, text))
        return false;
    RANK_EXPECT(moe_layer_repeat(r.layer[0], seconds, NULL) == MOE_OK);
    const bool sorts = r.spec.local_experts > 1;
    const double permute = sorts ? 2 * GATHER_SECONDS : GATHER_SECONDS;
    const double unpermute = REDUCE_SECONDS + (sorts ? GATHER_SECONDS : 0);
    RANK_EXPECT(seconds[MOE_LAYER_METADATA] == METADATA_SECONDS);
    RANK_EXPECT(seconds[MOE_LAYER_PERMUTE] == permute);
    RANK_EXPECT(seconds[MOE_LAYER_DISPATCH] == EXCHANGE_SECONDS);
    RANK_EXPECT(seconds[MOE_LAYER_COMBINE] == EXCHANGE_SECONDS + 1);
    RANK_EXPECT(seconds[MOE_LAYER_UNPERMUTE] == unpermute);
    /* A second pass without the barriers: exchanges 2 and 3. */
    RANK_EXPECT(seconds[MOE_LAYER_TOTAL] ==
                METADATA_SECONDS + permute + unpermute + exchange_seconds(2, 1, 2));
    RANK_EXPECT(r.group.exchanges == 4 && r.group.metadata == 2);
    RANK_EXPECT(r.group.barriers == 3); /* before dispatch, combine, and the second pass */
    r.group.exchanges_left = 0;
    RANK_EXPECT(moe_layer_repeat(r.layer[0], seconds, NULL) == MOE_FAILED);
    return rank_destroy(&r, t, text);
}

static void test_phases_of_a_layer_are_aligned_and_the_total_is_not(void **state)
{
    on_ranks(state, (setting_t){.pass = MOE_FORWARD}, time_the_phases, NULL);
}

static void test_columns_and_parts_have_the_names_of_the_records(void **state)
{
    (void)state;
    static const char *const parts[MOE_PARTS] = {"compute",  "metadata", "permute",
                                                 "dispatch", "combine",  "allreduce"};
    static const char *const columns[MOE_LAYER_COLUMNS] = {"dispatch", "combine", "total",
                                                           "metadata", "permute", "unpermute"};
    for (int p = 0; p < MOE_PARTS; p++)
        assert_string_equal(moe_part_name((moe_part_t)p), parts[p]);
    for (int c = 0; c < MOE_LAYER_COLUMNS; c++)
        assert_string_equal(moe_layer_column_name((moe_layer_column_t)c), columns[c]);
}

/* ---- Shares ---- */

/* Repetitions by hand: the warm-up, which must not be looked at, and three others. */
#define REPS     3
#define CAPACITY 5

typedef struct table {
    double mean[MOE_ITERATION_COLUMNS][CAPACITY], max[MOE_ITERATION_COLUMNS][CAPACITY];
} table_t;

static moe_series_t series_of(table_t *table)
{
    return (moe_series_t){.columns = MOE_ITERATION_COLUMNS,
                          .warmup = 1,
                          .reps = REPS,
                          .capacity = CAPACITY,
                          .mean = &table->mean[0][0],
                          .max = &table->max[0][0]};
}

static void fill(table_t *table)
{
    memset(table, 0xff, sizeof *table); /* NaN */
    for (size_t r = 0; r < REPS; r++) {
        const double scale = (double)r; /* the first one took no time at all */
        double(*const mean)[CAPACITY] = table->mean, (*const max)[CAPACITY] = table->max;
        const size_t at = r + 1;
        mean[MOE_COLUMN_ITERATION][at] = 100 * scale;
        mean[MOE_COLUMN_COMPUTE_ONLY][at] = 1e6; /* maxima decide what is exposed */
        mean[MOE_COLUMN_PART0 + MOE_PART_COMPUTE][at] = 50 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_METADATA][at] = 2 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_PERMUTE][at] = 5 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_DISPATCH][at] = 12 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_COMBINE][at] = 11 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_ALLREDUCE][at] = 20 * scale;
        for (int c = 0; c < MOE_ITERATION_COLUMNS; c++)
            max[c][at] = 1e9;
        max[MOE_COLUMN_ITERATION][at] = 128 * scale;
        max[MOE_COLUMN_COMPUTE_ONLY][at] = 64 * scale;
        max[MOE_COLUMN_PART0 + MOE_PART_PERMUTE][at] = 16 * scale;
    }
}

static void test_shares_follow_from_the_series(void **state)
{
    (void)state;
    table_t table;
    fill(&table);
    table.max[MOE_COLUMN_COMPUTE_ONLY][REPS] = 256; /* noise: compute alone took longer */
    const moe_series_t series = series_of(&table);
    double a2a[REPS], serial[REPS], exposed[REPS];
    moe_iteration_shares(&series, a2a, serial, exposed);
    for (size_t r = 1; r < REPS; r++) {
        assert_float_equal(a2a[r], 0.25, 1e-6);
        assert_float_equal(serial[r], 0.45, 1e-6);
    }
    assert_true(a2a[0] == 0 && serial[0] == 0 && exposed[0] == 0);
    assert_float_equal(exposed[1], 0.375, 1e-6);
    assert_float_equal(exposed[2], (256.0 - 256 - 32) / 256, 1e-6); /* left as it is */
}

/* ---- ---- */

static int make_host(void **state)
{
    moe_device_t *host = NULL;
    const moe_status_t status = moe_host_device_create(1, 1, &host, NULL);
    *state = host;
    return status == MOE_OK ? 0 : -1;
}

static int drop_host(void **state)
{
    moe_device_t *host = *state;
    host->ops->destroy(host);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_forward_pass_exchanges_twice_a_moe_layer),
        cmocka_unit_test(test_training_exchanges_four_times_a_moe_layer),
        cmocka_unit_test(test_padded_needs_no_metadata),
        cmocka_unit_test(test_each_part_has_its_own_time),
        cmocka_unit_test(test_measured_layers_stand_for_all_of_their_kind),
        cmocka_unit_test(test_a_residual_is_computed_beside_the_experts),
        cmocka_unit_test(test_backward_computes_twice_and_exchanges_as_much),
        cmocka_unit_test(test_no_compute_takes_no_time),
        cmocka_unit_test(test_a_device_twice_as_fast_computes_half_as_long),
        cmocka_unit_test(test_repetitions_do_not_add_up),
        cmocka_unit_test(test_gradients_are_of_training_alone),
        cmocka_unit_test(test_gradients_are_summed_over_the_world_and_over_replicas),
        cmocka_unit_test(test_a_rank_without_experts_computes_the_rest),
        cmocka_unit_test(test_gradients_travel_in_buckets),
        cmocka_unit_test(test_gradients_of_layers_not_run_are_extrapolated),
        cmocka_unit_test(test_a_failing_exchange_ends_the_iteration),
        cmocka_unit_test(test_phases_of_a_layer_are_aligned_and_the_total_is_not),
        cmocka_unit_test(test_columns_and_parts_have_the_names_of_the_records),
        cmocka_unit_test(test_shares_follow_from_the_series),
    };
    return cmocka_run_group_tests_name("iteration", tests, make_host, drop_host);
}
