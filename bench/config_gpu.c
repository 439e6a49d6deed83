/* The options of transport, device, GPUs and overlap. */
#include <string.h>

#include "config.h"
#include "moe/system.h"

/* More blocks of threads than any GPU runs, and more channels than NCCL has. */
#define MAX_CTAS     ((size_t)4096)
#define MAX_CHANNELS ((size_t)1024)
/* Each chunk of a layer has buffers of its own. */
#define MAX_CHUNKS ((size_t)64)

static bool given(const config_t *c, option_t id)
{
    return c->options.given[id];
}

/* ---- Where rows lie, and what moves them ---- */

static moe_status_t read_transport(config_t *c, moe_error_t *error)
{
    const char *transport = c->options.value[OPT_TRANSPORT];
    c->loopback = strcmp(transport, "loopback") == 0;
    c->nccl = strcmp(transport, "nccl") == 0;
    if (!c->loopback && !c->nccl && strcmp(transport, "mpi") != 0) {
        return moe_fail(error, MOE_BAD_INPUT, "--transport %s: there is mpi, nccl and loopback",
                        transport);
    }
    if (c->nccl && !moe_nccl_built_in()) {
        return moe_fail(
            error, MOE_BAD_INPUT,
            "--transport nccl: this program was built without NCCL; put it beside CUDA, "
            "or name its place (make NCCL_HOME=...), and build again");
    }
    return MOE_OK;
}

static moe_status_t read_device(config_t *c, moe_error_t *error)
{
    const char *device = c->options.value[OPT_DEVICE];
    c->cuda = strcmp(device, "cuda") == 0;
    if (!c->cuda && strcmp(device, "host") != 0) {
        return moe_fail(error, MOE_BAD_INPUT, "--device %s: there is host and cuda", device);
    }
    if (c->cuda && c->loopback) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--device cuda: loopback's ranks are threads that copy host memory; take "
                        "--transport nccl or mpi");
    }
    if (c->nccl && !c->cuda) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--transport nccl: NCCL moves memory of GPUs; give --device cuda with it");
    }
    if (c->cuda && !moe_cuda_built_in()) {
        return moe_cuda_gpus(NULL, 0, &(size_t){0}, error);
    }
    return MOE_OK;
}

/* ---- GPUs ---- */

/* Options that mean nothing without the other. */
static moe_status_t check_company(const config_t *c, moe_error_t *error)
{
    static const struct {
        option_t id;
        bool needs_nccl;
    } rows[] = {{OPT_SHARE_GPU, false},
                {OPT_GRAPH, true},
                {OPT_NCCL_REGISTER, true},
                {OPT_NCCL_CTAS, true},
                {OPT_NCCL_CHANNELS, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const bool company = rows[i].needs_nccl ? c->nccl : c->cuda;
        if (given(c, rows[i].id) && !company) {
            return moe_fail(error, MOE_BAD_INPUT, "--%s: it is for %s only",
                            option_row(rows[i].id)->name,
                            rows[i].needs_nccl ? "--transport nccl" : "--device cuda");
        }
    }
    return MOE_OK;
}

static const char *const registrations[] = {[MOE_NCCL_REGISTER_OFF] = "off",
                                            [MOE_NCCL_REGISTER_WINDOW] = "window",
                                            [MOE_NCCL_REGISTER_SYMMETRIC] = "symmetric",
                                            [MOE_NCCL_REGISTER_COPY] = "copy"};

const char *config_registration(const config_t *config)
{
    return registrations[config->registration];
}

static moe_status_t read_registration(config_t *c, moe_error_t *error)
{
    const char *text = c->options.value[OPT_NCCL_REGISTER];
    for (size_t i = 0; i < sizeof registrations / sizeof *registrations; i++) {
        if (strcmp(text, registrations[i]) == 0) {
            c->registration = (moe_nccl_register_t)i;
            return MOE_OK;
        }
    }
    return moe_fail(error, MOE_BAD_INPUT,
                    "--nccl-register %s: there is off, window, symmetric and copy", text);
}

static moe_status_t read_ctas(config_t *c, moe_error_t *error)
{
    const char *text = given(c, OPT_NCCL_CTAS) ? c->options.value[OPT_NCCL_CTAS] : NULL;
    char least[32];
    if (text == NULL) {
        return MOE_OK;
    }
    const size_t length = strcspn(text, ",");
    if (text[length] != ',' || length >= sizeof least) {
        return moe_fail(error, MOE_BAD_INPUT, "--nccl-ctas %.60s: give MIN,MAX, as 4,16", text);
    }
    memcpy(least, text, length);
    least[length] = '\0';
    moe_status_t status =
        moe_parse_size("--nccl-ctas MIN", least, 1, MAX_CTAS, &c->min_ctas, error);
    return status == MOE_OK ? moe_parse_size("--nccl-ctas MAX", text + length + 1, c->min_ctas,
                                             MAX_CTAS, &c->max_ctas, error)
                            : status;
}

moe_status_t config_read_gpu(config_t *c, moe_error_t *error)
{
    moe_status_t status = read_transport(c, error);
    if (status == MOE_OK) {
        status = read_device(c, error);
    }
    if (status == MOE_OK) {
        status = check_company(c, error);
    }
    if (status == MOE_OK) {
        status = read_registration(c, error);
    }
    if (status == MOE_OK) {
        status = read_ctas(c, error);
    }
    if (status == MOE_OK && given(c, OPT_NCCL_CHANNELS)) {
        status = moe_parse_size("--nccl-channels-per-peer", c->options.value[OPT_NCCL_CHANNELS], 1,
                                MAX_CHANNELS, &c->channels_per_peer, error);
    }
    c->share_gpu = given(c, OPT_SHARE_GPU);
    c->graph = given(c, OPT_GRAPH);
    return status;
}

/* ---- Overlap ---- */

moe_status_t config_read_overlap(config_t *c, moe_error_t *error)
{
    static const char prefix[] = "chunks:";
    const char *text = c->options.value[OPT_OVERLAP];
    c->chunks = 1;
    if (strcmp(text, "none") == 0) {
        return MOE_OK;
    }
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--overlap %.60s: give none, or chunks:N, as chunks:4", text);
    }
    const size_t most = c->tokens < MAX_CHUNKS ? c->tokens : MAX_CHUNKS;
    if (most < 2) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--overlap %.60s: %zu tokens cannot be cut into chunks; raise --tokens",
                        text, c->tokens);
    }
    return moe_parse_size("--overlap chunks:N, at most the tokens of a rank",
                          text + sizeof prefix - 1, 2, most, &c->chunks, error);
}
