/* The host as hwloc sees it, for the files of this room that ask it. */
#ifndef SYSTEM_HOST_H
#define SYSTEM_HOST_H

#ifdef MOE_HAVE_HWLOC

#include <hwloc.h>
#include <stdbool.h>

#include "moe/binding.h"

/* The whole host (those parts that a control group bars included) with packages, groups, NUMA nodes,
 * data caches, and with PCI, network and OpenFabrics devices. false: hwloc failed. Destroy with
 * hwloc_topology_destroy. */
bool moe_host_load(hwloc_topology_t *out);

/* Whether a device is near one of the `bound` cores. Unknown for a device that is NULL, for one whose
 * place the firmware does not tell (on a host with several NUMA nodes, near all of them, as in virtual
 * machines), and where the cores are all that the host has. */
moe_near_t moe_host_near(hwloc_topology_t topology, hwloc_obj_t device, hwloc_const_cpuset_t bound);

/* The smallest NUMA node around a part of the host (the first of several that are as small); NULL where
 * there is none, or only one around all of a host that has others. */
hwloc_obj_t moe_host_node(hwloc_topology_t topology, hwloc_obj_t part);

/* The name of a package's processor without the spaces behind it; empty where it has none. */
void moe_host_model(hwloc_obj_t package, char *text, size_t size);

/* Part of the host that a device hangs under, NULL where it has none. */
hwloc_obj_t moe_host_place(hwloc_topology_t topology, hwloc_obj_t device);

#endif
#endif
