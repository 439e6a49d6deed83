/* The timeline of an iteration: compute and exchanges, each lap on the account of its part and of the
 * kind of layer it belongs to, so that layers that were not run can be extrapolated. Laps are between
 * points in time of the device's lane of compute: where exchanges overlap with it, their laps are what
 * compute waits for them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "moe/iteration.h"
#include "moe/system.h"

/* Gradients are summed in buckets, as frameworks do: 25 MiB is PyTorch DDP's default
 * (torch.nn.parallel.DistributedDataParallel, bucket_cap_mb). */
#define GRADIENT_BUCKET_FLOATS ((size_t)25 * 1024 * 1024 / sizeof(float))

typedef enum kind { KIND_MOE, KIND_DENSE, KIND_ONCE, KINDS } kind_t;

/* GEMM lists of an iteration; those of the experts of every measured layer follow. */
enum {
    LIST_ATTENTION,
    LIST_DENSE,
    LIST_SHARED,
    LIST_RESIDUAL,
    LIST_ROUTER,
    LIST_HEAD,
    LIST_EXPERTS
};

struct moe_iteration {
    moe_iteration_spec_t spec;
    size_t list_count;
    moe_gemm_list_t *list;
    float *bucket;        /* gradients; NULL where none are summed */
    moe_expert_t *expert; /* [local_experts] */
    /* The repetition under way. */
    struct {
        unsigned char kind, part;
    } * lap;      /* [lap_room] what ends with each mark but the first */
    double *mark; /* [lap_room + 1] */
    size_t laps, lap_room;
    double started;                 /* by the host's clock */
    double spent[KINDS][MOE_PARTS]; /* seconds, after stop() */
};

/* Laps of a layer and chunk in one direction, and of what a layer has once; more than there are. */
#define LAPS_OF_A_CHUNK 16
#define LAPS_BESIDE     8

bool moe_iteration_is_extrapolated(const moe_iteration_spec_t *spec)
{
    return spec->total_moe != spec->measured_moe || spec->total_dense != spec->measured_dense;
}

/* ---- Set-up ---- */

static moe_status_t make_expert_lists(moe_iteration_t *it, moe_error_t *error)
{
    const moe_model_t *m = it->spec.model;
    moe_gemm_list_t *list = it->list + LIST_EXPERTS;
    moe_status_t status = MOE_OK;
    for (size_t i = 0; i < it->spec.measured_moe * it->spec.chunks; i++) {
        for (size_t l = 0; l < it->spec.local_experts && status == MOE_OK; l++, list++) {
            const size_t *first = moe_layer_plan(it->spec.moe_layers[i])->expert_first;
            status = moe_gemms_ffn(first[l + 1] - first[l], m->hidden, m->expert_ffn, m->glu, list,
                                   error);
        }
    }
    return status;
}

static moe_status_t make_lists(moe_iteration_t *it, moe_error_t *error)
{
    const moe_iteration_spec_t *spec = &it->spec;
    const moe_model_t *m = spec->model;
    const size_t tokens = spec->tokens, shared = moe_model_shared_width(m);
    moe_gemm_list_t *list = it->list;
    moe_status_t status =
        moe_gemms_attention(m, tokens, spec->sequence, &list[LIST_ATTENTION], error);
    if (status == MOE_OK && m->dense_ffn > 0) {
        status = moe_gemms_ffn(tokens, m->hidden, m->dense_ffn, m->glu, &list[LIST_DENSE], error);
    }
    if (status == MOE_OK && shared > 0) {
        status = moe_gemms_ffn(tokens, m->hidden, shared, m->glu, &list[LIST_SHARED], error);
    }
    if (status == MOE_OK && m->dense_residual) {
        status =
            moe_gemms_ffn(tokens, m->hidden, m->dense_ffn, m->glu, &list[LIST_RESIDUAL], error);
    }
    if (status == MOE_OK) {
        status = moe_gemms_router(m, tokens, &list[LIST_ROUTER], error);
    }
    if (status == MOE_OK) {
        status = moe_gemms_head(m, tokens, &list[LIST_HEAD], error);
    }
    return status == MOE_OK ? make_expert_lists(it, error) : status;
}

