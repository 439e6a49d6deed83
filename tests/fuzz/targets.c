/* Every reader of files and of options. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../bench/commands.h"
#include "../../bench/config.h"
#include "../../src/trace/own.h"
#include "fuzz.h"
#include "moe/predict.h"
#include "moe/record.h"
#include "moe/routing.h"
#include "moe/scenario.h"
#include "moe/trace.h"
#include "moe/traffic.h"
#include "moe/verdict.h"

/* ---- Traces: read, and whatever was read is used ---- */

static void use_trace(const moe_trace_t *trace)
{
    const moe_trace_run_t runs[] = {{0, 0}, {trace->ranks, 3}, {3, 5}};
    double *count = malloc((trace->experts + 1) * sizeof *count);
    for (size_t l = 0; l < trace->layers && l < 8 && trace->kind != MOE_TRACE_MAPS; l++)
        moe_trace_layer_counts(trace, l, count);
    free(count);
    for (size_t i = 0; i < 3 && trace->kind == MOE_TRACE_CHOICES; i++) {
        for (uint64_t token = 0; token < 20; token++) {
            if (moe_trace_token(trace, &runs[i], token % 3, token % 5, token * token) >=
                trace->tokens)
                abort();
        }
    }
}

static void read_trace(const char *path, const char *format)
{
    moe_error_t error = {0};
    moe_trace_t *trace = NULL;
    const moe_trace_format_t *as = format == NULL ? NULL : moe_trace_format_find(format);
    const moe_status_t status = moe_trace_read(path, as, MOE_TRACE_ANY, &trace, &error);
    if ((status == MOE_OK) != (trace != NULL) || (status != MOE_OK && error.text[0] == '\0'))
        abort();
    if (trace != NULL)
        use_trace(trace);
    moe_trace_destroy(trace);
}

#define TRACE(name, format)                                                                        \
    static void name(const char *path, const uint8_t *bytes, size_t size)                          \
    {                                                                                              \
        (void)bytes;                                                                               \
        (void)size;                                                                                \
        read_trace(path, format);                                                                  \
    }
TRACE(read_any_trace, NULL)
TRACE(read_megatron, "megatron")
TRACE(read_vllm, "vllm")
TRACE(read_vllm_load, "vllm-load")
TRACE(read_sglang, "sglang")
TRACE(read_trtllm, "trtllm")
TRACE(read_eplb, "eplb")
TRACE(read_counts_csv, "counts-csv")

static void put_word(uint8_t *at, uint32_t word)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(word >> 8 * i);
}

/* Checksums made right, so that what stands behind them is reached; every other time as they are. */
static void read_own(const char *path, const uint8_t *bytes, size_t size)
{
    if (size >= MOE_OWN_HEADER + 4 && size % 2 == 0) {
        uint8_t *sealed = malloc(size);
        memcpy(sealed, bytes, size);
        put_word(sealed + 48, moe_crc32(0, sealed, 48));
        put_word(sealed + size - 4,
                 moe_crc32(0, sealed + MOE_OWN_HEADER, size - 4 - MOE_OWN_HEADER));
        FILE *file = fopen(path, "r+b");
        if (file == NULL || fwrite(sealed, 1, size, file) != size)
            abort();
        fclose(file);
        free(sealed);
    }
    read_trace(path, "moe");
}

/* ---- Matrices: what was read and written is read back the same ---- */

