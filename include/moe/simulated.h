/* The program on a simulated network: built by `make sim` with SimGrid's SMPI, started by tools/sim. Ranks are
 * then coroutines of one process on the hosts of a platform, and every clock and pause of the program
 * shows and takes time of the simulation; what a rank computes in earnest takes none. */
#ifndef MOE_SIMULATED_H
#define MOE_SIMULATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether this program was built so. Without, nothing below has anything to tell. */
bool moe_simulated(void);

typedef struct moe_simulation {
    const char *platform; /* name of the platform: of its file, without folder and ending */
    const char
        *file; /* the platform's file, as it was found; or the machine that it was made from */
    const char *
        settings; /* of SimGrid, over the platform's and those of tools/sim: "smpi/alltoallv:ring"; may be "" */
    char simgrid[16]; /* version of the SimGrid that runs, "3.32.0" */
} moe_simulation_t;

/* What tools/sim tells of the platform, by variables of the environment. MOE_BAD_INPUT where they are missing:
 * records must say what they are of. */
moe_status_t moe_simulation_read(moe_simulation_t *out, moe_error_t *error);

/* The rank and the number of ranks, known before MPI is up; the simulated host that the rank is on, or the node of which
 * that host says by a property `node` that it is part. */
size_t moe_simulated_rank(void);
size_t moe_simulated_ranks(void);
const char *moe_simulated_host(void);
/* A number of that name: ranks of one node have it in common. */
uint64_t moe_simulated_node(void);

/* Tells tools/sim that this rank came to its end: SimGrid ends a run in which others wait for ever with status 0. */
void moe_simulation_ended(void);

/* So much time passes on this rank alone; others go on. */
void moe_simulated_wait(double seconds);

#ifdef __cplusplus
}
#endif
#endif
