/* Options of the drivers: one table, filtered by groups for each subcommand; values are kept as text
 * until all are known (config.c), so that their order does not matter. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "moe/status.h"

typedef enum option_id {
    /* model */
    OPT_MODEL,
    OPT_HIDDEN,
    OPT_EXPERT_FFN,
    OPT_EXPERTS,
    OPT_TOP_K,
    OPT_N_GROUP,
    OPT_TOPK_GROUP,
    OPT_LAYERS,
    OPT_FIRST_DENSE,
    OPT_MOE_EVERY,
    OPT_TOKENS,
    OPT_SEQ_LEN,
    OPT_DTYPE,
    OPT_COMBINE_DTYPE,
    OPT_CAPACITY_FACTOR,
    OPT_MIN_CAPACITY,
    OPT_DROP,
    /* routing */
    OPT_GATE,
    OPT_SKEW,
    OPT_WORKLOAD,
    OPT_PLACEMENT,
    OPT_SEED,
    OPT_STEPS,
    /* layout */
    OPT_RANKS,
    OPT_EP,
    OPT_DP,
    OPT_RANKS_PER_NODE,
    /* style */
    OPT_STYLE,
    /* exchange */
    OPT_TRANSPORT,
    OPT_DEVICE,
    OPT_ALGORITHM,
    /* raw exchange */
    OPT_SIZES,
    OPT_MATRIX,
    OPT_MATRIX_BYTES,
    OPT_PATTERN,
    OPT_LINK_BANDWIDTH,
    OPT_ALTERNATE,
    OPT_PAIR_BYTES,
    /* compute */
    OPT_COMPUTE,
    OPT_THREADS,
    OPT_PASS,
    OPT_MEASURE_LAYERS,
    OPT_OVERLAP,
    /* GPUs */
    OPT_SHARE_GPU,
    OPT_GRAPH,
    OPT_NCCL_REGISTER,
    OPT_NCCL_CTAS,
    OPT_NCCL_CHANNELS,
    /* files of patterns */
    OPT_IMPORT,
    OPT_EXPORT,
    /* measure */
    OPT_WARMUP,
    OPT_MIN_REPS,
    OPT_MAX_REPS,
    OPT_MAX_SECONDS,
    OPT_TIMEOUT,
    OPT_CI,
    OPT_SYNC,
    OPT_CHECK,
    OPT_LAUNCH,
    /* output */
    OPT_JSON,
    OPT_CSV,
    OPT_RAW,
    OPT_PER_RANK,
    OPT_PER_PAIR,
    OPT_QUIET,
    /* verdicts */
    OPT_MARKDOWN,
    OPT_JUNIT,
    OPT_RULES,
    OPT_BASELINE,
    OPT_MAKE_BASELINE,
    OPT_MARGIN,
    OPT_OUTPUT,
    OPT_OUT,
    /* prediction */
    OPT_MACHINE,
    OPT_SWEEP,
    OPT_SAMPLE_TOKENS,
    OPT_FIT,
    OPT_PLATFORM,
    OPT_SIMULATED,
    /* what there is */
    OPT_LIST,
    OPT_NAMES,
    OPTIONS
} option_t;

typedef enum option_group {
    GROUP_MODEL = 1,
    GROUP_ROUTING = 2,
    GROUP_LAYOUT = 4,
    GROUP_STYLE = 8,
    GROUP_EXCHANGE = 16,
    GROUP_COMPUTE = 32,
    GROUP_MEASURE = 64,
    GROUP_OUTPUT = 128,  /* --json, --csv, --quiet */
    GROUP_SAMPLES = 256, /* --raw, --per-rank: where repetitions are */
    GROUP_LIST = 512,    /* what `models` takes */
    GROUP_RAW = 1024,    /* of `alltoallv` */
    GROUP_GPU = 2048,    /* where there is GROUP_EXCHANGE */
    GROUP_MARKDOWN = 4096,
    GROUP_RULES = 8192, /* of `accept` */
    GROUP_SUITE =
        16384, /* of `suite`, with those of exchange, layout and measuring for what it runs */
    GROUP_PREDICT = 32768,   /* of `predict` */
    GROUP_REPRODUCE = 65536, /* of `reproduce` */
    GROUP_PAIRS = 131072,    /* --per-pair */
    GROUP_FILE = 262144,     /* --output */
    GROUP_PATTERN = 524288,  /* of `pattern` */
    GROUP_STEPS = 1048576,   /* where there is GROUP_ROUTING, and steps follow each other */
    GROUP_LISTING = 2097152  /* of `pattern`: what comes with the program */
} option_group_t;

typedef struct option_row {
    option_t id;
    const char *name;
    const char *argument; /* NULL: a switch */
    unsigned groups;      /* it belongs to the first, and is taken by commands of any */
    const char *standard; /* the default, as text; NULL: none, or it depends */
    const char *help;
} option_row_t;

const option_row_t *option_row(option_t id);

#define MAX_ARGUMENTS 256

typedef struct options {
    const char *value[OPTIONS];           /* as given, the default, or NULL */
    bool given[OPTIONS];                  /* by the user */
    const char *file[OPTIONS];            /* the word behind, of --import and --export */
    bool help;                            /* --help: it has been printed, nothing is to be run */
    const char *positional;               /* the one argument that is no option, or NULL */
    const char *arguments[MAX_ARGUMENTS]; /* all of them, where there may be several */
    size_t argument_count;
} options_t;

typedef struct command {
    const char *name;
    const char *arguments; /* of the usage line: "[NAME]"; NULL: none are taken */
    const char *summary;   /* one line */
    const char *help;      /* more, for --help */
    unsigned groups;
    const char *standard_style;   /* --style where none is given; NULL: all */
    const char *standard_seconds; /* --max-seconds where none is given; NULL: the table's */
    const char *standard_compute; /* --compute, the same */
    size_t most_arguments;        /* 0: one, where `arguments` are taken at all */
    bool
        runs_others; /* its ranks need no device and no groups of their own: see world_run_other() */
} command_t;

/* argv[0] is the subcommand's name. */
moe_status_t options_parse(const command_t *command, int argc, char **argv, options_t *out,
                           moe_error_t *error);

#endif
