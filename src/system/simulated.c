#include "moe/simulated.h"

#ifdef MOE_HAVE_SMPI

#include <stdio.h>
#include <stdlib.h>

#include <simgrid/actor.h>
#include <simgrid/host.h>
#include <simgrid/version.h>

bool moe_simulated(void)
{
    return true;
}

moe_status_t moe_simulation_read(moe_simulation_t *out, moe_error_t *error)
{
    const char *platform = getenv("MOE_SIM_PLATFORM"), *file = getenv("MOE_SIM_FILE"),
               *settings = getenv("MOE_SIM_SETTINGS");
    int major = 0, minor = 0, patch = 0;
    if (platform == NULL || file == NULL)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s is not set: a program of `make sim` is started by tools/sim",
                        platform == NULL ? "MOE_SIM_PLATFORM" : "MOE_SIM_FILE");
    *out = (moe_simulation_t){
        .platform = platform, .file = file, .settings = settings != NULL ? settings : ""};
    sg_version_get(&major, &minor, &patch);
    snprintf(out->simgrid, sizeof out->simgrid, "%d.%d.%d", major, minor, patch);
    return MOE_OK;
}

/* SMPI names the actor of a rank by its number. */
size_t moe_simulated_rank(void)
{
    return strtoul(sg_actor_self_get_name(), NULL, 10);
}

/* By smpirun. */
size_t moe_simulated_ranks(void)
{
    const char *ranks = getenv("SMPI_GLOBAL_SIZE");
    return ranks != NULL ? strtoul(ranks, NULL, 10) : 1;
}

const char *moe_simulated_host(void)
{
    const sg_host_t host = sg_host_self();
    const char *node = sg_host_get_property_value(host, "node");
    return node != NULL ? node : sg_host_get_name(host);
}

/* FNV-1a of 64 bits: names of up to 65,536 nodes meet once in 10^10 platforms. */
uint64_t moe_simulated_node(void)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (const char *c = moe_simulated_host(); *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    return hash;
}

void moe_simulation_ended(void)
{
    const char *path = getenv("MOE_SIM_ENDED");
    FILE *file = path != NULL ? fopen(path, "a") : NULL;
    if (file != NULL) {
        fputc('.', file);
        fclose(file);
    }
}

void moe_simulated_wait(double seconds)
{
    sg_actor_sleep_for(seconds);
}

#else

bool moe_simulated(void)
{
    return false;
}

moe_status_t moe_simulation_read(moe_simulation_t *out, moe_error_t *error)
{
    (void)out;
    return moe_fail(error, MOE_BAD_INPUT,
                    "this program was not built for simulated networks: `make sim` builds one");
}

size_t moe_simulated_rank(void)
{
    return 0;
}

size_t moe_simulated_ranks(void)
{
    return 1;
}

const char *moe_simulated_host(void)
{
    return "none";
}

uint64_t moe_simulated_node(void)
{
    return 0;
}

void moe_simulation_ended(void)
{
}

void moe_simulated_wait(double seconds)
{
    (void)seconds;
}

#endif
