#include "findings.h"

#include <stdlib.h>
#include <string.h>

#include "gpu.h"
#include "moe/system.h"

#define NAME     160
#define SENTENCE 640

moe_status_t findings_nodes(world_t *world, size_t *node, moe_error_t *error)
{
    moe_transport_t *t = world->all;
    const size_t per_node = world->config.ranks_per_node;
    const size_t mine = per_node > 0 ? t->rank / per_node : world->node;
    return t->ops->allgather(t, &mine, sizeof mine, node, error);
}

/* ---- Names ---- */

/* "rank 3 (host3)", "rank 3 (host3, GPU 3)" */
static void name_rank(const world_t *w, size_t rank, char *text)
{
    world_label(w, rank, text);
}

/* "host host3 (rank 3)", "host host3 (4 ranks from 12)" */
static void name_host(const world_t *w, const moe_finding_t *f, char *text)
{
    if (f->ranks == 1) {
        snprintf(text, NAME, "host %s (rank %zu)", w->hosts[f->rank], f->rank);
    } else {
        snprintf(text, NAME, "host %s (%zu ranks from %zu)", w->hosts[f->rank], f->ranks, f->rank);
    }
}

static const char *to_do(const moe_finding_t *f)
{
    return f->sending && f->receiving ? "to send and to receive"
           : f->sending               ? "to send"
                                      : "to receive";
}

static void describe_link(const world_t *w, const moe_finding_t *f, char *text)
{
    char from[NAME], to[NAME];
    name_rank(w, f->rank, from);
    name_rank(w, f->to, to);
    if (f->pairs > 1) {
        snprintf(text, SENTENCE,
                 "the link %s host %s %s host %s is slow%s, for all %zu pairs of ranks",
                 f->receiving ? "between" : "from", w->hosts[f->rank], f->receiving ? "and" : "to",
                 w->hosts[f->to], f->receiving ? " both ways" : "", f->pairs);
    } else {
        snprintf(text, SENTENCE, "the link %s %s %s %s is slow%s",
                 f->receiving ? "between" : "from", from, f->receiving ? "and" : "to", to,
                 f->receiving ? " both ways" : "");
    }
}

static void describe(const world_t *w, const findings_source_t *source, const moe_finding_t *f,
                     char *text)
{
    char name[NAME];
    if (f->what == MOE_SLOW_LINK) {
        describe_link(w, f, text);
        return;
    }
    if (f->what == MOE_SLOW_HOST) {
        name_host(w, f, name);
    } else {
        name_rank(w, f->rank, name);
    }
    if (source->pairs) {
        snprintf(text, SENTENCE, "%s is slow %s", name, to_do(f));
    } else {
        snprintf(text, SENTENCE, "%s takes long in %s (%s %s)", name, source->phase, source->style,
                 source->algorithm);
    }
}

/* ---- Printing ---- */

static void print_finding(const world_t *w, const findings_source_t *source, const moe_finding_t *f)
{
    char text[SENTENCE], mads[64] = "most of which are equal";
    describe(w, source, f, text);
    if (f->mads > 0) {
        snprintf(mads, sizeof mads, "%.1f MADs above", f->mads);
    }
    fprintf(w->table, "slow      %s: %.1f us%s, where others take %.1f us (%.2f times as long, %s)",
            text, f->value * 1e6, source->pairs ? " a message" : "", f->others * 1e6,
            f->value / f->others, mads);
    if (!source->pairs && f->what == MOE_SLOW_RANK) {
        fprintf(w->table, "; last in %zu of %zu repetitions", source->slowest[f->rank],
                source->reps);
    }
    fputs("\n", w->table);
}

static void print_none(const world_t *w, const findings_source_t *source, const moe_findings_t *f)
{
    char about[NAME];
    if (source->pairs) {
        snprintf(about, sizeof about, "%s", moe_reach_name(source->reach));
    } else {
        snprintf(about, sizeof about, "%s %s, %s", source->style, source->algorithm, source->phase);
    }
    if (f->judged == MOE_JUDGED_NOTHING) {
        fprintf(w->table, "slow      %s: too few ranks to say (at least %d%s)\n", about,
                MOE_OUTLIER_RANKS, source->pairs ? ", with 3 messages each way" : "");
        return;
    }
    fprintf(w->table, "slow      %s: nothing stands out by %g MADs and %g %%", about,
            moe_outlier_rule.mads, 100 * moe_outlier_rule.floor);
    if (f->judged == MOE_JUDGED_LINKS) {
        fprintf(w->table, "; too few ranks to tell senders and receivers from links");
    }
    fputs("\n", w->table);
}

