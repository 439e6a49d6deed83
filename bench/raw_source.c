#include "raw_source.h"

#include <stdlib.h>

#include "layers.h"
#include "moe/system.h"

static const char *const remedies[] = {
    [RAW_SIZES] = "--sizes",
    [RAW_MATRIX] = "the values of --matrix",
    [RAW_PATTERN] = "--tokens (or --hidden)",
};

void raw_source_set_size(raw_source_matrix_t *source, size_t bytes_per_pair)
{
    moe_matrix_t *m = &source->matrix;
    for (size_t i = 0; i < m->ranks * m->ranks; i++) {
        m->bytes[i] = bytes_per_pair;
    }
}

/* Read by rank 0: other hosts need not have the file. */
static moe_status_t read_matrix(world_t *w, moe_matrix_t *matrix, moe_error_t *error)
{
    moe_transport_t *t = w->all;
    moe_status_t status = MOE_OK;
    if (t->rank == 0) {
        moe_matrix_t read;
        const moe_matrix_file_t file = {.path = w->config.options.value[OPT_MATRIX],
                                        .ranks = t->size,
                                        .fraction_bytes = w->config.matrix_bytes};
        status = moe_matrix_read(&file, &read, error);
        status = config_name_option(OPT_MATRIX, status, error);
        if (status == MOE_OK) {
            moe_matrix_destroy(matrix);
            *matrix = read;
        }
    }
    status = world_agree(w, status, error);
    for (size_t from = 0; status == MOE_OK && from < t->size; from++) {
        status = t->ops->broadcast(t, matrix->bytes + from * t->size, t->size * sizeof(size_t), 0,
                                   error);
    }
    return status;
}

/* Bytes that this rank's tokens send in style exact: into row[ranks of the run]. */
static moe_status_t route_row(world_t *w, const layer_set_t *set, size_t row_bytes, size_t *row,
                              moe_error_t *error)
{
    const moe_workload_t *workload = &set->workload[0];
    const moe_style_ops_t *exact;
    moe_batch_t *batch = NULL;
    moe_sizes_t sizes;
    moe_sent_t sent = {0};
    const size_t group = w->group->size, first = w->all->rank - w->group->rank;
    moe_status_t status = moe_style_find("exact", &exact, error);
    if (status == MOE_OK) {
        status = moe_alloc("rows to peers", 2 * group, sizeof(size_t), (void **)&sent.rows, error);
    }
    if (status == MOE_OK) {
        status = moe_batch_create(workload, w->group->rank, &batch, error);
    }
    if (status == MOE_OK) {
        sent.tokens = sent.rows + group;
        moe_sizes_of(workload, 0, &sizes);
        moe_style_count_rows(exact, &sizes, batch->counts, &sent);
    }
    for (size_t peer = 0; status == MOE_OK && peer < group; peer++) {
        if (__builtin_mul_overflow(sent.rows[peer], row_bytes, &row[first + peer])) {
            status = moe_fail(error, MOE_BAD_INPUT, "--tokens %zu: too many bytes to send",
                              w->config.tokens);
        }
    }
    moe_batch_destroy(batch);
    free(sent.rows);
    return status;
}

static moe_status_t route(world_t *w, const layer_set_t *set, raw_source_matrix_t *source,
                          moe_error_t *error)
{
    const config_t *c = &w->config;
    moe_transport_t *t = w->all;
    size_t *row = NULL;
    moe_status_t status = moe_alloc("rows to peers", t->size, sizeof *row, (void **)&row, error);
    source->hash_row = moe_row_bytes(c->dtype, c->model.hidden);
    source->routed = true;
    if (status == MOE_OK) {
        status = route_row(w, set, source->hash_row, row, error);
    }
    status = world_agree(w, status, error);
    if (status == MOE_OK) {
        status = t->ops->allgather(t, row, t->size * sizeof *row, source->matrix.bytes, error);
    }
    if (status == MOE_OK) {
        status = layer_set_census(set, w, &source->census, error);
    }
    free(row);
    return status;
}

static moe_status_t route_pattern(world_t *w, raw_source_matrix_t *source, moe_error_t *error)
{
    const config_t *c = &w->config;
    layer_set_t set = {0};
    moe_status_t status = world_fits(w, "routing tables", config_batch_bytes(c), "--tokens", error);
    if (status == MOE_OK) {
        status = world_agree(
            w,
            layer_set_create(c, w->all->rank - w->group->rank, w->ranks_per_node, 1, &set, error),
            error);
    }
    if (status == MOE_OK) {
        status = route(w, &set, source, error);
    }
    layer_set_destroy(&set);
    return status;
}

static size_t largest_size(const config_t *config)
{
    size_t size = config->first_size;
    while (config_next_size(config, size, &size)) {
    }
    return size;
}

static moe_status_t make_matrix(world_t *w, raw_source_matrix_t *source, moe_error_t *error)
{
    switch (w->config.source) {
    case RAW_MATRIX:
        return read_matrix(w, &source->matrix, error);
    case RAW_PATTERN:
        return route_pattern(w, source, error);
    case RAW_PAIRS: /* no matrix: not called */
    case RAW_SIZES:
        raw_source_set_size(source, largest_size(&w->config));
        return MOE_OK;
    }
    return MOE_OK;
}

moe_status_t raw_source_create(world_t *world, raw_source_matrix_t *out, moe_error_t *error)
{
    raw_source_matrix_t source = {.hash_row = 1};
    const size_t ranks = world->all->size;
    const char *remedy = remedies[world->config.source];
    moe_status_t status = world_fits(world, "matrices of bytes between ranks",
                                     ranks * ranks * sizeof(size_t), "the number of ranks", error);
    if (status == MOE_OK) {
        status = world_agree(world, moe_matrix_create(ranks, &source.matrix, error), error);
    }
    if (status == MOE_OK) {
        status = make_matrix(world, &source, error);
    }
    if (status == MOE_OK) {
        status = world_fits_device(world, "bytes to send and receive",
                                   moe_raw_bytes(&source.matrix, world->all->rank), remedy, error);
    }
    if (status != MOE_OK) {
        raw_source_destroy(&source);
        return status;
    }
    if (world->config.source == RAW_SIZES) {
        raw_source_set_size(&source, world->config.first_size);
    }
    *out = source;
    return MOE_OK;
}

void raw_source_destroy(raw_source_matrix_t *source)
{
    moe_matrix_destroy(&source->matrix);
}
