#include <limits.h>

#ifdef MOE_HAVE_HWLOC
#include <hwloc.h>
#endif

#include "moe/system.h"

#ifdef MOE_HAVE_HWLOC

/* The whole host (those parts that a control group bars included) with its PCI devices, without the
 * caches. Packages and groups stay: hwloc hangs a device under the part of the host that it is near. */
static bool load(hwloc_topology_t topology)
{
    /* Without libpciaccess, which keeps memory: sysfs tells where devices are. An hwloc that was built
     * without it refuses, and reads sysfs anyway. */
    (void)hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "pci");
    return hwloc_topology_set_cache_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) == 0 &&
           hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PCI_DEVICE,
                                          HWLOC_TYPE_FILTER_KEEP_IMPORTANT) == 0 &&
           hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) == 0 &&
           hwloc_topology_load(topology) == 0;
}

/* Whether some memory of the host is nearer to some of its cores than to others. */
static bool is_divided(hwloc_topology_t topology)
{
    const hwloc_const_cpuset_t all = hwloc_topology_get_topology_cpuset(topology);
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != NULL) {
        if (!hwloc_bitmap_iszero(node->cpuset) && !hwloc_bitmap_isequal(node->cpuset, all))
            return true;
    }
    return false;
}

/* Whether the device is near one of the `bound` cores. On a host with several NUMA nodes, a device
 * that is near all of them is one whose place the firmware does not tell (virtual machines). */
static bool is_near(hwloc_topology_t topology, const char *pci, bool divided,
                    hwloc_const_cpuset_t bound)
{
    const hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(topology, pci);
    const hwloc_obj_t place =
        device != NULL ? hwloc_get_non_io_ancestor_obj(topology, device) : NULL;
    if (place == NULL)
        return false;
    if (divided &&
        hwloc_bitmap_isequal(place->cpuset, hwloc_topology_get_topology_cpuset(topology)))
        return false;
    return hwloc_bitmap_intersects(place->cpuset, bound) != 0;
}

static uint32_t near_cores(hwloc_topology_t topology, const char pci[][16], size_t count,
                           hwloc_const_cpuset_t bound)
{
    if (hwloc_bitmap_isincluded(hwloc_topology_get_topology_cpuset(topology), bound))
        return 0;
    const bool divided = is_divided(topology);
    uint32_t near = 0;
    for (size_t i = 0; i < count && i < sizeof near * CHAR_BIT; i++)
        near |= (uint32_t)is_near(topology, pci[i], divided, bound) << i;
    return near;
}

uint32_t moe_near_pci(const char pci[][16], size_t count)
{
    uint32_t near = 0;
    hwloc_topology_t topology = NULL;
    if (hwloc_topology_init(&topology) != 0)
        return 0;
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    if (bound != NULL && load(topology) &&
        hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0)
        near = near_cores(topology, pci, count, bound);
    hwloc_bitmap_free(bound);
    hwloc_topology_destroy(topology);
    return near;
}

#else

uint32_t moe_near_pci(const char pci[][16], size_t count)
{
    (void)pci;
    (void)count;
    return 0;
}

#endif
