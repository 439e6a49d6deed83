/* What `pattern` has routed, into a file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "moe/trace.h"
#include "pattern_files.h"

moe_status_t pattern_write_matrix(const config_t *c, const moe_matrix_t *matrix, FILE *table,
                                  moe_error_t *error)
{
    const char *name = c->options.value[OPT_EXPORT], *path = c->options.file[OPT_EXPORT];
    const moe_status_t status = config_name_option(
        OPT_EXPORT, moe_matrix_write(matrix, moe_matrix_format_find(name), path, error), error);
    size_t most = 0;
    for (size_t i = 0; i < matrix->ranks * matrix->ranks; i++) {
        most = matrix->bytes[i] > most ? matrix->bytes[i] : most;
    }
    if (status == MOE_OK && table != NULL) {
        fprintf(table, "wrote     %s: %s, %zu ranks, largest block %zu bytes%s\n", path, name,
                matrix->ranks, most,
                strcmp(name, "csv-fractions") == 0 ? ", which is 1 (--matrix-bytes)" : "");
    }
    return status;
}

moe_status_t pattern_write_choices(const config_t *c, const moe_trace_t *trace, FILE *table,
                                   moe_error_t *error)
{
    const char *path = c->options.file[OPT_EXPORT];
    const moe_status_t status =
        config_name_option(OPT_EXPORT, moe_trace_write(trace, path, error), error);
    if (status == MOE_OK && table != NULL) {
        fprintf(table, "wrote     %s: moe, %zu layers, %zu ranks, %zu tokens in all\n", path,
                trace->layers, trace->ranks, trace->tokens);
    }
    return status;
}

/* ---- Choices, in the format moe ---- */

/* Cells of one (layer, rank) each, from the sets of all groups with all MoE layers. */
typedef struct export
{
    const config_t *config;
    layer_set_t *group; /* [dp] */
    size_t layers, ranks;
    moe_trace_t *trace;
}
export_t;

static const moe_workload_t *workload_of(const export_t *e, size_t layer, size_t rank)
{
    return &e->group[rank / e->config->ep].workload[layer];
}

static moe_status_t make_trace(export_t *e, moe_error_t *error)
{
    const config_t *c = e->config;
    const size_t cells = e->layers * e->ranks;
    size_t *tokens = NULL, sum = 0;
    moe_status_t status = moe_alloc("cells", cells, sizeof *tokens, (void **)&tokens, error);
    for (size_t i = 0; status == MOE_OK && i < cells; i++) {
        tokens[i] = workload_of(e, i / e->ranks, i % e->ranks)->tokens[i % e->ranks % c->ep];
        sum += tokens[i];
    }
    const double choice = sizeof(uint16_t) + sizeof(uint32_t);
    const double need = (double)sum * (double)moe_routing_slots(&c->routing) * choice;
    if (status == MOE_OK && sum == 0) {
        status = moe_fail(error, MOE_BAD_INPUT, "--export moe: there are no tokens to write");
    } else if (status == MOE_OK && need > (double)moe_memory_available()) {
        char text[16];
        status = moe_fail(error, MOE_BAD_INPUT,
                          "--export moe: the choices of %zu MoE layers need %s of memory: lower "
                          "--tokens or --layers",
                          e->layers, moe_format_bytes(need, text));
    } else if (status == MOE_OK && c->model.experts > MOE_TRACE_MAX_EXPERTS) {
        status = moe_fail(error, MOE_BAD_INPUT, "--export moe: %zu experts, at most %d",
                          c->model.experts, MOE_TRACE_MAX_EXPERTS);
    }
    if (status == MOE_OK) {
        status = moe_trace_create(1, e->layers, e->ranks, tokens, moe_routing_slots(&c->routing),
                                  true, &e->trace, error);
    }
    free(tokens);
    return status;
}

static moe_status_t fill_cell(const export_t *e, size_t layer, size_t rank, moe_error_t *error)
{
    const moe_workload_t *workload = workload_of(e, layer, rank);
    const size_t in_group = rank % e->config->ep;
    const size_t slots = moe_routing_slots(&e->config->routing);
    const size_t at = e->trace->first[layer * e->ranks + rank] * slots;
    const moe_router_t *opened = NULL;
    moe_table_t table;
    moe_status_t status = moe_table_create(workload->tokens[in_group], slots, &table, error);
    if (status != MOE_OK) {
        return status;
    }
    status = moe_router_open(workload->router, workload->step, in_group, &opened, error);
    if (status == MOE_OK) {
        status = moe_router_route(opened, workload->step, workload->first_token[in_group], &table,
                                  error);
    }
    for (size_t i = 0; status == MOE_OK && i < table.tokens * slots; i++) {
        const int32_t expert = table.expert[i];
        e->trace->expert[at + i] = expert == MOE_NO_EXPERT ? MOE_TRACE_NO_EXPERT : (uint16_t)expert;
        e->trace->weight[at + i] = (uint32_t)lrintf(table.weight[i] * MOE_TRACE_WEIGHT_ONE);
    }
    moe_router_close(workload->router, opened);
    moe_table_destroy(&table);
    return status;
}

