#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "host.h"
#include "moe/simulated.h"
#include "moe/system.h"

#ifdef MOE_HAVE_HWLOC

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

/* Of one cache of a type, 0 where they differ. */
static size_t cache_bytes(hwloc_topology_t topology, hwloc_obj_type_t type)
{
    size_t bytes = 0;
    hwloc_obj_t cache = NULL;
    while ((cache = hwloc_get_next_obj_by_type(topology, type, cache)) != NULL) {
        if (bytes != 0 && cache->attr->cache.size != bytes)
            return 0;
        bytes = (size_t)cache->attr->cache.size;
    }
    return bytes;
}

static size_t numa_node_of(hwloc_topology_t topology, hwloc_obj_t device)
{
    const hwloc_obj_t place = moe_host_place(topology, device);
    const hwloc_obj_t node = place != NULL ? moe_host_node(topology, place) : NULL;
    return node != NULL ? node->os_index : MOE_NUMA_UNKNOWN;
}

static void find_nics(hwloc_topology_t topology, moe_topology_t *out)
{
    hwloc_obj_t device = NULL;
    while ((device = hwloc_get_next_osdev(topology, device)) != NULL) {
        const bool fabric = device->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
        if ((!fabric && device->attr->osdev.type != HWLOC_OBJ_OSDEV_NETWORK) ||
            out->nic_count == MOE_NICS_MAX)
            continue;
        moe_nic_t *nic = &out->nics[out->nic_count++];
        snprintf(nic->name, sizeof nic->name, "%s", device->name);
        nic->fabric = fabric;
        nic->numa_node = numa_node_of(topology, device);
    }
}

void moe_topology_read(moe_topology_t *out)
{
    *out = (moe_topology_t){.known = false};
    hwloc_topology_t topology;
    if (!moe_host_load(&topology))
        return;
    *out = (moe_topology_t){
        .known = true,
        .packages = count_of(topology, HWLOC_OBJ_PACKAGE),
        .numa_nodes = count_of(topology, HWLOC_OBJ_NUMANODE),
        .cores = count_of(topology, HWLOC_OBJ_CORE),
        .pus = count_of(topology, HWLOC_OBJ_PU),
        .memory_bytes = memory_bytes(topology),
        .bound_pus = bound_pus(topology),
        .l1d_bytes = cache_bytes(topology, HWLOC_OBJ_L1CACHE),
        .l2_bytes = cache_bytes(topology, HWLOC_OBJ_L2CACHE),
        .l3_bytes = cache_bytes(topology, HWLOC_OBJ_L3CACHE),
        .l3_caches = count_of(topology, HWLOC_OBJ_L3CACHE),
    };
    const hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    if (package != NULL)
        moe_host_model(package, out->cpu, sizeof out->cpu);
    find_nics(topology, out);
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
    if (moe_simulated())
        snprintf(host, sizeof host, "%s", moe_simulated_host());
    else if (gethostname(host, sizeof host) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "unknown");
    host[HOST_NAME_MAX] = '\0';
    snprintf(name, size, "%s", host);
}