/* ---- Records ---- */

static json_t *new_record(const findings_source_t *source, const char *kind)
{
    json_t *record = json_pack("{s:s, s:s, s:s}", "record", "finding", "evidence",
                               source->pairs ? "pairs" : "ranks", "kind", kind);
    if (source->pairs) {
        json_object_set_new(record, "reach",
                            json_string(source->reach == MOE_REACH_BETWEEN ? "between" : "within"));
    } else {
        json_object_set_new(record, "style", json_string(source->style));
        json_object_set_new(record, "algorithm", json_string(source->algorithm));
        json_object_set_new(record, "phase", json_string(source->phase));
    }
    return record;
}

/* The ranks that are meant, and their hosts, in the same order. */
static void add_ranks(const world_t *w, const findings_source_t *source, const moe_finding_t *f,
                      json_t *record)
{
    json_t *ranks = json_array(), *hosts = json_array(), *gpus = json_array();
    for (size_t r = 0; r < w->all->size; r++) {
        const bool meant = f->what == MOE_SLOW_HOST ? source->node[r] == source->node[f->rank]
                                                    : r == f->rank || r == f->to;
        if (meant) {
            json_array_append_new(ranks, json_integer((json_int_t)r));
            json_array_append_new(hosts, json_string(w->hosts[r]));
            if (w->gpus != NULL) {
                json_array_append_new(gpus, json_string(w->gpus[r].gpu.pci));
            }
        }
    }
    json_object_set_new(record, "ranks", ranks);
    json_object_set_new(record, "hosts", hosts);
    if (json_array_size(gpus) > 0) {
        json_object_set(record, "gpus", gpus);
    }
    json_decref(gpus);
}

static json_t *finding_record(const world_t *w, const findings_source_t *source,
                              const moe_finding_t *f)
{
    json_t *record = new_record(source, moe_slow_name(f->what));
    add_ranks(w, source, f, record);
    if (f->what == MOE_SLOW_LINK) {
        json_object_set_new(record, "from", json_integer((json_int_t)f->rank));
        json_object_set_new(record, "to", json_integer((json_int_t)f->to));
        json_object_set_new(record, "pairs", json_integer((json_int_t)f->pairs));
    }
    if (source->pairs) {
        json_object_set_new(record, "direction",
                            json_string(f->sending && f->receiving ? "both"
                                        : f->sending               ? "sending"
                                                                   : "receiving"));
    } else if (f->what == MOE_SLOW_RANK) {
        json_object_set_new(record, "slowest_count",
                            json_integer((json_int_t)source->slowest[f->rank]));
        json_object_set_new(record, "reps", json_integer((json_int_t)source->reps));
    }
    json_object_set_new(record, "value_us", json_real(f->value * 1e6));
    json_object_set_new(record, "others_us", json_real(f->others * 1e6));
    json_object_set_new(record, "limit_us", json_real(f->limit * 1e6));
    json_object_set_new(record, "ratio", json_real(f->value / f->others));
    if (f->mads > 0) {
        json_object_set_new(record, "mads", json_real(f->mads));
    }
    return record;
}

moe_status_t findings_report(world_t *world, const findings_source_t *source,
                             const moe_findings_t *findings, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < findings->count; i++) {
        if (world->table != NULL) {
            print_finding(world, source, &findings->finding[i]);
        }
        status = moe_recorder_write(world->recorder,
                                    finding_record(world, source, &findings->finding[i]), error);
    }
    if (findings->count > 0) {
        return status;
    }
    if (world->table != NULL) {
        print_none(world, source, findings);
    }
    json_t *none = new_record(source, findings->judged == MOE_JUDGED_NOTHING ? "unknown" : "none");
    if (findings->center > 0) {
        json_object_set_new(none, "others_us", json_real(findings->center * 1e6));
    }
    return moe_recorder_write(world->recorder, none, error);
}
