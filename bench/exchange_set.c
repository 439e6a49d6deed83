/* Exchanges of one style for the layers of a set: made, bound to memory that was found to suffice, checked. */
#include <stdio.h>
#include <stdlib.h>

#include "layers.h"
#include "moe/system.h"

/* What moe_check_describe() says. */
#define FINDING_TEXT 256

#define LOWER_SIZES "--tokens (or --hidden, or choose another --style or --capacity-factor)"

/* number: of a layer's chunk among all. */
static moe_layer_spec_t spec_of(const layer_set_t *set, world_t *world, size_t number,
                                const moe_style_ops_t *style)
{
    const config_t *c = &world->config;
    return (moe_layer_spec_t){.transport = world->group,
                              .device = world->device,
                              .style = style,
                              .algorithm = c->algorithm[0],
                              .workload = &set->workload[number],
                              .hidden = c->model.hidden,
                              .dtype = c->dtype,
                              .combine_dtype = c->combine_dtype,
                              .data_seed = c->routing.seed,
                              .graph = c->graph,
                              .chunk = number % set->chunks};
}

moe_status_t layer_set_fits(const layer_set_t *set, world_t *world, moe_error_t *error)
{
    const config_t *c = &world->config;
    moe_status_t status =
        layer_set_choose(set, &world->config, world->table, error); /* the same on all ranks */
    if (status != MOE_OK) {
        return status;
    }
    status = world_fits(world, "routing tables", config_batch_bytes(c), "--tokens", error);
    for (size_t s = 0; status == MOE_OK && s < c->styles; s++) {
        char what[64];
        size_t bytes = 0;
        for (size_t n = 0; n < set->chunks; n++) {
            const moe_layer_spec_t spec = spec_of(set, world, n, c->style[s]);
            if (__builtin_add_overflow(bytes, moe_layer_least_bytes(&spec), &bytes)) {
                bytes = SIZE_MAX;
            }
        }
        snprintf(what, sizeof what, "rows in style %s", c->style[s]->name);
        status = world_fits_device(world, what, bytes, LOWER_SIZES, error);
    }
    return status;
}

moe_status_t exchange_set_create(const layer_set_t *set, world_t *world,
                                 const moe_style_ops_t *style, exchange_set_t *out,
                                 moe_error_t *error)
{
    exchange_set_t exchanges = {.count = set->count, .chunks = set->chunks};
    const size_t all = set->count * set->chunks;
    moe_status_t status =
        moe_alloc("layers", all, sizeof *exchanges.layer, (void **)&exchanges.layer, error);
    if (status == MOE_OK) {
        status = moe_alloc("workspaces", set->chunks, sizeof *exchanges.workspace,
                           (void **)&exchanges.workspace, error);
    }
    for (size_t n = 0; status == MOE_OK && n < all; n++) {
        moe_layer_spec_t spec = spec_of(set, world, n, style);
        spec.like = exchanges.layer[0]; /* NULL: it is the first */
        status = moe_layer_create(&spec, &exchanges.layer[n], error);
    }
    status = world_agree(world, status, error);
    if (status != MOE_OK) {
        exchange_set_destroy(&exchanges);
        return status;
    }
    *out = exchanges;
    return MOE_OK;
}

/* The layers of one chunk, which share its workspace; freed by the caller. */
static moe_status_t layers_of(const exchange_set_t *exchanges, size_t chunk, moe_layer_t ***out,
                              moe_error_t *error)
{
    moe_layer_t **layers = NULL;
    const moe_status_t status =
        moe_alloc("layers", exchanges->count, sizeof *layers, (void **)&layers, error);
    for (size_t i = 0; status == MOE_OK && i < exchanges->count; i++) {
        layers[i] = exchanges->layer[i * exchanges->chunks + chunk];
    }
    *out = layers;
    return status;
}

static moe_status_t bytes_of(const exchange_set_t *exchanges, size_t *bytes, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t c = 0; status == MOE_OK && c < exchanges->chunks; c++) {
        moe_layer_t **layers;
        status = layers_of(exchanges, c, &layers, error);
        if (status == MOE_OK &&
            __builtin_add_overflow(*bytes, moe_workspace_bytes(layers, exchanges->count), bytes)) {
            *bytes = SIZE_MAX;
        }
        free(layers);
    }
    return status;
}

