#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "moe/system.h"

#ifdef MOE_HAVE_HWLOC

/* A part of the host that has a line of its own: the machine, a package, a NUMA node. */
typedef struct drawing {
    FILE *out;
    const char *margin;
    hwloc_topology_t topology;
} drawing_t;

#define PCI_CLASS_DISPLAY 0x03 /* the upper byte of the class: "Display controller", PCI-SIG */

static size_t count_within(const drawing_t *d, hwloc_obj_t part, hwloc_obj_type_t type)
{
    const int count = hwloc_get_nbobjs_inside_cpuset_by_type(d->topology, part->cpuset, type);
    return count > 0 ? (size_t)count : 0;
}

static hwloc_obj_t next_within(const drawing_t *d, hwloc_obj_t part, hwloc_obj_type_t type,
                               hwloc_obj_t last)
{
    return hwloc_get_next_obj_inside_cpuset_by_type(d->topology, part->cpuset, type, last);
}

/* The smallest part that has a line and holds all of `inner`: a node, else a package, else the
 * machine. */
static hwloc_obj_t part_of(const drawing_t *d, hwloc_obj_t inner)
{
    const hwloc_obj_t node = moe_host_node(d->topology, inner);
    if (node != NULL)
        return node;
    hwloc_obj_t package = NULL;
    while ((package = hwloc_get_next_obj_by_type(d->topology, HWLOC_OBJ_PACKAGE, package)) !=
           NULL) {
        if (hwloc_bitmap_isincluded(inner->cpuset, package->cpuset))
            return package;
    }
    return hwloc_get_root_obj(d->topology);
}

/* ---- What a line holds ---- */

/* "; L3 2 x 32.0 MiB": caches whose smallest part this is. */
static void draw_caches(const drawing_t *d, hwloc_obj_t part)
{
    static const struct {
        hwloc_obj_type_t type;
        const char *name;
    } levels[] = {{HWLOC_OBJ_L3CACHE, "L3"}, {HWLOC_OBJ_L2CACHE, "L2"}, {HWLOC_OBJ_L1CACHE, "L1d"}};
    const char *between = "; ";
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        size_t count = 0, bytes = 0;
        bool same = true;
        hwloc_obj_t cache = NULL;
        while ((cache = next_within(d, part, levels[i].type, cache)) != NULL) {
            if (part_of(d, cache) != part)
                continue;
            same = same && (count == 0 || cache->attr->cache.size == bytes);
            bytes = (size_t)cache->attr->cache.size;
            count++;
        }
        if (count == 0)
            continue;
        char size[16];
        fprintf(d->out, "%s%s %zu x %s", between, levels[i].name, count,
                same ? moe_format_bytes((double)bytes, size) : "(of several sizes)");
        between = ", ";
    }
}

/* "16 cores, cpus 0-15,64-79" */
static void draw_cores(const drawing_t *d, hwloc_obj_t part)
{
    const size_t cores = count_within(d, part, HWLOC_OBJ_CORE);
    char *cpus = NULL;
    if (hwloc_bitmap_iszero(part->cpuset)) {
        fprintf(d->out, "no cores");
        return;
    }
    if (cores > 0)
        fprintf(d->out, "%zu %s, ", cores, cores == 1 ? "core" : "cores");
    if (hwloc_bitmap_list_asprintf(&cpus, part->cpuset) >= 0)
        fprintf(d->out, "%s %s", strpbrk(cpus, ",-") != NULL ? "cpus" : "cpu", cpus);
    free(cpus);
}

static void draw_memory(const drawing_t *d, hwloc_obj_t node)
{
    char text[16];
    fprintf(d->out, "; %s", moe_format_bytes((double)node->attr->numanode.local_memory, text));
}

/* ---- Devices ---- */

/* "GPU 0000:1b:00.0", "eth0 (0000:03:00.0)", "mlx5_0 (...)"; false: another kind of device. */
static bool name_device(hwloc_obj_t device, char *text, size_t size)
{
    if (device->type == HWLOC_OBJ_PCI_DEVICE) {
        const struct hwloc_pcidev_attr_s *pci = &device->attr->pcidev;
        snprintf(text, size, "GPU %04x:%02x:%02x.%01x", pci->domain, pci->bus, pci->dev, pci->func);
        return pci->class_id >> 8 == PCI_CLASS_DISPLAY;
    }
    const hwloc_obj_t parent = device->parent;
    if (parent != NULL && parent->type == HWLOC_OBJ_PCI_DEVICE) {
        const struct hwloc_pcidev_attr_s *pci = &parent->attr->pcidev;
        snprintf(text, size, "%s (%04x:%02x:%02x.%01x)", device->name, pci->domain, pci->bus,
                 pci->dev, pci->func);
    } else {
        snprintf(text, size, "%s", device->name);
    }
    return device->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK ||
           device->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
}