static moe_status_t export_choices(const config_t *c, size_t ranks_per_node, FILE *table,
                                   moe_error_t *error)
{
    export_t e = {.config = c, .layers = moe_model_moe_layers(&c->model), .ranks = c->ep * c->dp};
    moe_status_t status = moe_alloc("groups", c->dp, sizeof *e.group, (void **)&e.group, error);
    for (size_t g = 0; status == MOE_OK && g < c->dp; g++) {
        status = layer_set_create(c, g * c->ep, ranks_per_node, e.layers, &e.group[g], error);
    }
    if (status == MOE_OK) {
        status = make_trace(&e, error);
    }
    for (size_t i = 0; status == MOE_OK && i < e.layers * e.ranks; i++) {
        status = fill_cell(&e, i / e.ranks, i % e.ranks, error);
    }
    if (status == MOE_OK) {
        e.trace->experts = c->model.experts;
        e.trace->experts_known = e.trace->has_ranks = true;
        status = pattern_write_choices(c, e.trace, table, error);
    }
    moe_trace_destroy(e.trace);
    for (size_t g = 0; e.group != NULL && g < c->dp; g++) {
        layer_set_destroy(&e.group[g]);
    }
    free(e.group);
    return status;
}

/* ---- The matrix of one exchange ---- */

moe_status_t pattern_export_style(const config_t *c, const moe_style_ops_t **style,
                                  moe_error_t *error)
{
    if (c->options.given[OPT_STYLE] && c->styles == 1) {
        *style = c->style[0];
    } else {
        const moe_status_t status = moe_style_find("exact", style, error);
        if (status != MOE_OK) {
            return status;
        }
    }
    return (*style)->block_rows != NULL
               ? MOE_OK
               : moe_fail(error, MOE_BAD_INPUT,
                          "--export: what style %s sends goes by several hops or is not of blocks: "
                          "give --style exact, padded or padded-max",
                          (*style)->name);
}

/* The largest kept count of any rank and expert, for styles that agree on it. */
static moe_status_t largest_count(const config_t *c, const moe_workload_t *workload, size_t *most,
                                  moe_error_t *error)
{
    *most = 0;
    for (size_t r = 0; r < c->ep; r++) {
        moe_batch_t *batch = NULL;
        const moe_status_t status = moe_batch_create(workload, r, &batch, error);
        if (status != MOE_OK) {
            return status;
        }
        for (size_t e = 0; e < workload->placement->experts; e++) {
            *most = batch->counts[e] > *most ? batch->counts[e] : *most;
        }
        moe_batch_destroy(batch);
    }
    return MOE_OK;
}

/* One group's block on the diagonal. */
static moe_status_t fill_group(const config_t *c, const layer_set_t *set, size_t first,
                               const moe_style_ops_t *style, moe_sent_t *sent, moe_matrix_t *matrix,
                               moe_error_t *error)
{
    const moe_workload_t *workload = &set->workload[0];
    const size_t row = moe_row_bytes(c->dtype, c->model.hidden);
    moe_sizes_t sizes;
    size_t most = 0;
    moe_status_t status = largest_count(c, workload, &most, error);
    moe_sizes_of(workload, most, &sizes);
    for (size_t r = 0; status == MOE_OK && r < c->ep; r++) {
        moe_batch_t *batch = NULL;
        status = moe_batch_create(workload, r, &batch, error);
        if (status != MOE_OK) {
            return status;
        }
        moe_style_count_rows(style, &sizes, batch->counts, sent);
        moe_batch_destroy(batch);
        for (size_t to = 0; status == MOE_OK && to < c->ep; to++) {
            if (__builtin_mul_overflow(sent->rows[to], row,
                                       &matrix->bytes[(first + r) * matrix->ranks + first + to])) {
                status = moe_fail(error, MOE_BAD_INPUT, "--tokens %zu: too many bytes to send",
                                  c->tokens);
            }
        }
    }
    return status;
}

static moe_status_t export_matrix(const config_t *c, const layer_set_t *group, FILE *table,
                                  moe_error_t *error)
{
    const moe_style_ops_t *style = NULL;
    moe_matrix_t matrix = {0};
    moe_sent_t sent = {0};
    moe_status_t status = pattern_export_style(c, &style, error);
    if (status == MOE_OK) {
        status = moe_matrix_create(c->ep * c->dp, &matrix, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("rows to peers", 2 * c->ep, sizeof(size_t), (void **)&sent.rows, error);
    }
    sent.tokens = sent.rows == NULL ? NULL : sent.rows + c->ep;
    for (size_t g = 0; status == MOE_OK && g < c->dp; g++) {
        status = fill_group(c, &group[g], g * c->ep, style, &sent, &matrix, error);
    }
    if (status == MOE_OK) {
        status = pattern_write_matrix(c, &matrix, table, error);
    }
    free(sent.rows);
    moe_matrix_destroy(&matrix);
    return status;
}

moe_status_t pattern_export(const config_t *c, const layer_set_t *group, size_t ranks_per_node,
                            FILE *table, moe_error_t *error)
{
    const char *name = c->options.value[OPT_EXPORT];
    const moe_matrix_format_t *format = name == NULL ? NULL : moe_matrix_format_find(name);
    if (name == NULL) {
        return MOE_OK;
    }
    return format != NULL ? export_matrix(c, group, table, error)
                          : export_choices(c, ranks_per_node, table, error);
}
