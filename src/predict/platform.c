/* A described machine as a platform of SimGrid: every rank a host (its node is a property of it) with a port in each
 * tier; ranks share ports as they do in the description.
 *
 *   within a group that the first of two tiers joins:   rank -- its port up -- port down -- rank
 *   else:                                               rank -- its port up -- core -- port down -- rank
 *
 * Zones route in full, so that a group has as many routes as pairs; between groups they go through the core, whose link
 * has half of the latency and no limit. */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>

#include "moe/predict.h"

#define MOST_RANKS 65536
#define MOST_GROUP 512 /* ranks that a tier joins: pairs are written out */

/* Of GB/s: no link that is to be none limits, and no rank sends to itself slower than it copies. */
#define NO_LIMIT 1e9

typedef struct platform {
    const moe_machine_t *machine;
    size_t ranks, group; /* ranks of a zone; 1 where one tier joins all */
    FILE *out;
} platform_t;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static const moe_tier_t *far_tier(const platform_t *p)
{
    return &p->machine->tier[p->machine->tiers - 1];
}

/* A message takes the far tier's overhead of its sender wherever it goes: what a near one takes besides is its
 * latency. */
static double near_latency(const platform_t *p)
{
    const moe_tier_t *near = &p->machine->tier[0];
    const double rest = near->latency + near->overhead - far_tier(p)->overhead;
    return rest > 0 ? rest : 0;
}

static void write_head(const platform_t *p)
{
    const double overhead = far_tier(p)->overhead;
    fprintf(p->out,
            "<?xml version='1.0'?>\n"
            "<!DOCTYPE platform SYSTEM \"https://simgrid.org/simgrid.dtd\">\n"
            "<!-- A machine of %zu ranks as moe-a2a predict writes it: see "
            "docs/simulation.md. -->\n"
            "<platform version=\"4.1\">\n"
            "  <config>\n"
            "    <!-- Messages get what links give: SimGrid's own factors were fitted to TCP over "
            "Gigabit "
            "Ethernet. -->\n"
            "    <prop id=\"smpi/lat-factor\" value=\"0:1\"/>\n"
            "    <prop id=\"smpi/bw-factor\" value=\"0:1\"/>\n"
            "    <prop id=\"network/TCP-gamma\" value=\"0\"/>\n"
            "    <prop id=\"network/crosstraffic\" value=\"0\"/>\n"
            "    <!-- What a message takes of its sender: overhead_us of the last tier. -->\n"
            "    <prop id=\"smpi/os\" value=\"0:%.9g:0\"/>\n"
            "    <prop id=\"smpi/ois\" value=\"0:%.9g:0\"/>\n"
            "    <prop id=\"smpi/or\" value=\"0:0:0\"/>\n"
            "  </config>\n",
            p->ranks, overhead, overhead);
}

/* ---- Links ---- */

static void write_link(const platform_t *p, const char *name, double gbps, double latency,
                       bool shared)
{
    fprintf(p->out, "      <link id=\"%s\" bandwidth=\"%.9gGBps\" latency=\"%.9gs\"%s/>\n", name,
            gbps, latency, shared ? "" : " sharing_policy=\"FATPIPE\"");
}

static void port_name(const platform_t *p, size_t tier, size_t rank, const char *way, char *out,
                      size_t size)
{
    snprintf(out, size, "tier-%zu-port-%zu-%s", tier, rank / p->machine->tier[tier].ranks_per_port,
             way);
}

static void write_ports(const platform_t *p, size_t tier, size_t rank, double latency)
{
    static const char *const ways[] = {"up", "down"};
    const moe_tier_t *t = &p->machine->tier[tier];
    char name[64];
    if (rank % t->ranks_per_port != 0)
        return; /* stands with the first rank that has it */
    for (size_t w = 0; w < 2; w++) {
        port_name(p, tier, rank, ways[w], name, sizeof name);
        write_link(p, name, t->bandwidth / 1e9, latency / 2, true);
    }
}

/* ---- Routes ---- */

static void write_route(const platform_t *p, const char *source, const char *target, size_t tier,
                        size_t up, size_t down)
{
    char link[64];
    fprintf(p->out, "      <route src=\"%s\" dst=\"%s\" symmetrical=\"NO\">", source, target);
    if (up != SIZE_MAX) {
        port_name(p, tier, up, "up", link, sizeof link);
        fprintf(p->out, "<link_ctn id=\"%s\"/>", link);
    }
    if (down != SIZE_MAX) {
        port_name(p, tier, down, "down", link, sizeof link);
        fprintf(p->out, "<link_ctn id=\"%s\"/>", link);
    }
    fprintf(p->out, "</route>\n");
}

