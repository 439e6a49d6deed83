#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "binding.h"
#include "clocks.h"
#include "gpu.h"
#include "launcher.h"
#include "moe/simulated.h"
#include "moe/system.h"
#include "world_loopback.h"

/* Other ranks wait so much longer than rank 0, so that one of them speaks. */
#define WATCHDOG_GRACE_SECONDS 2.0
/* From the message to the end of all ranks: MPICH's launcher drops what has not been forwarded when a
 * rank aborts. */
#define FORWARD_NANOSECONDS 200000000

/* ---- Errors ---- */

/* command: NULL where there is none. */
static void speak(world_t *world, const char *command, const moe_error_t *error)
{
    if (!atomic_flag_test_and_set(world->spoken)) {
        world_progress_end(world);
        fflush(stdout);
        fprintf(stderr, "moe-a2a%s%s: %s\n", command != NULL ? " " : "",
                command != NULL ? command : "", error->text);
        fflush(stderr);
    }
}

/* A run that failed: no more agreement is possible. For MPI this does not return. */
static moe_status_t end_all(world_t *world, moe_status_t status, const moe_error_t *error)
{
    const struct timespec forward = {.tv_nsec = FORWARD_NANOSECONDS};
    speak(world, world->config.command->name, error);
    if (!moe_simulated()) { /* there others would run on meanwhile, and speak too */
        nanosleep(&forward, NULL);
    }
    world->all->ops->abort(world->all, status);
    return status;
}

moe_status_t world_agree(world_t *world, moe_status_t status, moe_error_t *error)
{
    moe_transport_t *t = world->all;
    moe_error_t mine = {.status = status};
    if (status != MOE_OK) {
        mine = *error;
        mine.status = status;
    }
    if (status == MOE_FAILED) {
        return status;
    }
    size_t worst = (size_t)status;
    moe_status_t found = t->ops->reduce_sizes(t, &worst, 1, MOE_MAX, error);
    if (found != MOE_OK || worst == MOE_OK) {
        return found; /* mostly: a thousand ranks need not tell each other that nothing is wrong */
    }
    moe_error_t *every = NULL;
    if (moe_alloc("an agreement", t->size, sizeof *every, (void **)&every, NULL) != MOE_OK) {
        /* Others would wait for this rank: it ends all. */
        return moe_fail(error, MOE_FAILED,
                        "rank %zu: no memory to agree with the others on what went wrong", t->rank);
    }
    found = t->ops->allgather(t, &mine, sizeof mine, every, error);
    for (size_t r = 0; found == MOE_OK && r < t->size; r++) {
        if (every[r].status != MOE_OK && every[r].text[0] != '\0') {
            found = every[r].status;
            *error = every[r];
        }
    }
    for (size_t r = 0; found == MOE_OK && r < t->size; r++) {
        found = every[r].status;
    }
    free(every);
    return found;
}

void world_label(const world_t *world, size_t rank, char text[RANK_LABEL])
{
    const char *host = world->hosts != NULL ? world->hosts[rank] : "?";
    if (world->gpus != NULL) {
        snprintf(text, RANK_LABEL, "rank %zu (%s, GPU %zu)", rank, host, world->gpus[rank].number);
    } else {
        snprintf(text, RANK_LABEL, "rank %zu (%s)", rank, host);
    }
}

static void expired(void *context)
{
    world_t *world = context;
    moe_error_t error = {0};
    char label[RANK_LABEL];
    const char *doing = world->group != NULL ? world->group->doing : NULL;
    doing = doing == NULL ? world->all->doing : doing;
    world_label(world, world->all->rank, label);
    (void)moe_fail(
        &error, MOE_FAILED,
        "%s: no progress for %g s during %s%s%s%s; raise --timeout if that was too short", label,
        world->config.timeout, world->doing, doing != NULL ? " (" : "", doing != NULL ? doing : "",
        doing != NULL ? ")" : "");
    (void)end_all(world, MOE_FAILED, &error);
}

/* ---- Set-up ---- */

/* Rank 0's options are everybody's; a rank with others says which. */
static moe_status_t same_options(world_t *world, moe_error_t *error)
{
    moe_transport_t *t = world->all;
    char *mine = NULL, *root = NULL;
    moe_status_t status = config_text(&world->config, &mine, error);
    status = world_agree(world, status, error);
    if (status != MOE_OK) {
        free(mine);
        return status;
    }
    size_t length = strlen(mine) + 1;
    status = t->ops->broadcast(t, &length, sizeof length, 0, error);
    if (status == MOE_OK) {
        status = moe_alloc("options", length, 1, (void **)&root, error);
    }
    if (status == MOE_OK) {
        if (t->rank == 0) {
            memcpy(root, mine, length);
        }
        status = t->ops->broadcast(t, root, length, 0, error);
    }
    if (status == MOE_OK && strcmp(mine, root) != 0) {
        const char *a = mine, *b = root;
        while (strcspn(a, "\n") == strcspn(b, "\n") && strncmp(a, b, strcspn(a, "\n")) == 0) {
            a += strcspn(a, "\n") + 1;
            b += strcspn(b, "\n") + 1;
        }
        status = moe_fail(error, MOE_BAD_INPUT,
                          "ranks were started differently: rank %zu has %.*s, rank 0 has %.*s",
                          t->rank, (int)strcspn(a, "\n"), *a != '\0' ? a : "fewer options",
                          (int)strcspn(b, "\n"), *b != '\0' ? b : "fewer options");
    }
    free(root);
    free(mine);
    return world_agree(world, status, error);
}

