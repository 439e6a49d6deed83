#include <stdlib.h>
#include <string.h>

#include "gpu.h"
#include "moe/simulated.h"
#include "moe/system.h"
#include "world.h"

/* Where memory is: a node's, or that of one of its GPUs. */
typedef struct need {
    size_t node, bytes, available;
    char pci[16]; /* empty: the node's */
} need_t;

static bool same_place(const need_t *a, const need_t *b)
{
    return a->node == b->node && strcmp(a->pci, b->pci) == 0;
}

/* What all ranks need in the place of rank r, where r is the first of them. */
static moe_status_t fits_place(const world_t *world, const need_t *every, size_t r,
                               const char *what, const char *remedy, moe_error_t *error)
{
    double sum = 0, available = (double)SIZE_MAX;
    size_t ranks = 0;
    for (size_t other = 0; other < world->all->size; other++) {
        if (!same_place(&every[other], &every[r])) {
            continue;
        }
        if (other < r) {
            return MOE_OK; /* that one has looked */
        }
        sum += (double)every[other].bytes;
        available =
            (double)every[other].available < available ? (double)every[other].available : available;
        ranks++;
    }
    if (sum <= available) {
        return MOE_OK;
    }
    char need[16], have[16], where[RANK_LABEL];
    if (every[r].pci[0] != '\0') {
        snprintf(where, sizeof where, "GPU %s of %s", every[r].pci, world->hosts[r]);
    } else {
        snprintf(where, sizeof where, "%s", moe_simulated() ? "this machine" : world->hosts[r]);
    }
    return moe_fail(
        error, MOE_BAD_INPUT, "%s of the %zu ranks on %s need %s, %s are available there: lower %s",
        what, ranks, where, moe_format_bytes(sum, need), moe_format_bytes(available, have), remedy);
}

static moe_status_t fits(world_t *world, const need_t *mine, const char *what, const char *remedy,
                         moe_error_t *error)
{
    moe_transport_t *t = world->all;
    need_t *every = NULL;
    if (moe_alloc("memory figures", t->size, sizeof *every, (void **)&every, NULL) != MOE_OK) {
        /* Others would wait for this rank: it ends all. */
        return moe_fail(error, MOE_FAILED,
                        "rank %zu: no memory to tell the others how much there is", t->rank);
    }
    moe_status_t status = t->ops->allgather(t, mine, sizeof *mine, every, error);
    for (size_t r = 0; status == MOE_OK && r < t->size; r++) {
        status = fits_place(world, every, r, what, remedy, error);
    }
    free(every);
    return status;
}

moe_status_t world_fits(world_t *world, const char *what, size_t bytes, const char *remedy,
                        moe_error_t *error)
{
    const need_t mine = {.node = moe_simulated() ? 0 : world->node, /* all are in this process */
                         .bytes = bytes,
                         .available = moe_memory_available()};
    return fits(world, &mine, what, remedy, error);
}

moe_status_t world_fits_device(world_t *world, const char *what, size_t bytes, const char *remedy,
                               moe_error_t *error)
{
    moe_device_t *d = world->device;
    need_t mine = {.node = moe_simulated() ? 0 : world->node,
                   .bytes = bytes,
                   .available = d->ops->available(d)};
    if (world->config.registration != MOE_NCCL_REGISTER_OFF) {
        /* Registered buffers are as large as the largest rank's. */
        moe_transport_t *t = world->all;
        const moe_status_t status = t->ops->reduce_sizes(t, &mine.bytes, 1, MOE_MAX, error);
        if (status != MOE_OK) {
            return status;
        }
    }
    if (world->gpus != NULL) {
        memcpy(mine.pci, world->gpus[world->all->rank].gpu.pci, sizeof mine.pci);
    }
    return fits(world, &mine, what, remedy, error);
}