static void write_routes(const platform_t *p, size_t first, size_t end)
{
    char source[64], target[64], out[64];
    snprintf(out, sizeof out, "out-%zu", first / p->group);
    for (size_t a = first; a < end; a++) {
        snprintf(source, sizeof source, "rank-%zu", a);
        fprintf(p->out,
                "      <route src=\"%s\" dst=\"%s\" symmetrical=\"NO\"><link_ctn "
                "id=\"memory\"/></route>\n",
                source, source);
        for (size_t b = first; b < end; b++) {
            snprintf(target, sizeof target, "rank-%zu", b);
            if (a != b)
                write_route(p, source, target, 0, a, b);
        }
        write_route(p, source, out, p->machine->tiers - 1, a, SIZE_MAX);
        write_route(p, out, source, p->machine->tiers - 1, SIZE_MAX, a);
    }
}

static void write_group(const platform_t *p, size_t number)
{
    const size_t first = number * p->group, end = smaller(first + p->group, p->ranks);
    fprintf(p->out, "    <zone id=\"group-%zu\" routing=\"Full\">\n", number);
    for (size_t r = first; r < end; r++)
        fprintf(p->out,
                "      <host id=\"rank-%zu\" speed=\"1Gf\"><prop id=\"node\" "
                "value=\"node-%zu\"/></host>\n",
                r, r / p->machine->ranks_per_node);
    fprintf(p->out, "      <router id=\"out-%zu\"/>\n", number);
    if (number == 0) /* read and written */
        write_link(p, "memory", p->machine->memory / 2 / 1e9, 0, false);
    for (size_t r = first; r < end; r++) {
        if (p->machine->tiers > 1)
            write_ports(p, 0, r, near_latency(p));
        write_ports(p, p->machine->tiers - 1, r, 0);
    }
    write_routes(p, first, end);
    fprintf(p->out, "    </zone>\n");
}

/* ---- The whole ---- */

/* A description may have any name; XML may not. */
static const char *plain_name(const moe_machine_t *machine, char out[MOE_MACHINE_NAME])
{
    snprintf(out, MOE_MACHINE_NAME, "%s", machine->name);
    for (char *c = out; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.')
            *c = '_';
    }
    return out;
}

static moe_status_t check(const platform_t *p, moe_error_t *error)
{
    const moe_machine_t *m = p->machine;
    if (m->tiers > 2)
        return moe_fail(error, MOE_BAD_INPUT,
                        "machine %s has %zu tiers: platforms are made of one or two", m->name,
                        m->tiers);
    if (p->ranks < 1 || p->ranks > MOST_RANKS || p->group > MOST_GROUP)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%zu ranks of machine %s, %zu joined by its first tier: platforms have at "
                        "most %d, joined %d at a time",
                        p->ranks, m->name, p->group, MOST_RANKS, MOST_GROUP);
    return moe_machine_check(m, p->ranks, error);
}

moe_status_t moe_machine_platform(const moe_machine_t *machine, size_t ranks, FILE *out,
                                  moe_error_t *error)
{
    const platform_t p = {machine, ranks,
                          machine->tiers > 1 ? smaller(machine->tier[0].ranks, ranks) : 1, out};
    const moe_status_t status = check(&p, error);
    if (status != MOE_OK)
        return status;
    const size_t groups = (ranks + p.group - 1) / p.group;
    char name[MOE_MACHINE_NAME];
    write_head(&p);
    fprintf(out,
            "  <zone id=\"machine\" routing=\"DijkstraCache\">\n"
            "    <prop id=\"about\" value=\"%zu ranks of machine %s\"/>\n"
            "    <prop id=\"ranks-per-host\" value=\"1\"/>\n",
            ranks, plain_name(machine, name));
    for (size_t g = 0; g < groups; g++)
        write_group(&p, g);
    fprintf(out, "    <zone id=\"core\" routing=\"Full\"><router id=\"core-out\"/></zone>\n");
    write_link(&p, "fabric", NO_LIMIT, far_tier(&p)->latency / 2, false);
    for (size_t g = 0; g < groups; g++)
        fprintf(out,
                "    <zoneRoute src=\"group-%zu\" dst=\"core\" gw_src=\"out-%zu\" "
                "gw_dst=\"core-out\"><link_ctn id=\"fabric\"/></zoneRoute>\n",
                g, g);
    fprintf(out, "  </zone>\n</platform>\n");
    return ferror(out) ? moe_fail(error, MOE_FAILED, "the platform cannot be written") : MOE_OK;
}
