#ifdef MOE_HAVE_HWLOC

#include "host.h"

#include <stdio.h>
#include <string.h>

/* Without libpciaccess, which keeps memory: sysfs tells where devices are. An hwloc that was built
 * without it refuses, and reads sysfs anyway. */
static bool set_up(hwloc_topology_t topology)
{
    (void)hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "pci");
    return hwloc_topology_set_icache_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) == 0 &&
           hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PCI_DEVICE,
                                          HWLOC_TYPE_FILTER_KEEP_IMPORTANT) == 0 &&
           hwloc_topology_set_type_filter(topology, HWLOC_OBJ_OS_DEVICE,
                                          HWLOC_TYPE_FILTER_KEEP_IMPORTANT) == 0 &&
           hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) == 0 &&
           hwloc_topology_load(topology) == 0;
}

bool moe_host_load(hwloc_topology_t *out)
{
    hwloc_topology_t topology = NULL;
    if (hwloc_topology_init(&topology) != 0)
        return false;
    if (!set_up(topology)) {
        hwloc_topology_destroy(topology);
        return false;
    }
    *out = topology;
    return true;
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

hwloc_obj_t moe_host_place(hwloc_topology_t topology, hwloc_obj_t device)
{
    return device != NULL ? hwloc_get_non_io_ancestor_obj(topology, device) : NULL;
}

moe_near_t moe_host_near(hwloc_topology_t topology, hwloc_obj_t device, hwloc_const_cpuset_t bound)
{
    const hwloc_const_cpuset_t all = hwloc_topology_get_topology_cpuset(topology);
    const hwloc_obj_t place = moe_host_place(topology, device);
    if (place == NULL || hwloc_bitmap_isincluded(all, bound) ||
        (is_divided(topology) && hwloc_bitmap_isequal(place->cpuset, all)))
        return MOE_NEAR_UNKNOWN;
    return hwloc_bitmap_intersects(place->cpuset, bound) ? MOE_NEAR : MOE_FAR;
}

hwloc_obj_t moe_host_node(hwloc_topology_t topology, hwloc_obj_t part)
{
    hwloc_obj_t node = NULL, found = NULL;
    while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != NULL) {
        if (hwloc_bitmap_isincluded(part->cpuset, node->cpuset) &&
            (found == NULL ||
             hwloc_bitmap_weight(node->cpuset) < hwloc_bitmap_weight(found->cpuset)))
            found = node;
    }
    const bool all =
        found != NULL &&
        hwloc_bitmap_isequal(found->cpuset, hwloc_topology_get_topology_cpuset(topology));
    return all && is_divided(topology) ? NULL : found;
}

void moe_host_model(hwloc_obj_t part, char *text, size_t size)
{
    const char *name = hwloc_obj_get_info_by_name(part, "CPUModel");
    size_t length = name != NULL ? strlen(name) : 0;
    while (length > 0 && name[length - 1] == ' ')
        length--;
    snprintf(text, size, "%.*s", (int)length, name != NULL ? name : "");
}

#else

typedef int moe_host_is_empty_t; /* ISO C forbids a file without a declaration */

#endif
