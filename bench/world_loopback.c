/* Ranks that are threads of this process. */
#include "world_loopback.h"

#include <pthread.h>
#include <stdlib.h>

#include "launcher.h"
#include "moe/simulated.h"
#include "moe/system.h"

typedef struct loopback_rank {
    pthread_t thread;
    world_t world;
    world_fn body;
    moe_status_t status;
} loopback_rank_t;

static void *run_loopback_rank(void *argument)
{
    loopback_rank_t *rank = argument;
    moe_error_t error = {0};
    rank->status = world_run_rank(&rank->world, rank->body, MOE_OK, &error);
    world_end(&rank->world);
    return NULL;
}

moe_status_t world_run_loopback(const config_t *config, world_fn body, moe_error_t *error)
{
    const size_t size = config->ranks;
    atomic_flag spoken = ATOMIC_FLAG_INIT;
    moe_transport_t **transports = NULL;
    loopback_rank_t *ranks = NULL;
    moe_status_t status =
        moe_alloc("loopback ranks", size, sizeof *transports, (void **)&transports, error);
    if (status == MOE_OK) {
        status = moe_alloc("loopback ranks", size, sizeof *ranks, (void **)&ranks, error);
    }
    if (status == MOE_OK) {
        status = moe_loopback_create(size, transports, error);
    }
    size_t started = 0;
    for (; status == MOE_OK && started < size; started++) {
        loopback_rank_t *rank = &ranks[started];
        *rank = (loopback_rank_t){
            .world = {.config = *config, .all = transports[started], .spoken = &spoken},
            .body = body};
        if (pthread_create(&rank->thread, NULL, run_loopback_rank, rank) != 0) {
            status =
                moe_fail(error, MOE_BAD_INPUT,
                         "--ranks %zu: this system starts no more than %zu threads", size, started);
            transports[started]->ops->abort(transports[started], MOE_BAD_INPUT);
            break;
        }
    }
    moe_status_t worst = status;
    for (size_t r = 0; r < started; r++) {
        pthread_join(ranks[r].thread, NULL);
        worst = worst == MOE_OK || (ranks[r].status != MOE_OK && ranks[r].status < worst)
                    ? ranks[r].status
                    : worst;
    }
    free(ranks);
    free(transports);
    return worst;
}

/* Of several processes some may have been told to use MPI: they would wait for the others for ever. */
moe_status_t world_loopback_check(const config_t *config, moe_error_t *error)
{
    if (config->loopback && moe_simulated()) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--transport loopback: its ranks are threads, which cannot be simulated: "
                        "leave it out, and give tools/sim the ranks");
    }
    return config->loopback && launcher_ranks() > 1
               ? moe_fail(error, MOE_BAD_INPUT,
                          "--transport loopback: its ranks are threads of one process, and %ld "
                          "processes were launched: start it without mpirun, with --ranks %ld",
                          launcher_ranks(), launcher_ranks())
               : MOE_OK;
}