static moe_status_t make_groups(world_t *world, moe_error_t *error)
{
    moe_transport_t *t = world->all;
    const config_t *c = &world->config;
    world->group = t;
    if (c->dp == 1) {
        return MOE_OK;
    }
    moe_status_t status = t->ops->split(t, (int)(t->rank / c->ep), &world->group, error);
    return status == MOE_OK ? t->ops->split(t, (int)(t->rank % c->ep), &world->replicas, error)
                            : status;
}

static moe_status_t find_hosts(world_t *world, moe_error_t *error)
{
    moe_transport_t *t = world->all;
    char mine[HOST_NAME] = "";
    moe_hostname(mine, sizeof mine);
    moe_status_t status =
        moe_alloc("host names", t->size, sizeof *world->hosts, (void **)&world->hosts, error);
    if (status == MOE_OK) {
        status = t->ops->allgather(t, mine, sizeof mine, world->hosts, error);
    }
    if (status == MOE_OK) {
        status = t->ops->nodes(t, &world->node, &world->nodes, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    size_t *node = NULL, first = 0;
    status = moe_alloc("nodes", t->size, sizeof *node, (void **)&node, error);
    if (status == MOE_OK) {
        status = t->ops->allgather(t, &world->node, sizeof world->node, node, error);
    }
    for (size_t r = 0; status == MOE_OK && r < t->size; r++) {
        first += node[r] == node[0];
        world->ranks_here += node[r] == world->node;
    }
    free(node);
    /* Nodes are as the first one, but the last, which may have fewer. */
    world->ranks_per_node = world->config.ranks_per_node > 0 ? world->config.ranks_per_node : first;
    return status;
}

static moe_status_t open_outputs(world_t *world, moe_error_t *error)
{
    const config_t *c = &world->config;
    if (world->all->rank != 0) {
        return MOE_OK;
    }
    if (!c->quiet) {
        world->table = world->own_table != NULL ? world->own_table
                       : c->stdout_taken        ? stderr
                                                : stdout;
    }
    return moe_recorder_create(c->options.value[OPT_JSON], c->options.value[OPT_CSV],
                               &world->recorder, error);
}

static moe_status_t make_device(world_t *world, double timeout, moe_error_t *error)
{
    if (world->config.cuda) {
        return gpu_take(world, timeout, error);
    }
    return world_agree(
        world,
        moe_host_device_create(world->config.threads, world->ranks_here, &world->device, error),
        error);
}

static moe_status_t set_up(world_t *world, moe_error_t *error)
{
    moe_status_t status = same_options(world, error);
    if (status == MOE_OK) {
        status = world_agree(world, config_lay_out(&world->config, world->all->size, error), error);
    }
    if (status == MOE_OK) {
        status = world_agree(world, open_outputs(world, error), error);
    }
    if (status == MOE_OK) {
        status = find_hosts(world, error);
    }
    const double grace = world->all->rank > 0 ? WATCHDOG_GRACE_SECONDS : 0;
    if (status != MOE_OK || world->config.command->runs_others) {
        return status;
    }
    if (status == MOE_OK) {
        status = make_device(world, world->config.timeout + grace, error);
    }
    if (status == MOE_OK) {
        status = binding_check(world, error);
    }
    if (status == MOE_OK) {
        status = make_groups(world, error);
    }
    if (status == MOE_OK) {
        world->doing = "set-up";
        status = world_agree(world,
                             moe_watchdog_create(world->config.timeout + grace, expired, world,
                                                 &world->watchdog, error),
                             error);
    }
    if (status == MOE_OK) {
        world->doing = "the comparison of clocks";
        status = clocks_set_up(world, error);
        world->doing = "set-up";
    }
    return status;
}

static void tear_down(world_t *world)
{
    moe_watchdog_destroy(world->watchdog);
    moe_clock_destroy(world->clock);
    moe_recorder_destroy(world->recorder);
    if (world->replicas != NULL) {
        world->replicas->ops->destroy(world->replicas);
    }
    if (world->group != NULL && world->group != world->all) {
        world->group->ops->destroy(world->group);
    }
    binding_free(world);
    free(world->hosts);
    free(world->gpus);
}

/* What moves rows of the device goes before it. */
void world_end(world_t *world)
{
    world->all->ops->destroy(world->all);
    if (world->device != NULL) {
        world->device->ops->destroy(world->device);
    }
}

/* One rank from its transport to its end. */
moe_status_t world_run_rank(world_t *world, world_fn body, moe_status_t parsed, moe_error_t *error)
{
    moe_status_t status = world_agree(world, parsed, error);
    if (status == MOE_OK) {
        status = set_up(world, error);
    }
    if (status == MOE_OK) {
        status = body(world, error);
    }
    world_progress_end(world);
    if (status == MOE_FAILED || (world->running && status != MOE_OK)) {
        status = end_all(world, status, error);
    } else if (status != MOE_OK && world->all->rank == 0) {
        speak(world, world->config.command->name, error);
    }
    tear_down(world);
    return status;
}

/* ---- One command within another ---- */

moe_status_t world_run_other(world_t *world, const command_t *command, int argc, char **argv,
                             const char *table_path, world_fn body)
{
    moe_error_t error = {0};
    world_t other = {.spoken = world->spoken};
    const bool first = world->all->rank == 0;
    moe_status_t status = config_read(command, argc, argv, &other.config, &error);
    if (status == MOE_OK && first) {
        other.own_table = fopen(table_path, "w");
        if (other.own_table == NULL) {
            status = moe_fail(&error, MOE_BAD_INPUT, "cannot write '%.700s'", table_path);
        }
    }
    const moe_status_t parsed = status;
    /* One group of all: a handle that the other run may wrap and destroy. */
    status = world->all->ops->split(world->all, 0, &other.all, &error);
    if (status == MOE_OK) {
        status = world_run_rank(&other, body, parsed, &error);
        world_end(&other);
    } else {
        status = end_all(world, status, &error);
    }
    if (other.own_table != NULL) {
        fclose(other.own_table);
    }
    config_destroy(&other.config);
    return status;
}

/* ---- Transports ---- */

static int run_world(world_t *world, const command_t *command, int argc, char **argv, world_fn body)
{
    moe_error_t error = {0};
    moe_status_t status = config_read(command, argc, argv, &world->config, &error);
    world->config.command = command;
    if (status == MOE_OK && world->config.options.help) {
        return MOE_OK;
    }
    if (status == MOE_OK) {
        status = world_loopback_check(&world->config, &error);
    }
    if (status == MOE_OK && world->config.loopback) {
        status = world_run_loopback(&world->config, body, &error);
        if (status != MOE_OK && error.text[0] != '\0') {
            speak(world, command->name, &error);
        }
        return (int)status;
    }
    /* Alone, a bad command line needs no MPI; under a launcher the ranks agree on who speaks. */
    moe_error_t mpi_error = {0};
    moe_status_t started = MOE_OK;
    if (status == MOE_OK || launcher_present()) {
        started = moe_mpi_create(&argc, &argv, &world->all, &mpi_error);
    }
    if (world->all == NULL) {
        /* A launcher that does not fit the MPI fails every process alike. */
        if (started != MOE_BAD_INPUT || launcher_rank() == 0) {
            speak(world, command->name, status != MOE_OK ? &error : &mpi_error);
        }
        return (int)(status != MOE_OK ? status : started);
    }
    status = world_run_rank(world, body, status, &error);
    world_end(world);
    return (int)status;
}

int world_run(const command_t *command, int argc, char **argv, world_fn body)
{
    atomic_flag spoken = ATOMIC_FLAG_INIT;
    world_t world = {.spoken = &spoken};
    const int status = run_world(&world, command, argc, argv, body);
    config_destroy(&world.config);
    return status;
}

int world_refuse(const moe_error_t *error)
{
    atomic_flag spoken = ATOMIC_FLAG_INIT;
    world_t world = {.spoken = &spoken};
    moe_error_t agreed = *error;
    moe_status_t status = error->status;
    if (launcher_present()) {
        (void)moe_mpi_create(NULL, NULL, &world.all, NULL);
    }
    if (world.all != NULL) {
        status = world_agree(&world, status, &agreed);
    }
    if (world.all == NULL || world.all->rank == 0) {
        speak(&world, NULL, &agreed);
    }
    if (world.all != NULL) {
        world.all->ops->destroy(world.all);
    }
    return (int)status;
}

/* ---- Progress ---- */

static bool shows_progress(const world_t *world)
{
    return world->all != NULL && world->all->rank == 0 && !world->config.quiet &&
           isatty(STDERR_FILENO);
}

void world_progress(world_t *world, const char *format, ...)
{
    moe_watchdog_feed(world->watchdog);
    if (shows_progress(world)) {
        va_list arguments;
        va_start(arguments, format);
        fputs("\r\033[K", stderr);
        /* The analyzer forgets va_start() in runs over several files: */
        /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fflush(stderr);
    }
}

void world_progress_end(world_t *world)
{
    if (shows_progress(world)) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}