static moe_status_t make_workspace(exchange_set_t *exchanges, size_t chunk, moe_error_t *error)
{
    moe_layer_t **layers;
    moe_status_t status = layers_of(exchanges, chunk, &layers, error);
    if (status == MOE_OK) {
        status =
            moe_workspace_create(layers, exchanges->count, &exchanges->workspace[chunk], error);
    }
    free(layers);
    return status;
}

static moe_status_t bind_chunk(exchange_set_t *exchanges, size_t chunk, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < exchanges->count; i++) {
        status = moe_layer_bind(exchanges->layer[i * exchanges->chunks + chunk],
                                exchanges->workspace[chunk], error);
    }
    return status;
}

moe_status_t exchange_set_bind(exchange_set_t *exchanges, world_t *world, size_t extra_bytes,
                               moe_error_t *error)
{
    size_t bytes = extra_bytes;
    moe_status_t status = world_agree(world, bytes_of(exchanges, &bytes, error), error);
    if (status == MOE_OK) {
        status = world_fits_device(world, "rows and compute buffers", bytes, LOWER_SIZES, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    for (size_t c = 0; status == MOE_OK && c < exchanges->chunks; c++) {
        /* Binding waits for the ranks of a group, what follows for all: one rank without memory must not be alone. */
        status = world_agree(world, make_workspace(exchanges, c, error), error);
        if (status == MOE_OK) {
            status = world_agree(world, bind_chunk(exchanges, c, error), error);
        }
    }
    return status;
}

void exchange_set_destroy(exchange_set_t *exchanges)
{
    /* The first one last: the others use its transports. */
    for (size_t n = exchanges->count * exchanges->chunks; exchanges->layer != NULL && n > 0; n--) {
        moe_layer_destroy(exchanges->layer[n - 1]);
    }
    for (size_t c = 0; exchanges->workspace != NULL && c < exchanges->chunks; c++) {
        moe_workspace_destroy(exchanges->workspace[c]);
    }
    free(exchanges->layer);
    free(exchanges->workspace);
    *exchanges = (exchange_set_t){0};
}

moe_status_t exchange_set_use(exchange_set_t *exchanges, const moe_algorithm_ops_t *algorithm,
                              moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < exchanges->count * exchanges->chunks; i++) {
        status = moe_layer_use(exchanges->layer[i], algorithm, error);
    }
    return status;
}

/* Rank 0 speaks for the rank that found it: a launcher may drop what the others print at the end of a
 * run that failed. */
static moe_status_t report_finding(world_t *world, const moe_layer_spec_t *spec, size_t finder,
                                   const moe_check_result_t *result, moe_error_t *error)
{
    moe_transport_t *t = world->all;
    char text[FINDING_TEXT] = "";
    if (t->rank == finder) {
        moe_check_describe(result, text, sizeof text);
    }
    const moe_status_t status = t->ops->broadcast(t, text, sizeof text, finder, error);
    if (status == MOE_OK && t->rank == 0) {
        world_progress_end(world);
        fprintf(stderr, "moe-a2a %s: wrong data: %s, %s: %s\n", world->config.command->name,
                spec->style->name, spec->algorithm->name, text);
    }
    return status;
}

moe_status_t exchange_set_check(exchange_set_t *exchanges, world_t *world, size_t *errors,
                                moe_error_t *error)
{
    moe_transport_t *t = world->all;
    *errors = 0;
    for (size_t i = 0; i < exchanges->count * exchanges->chunks; i++) {
        moe_check_result_t result;
        moe_status_t status =
            moe_layer_check(exchanges->layer[i], world->config.check, &result, error);
        if (status != MOE_OK) {
            return status;
        }
        result.rank += t->rank - world->group->rank; /* number in the run */
        /* Not SIZE_MAX: MPICH 4.0 takes it for -1 (pmodels/mpich issue 6083), Open MPI 4.1 does on
         * some processors (open-mpi/ompi issue 10648). */
        size_t finder = result.errors > 0 ? result.rank : t->size;
        size_t of_group = world->group->rank == 0 ? result.errors : 0;
        status = t->ops->reduce_sizes(t, &of_group, 1, MOE_SUM, error);
        if (status == MOE_OK) {
            status = t->ops->reduce_sizes(t, &finder, 1, MOE_MIN, error);
        }
        if (status == MOE_OK && of_group > 0 && *errors == 0) {
            status =
                report_finding(world, moe_layer_spec(exchanges->layer[i]), finder, &result, error);
        }
        if (status != MOE_OK) {
            return status;
        }
        *errors += of_group;
        moe_watchdog_feed(world->watchdog);
    }
    return MOE_OK;
}