static size_t draw_devices_of(const drawing_t *d, hwloc_obj_t part, hwloc_obj_type_t type,
                              const char *start, size_t drawn)
{
    hwloc_obj_t device = NULL;
    while ((device = hwloc_get_next_obj_by_type(d->topology, type, device)) != NULL) {
        char name[96];
        const hwloc_obj_t place = moe_host_place(d->topology, device);
        if (place == NULL || part_of(d, place) != part || !name_device(device, name, sizeof name))
            continue;
        fprintf(d->out, "%s%s", drawn == 0 ? start : ", ", name);
        drawn++;
    }
    return drawn;
}

/* A line of those that hang at this part and no smaller one. */
static void draw_devices(const drawing_t *d, hwloc_obj_t part, const char *indent)
{
    char start[64];
    snprintf(start, sizeof start, "%s%s", d->margin, indent);
    size_t drawn = draw_devices_of(d, part, HWLOC_OBJ_PCI_DEVICE, start, 0);
    drawn = draw_devices_of(d, part, HWLOC_OBJ_OS_DEVICE, start, drawn);
    if (drawn > 0)
        fprintf(d->out, "\n");
}

/* ---- Lines ---- */

static void draw_node(const drawing_t *d, hwloc_obj_t node, const char *indent)
{
    fprintf(d->out, "%s%sNUMA node %u: ", d->margin, indent, node->os_index);
    draw_cores(d, node);
    draw_memory(d, node);
    draw_caches(d, node);
    fprintf(d->out, "\n");
    char deeper[32];
    snprintf(deeper, sizeof deeper, "%s  ", indent);
    draw_devices(d, node, deeper);
}

static bool is_one_node(const drawing_t *d, hwloc_obj_t package)
{
    const hwloc_obj_t node = next_within(d, package, HWLOC_OBJ_NUMANODE, NULL);
    return node != NULL && hwloc_bitmap_isequal(node->cpuset, package->cpuset);
}

static void draw_package(const drawing_t *d, hwloc_obj_t package)
{
    char model[96];
    moe_host_model(package, model, sizeof model);
    fprintf(d->out, "%spackage %u%s%s", d->margin, package->os_index, model[0] != '\0' ? ": " : "",
            model);
    if (!is_one_node(d, package)) {
        fprintf(d->out, "%s", model[0] != '\0' ? "; " : ": ");
        draw_cores(d, package);
        draw_caches(d, package);
    }
    fprintf(d->out, "\n");
    draw_devices(d, package, "  ");
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(d->topology, HWLOC_OBJ_NUMANODE, node)) != NULL) {
        if (!hwloc_bitmap_iszero(node->cpuset) &&
            hwloc_bitmap_isincluded(node->cpuset, package->cpuset))
            draw_node(d, node, "  ");
    }
}

/* Nodes that are in no package: without cores, or around several packages. */
static void draw_other_nodes(const drawing_t *d)
{
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(d->topology, HWLOC_OBJ_NUMANODE, node)) != NULL) {
        bool in_package = false;
        hwloc_obj_t package = NULL;
        while ((package = hwloc_get_next_obj_by_type(d->topology, HWLOC_OBJ_PACKAGE, package)) !=
               NULL)
            in_package = in_package || hwloc_bitmap_isincluded(node->cpuset, package->cpuset);
        if (!in_package || hwloc_bitmap_iszero(node->cpuset))
            draw_node(d, node, "");
    }
}

void moe_topology_draw(FILE *out, const char *margin)
{
    drawing_t d = {.out = out, .margin = margin};
    if (!moe_host_load(&d.topology))
        return;
    hwloc_obj_t package = NULL;
    while ((package = hwloc_get_next_obj_by_type(d.topology, HWLOC_OBJ_PACKAGE, package)) != NULL)
        draw_package(&d, package);
    draw_other_nodes(&d);
    draw_devices(&d, hwloc_get_root_obj(d.topology), "of no NUMA node: ");
    hwloc_topology_destroy(d.topology);
}

#else

void moe_topology_draw(FILE *out, const char *margin)
{
    (void)out;
    (void)margin;
}

#endif