moe_status_t moe_iteration_create(const moe_iteration_spec_t *spec, moe_iteration_t **out,
                                  moe_error_t *error)
{
    moe_iteration_t *it = NULL;
    moe_status_t status = moe_alloc("an iteration", 1, sizeof *it, (void **)&it, error);
    if (status != MOE_OK) {
        return status;
    }
    it->spec = *spec;
    it->list_count = LIST_EXPERTS + spec->measured_moe * spec->chunks * spec->local_experts;
    it->lap_room = 2 * (spec->measured_moe * (spec->chunks * LAPS_OF_A_CHUNK + LAPS_BESIDE) +
                        (spec->measured_dense + 1) * LAPS_BESIDE);
    status = moe_alloc("GEMM lists", it->list_count, sizeof *it->list, (void **)&it->list, error);
    if (status == MOE_OK) {
        status = moe_alloc("a timeline", it->lap_room, sizeof *it->lap, (void **)&it->lap, error);
    }
    if (status == MOE_OK) {
        status =
            moe_alloc("a timeline", it->lap_room + 1, sizeof *it->mark, (void **)&it->mark, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("experts", spec->local_experts, sizeof *it->expert, (void **)&it->expert,
                           error);
    }
    if (status == MOE_OK) {
        status = make_lists(it, error);
    }
    if (status != MOE_OK) {
        moe_iteration_destroy(it);
        return status;
    }
    *out = it;
    return MOE_OK;
}

static bool sums_gradients(const moe_iteration_spec_t *spec)
{
    return spec->gradients && spec->pass == MOE_TRAINING;
}

size_t moe_iteration_bytes(const moe_iteration_t *it)
{
    const moe_compute_t *compute = it->spec.compute;
    size_t bytes = compute->ops->memory(compute, it->list, it->list_count);
    if (sums_gradients(&it->spec) &&
        __builtin_add_overflow(bytes, GRADIENT_BUCKET_FLOATS * sizeof(float), &bytes)) {
        return SIZE_MAX;
    }
    return bytes;
}

moe_status_t moe_iteration_prepare(moe_iteration_t *it, moe_error_t *error)
{
    moe_compute_t *compute = it->spec.compute;
    moe_status_t status = compute->ops->prepare(compute, it->list, it->list_count, error);
    if (status == MOE_OK && sums_gradients(&it->spec)) {
        moe_device_t *d = compute->device;
        const size_t bytes = GRADIENT_BUCKET_FLOATS * sizeof(float);
        status = d->ops->alloc(d, "gradients", bytes, (void **)&it->bucket, error);
        if (status == MOE_OK) {
            d->ops->fill_bytes(d, it->bucket, 0, bytes);
        }
    }
    return status;
}

void moe_iteration_destroy(moe_iteration_t *it)
{
    if (it == NULL) {
        return;
    }
    if (it->bucket != NULL) {
        it->spec.compute->device->ops->release(it->spec.compute->device, it->bucket);
    }
    for (size_t i = 0; it->list != NULL && i < it->list_count; i++) {
        moe_gemm_list_destroy(&it->list[i]);
    }
    free(it->list);
    free(it->lap);
    free(it->mark);
    free(it->expert);
    free(it);
}

/* ---- Laps ---- */

static void lap(moe_iteration_t *it, kind_t kind, moe_part_t part)
{
    moe_device_t *d = it->spec.compute->device;
    assert(it->laps < it->lap_room);
    d->ops->mark(d);
    it->lap[it->laps].kind = (unsigned char)kind;
    it->lap[it->laps].part = (unsigned char)part;
    it->laps++;
}

static void start(moe_iteration_t *it)
{
    moe_device_t *d = it->spec.compute->device;
    it->laps = 0;
    (void)d->ops->read_marks(d, NULL, 0, NULL); /* those of a repetition that failed */
    it->started = moe_now();
    d->ops->mark(d);
}

/* Waits for the device, and adds up the laps. What a device that works behind the host's back does not
 * see, from the host's start to its first mark and from its last mark to the host's end, counts as
 * compute: so the parts are the whole by the host's clock. */
static moe_status_t stop(moe_iteration_t *it, moe_error_t *error)
{
    moe_device_t *d = it->spec.compute->device;
    const moe_status_t status = d->ops->read_marks(d, it->mark, it->laps + 1, error);
    const double whole = moe_now() - it->started;
    if (status != MOE_OK) {
        return status;
    }
    memset(it->spent, 0, sizeof it->spent);
    for (size_t i = 0; i < it->laps; i++) {
        it->spent[it->lap[i].kind][it->lap[i].part] += it->mark[i + 1] - it->mark[i];
    }
    if (d->ops->separate && whole > it->mark[it->laps]) {
        it->spent[KIND_ONCE][MOE_PART_COMPUTE] += whole - it->mark[it->laps];
    }
    return MOE_OK;
}

/* Measured layers stand for all of their kind. */
static double whole_model(const moe_iteration_t *it, moe_part_t part)
{
    const moe_iteration_spec_t *s = &it->spec;
    double seconds = it->spent[KIND_ONCE][part];
    if (s->measured_moe > 0) {
        seconds += it->spent[KIND_MOE][part] * (double)s->total_moe / (double)s->measured_moe;
    }
    if (s->measured_dense > 0) {
        seconds += it->spent[KIND_DENSE][part] * (double)s->total_dense / (double)s->measured_dense;
    }
    return seconds;
}

/* ---- Compute ---- */

static void compute(moe_iteration_t *it, size_t list, bool backward)
{
    it->spec.compute->ops->run(it->spec.compute, &it->list[list], backward);
}

static void compute_before_exchange(moe_iteration_t *it, bool backward)
{
    compute(it, LIST_ATTENTION, backward);
    compute(it, LIST_ROUTER, backward);
    compute(it, LIST_SHARED, backward);
    compute(it, LIST_RESIDUAL, backward);
}

/* number: of the layer's chunk among all. */
static void compute_experts(moe_iteration_t *it, size_t number, bool backward)
{
    moe_layer_t *layer = it->spec.moe_layers[number];
    const moe_layer_spec_t *spec = moe_layer_spec(layer);
    moe_compute_t *c = it->spec.compute;
    for (size_t l = 0; l < it->spec.local_experts; l++) {
        moe_expert_t *expert = &it->expert[l];
        moe_layer_expert_rows(layer, l, &expert->rows, &expert->in, &expert->out);
    }
    c->ops->experts(c, it->list + LIST_EXPERTS + number * it->spec.local_experts, it->expert,
                    it->spec.local_experts, spec->dtype, spec->combine_dtype, spec->hidden,
                    backward);
}

static void dense_layer(moe_iteration_t *it, bool backward)
{
    compute(it, LIST_ATTENTION, backward);
    compute(it, LIST_DENSE, backward);
    lap(it, KIND_DENSE, MOE_PART_COMPUTE);
}

/* ---- Exchanges ---- */

static moe_status_t metadata(moe_iteration_t *it, size_t number, moe_error_t *error)
{
    moe_layer_t *layer = it->spec.moe_layers[number];
    moe_status_t status = moe_layer_metadata(layer, error);
    if (status == MOE_OK) {
        status = moe_layer_schedule(layer, error);
    }
    lap(it, KIND_MOE, MOE_PART_METADATA);
    return status;
}

static bool overlaps(const moe_iteration_t *it)
{
    return it->spec.chunks > 1;
}

static moe_status_t send(moe_iteration_t *it, size_t number, moe_error_t *error)
{
    moe_layer_t *layer = it->spec.moe_layers[number];
    moe_status_t status = moe_layer_permute(layer, error);
    lap(it, KIND_MOE, MOE_PART_PERMUTE);
    if (status == MOE_OK) {
        status = overlaps(it) ? moe_layer_start_dispatch(layer, error)
                              : moe_layer_dispatch(layer, error);
        lap(it, KIND_MOE, MOE_PART_DISPATCH);
    }
    return status;
}

static moe_status_t work_and_return(moe_iteration_t *it, size_t number, bool backward,
                                    moe_error_t *error)
{
    moe_layer_t *layer = it->spec.moe_layers[number];
    moe_status_t status = MOE_OK;
    if (overlaps(it)) {
        status = moe_layer_finish_dispatch(layer, error);
        lap(it, KIND_MOE, MOE_PART_DISPATCH);
    }
    if (status == MOE_OK) {
        status = moe_layer_arrange(layer, error);
        lap(it, KIND_MOE, MOE_PART_PERMUTE);
    }
    if (status == MOE_OK) {
        compute_experts(it, number, backward);
        lap(it, KIND_MOE, MOE_PART_COMPUTE);
        status = moe_layer_restore(layer, error);
        lap(it, KIND_MOE, MOE_PART_PERMUTE);
    }
    if (status == MOE_OK) {
        status =
            overlaps(it) ? moe_layer_start_combine(layer, error) : moe_layer_combine(layer, error);
        lap(it, KIND_MOE, MOE_PART_COMBINE);
    }
    return status;
}

static moe_status_t receive(moe_iteration_t *it, size_t number, moe_error_t *error)
{
    moe_layer_t *layer = it->spec.moe_layers[number];
    moe_status_t status = MOE_OK;
    if (overlaps(it)) {
        status = moe_layer_finish_combine(layer, error);
        lap(it, KIND_MOE, MOE_PART_COMBINE);
    }
    if (status == MOE_OK) {
        status = moe_layer_unpermute(layer, error);
        lap(it, KIND_MOE, MOE_PART_PERMUTE);
    }
    return status;
}

/* Forward: tokens out, results back. Backward: the gradient of combine travels like dispatch, that of
 * dispatch like combine; the counts are known by then. With chunks, the next one's dispatch and the
 * last one's combine are under way while the experts work on one (FasterMoE, PPoPP'22; Tutel, arXiv
 * 2206.03382). */
static moe_status_t exchange(moe_iteration_t *it, size_t i, bool backward, moe_error_t *error)
{
    const size_t first = i * it->spec.chunks, end = first + it->spec.chunks;
    moe_status_t status = MOE_OK;
    for (size_t n = first; n < end && status == MOE_OK && !backward; n++) {
        status = metadata(it, n, error);
    }
    if (status == MOE_OK) {
        status = send(it, first, error);
    }
    for (size_t n = first; n < end && status == MOE_OK; n++) {
        if (n + 1 < end) {
            status = send(it, n + 1, error);
        }
        if (status == MOE_OK) {
            status = work_and_return(it, n, backward, error);
        }
    }
    for (size_t n = first; n < end && status == MOE_OK; n++) {
        status = receive(it, n, error);
    }
    return status;
}

static moe_status_t sum_gradients(moe_iteration_t *it, moe_transport_t *group, double parameters,
                                  moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t left = (size_t)parameters; left > 0 && status == MOE_OK;) {
        const size_t n = left < GRADIENT_BUCKET_FLOATS ? left : GRADIENT_BUCKET_FLOATS;
        status = group->ops->sum_floats(group, it->bucket, n, error);
        left -= n;
    }
    return status;
}