static void write_and_read(const moe_matrix_t *matrix, const moe_matrix_format_t *format)
{
    char path[64];
    static int memory = -1;
    if (memory < 0)
        memory = memfd_create("written", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    moe_matrix_t back;
    const moe_matrix_file_t file = {.path = path, .format = format};
    if (moe_matrix_write(matrix, format, path, NULL) == MOE_OK) {
        if (moe_matrix_read(&file, &back, NULL) != MOE_OK || back.ranks != matrix->ranks ||
            memcmp(back.bytes, matrix->bytes, back.ranks * back.ranks * sizeof *back.bytes) != 0)
            abort();
        moe_matrix_destroy(&back);
    }
}

static void read_matrix(const char *path, const char *format)
{
    moe_error_t error = {0};
    moe_matrix_t matrix;
    const moe_matrix_file_t file = {.path = path,
                                    .format =
                                        format == NULL ? NULL : moe_matrix_format_find(format),
                                    .fraction_bytes = 1 << 20};
    if (moe_matrix_read(&file, &matrix, &error) != MOE_OK) {
        if (error.text[0] == '\0')
            abort();
        return;
    }
    (void)moe_matrix_row_bytes(&matrix);
    if (format != NULL && strcmp(format, "csv") != 0)
        write_and_read(&matrix, file.format);
    moe_matrix_destroy(&matrix);
}

#define MATRIX(name, format)                                                                       \
    static void name(const char *path, const uint8_t *bytes, size_t size)                          \
    {                                                                                              \
        (void)bytes;                                                                               \
        (void)size;                                                                                \
        read_matrix(path, format);                                                                 \
    }
MATRIX(read_any_matrix, NULL)
MATRIX(read_nccl_tests, "nccl-tests")
MATRIX(read_ucc, "ucc")
MATRIX(read_csv_matrix, "csv")

/* ---- Results, rules, machines, workloads, placements ---- */

static void read_results_file(const char *path, const uint8_t *bytes, size_t size)
{
    moe_results_t results = {0};
    (void)bytes;
    (void)size;
    (void)moe_results_read(path, &results, NULL);
    moe_results_destroy(&results);
}

static void read_rules_file(const char *path, const uint8_t *bytes, size_t size)
{
    moe_rules_t rules = {0};
    (void)bytes;
    (void)size;
    if (moe_rules_read(path, &rules, NULL) == MOE_OK)
        moe_rules_destroy(&rules);
}

static void read_machine(const char *path, const uint8_t *bytes, size_t size)
{
    moe_machine_t machine;
    json_t *document = NULL;
    (void)bytes;
    (void)size;
    if (moe_machine_read(path, &machine, &document, NULL) == MOE_OK)
        (void)moe_machine_check(&machine, 64, NULL);
    json_decref(document);
}

/* Loads of every rank are shares: whatever the file said. */
static void use_scenario(const moe_scenario_t *scenario)
{
    moe_placement_t home;
    moe_routing_spec_t spec = {.experts = 8,
                               .top_k = 2,
                               .seed = 1,
                               .scenario = scenario,
                               .home = &home,
                               .ranks_per_node = 2};
    double load[8];
    if (moe_gate_find("softmax", &spec.gate, NULL) != MOE_OK ||
        moe_placement_create("block", 8, 4, &home, NULL) != MOE_OK)
        abort();
    for (uint32_t step = 0; step < 3 && moe_routing_check(&spec, NULL) == MOE_OK; step++) {
        for (size_t source = 0; source < 4; source++) {
            double sum = 0;
            if (moe_scenario_tokens(scenario, 100, source, step) > 100)
                abort();
            if (moe_scenario_loads(&spec, 0, step, source, load, NULL) != MOE_OK)
                continue;
            for (size_t e = 0; e < 8; e++)
                sum += load[e];
            if (!(sum > 0.999 && sum < 1.001))
                abort();
        }
    }
    moe_placement_destroy(&home);
}

static void read_scenario(const char *path, const uint8_t *bytes, size_t size)
{
    moe_scenario_t *scenario = NULL;
    (void)bytes;
    (void)size;
    if (moe_scenario_read(path, &scenario, NULL) == MOE_OK)
        use_scenario(scenario);
    moe_scenario_destroy(scenario);
}

static void read_placement(const char *path, const uint8_t *bytes, size_t size)
{
    moe_placement_t placement;
    (void)bytes;
    (void)size;
    if (moe_placement_create(path, 8, 4, &placement, NULL) == MOE_OK)
        moe_placement_destroy(&placement);
}

/* ---- Options: a word a line ---- */

#define MOST_WORDS 64

static void read_options_of(const command_entry_t *entry, char *text)
{
    char *words[MOST_WORDS + 3] = {"moe-a2a", (char *)(uintptr_t)entry->command->name};
    int count = 2;
    moe_error_t error = {0};
    config_t config;
    for (char *rest = text, *word; count < MOST_WORDS + 2 && (word = strsep(&rest, "\n")) != NULL;)
        words[count++] = word;
    moe_status_t status = config_read(entry->command, count, words, &config, &error);
    if (status == MOE_OK && !config.options.help)
        status = config_lay_out(&config, 8, &error);
    if (status != MOE_OK && error.text[0] == '\0')
        abort();
    config_destroy(&config);
}

static void read_options(const char *path, const uint8_t *bytes, size_t size)
{
    static const command_entry_t *const entries[] = {&pattern_command, &layer_command,
                                                     &iteration_command, &alltoallv_command};
    char *text = malloc(size + 1);
    (void)path;
    memcpy(text, bytes, size);
    text[size] = '\0';
    setenv("PMI_RANK", "1", 1); /* help is printed by the first rank only */
    read_options_of(entries[size % 4], text);
    free(text);
}

/* ---- The table ---- */

#define UNPACKED (MOE_TRACE_UNPACK_FACTOR * MOE_TRACE_MEMORY_FACTOR)
/* Jansson's documents: at worst empty objects in an array. */
#define DOCUMENT 256

static const fuzz_target_t targets[] = {
    {"trace", read_any_trace, UNPACKED, 12 << 20},
    {"moe", read_own, MOE_TRACE_MEMORY_FACTOR, 9 << 20},
    {"megatron", read_megatron, MOE_TRACE_MEMORY_FACTOR, 9 << 20},
    {"vllm", read_vllm, MOE_TRACE_MEMORY_FACTOR, 9 << 20},
    {"vllm-load", read_vllm_load, MOE_TRACE_MEMORY_FACTOR, 9 << 20},
    {"sglang", read_sglang, MOE_TRACE_MEMORY_FACTOR, 9 << 20},
    {"trtllm", read_trtllm, MOE_TRACE_MEMORY_FACTOR, 9 << 20},
    {"eplb", read_eplb, MOE_TRACE_MEMORY_FACTOR, 9 << 20},
    {"counts-csv", read_counts_csv, MOE_TRACE_MEMORY_FACTOR, 9 << 20},
    {"matrix", read_any_matrix, 32, 1 << 20},
    {"nccl-tests", read_nccl_tests, 64, 1 << 20}, /* twice: it is written and read back */
    {"ucc", read_ucc, 64, 1 << 20},
    {"csv", read_csv_matrix, 32, 1 << 20},
    {"results", read_results_file, DOCUMENT, 1 << 20},
    {"rules", read_rules_file, DOCUMENT, 1 << 20},
    {"machine", read_machine, DOCUMENT, 1 << 20},
    {"workload", read_scenario, DOCUMENT, 1 << 20},
    {"placement", read_placement, 4, 1 << 20},
    {"options", read_options, 64, 1 << 20},
};
#define TARGETS (sizeof targets / sizeof *targets)

const fuzz_target_t *fuzz_target_at(size_t index)
{
    return index < TARGETS ? &targets[index] : NULL;
}

const fuzz_target_t *fuzz_target_find(const char *name)
{
    for (size_t i = 0; i < TARGETS; i++) {
        if (strcmp(targets[i].name, name) == 0)
            return &targets[i];
    }
    return NULL;
}
