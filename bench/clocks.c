#include "clocks.h"

#define US 1e6

const char *clocks_sync(const config_t *config)
{
    return config->measure.round_time     ? "round-time"
           : config->measure.free_running ? "none"
                                          : "barrier";
}

/* A barrier is ceil(log2 P) messages deep, and lets ranks go no further apart than these take: a clock that
 * is worse aligns worse. */
static double worst_error(const moe_clock_quality_t *quality)
{
    return (double)quality->rounds * quality->message;
}

static void fall_back(world_t *world)
{
    world->config.measure.round_time = false;
    world->clock_refused = true;
    if (world->all->rank == 0) {
        fprintf(stderr,
                "moe-a2a %s: --sync round-time: the clocks of the ranks agree to %.2f us only, and "
                "a barrier aligns them to %.2f us: repetitions start by barriers instead\n",
                world->config.command->name, world->clock_quality.error * US,
                worst_error(&world->clock_quality) * US);
    }
}

moe_status_t clocks_set_up(world_t *world, moe_error_t *error)
{
    moe_measure_spec_t *measure = &world->config.measure;
    if (!measure->round_time && !measure->free_running) {
        return MOE_OK;
    }
    moe_status_t status = moe_clock_create(world->all, NULL, NULL, &world->clock, error);
    if (status == MOE_OK) {
        status = moe_clock_check(world->clock, &world->clock_quality, error);
    }
    if (status == MOE_OK) {
        status = moe_clock_broadcast(world->clock, &world->broadcast_seconds, error);
    }
    if (status == MOE_OK && measure->round_time &&
        world->clock_quality.error > worst_error(&world->clock_quality)) {
        fall_back(world);
    }
    measure->clock = world->clock_refused ? NULL : world->clock;
    return status;
}

void clocks_print(const world_t *world)
{
    const moe_clock_quality_t *q = &world->clock_quality;
    if (world->clock == NULL) {
        return;
    }
    fprintf(world->table,
            "clock     common to %.2f us (at most %.2f us), drift up to %.2f ppm, made in %.2f s "
            "and %zu round%s; a broadcast takes %.2f us\n"
            "          repetitions start by %s\n",
            q->error * US, q->bound * US, q->drift * 1e6, q->seconds, q->rounds,
            q->rounds == 1 ? "" : "s", world->broadcast_seconds * US,
            world->config.measure.round_time ? "this clock (round-time)"
            : world->clock_refused           ? "barriers: the clock aligns worse"
                                             : "themselves: ranks run free");
}

void clocks_record(const world_t *world, json_t *run)
{
    const moe_clock_quality_t *q = &world->clock_quality;
    json_object_set_new(run, "sync", json_string(clocks_sync(&world->config)));
    if (world->clock == NULL) {
        return;
    }
    json_t *clock = json_pack("{s:f, s:f, s:f, s:f, s:f, s:I, s:f}", "error_us", q->error * US,
                              "bound_us", q->bound * US, "message_us", q->message * US, "drift_ppm",
                              q->drift * 1e6, "seconds", q->seconds, "rounds",
                              (json_int_t)q->rounds, "broadcast_us", world->broadcast_seconds * US);
    if (world->clock_refused) {
        json_object_set_new(clock, "refused", json_true());
    }
    json_object_set_new(run, "clock", clock);
}

void clocks_add_series(json_t *record, const moe_series_t *series)
{
    if (series->clock_bound <= 0 && !series->round_time && series->invalid == 0) {
        return;
    }
    json_object_set_new(record, "clock_error_us", json_real(series->clock_error * US));
    if (series->round_time || series->invalid > 0) {
        json_object_set_new(record, "sync",
                            json_string(series->round_time ? "round-time" : "barrier"));
        json_object_set_new(record, "invalid", json_integer((json_int_t)series->invalid));
    }
}

const char *clocks_remark(const moe_series_t *series, char *text, size_t size)
{
    if (series->invalid == 0) {
        text[0] = '\0';
    } else if (series->round_time) {
        snprintf(text, size, "  %zu of %zu invalid", series->invalid,
                 series->invalid + series->warmup + series->reps);
    } else {
        snprintf(text, size, "  by barriers: never all in time");
    }
    return text;
}
