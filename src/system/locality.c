#include <limits.h>

#include "host.h"
#include "moe/system.h"

#ifdef MOE_HAVE_HWLOC

uint32_t moe_near_pci(const char pci[][16], size_t count)
{
    uint32_t near = 0;
    hwloc_topology_t topology;
    if (!moe_host_load(&topology))
        return 0;
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    if (bound != NULL && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0) {
        for (size_t i = 0; i < count && i < sizeof near * CHAR_BIT; i++) {
            const hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(topology, pci[i]);
            near |= (uint32_t)(moe_host_near(topology, device, bound) == MOE_NEAR) << i;
        }
    }
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
