#include "gpu.h"

#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* ---- Which GPU ---- */

static moe_status_t look(const world_t *world, moe_gpu_t *gpus, moe_gpu_view_t *out,
                         moe_error_t *error)
{
    moe_gpu_view_t view = {.node = world->node};
    moe_status_t status = moe_cuda_gpus(gpus, MOE_GPUS_MAX, &view.count, error);
    if (status != MOE_OK) {
        return status;
    }
    view.count = view.count < MOE_GPUS_MAX ? view.count : MOE_GPUS_MAX;
    for (size_t g = 0; g < view.count; g++) {
        memcpy(view.pci[g], gpus[g].pci, sizeof view.pci[g]);
    }
    view.near = moe_near_pci((const char(*)[16])view.pci, view.count);
    *out = view;
    return MOE_OK;
}

/* chosen[ranks] from what all ranks see; all ranks find the same. */
static moe_status_t choose(world_t *world, const moe_gpu_view_t *mine, size_t *chosen,
                           moe_error_t *error)
{
    moe_transport_t *t = world->all;
    moe_gpu_view_t *views = NULL;
    moe_status_t status = world_agree(
        world, moe_alloc("GPUs", t->size, sizeof *views, (void **)&views, error), error);
    if (status == MOE_OK) {
        status = t->ops->allgather(t, mine, sizeof *mine, views, error);
    }
    if (status == MOE_OK) {
        status = moe_gpu_choose(views, t->size, world->config.share_gpu, chosen, error);
    }
    free(views);
    return status;
}

static moe_status_t open_chosen(world_t *world, const moe_gpu_t *gpus, const moe_gpu_view_t *view,
                                size_t number, moe_error_t *error)
{
    moe_transport_t *t = world->all;
    const rank_gpu_t mine = {
        .number = number, .near = (view->near >> number & 1) != 0, .gpu = gpus[number]};
    moe_status_t status = world_agree(
        world, moe_alloc("GPUs", t->size, sizeof *world->gpus, (void **)&world->gpus, error),
        error);
    if (status == MOE_OK) {
        status = t->ops->allgather(t, &mine, sizeof mine, world->gpus, error);
    }
    return status == MOE_OK
               ? world_agree(world, moe_cuda_device_create(number, &world->device, error), error)
               : status;
}

/* ---- The transport over them ---- */

static moe_status_t wrap(world_t *world, double timeout, moe_error_t *error)
{
    const config_t *c = &world->config;
    const size_t rank = world->all->rank;
    moe_transport_t *over = NULL;
    moe_status_t status;
    if (c->nccl) {
        moe_nccl_spec_t spec = {.device = world->device,
                                .timeout_seconds = timeout,
                                .min_ctas = c->min_ctas,
                                .max_ctas = c->max_ctas,
                                .channels_per_peer = c->channels_per_peer,
                                .registration = c->registration,
                                .share_gpu = c->share_gpu};
        snprintf(spec.label, sizeof spec.label, "%s, GPU %zu", world->hosts[rank],
                 world->gpus[rank].number);
        status = moe_nccl_create(&spec, world->all, &over, error);
    } else {
        status = moe_staged_create(world->all, world->device, moe_mpi_takes_cuda(), &over, error);
    }
    if (status == MOE_OK) {
        world->all = over;
    }
    return status;
}

moe_status_t gpu_take(world_t *world, double timeout, moe_error_t *error)
{
    moe_gpu_t gpus[MOE_GPUS_MAX];
    moe_gpu_view_t view;
    size_t *chosen = NULL;
    moe_status_t status = world_agree(world, look(world, gpus, &view, error), error);
    if (status == MOE_OK) {
        status = world_agree(
            world, moe_alloc("GPUs", world->all->size, sizeof *chosen, (void **)&chosen, error),
            error);
    }
    if (status == MOE_OK) {
        status = choose(world, &view, chosen, error);
    }
    if (status == MOE_OK) {
        status = open_chosen(world, gpus, &view, chosen[world->all->rank], error);
    }
    if (status == MOE_OK) {
        status = world_agree(world, wrap(world, timeout, error), error);
    }
    free(chosen);
    return status;
}

/* ---- What is told of it ---- */

