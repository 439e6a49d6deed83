/* The ranks of a run: starting them, agreeing on errors, and ending them together. */
#ifndef BENCH_WORLD_H
#define BENCH_WORLD_H

#include <stdatomic.h>
#include <stdio.h>

#include "config.h"
#include "moe/device.h"
#include "moe/measure.h"
#include "moe/record.h"
#include "moe/transport.h"

#define HOST_NAME 64

/* One rank's view. */
typedef struct world {
    config_t config;
    moe_transport_t *all;      /* every rank */
    moe_transport_t *group;    /* expert-parallel group: consecutive ranks; may be `all` */
    moe_transport_t *replicas; /* ranks that hold the same experts; NULL with dp = 1 */
    moe_device_t *device;
    moe_recorder_t *recorder; /* rank 0 only */
    moe_watchdog_t *watchdog;
    moe_clock_t *clock; /* common; NULL: none was needed */
    moe_clock_quality_t clock_quality;
    double broadcast_seconds;
    bool clock_refused;  /* it is worse than a barrier, which is used instead */
    const double *began; /* where the body that is measured writes starts; see moe_measure_spec_t */
    FILE *table;         /* where rank 0 prints; NULL: nothing is printed here */
    FILE *own_table;     /* the same, where it is a file of this run's alone */
    size_t nodes, ranks_per_node;
    size_t ranks_here; /* ranks on this rank's node */
    size_t node;
    char (*hosts)[HOST_NAME];  /* [ranks], on every rank */
    struct rank_gpu *gpus;     /* [ranks], on every rank; NULL: device host */
    struct bindings *bindings; /* rank 0 only; NULL: ranks are threads */
    bool running;              /* set-up is over: an error now is no longer agreed upon */
    const char *doing;         /* for the watchdog's message */
    atomic_flag *spoken;       /* of the process: one message only */
} world_t;

typedef moe_status_t (*world_fn)(world_t *world, moe_error_t *error);

/* Parses the command line, brings up the ranks, runs `body` on each, and returns the exit status. */
int world_run(const command_t *command, int argc, char **argv, world_fn body);

/* Collective, by a command that runs others: parses another command's line and does its body on the same
 * ranks, with a transport, a device and files of its own. table_path: a file that rank 0's table goes
 * to. Returns what the other command would have ended with; a run that failed ends all. */
moe_status_t world_run_other(world_t *world, const command_t *command, int argc, char **argv,
                             const char *table_path, world_fn body);

/* Ends a process whose command cannot be run at all, with one message where a launcher has started
 * several; returns the exit status. */
int world_refuse(const moe_error_t *error);

/* Collective, during set-up: every rank brings its status; if one is bad, all get the status and the
 * message of the lowest bad rank that has a message. */
moe_status_t world_agree(world_t *world, moe_status_t status, moe_error_t *error);

/* "rank 3 (n1, GPU 3)" */
#define RANK_LABEL 128
void world_label(const world_t *world, size_t rank, char text[RANK_LABEL]);

/* Collective: refuses what does not fit the memory of the hosts, before it is allocated. bytes: of
 * this rank; remedy: the options to lower. */
moe_status_t world_fits(world_t *world, const char *what, size_t bytes, const char *remedy,
                        moe_error_t *error);
/* The same of the memory of the run's device. */
moe_status_t world_fits_device(world_t *world, const char *what, size_t bytes, const char *remedy,
                               moe_error_t *error);

/* Says on stderr, on a terminal only, what is being done; feeds the watchdog. */
void world_progress(world_t *world, const char *format, ...) MOE_PRINTF(2, 3);
void world_progress_end(world_t *world);

#endif