static moe_status_t all_gradients(moe_iteration_t *it, moe_error_t *error)
{
    const moe_iteration_spec_t *s = &it->spec;
    const moe_model_t *m = s->model;
    const double h = (double)m->hidden, ffn = (m->glu ? 3 : 2) * h;
    const double attention = moe_model_attention_params(m);
    const double dense = attention + ffn * (double)m->dense_ffn;
    const double beside = attention + h * (double)m->experts +
                          ffn * (double)moe_model_shared_width(m) +
                          (m->dense_residual ? ffn * (double)m->dense_ffn : 0);
    const double experts = (double)s->local_experts * ffn * (double)m->expert_ffn;
    moe_status_t status = sum_gradients(it, s->world, 2 * h * (double)m->vocab, error);
    lap(it, KIND_ONCE, MOE_PART_ALLREDUCE);
    for (size_t i = 0; i < s->measured_dense && status == MOE_OK; i++) {
        status = sum_gradients(it, s->world, dense, error);
        lap(it, KIND_DENSE, MOE_PART_ALLREDUCE);
    }
    for (size_t i = 0; i < s->measured_moe && status == MOE_OK; i++) {
        status = sum_gradients(it, s->world, beside, error);
        if (status == MOE_OK) {
            status = sum_gradients(it, s->replicas, experts, error);
        }
        lap(it, KIND_MOE, MOE_PART_ALLREDUCE);
    }
    return status;
}

