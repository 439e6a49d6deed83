#include "link.h"

#include <stdio.h>

#include "moe/system.h"

/* A pairing takes at most so long, after which its median is of fewer repetitions. */
#define PAIRING_SECONDS 0.5
#define PAIRING_REPS    20

typedef struct pairing {
    world_t *world;
    moe_row_type_t row;
    void *send, *recv;
    size_t peer; /* this rank: it has none */
} pairing_t;

static moe_status_t exchange_pair(void *context, double *seconds, moe_error_t *error)
{
    const pairing_t *p = context;
    moe_transport_t *t = p->world->all;
    moe_watchdog_feed(p->world->watchdog);
    seconds[0] = 0;
    if (p->peer == t->rank) {
        return MOE_OK;
    }
    const double start = moe_now();
    moe_status_t status = t->ops->start_recv(t, p->recv, 1, p->row, p->peer, error);
    if (status == MOE_OK) {
        status = t->ops->start_send(t, p->send, 1, p->row, p->peer, error);
    }
    if (status == MOE_OK) {
        status = t->ops->finish(t, error);
    }
    if (status == MOE_OK) {
        status = p->world->device->ops->finish(p->world->device, error);
    }
    seconds[0] = moe_now() - start;
    return status;
}

static bool pairs_with(const world_t *w, size_t distance, size_t *peer)
{
    const size_t own = w->all->rank, other = own ^ distance;
    *peer = own;
    if (other >= w->all->size || (w->all->size > w->ranks_per_node &&
                                  own / w->ranks_per_node == other / w->ranks_per_node)) {
        return false;
    }
    *peer = other;
    return true;
}

/* This rank's rate in one pairing; 0 where it has no peer there. */
static moe_status_t measure_pairing(pairing_t *p, size_t distance, double *rate, moe_error_t *error)
{
    const moe_measure_spec_t spec = {.warmup = 2,
                                     .min_reps = PAIRING_REPS,
                                     .max_reps = PAIRING_REPS,
                                     .max_seconds = PAIRING_SECONDS,
                                     .ci = 1};
    const bool paired = pairs_with(p->world, distance, &p->peer);
    moe_series_t series = {0};
    moe_summary_t summary = {0};
    moe_status_t status = moe_measure(p->world->all, &spec, 1, 1, exchange_pair, p, &series, error);
    if (status == MOE_OK) {
        status =
            moe_summarise(moe_series_column(&series, series.own, 0), series.reps, &summary, error);
    }
    *rate = status == MOE_OK && paired && summary.median > 0 ? (double)LINK_MESSAGE / summary.median
                                                             : 0;
    moe_series_destroy(&series);
    return status;
}

static moe_status_t measure_pairings(pairing_t *p, link_t *link, moe_error_t *error)
{
    moe_transport_t *t = p->world->all;
    double fastest = 0;
    size_t paired = 0;
    moe_status_t status = MOE_OK;
    for (size_t distance = 1; status == MOE_OK && distance < t->size; distance *= 2) {
        double rate = 0;
        status = measure_pairing(p, distance, &rate, error);
        fastest = rate > fastest ? rate : fastest;
        paired += rate > 0;
        link->pairings++;
    }
    if (status == MOE_OK) {
        status = t->ops->reduce_doubles(t, &fastest, 1, MOE_MAX, error);
    }
    if (status == MOE_OK) {
        status = t->ops->reduce_sizes(t, &paired, 1, MOE_SUM, error);
    }
    link->bandwidth = fastest;
    link->pairs = paired / 2;
    return status;
}

static moe_status_t measure(world_t *w, link_t *link, moe_error_t *error)
{
    moe_transport_t *t = w->all;
    moe_device_t *d = w->device;
    if (t->size < 2) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--link-bandwidth measure: one rank has no link; start more, or give a "
                        "rate");
    }
    pairing_t p = {.world = w};
    moe_status_t status = t->ops->row_type(t, LINK_MESSAGE, &p.row, error);
    if (status == MOE_OK) {
        status = d->ops->alloc(d, "bytes to send", LINK_MESSAGE, &p.send, error);
    }
    if (status == MOE_OK) {
        status = d->ops->alloc(d, "bytes to receive", LINK_MESSAGE, &p.recv, error);
    }
    status = world_agree(w, status, error);
    if (status == MOE_OK) {
        w->doing = "the measurement of link bandwidth";
        world_progress(w, "measuring link bandwidth ...");
        w->running = true;
        status = measure_pairings(&p, link, error);
        w->running = status != MOE_OK;
        w->doing = "set-up";
    }
    if (p.send != NULL) {
        d->ops->release(d, p.send);
    }
    if (p.recv != NULL) {
        d->ops->release(d, p.recv);
    }
    return status;
}

moe_status_t link_find(world_t *world, link_t *out, moe_error_t *error)
{
    link_t link = {.bandwidth = world->config.link_bandwidth,
                   .measured = world->config.measure_link,
                   .between_nodes = world->all->size > world->ranks_per_node};
    moe_status_t status = link.measured ? measure(world, &link, error) : MOE_OK;
    if (status == MOE_OK) {
        *out = link;
    }
    return status;
}

static void describe_how(const link_t *link, char *text, size_t size)
{
    snprintf(text, size,
             "fastest of %zu pair%s%s at %zu distance%s (ranks i and i xor 1, 2, 4, ...), %zu MiB "
             "each way at once",
             link->pairs, link->pairs == 1 ? "" : "s",
             link->between_nodes ? " on different nodes" : "", link->pairings,
             link->pairings == 1 ? "" : "s", LINK_MESSAGE >> 20);
}

void link_describe(const link_t *link, char *text, size_t size)
{
    char how[192] = "given";
    if (link->bandwidth <= 0) {
        snprintf(text, size, "not known: no bound (--link-bandwidth)");
        return;
    }
    if (link->measured) {
        describe_how(link, how, sizeof how);
    }
    snprintf(text, size, "%.6g GB/s a port and direction, %s", link->bandwidth / 1e9, how);
}

json_t *link_record(const link_t *link)
{
    char how[192];
    if (link->bandwidth <= 0) {
        return NULL;
    }
    json_t *record = json_pack("{s:f, s:s}", "bandwidth_GBps", link->bandwidth / 1e9, "source",
                               link->measured ? "measured" : "given");
    if (link->measured) {
        describe_how(link, how, sizeof how);
        json_object_set_new(record, "how", json_string(how));
    }
    return record;
}
