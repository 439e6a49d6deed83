#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "moe/binding.h"

#ifdef MOE_HAVE_HWLOC

/* Appends a word, or "..." where it would not fit. */
static void append(char text[MOE_BINDING_TEXT], const char *word)
{
    static const char cut[] = " ...";
    const size_t used = strlen(text);
    if (used >= sizeof cut - 1 && strcmp(text + used - (sizeof cut - 1), cut) == 0)
        return;
    const char *space = used > 0 ? " " : "";
    if (used + strlen(space) + strlen(word) + sizeof cut <= MOE_BINDING_TEXT)
        snprintf(text + used, MOE_BINDING_TEXT - used, "%s%s", space, word);
    else
        snprintf(text + used, MOE_BINDING_TEXT - used, "%s", cut);
}

static void list_cpus(hwloc_const_bitmap_t bound, char text[MOE_BINDING_TEXT])
{
    char *list = NULL;
    if (hwloc_bitmap_list_asprintf(&list, bound) < 0)
        return;
    if (strlen(list) >= MOE_BINDING_TEXT)
        memcpy(list + MOE_BINDING_TEXT - sizeof "...", "...", sizeof "...");
    snprintf(text, MOE_BINDING_TEXT, "%s", list);
    free(list);
}

static bool set_cores(hwloc_topology_t topology, hwloc_const_bitmap_t bound, moe_binding_t *out)
{
    bool any = false;
    hwloc_obj_t core = NULL;
    while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != NULL) {
        if (!hwloc_bitmap_intersects(core->cpuset, bound))
            continue;
        if (core->logical_index >= MOE_BINDING_CORES)
            return false;
        out->cores[core->logical_index / 64] |= (uint64_t)1 << core->logical_index % 64;
        any = true;
    }
    return any;
}

static size_t cores_within(hwloc_topology_t topology, hwloc_const_cpuset_t set)
{
    size_t count = 0;
    hwloc_obj_t core = NULL;
    while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != NULL)
        count += hwloc_bitmap_intersects(core->cpuset, set) != 0;
    return count;
}

/* An OpenFabrics device that is near counts; one whose place is not told leaves it open. */
static moe_near_t nearer(moe_near_t a, moe_near_t b)
{
    if (a == MOE_NEAR || b == MOE_NEAR)
        return MOE_NEAR;
    return a == MOE_NEAR_UNKNOWN || b == MOE_NEAR_UNKNOWN ? MOE_NEAR_UNKNOWN : MOE_FAR;
}

static void find_nics(hwloc_topology_t topology, hwloc_const_bitmap_t bound, moe_binding_t *out)
{
    bool has_fabric = false;
    hwloc_obj_t device = NULL;
    while ((device = hwloc_get_next_osdev(topology, device)) != NULL) {
        const bool fabric = device->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
        if (!fabric && device->attr->osdev.type != HWLOC_OBJ_OSDEV_NETWORK)
            continue;
        const moe_near_t near = moe_host_near(topology, device, bound);
        if (near == MOE_NEAR)
            append(out->nics, device->name);
        if (fabric)
            out->fabric = has_fabric ? nearer(out->fabric, near) : near;
        has_fabric = has_fabric || fabric;
    }
}

void moe_binding_read(moe_binding_t *out)
{
    *out = (moe_binding_t){.known = false};
    hwloc_topology_t topology;
    if (!moe_host_load(&topology))
        return;
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    if (bound != NULL && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0) {
        out->known = set_cores(topology, bound, out);
        out->host_cores = cores_within(topology, hwloc_topology_get_allowed_cpuset(topology));
        list_cpus(bound, out->cpus);
        find_nics(topology, bound, out);
    }
    hwloc_bitmap_free(bound);
    hwloc_topology_destroy(topology);
}

moe_near_t moe_binding_near(const char *pci)
{
    moe_near_t near = MOE_NEAR_UNKNOWN;
    hwloc_topology_t topology;
    if (!moe_host_load(&topology))
        return near;
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    if (bound != NULL && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0)
        near = moe_host_near(topology, hwloc_get_pcidev_by_busidstring(topology, pci), bound);
    hwloc_bitmap_free(bound);
    hwloc_topology_destroy(topology);
    return near;
}

#else

void moe_binding_read(moe_binding_t *out)
{
    *out = (moe_binding_t){.known = false};
}

moe_near_t moe_binding_near(const char *pci)
{
    (void)pci;
    return MOE_NEAR_UNKNOWN;
}

#endif
