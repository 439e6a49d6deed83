#include "binding.h"

#include <stdlib.h>
#include <string.h>

#include "gpu.h"
#include "moe/binding.h"
#include "moe/simulated.h"
#include "moe/system.h"

struct bindings {
    json_t *warnings;      /* strings */
    moe_binding_t ranks[]; /* [ranks of the run] */
};

/* ---- Warnings ---- */

static const char *what_to_do(moe_binding_fault_t fault)
{
    switch (fault) {
    case MOE_BINDING_OVERSUBSCRIBED:
        return "they wait for each other, and times are not the network's: start fewer ranks a "
               "node";
    case MOE_BINDING_SHARED:
        return "they wait for each other: bind each rank to cores of its own (mpirun --bind-to "
               "core, "
               "srun --cpu-bind=cores)";
    case MOE_BINDING_GPU_FAR:
        return "copies and launches cross the host: bind ranks to the cores of their GPU's NUMA "
               "node "
               "(srun --gpu-bind=closest)";
    case MOE_BINDING_FABRIC_FAR:
        return "messages cross the host: bind ranks to cores of the device's NUMA node";
    }
    return "";
}

/* "rank 3", "ranks 0-3,7" */
static void name_ranks(const moe_binding_finding_t *f, char *text, size_t size)
{
    char list[MOE_BINDING_TEXT];
    moe_binding_list(f->ranks, f->count, list, sizeof list);
    snprintf(text, size, "%s %s", f->count == 1 ? "rank" : "ranks", list);
}

static void describe(const world_t *world, const moe_binding_finding_t *f, char *text, size_t size)
{
    char ranks[MOE_BINDING_TEXT + sizeof "ranks "];
    const char *host = world->hosts[f->ranks[0]], *remedy = what_to_do(f->fault);
    const char *cores = f->cores == 1 ? "core" : "cores";
    name_ranks(f, ranks, sizeof ranks);
    switch (f->fault) {
    case MOE_BINDING_OVERSUBSCRIBED:
        snprintf(text, size, "%s: %s need %zu cores, and the host has %zu %s: %s", host, ranks,
                 f->need, f->cores, cores, remedy);
        break;
    case MOE_BINDING_SHARED:
        snprintf(text, size, "%s: %s need %zu cores and are bound to %zu %s: %s", host, ranks,
                 f->need, f->cores, cores, remedy);
        break;
    case MOE_BINDING_GPU_FAR:
        snprintf(text, size, "%s: %s bound to cores far from %s: %s", host, ranks,
                 f->count == 1 ? "its GPU" : "their GPUs", remedy);
        break;
    case MOE_BINDING_FABRIC_FAR:
        snprintf(text, size, "%s: no rank (%s) is near an OpenFabrics device: %s", host, ranks,
                 remedy);
        break;
    }
}

static void warn(void *context, const moe_binding_finding_t *finding)
{
    const world_t *world = context;
    char text[MOE_ERROR_TEXT];
    describe(world, finding, text, sizeof text);
    json_array_append_new(world->bindings->warnings, json_string(text));
    fprintf(stderr, "moe-a2a %s: warning: %s\n", world->config.command->name, text);
}

/* ---- Gathering ---- */

static moe_binding_t mine(const world_t *world)
{
    moe_binding_t binding;
    moe_binding_read(&binding);
    binding.node = world->node;
    binding.need = world->config.threads > 0 ? world->config.threads : 1;
    if (world->gpus != NULL) {
        binding.gpu = moe_binding_near(world->gpus[world->all->rank].gpu.pci);
    }
    return binding;
}

moe_status_t binding_check(world_t *world, moe_error_t *error)
{
    moe_transport_t *t = world->all;
    if (world->config.loopback || moe_simulated()) {
        return MOE_OK;
    }
    const moe_binding_t binding = mine(world);
    moe_status_t status =
        world_agree(world,
                    moe_alloc("bindings", 1, sizeof *world->bindings + t->size * sizeof binding,
                              (void **)&world->bindings, error),
                    error);
    if (status == MOE_OK) {
        status = t->ops->allgather(t, &binding, sizeof binding, world->bindings->ranks, error);
    }
    if (status == MOE_OK && t->rank == 0) {
        world->bindings->warnings = json_array();
        status = moe_binding_check(world->bindings->ranks, t->size, warn, world, error);
    }
    if (t->rank != 0) {
        binding_free(world);
    }
    return world_agree(world, status, error);
}

void binding_free(world_t *world)
{
    if (world->bindings != NULL) {
        json_decref(world->bindings->warnings);
        free(world->bindings);
        world->bindings = NULL;
    }
}

/* ---- The record ---- */

static json_t *words_of(const char *text)
{
    json_t *words = json_array();
    for (size_t length; *text != '\0'; text += length + (text[length] == ' ')) {
        length = strcspn(text, " ");
        json_array_append_new(words, json_stringn(text, length));
    }
    return words;
}

void binding_record(const world_t *world, json_t *run)
{
    if (world->bindings == NULL) {
        return;
    }
    json_t *cpus = json_array(), *nics = json_array();
    bool known = true, any_nic = false;
    for (size_t r = 0; r < world->all->size; r++) {
        const moe_binding_t *binding = &world->bindings->ranks[r];
        known = known && binding->known;
        any_nic = any_nic || binding->nics[0] != '\0';
        json_array_append_new(cpus, json_string(binding->cpus));
        json_array_append_new(nics, words_of(binding->nics));
    }
    if (known) {
        json_t *record =
            json_pack("{s:O, s:O}", "cpus", cpus, "warnings", world->bindings->warnings);
        if (any_nic) {
            json_object_set(record, "nics", nics);
        }
        json_object_set_new(run, "binding", record);
    }
    json_decref(cpus);
    json_decref(nics);
}
