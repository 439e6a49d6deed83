/* Where ranks may run, and what is wrong with that: ranks that share a core, GPUs and network devices
 * that are far from their ranks. */
#ifndef MOE_BINDING_H
#define MOE_BINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MOE_BINDING_CORES 2048 /* cores of a host; a rank on a host with more is not known */
#define MOE_BINDING_TEXT  128

/* Whether a device is near cores: on the NUMA node, or in the package, of one of them. */
typedef enum moe_near {
    MOE_NEAR_UNKNOWN, /* the host does not tell, or the rank may run everywhere */
    MOE_NEAR,
    MOE_FAR
} moe_near_t;

/* One rank. Plain data: ranks exchange it as it is. */
typedef struct moe_binding {
    bool known;        /* false: built without hwloc, or it failed */
    size_t node;       /* equal for ranks that share a host */
    size_t need;       /* cores that the rank keeps busy, at least 1 */
    size_t host_cores; /* of the host, without those that a control group bars */
    uint64_t cores[MOE_BINDING_CORES / 64]; /* bit i % 64 of word i / 64: core i (hwloc's logical
                                             * number) has a thread that the rank may run on */
    char cpus
        [MOE_BINDING_TEXT]; /* the same as the system numbers threads: "0-3,8"; cut with "..." */
    moe_near_t gpu;         /* of the rank's own; unknown where it has none */
    moe_near_t fabric;      /* of the nearest OpenFabrics device; unknown without one */
    char nics[MOE_BINDING_TEXT]; /* network and OpenFabrics devices near the rank, "eth0 mlx5_0" */
} moe_binding_t;

typedef enum moe_binding_fault {
    MOE_BINDING_OVERSUBSCRIBED, /* ranks need more cores than the node has */
    MOE_BINDING_SHARED,    /* ranks are bound to fewer cores than they need; the node has more */
    MOE_BINDING_GPU_FAR,   /* ranks bound to cores far from their GPU */
    MOE_BINDING_FABRIC_FAR /* no rank of the node is near any OpenFabrics device */
} moe_binding_fault_t;

/* One thing that is wrong on one node. */
typedef struct moe_binding_finding {
    moe_binding_fault_t fault;
    size_t node;
    const size_t *ranks; /* [count], ascending: whom it is about; valid during the call */
    size_t count;
    size_t cores, need; /* shared, oversubscribed: cores that they have together, and need */
} moe_binding_finding_t;

/* Reads where this process may run, and what is near; node, need and gpu are left to the caller.
 * Never fails: see `known`. */
void moe_binding_read(moe_binding_t *out);

/* Whether the PCI device ("0000:1b:00.0") is near the cores that this process is bound to. */
moe_near_t moe_binding_near(const char *pci);

/* Calls visit for each thing that is wrong with ranks[count], by ascending node, in the order of the
 * faults above. Ranks have too few cores where no assignment gives every rank of the node `need` cores
 * for itself among those it may run on (Hall's theorem): ranks that may all run everywhere share
 * nothing until there are more of them than cores. FABRIC_FAR is looked for where ranks are on more
 * than one node: within one the device carries nothing. Ranks that are not known are left out. */
moe_status_t moe_binding_check(const moe_binding_t *ranks, size_t count,
                               void (*visit)(void *context, const moe_binding_finding_t *finding),
                               void *context, moe_error_t *error);

/* "0-3,7" of ranks[count] (ascending) into text, cut with "..." where it is longer; returns text. */
char *moe_binding_list(const size_t *ranks, size_t count, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