static const char *staging(void)
{
    return moe_mpi_takes_cuda() ? "none: MPI takes memory of GPUs"
                                : "pinned host memory: this MPI does not say that it takes memory "
                                  "of GPUs";
}

static void print_nccl(FILE *out, const world_t *world)
{
    const config_t *c = &world->config;
    const moe_nccl_facts_t *facts = moe_nccl_facts(world->all);
    fprintf(out, "nccl      %s; buffers: %s%s", facts->version,
            c->registration == MOE_NCCL_REGISTER_OFF ? "not registered" : config_registration(c),
            c->graph ? "; exchanges as CUDA graphs" : "");
    if (facts->spec.max_ctas > 0) {
        char least[24] = "at most";
        if (facts->spec.min_ctas > 0) {
            snprintf(least, sizeof least, "%zu to", facts->spec.min_ctas);
        }
        fprintf(out, "; %s %zu CTAs", least, facts->spec.max_ctas);
    }
    if (c->channels_per_peer > 0) {
        fprintf(out, "; %zu channels a peer", c->channels_per_peer);
    }
    fprintf(out, "\n");
}

void gpu_print(FILE *out, const world_t *world)
{
    if (world->gpus == NULL) {
        return;
    }
    for (size_t r = 0; r < world->all->size; r++) {
        const rank_gpu_t *g = &world->gpus[r];
        fprintf(out, "%-9s rank %zu: GPU %zu of %s (%s, %s)%s\n", r == 0 ? "gpus" : "", r,
                g->number, world->hosts[r], g->gpu.name, g->gpu.pci,
                g->near ? ", near its cores" : "");
    }
    if (world->config.share_gpu) {
        fprintf(out, "          SHARED: ranks on one GPU over sockets show that it works, not how "
                     "fast it is\n");
    }
    if (world->config.nccl) {
        print_nccl(out, world);
    } else {
        fprintf(out, "staging   %s\n", staging());
    }
}

static json_t *nccl_config(const world_t *world)
{
    const moe_nccl_facts_t *facts = moe_nccl_facts(world->all);
    const moe_nccl_spec_t *spec = &facts->spec;
    json_t *config =
        json_pack("{s:s, s:b, s:b, s:b}", "register", config_registration(&world->config), "graph",
                  (int)world->config.graph, "share_gpu", (int)spec->share_gpu, "alltoall",
                  (int)facts->has_alltoall);
    if (spec->min_ctas > 0) {
        json_object_set_new(config, "min_ctas", json_integer((json_int_t)spec->min_ctas));
    }
    if (spec->max_ctas > 0) {
        json_object_set_new(config, "max_ctas", json_integer((json_int_t)spec->max_ctas));
    }
    if (spec->channels_per_peer > 0) {
        json_object_set_new(config, "channels_per_peer",
                            json_integer((json_int_t)spec->channels_per_peer));
    }
    return config;
}

void gpu_record(const world_t *world, json_t *run)
{
    char version[128];
    if (world->gpus == NULL) {
        return;
    }
    json_t *gpus = json_array();
    for (size_t r = 0; r < world->all->size; r++) {
        const rank_gpu_t *g = &world->gpus[r];
        json_array_append_new(gpus, json_pack("{s:I, s:s, s:s, s:I, s:s, s:b}", "number",
                                              (json_int_t)g->number, "name", g->gpu.name, "pci",
                                              g->gpu.pci, "memory_bytes", (json_int_t)g->gpu.bytes,
                                              "capability", "", "near", (int)g->near));
        char capability[16];
        snprintf(capability, sizeof capability, "%d.%d", g->gpu.major, g->gpu.minor);
        json_object_set_new(json_array_get(gpus, r), "capability", json_string(capability));
    }
    json_object_set_new(run, "gpus", gpus);
    moe_cuda_version(version, sizeof version);
    json_object_set_new(run, "cuda", json_string(version));
    if (world->config.share_gpu) {
        json_object_set_new(run, "functional_only", json_true());
    }
    if (world->config.nccl) {
        json_object_set_new(run, "nccl", json_string(moe_nccl_facts(world->all)->version));
        json_object_set_new(run, "nccl_config", nccl_config(world));
    } else {
        json_object_set_new(run, "staging", json_string(moe_mpi_takes_cuda() ? "none" : "pinned"));
    }
}
