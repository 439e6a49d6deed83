/* moe-a2a info: what this build can do, what this machine is, and how to get what is missing. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "config.h"
#include "moe/device.h"
#include "moe/system.h"
#include "moe/transport.h"

static const command_t command = {
    .name = "info",
    .summary = "what this build can do, this machine, and how to get what is missing",
    .help = "Describes the build and the machine.",
    .groups = 0,
};

static void print_variable(void *context, const char *name, const char *value)
{
    fprintf(context, "  %s=%s\n", name, value);
}

static void print_topology(FILE *out)
{
    moe_topology_t t;
    char memory[16], available[16];
    moe_topology_read(&t);
    moe_format_bytes((double)moe_memory_available(), available);
    if (!t.known) {
        fprintf(
            out,
            "topology   unknown: built without hwloc (apt-get install libhwloc-dev, then make)\n"
            "memory     %s available\n",
            available);
        return;
    }
    fprintf(
        out,
        "topology   %zu packages, %zu NUMA nodes, %zu cores, %zu hardware threads (%zu for this "
        "process)\n",
        t.packages, t.numa_nodes, t.cores, t.pus, t.bound_pus);
    moe_topology_draw(out, "           ");
    fprintf(out, "memory     %s, %s available\n", moe_format_bytes((double)t.memory_bytes, memory),
            available);
}

static void print_names(FILE *out)
{
    fprintf(out, "styles    ");
    for (size_t i = 0; i < moe_style_count(); i++) {
        fprintf(out, " %s", moe_style_at(i)->name);
    }
    fprintf(out, "\nalgorithms");
    for (size_t i = 0; i < moe_algorithm_count(); i++) {
        fprintf(out, " %s", moe_algorithm_at(i)->name);
    }
    fprintf(out, "\ngates     ");
    for (size_t i = 0; moe_gate_at(i) != NULL; i++) {
        fprintf(out, " %s", moe_gate_name(moe_gate_at(i)));
    }
    fprintf(out, "\nskews     ");
    const char *summary;
    for (size_t i = 0; moe_skew_syntax(i, &summary) != NULL; i++) {
        fprintf(out, " %s", moe_skew_syntax(i, &summary));
    }
    fprintf(out, "\ncompute   ");
    for (size_t i = 0; i < moe_compute_count(); i++) {
        fprintf(out, " %s", moe_compute_at(i)->syntax);
    }
    fprintf(out, "\nmodels     %zu (see `moe-a2a models`)\n", moe_model_count());
}

/* What there is for GPUs, and how to get what is missing. */
static void print_gpus(FILE *out)
{
    moe_gpu_t gpus[MOE_GPUS_MAX];
    moe_error_t error = {0};
    size_t count = 0;
    char version[128];
    if (!moe_cuda_built_in()) {
        fprintf(out,
                "gpus       no cuda: built without the CUDA toolkit (put nvcc into PATH or set "
                "CUDA_HOME, then make)\n");
        return;
    }
    moe_cuda_version(version, sizeof version);
    fprintf(out, "gpus       %s", version);
    if (moe_nccl_built_in()) {
        moe_nccl_version(version, sizeof version);
        fprintf(out, ", NCCL %s\n", version);
    } else {
        fprintf(out, "; no nccl: built without NCCL (put nccl.h beside CUDA or set NCCL_HOME, then "
                     "make)\n");
    }
    if (moe_cuda_gpus(gpus, MOE_GPUS_MAX, &count, &error) != MOE_OK) {
        fprintf(out, "           %s\n", error.text);
        return;
    }
    for (size_t g = 0; g < count && g < MOE_GPUS_MAX; g++) {
        char memory[16];
        fprintf(out, "           GPU %zu: %s, %s, %s, compute capability %d.%d\n", g, gpus[g].name,
                gpus[g].pci, moe_format_bytes((double)gpus[g].bytes, memory), gpus[g].major,
                gpus[g].minor);
    }
    fprintf(out, "           MPI on their memory: %s\n",
            moe_mpi_takes_cuda() ? "this MPI takes it" : "staged through pinned host memory");
}

static int run(int argc, char **argv)
{
    config_t config;
    moe_error_t error = {0};
    moe_device_t *device = NULL;
    moe_status_t status = config_read(&command, argc, argv, &config, &error);
    if (status == MOE_OK && config.options.help) {
        return MOE_OK;
    }
    if (status == MOE_OK) {
        status = moe_host_device_create(0, 1, &device, &error);
    }
    if (status != MOE_OK) {
        fprintf(stderr, "moe-a2a info: %s\n", error.text);
        return (int)status;
    }
    FILE *out = stdout;
    fprintf(out, "moe-a2a    " MOE_VERSION "\n");
    fprintf(out, "transports loopback%s%s\n",
            moe_mpi_built_in() ? " mpi"
                               : "; no mpi: apt-get install libopenmpi-dev openmpi-bin, then make",
            moe_nccl_built_in() ? " nccl" : "");
    fprintf(out, "devices    host (%s)%s%s\n", device->description,
            device->ops->has_gemm ? "" : "; no GEMMs: apt-get install libopenblas-dev, then make",
            moe_cuda_built_in() ? " cuda" : "");
    print_gpus(out);
    print_names(out);
    print_topology(out);
    fprintf(out, "variables that steer MPI, NCCL, CUDA, BLAS and placement:\n");
    moe_environment_visit(print_variable, out);
    device->ops->destroy(device);
    return MOE_OK;
}

const command_entry_t info_command = {.command = &command, .run = run, .where = ""};