/* ---- One repetition ---- */

static moe_status_t forward(moe_iteration_t *it, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; i < it->spec.measured_dense; i++) {
        dense_layer(it, false);
    }
    for (size_t i = 0; i < it->spec.measured_moe && status == MOE_OK; i++) {
        compute_before_exchange(it, false);
        lap(it, KIND_MOE, MOE_PART_COMPUTE);
        status = exchange(it, i, false, error);
    }
    compute(it, LIST_HEAD, false);
    lap(it, KIND_ONCE, MOE_PART_COMPUTE);
    return status;
}

static moe_status_t backward(moe_iteration_t *it, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    compute(it, LIST_HEAD, true);
    lap(it, KIND_ONCE, MOE_PART_COMPUTE);
    for (size_t i = it->spec.measured_moe; i-- > 0 && status == MOE_OK;) {
        status = exchange(it, i, true, error);
        compute_before_exchange(it, true);
        lap(it, KIND_MOE, MOE_PART_COMPUTE);
    }
    for (size_t i = 0; i < it->spec.measured_dense; i++) {
        dense_layer(it, true);
    }
    return status;
}

static void compute_alone(moe_iteration_t *it, bool is_backward)
{
    for (size_t i = 0; i < it->spec.measured_dense; i++) {
        dense_layer(it, is_backward);
    }
    for (size_t i = 0; i < it->spec.measured_moe; i++) {
        compute_before_exchange(it, is_backward);
        for (size_t n = i * it->spec.chunks; n < (i + 1) * it->spec.chunks; n++) {
            compute_experts(it, n, is_backward);
        }
    }
    lap(it, KIND_MOE, MOE_PART_COMPUTE);
    compute(it, LIST_HEAD, is_backward);
    lap(it, KIND_ONCE, MOE_PART_COMPUTE);
}

