/* What the options of a run mean, all checked. */
#ifndef BENCH_CONFIG_H
#define BENCH_CONFIG_H

#include "moe/exchange.h"
#include "moe/iteration.h"
#include "moe/measure.h"
#include "moe/model.h"
#include "moe/routing.h"
#include "moe/scenario.h"
#include "moe/traffic.h"
#include "options.h"

#define MAX_LIST 16 /* styles, algorithms named in a list */

/* What alltoallv exchanges. */
typedef enum raw_source { RAW_SIZES, RAW_MATRIX, RAW_PATTERN, RAW_PAIRS } raw_source_t;

typedef struct config {
    const command_t *command;
    options_t options;
    int argc;
    char **argv; /* the whole command line */

    moe_model_t model;
    bool custom;   /* no preset was named */
    size_t tokens; /* of a rank */
    size_t sequence;
    moe_dtype_t dtype, combine_dtype;
    moe_capacity_spec_t capacity;

    moe_routing_spec_t routing;
    const char *placement;
    moe_scenario_t *scenario; /* of --workload; NULL: none. Owned: see config_destroy() */
    size_t steps;             /* of the workload, one after another */
    bool counts_steps;        /* results say which step they are of */
    uint32_t step;            /* the one at hand */

    size_t ranks;          /* where MPI does not tell */
    size_t ep, dp;         /* 0: follows from the ranks */
    size_t ranks_per_node; /* 0: as found */

    const moe_style_ops_t *style[MAX_LIST];
    size_t styles;
    bool all_styles; /* asked for as such: those that cannot be are left out */
    const moe_algorithm_ops_t *algorithm[MAX_LIST];
    size_t algorithms;

    bool loopback, nccl; /* neither: mpi */
    bool cuda;           /* else host */
    bool share_gpu, graph;
    moe_nccl_register_t registration;
    size_t min_ctas, max_ctas, channels_per_peer; /* 0: NCCL's choice */

    raw_source_t source;
    size_t first_size, last_size, size_step; /* bytes a pair */
    bool size_adds;                          /* the step is added, else it is a factor */
    double link_bandwidth;                   /* bytes a second; 0: not given */
    bool measure_link;
    size_t pair_bytes;
    size_t matrix_bytes; /* what 1 is in a matrix of fractions; 0: not given */

    const char *compute;
    size_t threads;
    moe_pass_t pass;
    size_t measure_layers; /* 0: all */
    size_t chunks; /* of a layer's tokens, whose exchanges overlap with experts; 1: none do */

    moe_measure_spec_t measure;
    double timeout;
    size_t launch; /* 0: not one of several */
    moe_check_t check;

    bool alternate; /* algorithms in turn within a repetition */
    bool raw, per_rank, quiet;
    bool per_pair;     /* matrices; of `alltoallv` every pair of ranks by itself */
    bool stdout_taken; /* by records: the table then goes to stderr */
} config_t;

/* Parses and checks everything that can be checked without knowing the ranks. */
moe_status_t config_read(const command_t *command, int argc, char **argv, config_t *out,
                         moe_error_t *error);
/* Frees what config_read() has read of files; after its failure too. Copies of a config borrow that. */
void config_destroy(config_t *config);

/* Parts of config_read(): the options of GROUP_ROUTING; GROUP_RAW; transport, device and GROUP_GPU;
 * --overlap. */
moe_status_t config_read_routing(config_t *config, moe_error_t *error);
moe_status_t config_read_raw(config_t *config, moe_error_t *error);
moe_status_t config_read_matrix_bytes(config_t *config, moe_error_t *error);
moe_status_t config_read_gpu(config_t *config, moe_error_t *error);
/* A command that runs alone: its options, its work, its message; returns the exit status. */
int config_run(const command_t *command, int argc, char **argv,
               moe_status_t (*work)(config_t *config, moe_error_t *error));
const char *config_registration(const config_t *config); /* as in --nccl-register */
moe_status_t config_read_overlap(config_t *config, moe_error_t *error);
/* Tokens that a rank of a group holds at the step at hand; at most config->tokens. */
size_t config_tokens_of(const config_t *config, size_t rank);
void config_tokens_range(const config_t *config, size_t *least, size_t *most);
/* Refuses a --placement eplb that cannot be on these ranks, or in this pass. */
moe_status_t config_check_eplb(const config_t *config, moe_error_t *error);
/* Experts on ranks, replicas of --placement eplb included. */
size_t config_physical_experts(const config_t *config);
/* Host bytes of routing a rank's tokens, at most; SIZE_MAX past the range. */
size_t config_batch_bytes(const config_t *config);
/* Of a command that runs alone: refuses routing tables of so many bytes where memory does not hold them. */
moe_status_t config_routing_fits(double bytes, moe_error_t *error);
/* The size after `size`; false behind the last. */
bool config_next_size(const config_t *config, size_t size, size_t *out);

/* What the user gave, or NULL. */
const char *config_given(const config_t *config, option_t id);
/* Leaves *out as it is where the option has neither a value nor a default. */
moe_status_t config_read_size(const config_t *config, option_t id, size_t min, size_t max,
                              size_t *out, moe_error_t *error);
/* Puts the option in front of a message of the library, which does not know of options; returns
 * status. */
moe_status_t config_name_option(option_t id, moe_status_t status, moe_error_t *error);

/* The layout for `ranks` ranks: fills ep and dp. */
moe_status_t config_lay_out(config_t *config, size_t ranks, moe_error_t *error);

/* All options that decide the result, one "name=value" a line, into a string that the caller frees:
 * equal on all ranks of a sound run. */
moe_status_t config_text(const config_t *config, char **out, moe_error_t *error);

#endif
