#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#ifdef MOE_HAVE_HWLOC
#include <hwloc.h>
#endif

#include "moe/system.h"

#ifdef MOE_HAVE_HWLOC

/* Packages, cores, NUMA nodes and hardware threads of the whole host (those that a control group
 * bars included); caches and devices, which take the longest to find, are left out. */
static bool load(hwloc_topology_t topology)
{
    return hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) == 0 &&
           hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PACKAGE,
                                          HWLOC_TYPE_FILTER_KEEP_ALL) == 0 &&
           hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL) ==
               0 &&
           hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) == 0 &&
           hwloc_topology_load(topology) == 0;
}

static size_t count_of(hwloc_topology_t topology, hwloc_obj_type_t type)
{
    const int count = hwloc_get_nbobjs_by_type(topology, type);
    return count > 0 ? (size_t)count : 0;
}

static size_t bound_pus(hwloc_topology_t topology)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    int weight = 0;
    if (set != NULL && hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_PROCESS) == 0)
        weight = hwloc_bitmap_weight(set);
    hwloc_bitmap_free(set);
    return weight > 0 ? (size_t)weight : 0;
}

/* hwloc sums NUMA nodes, which in virtual machines may lack memory that was plugged in later. */
static size_t memory_bytes(hwloc_topology_t topology)
{
    const size_t nodes = (size_t)hwloc_get_root_obj(topology)->total_memory;
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (!hwloc_topology_is_thissystem(topology) || pages <= 0 || page <= 0)
        return nodes;
    const size_t kernel = (size_t)pages * (size_t)page;
    return kernel > nodes ? kernel : nodes;
}

void moe_topology_read(moe_topology_t *out)
{
    *out = (moe_topology_t){.known = false};
    hwloc_topology_t topology = NULL;
    if (hwloc_topology_init(&topology) != 0)
        return;
    if (load(topology)) {
        *out = (moe_topology_t){
            .known = true,
            .packages = count_of(topology, HWLOC_OBJ_PACKAGE),
            .numa_nodes = count_of(topology, HWLOC_OBJ_NUMANODE),
            .cores = count_of(topology, HWLOC_OBJ_CORE),
            .pus = count_of(topology, HWLOC_OBJ_PU),
            .memory_bytes = memory_bytes(topology),
            .bound_pus = bound_pus(topology),
        };
    }
    hwloc_topology_destroy(topology);
}

#else

void moe_topology_read(moe_topology_t *out)
{
    *out = (moe_topology_t){.known = false};
}

#endif

void moe_hostname(char *name, size_t size)
{
    char host[HOST_NAME_MAX + 1] = "";
    if (gethostname(host, sizeof host) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "unknown");
    host[HOST_NAME_MAX] = '\0';
    snprintf(name, size, "%s", host);
}