moe_status_t moe_iteration_repeat(void *iteration, double *seconds, moe_error_t *error)
{
    moe_iteration_t *it = iteration;
    const bool training = it->spec.pass == MOE_TRAINING;
    start(it);
    moe_status_t status = forward(it, error);
    if (status == MOE_OK && training) {
        status = backward(it, error);
    }
    if (status == MOE_OK && sums_gradients(&it->spec)) {
        status = all_gradients(it, error);
    }
    if (status == MOE_OK) {
        status = stop(it, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    /* Laps follow each other without a gap, so the parts are the whole. */
    seconds[MOE_COLUMN_ITERATION] = 0;
    for (int p = 0; p < MOE_PARTS; p++) {
        seconds[MOE_COLUMN_PART0 + p] = whole_model(it, (moe_part_t)p);
        seconds[MOE_COLUMN_ITERATION] += seconds[MOE_COLUMN_PART0 + p];
    }
    status = it->spec.world->ops->barrier(it->spec.world, error);
    if (status != MOE_OK) {
        return status;
    }
    start(it);
    compute_alone(it, false);
    if (training) {
        compute_alone(it, true);
    }
    status = stop(it, error);
    if (status != MOE_OK) {
        return status;
    }
    seconds[MOE_COLUMN_COMPUTE_ONLY] = whole_model(it, MOE_PART_COMPUTE);
    return MOE_OK;
}
