/* NCCL: what a communicator is made with, and its making. */
#include "moe/transport.h"

#ifdef MOE_HAVE_NCCL

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../device/cuda_state.h"
#include "moe/system.h"
#include "nccl_state.h"

/* CTAs where ranks share a GPU: all of them must find room on it at the same time, or those that run
 * wait for those that cannot start. */
#define SHARED_CTAS 2
/* A communicator that does not end by itself is left to the end of the process. */
#define END_SECONDS 10.0

moe_status_t moe_nccl_agree(moe_transport_t *control, moe_status_t mine, const char *what,
                            moe_error_t *error)
{
    size_t worst = mine;
    const moe_status_t status =
        control->ops->reduce_sizes(control, &worst, 1, MOE_MAX, mine == MOE_OK ? error : NULL);
    if (status != MOE_OK || mine != MOE_OK)
        return mine != MOE_OK ? mine : status;
    return worst == MOE_OK ? MOE_OK : moe_fail(error, (moe_status_t)worst, "another rank %s", what);
}

/* ---- What header and library have ---- */

static void version_text(int code, char *text, size_t size)
{
    snprintf(text, size, "%d.%d.%d", code / 10000, code / 100 % 100, code % 100);
}

/* An option, and the version that brought what it needs. */
typedef struct need {
    const char *option;
    int version;
    bool wanted;
} need_t;

static moe_status_t check_need(const need_t *need, int loaded, moe_error_t *error)
{
    char needed[32], there[32];
    const bool header = NCCL_VERSION_CODE >= need->version;
    if (!need->wanted || (header && loaded >= need->version))
        return MOE_OK;
    version_text(need->version, needed, sizeof needed);
    version_text(header ? loaded : NCCL_VERSION_CODE, there, sizeof there);
    return moe_fail(error, MOE_BAD_INPUT,
                    header ? "%s needs NCCL %s or later, and %s is loaded: leave it out, or let "
                             "LD_LIBRARY_PATH name a later one"
                           : "%s needs NCCL %s or later, and this program was built with the "
                             "header of %s: leave it out, or build with NCCL_HOME of a later one",
                    need->option, needed, there);
}

static moe_status_t check_needs(const moe_nccl_spec_t *spec, int loaded, moe_error_t *error)
{
    const moe_nccl_register_t how = spec->registration;
    const need_t needs[] = {
        {"--transport nccl", NCCL_VERSION(2, 18, 0), true},
        {"--nccl-register window", NCCL_VERSION(2, 19, 0), how == MOE_NCCL_REGISTER_WINDOW},
        {"--nccl-register symmetric", NCCL_VERSION(2, 27, 0), how == MOE_NCCL_REGISTER_SYMMETRIC},
        {"--nccl-register copy", NCCL_VERSION(2, 28, 0), how == MOE_NCCL_REGISTER_COPY},
        {"--nccl-channels-per-peer", NCCL_VERSION(2, 28, 0), spec->channels_per_peer > 0},
    };
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < sizeof needs / sizeof needs[0]; i++)
        status = check_need(&needs[i], loaded, error);
    return status;
}

static moe_status_t check_numbers(const moe_nccl_spec_t *spec, moe_error_t *error)
{
    if (spec->max_ctas > 0 && spec->min_ctas > spec->max_ctas)
        return moe_fail(error, MOE_BAD_INPUT,
                        "--nccl-ctas %zu,%zu: the least is more than the most", spec->min_ctas,
                        spec->max_ctas);
    if (spec->min_ctas > INT32_MAX || spec->max_ctas > INT32_MAX ||
        spec->channels_per_peer > INT32_MAX)
        return moe_fail(error, MOE_BAD_INPUT, "--nccl-ctas, --nccl-channels-per-peer: at most %d",
                        INT32_MAX);
    return spec->timeout_seconds > 0 && isfinite(spec->timeout_seconds)
               ? MOE_OK
               : moe_fail(error, MOE_BAD_INPUT, "--timeout %g s: NCCL's set-up needs a time-out",
                          spec->timeout_seconds);
}

moe_status_t moe_nccl_look(const moe_nccl_spec_t *spec, moe_nccl_run_t *run, moe_error_t *error)
{
    if (!moe_cuda_is(spec->device))
        return moe_fail(error, MOE_BAD_INPUT,
                        "--transport nccl moves rows of GPUs: use it with --device cuda, not "
                        "--device %s",
                        spec->device->ops->name);
    if (ncclGetVersion(&run->version) != ncclSuccess)
        return moe_fail(error, MOE_FAILED, "ncclGetVersion failed");
    moe_status_t status = check_numbers(spec, error);
    if (status == MOE_OK)
        status = check_needs(spec, run->version, error);
    if (status == MOE_OK)
        status =
            spec->device->ops->finish(spec->device, error); /* its GPU is the current one then */
    if (status == MOE_OK)
        status = moe_cuda_check(cudaGetDevice(&run->gpu), "cudaGetDevice", error);
    if (status != MOE_OK)
        return status;
    run->facts.spec = *spec;
    version_text(run->version, run->facts.version, sizeof run->facts.version);
    run->facts.has_alltoall =
        MOE_NCCL_HEADER_HAS_ALLTOALL && moe_nccl_has(run, NCCL_VERSION(2, 28, 0));
    if (spec->share_gpu && spec->max_ctas == 0)
        run->facts.spec.max_ctas = spec->min_ctas > SHARED_CTAS ? spec->min_ctas : SHARED_CTAS;
    return MOE_OK;
}

void moe_nccl_version(char *text, size_t size)
{
    int code = 0;
    if (size > 0 && ncclGetVersion(&code) == ncclSuccess)
        version_text(code, text, size);
    else if (size > 0)
        text[0] = '\0';
}

/* ---- Ranks that share a GPU ----
 * NCCL refuses two ranks of one host with the same GPU ("Duplicate GPU detected", src/init.cc): it goes
 * by its hash of the host, which NCCL_HOSTID replaces. Ranks are then hosts of their own, between
 * which only the network is left, and that is made the host's own. From 2.30 on NCCL knows the case
 * itself, by NCCL_MULTI_RANK_GPU_ENABLE. What the user has set stays. */

static moe_status_t put(const char *name, const char *value, int overwrite, moe_error_t *error)
{
    return setenv(name, value, overwrite) == 0
               ? MOE_OK
               : moe_fail(error, MOE_FAILED, "the environment has no room for %s=%s", name, value);
}

moe_status_t moe_nccl_share(const moe_nccl_run_t *run, moe_transport_t *control, moe_error_t *error)
{
    static const char *const settings[][2] = {
        {"NCCL_NET", "Socket"},
        {"NCCL_IB_DISABLE", "1"},
        {"NCCL_P2P_DISABLE", "1"},
        {"NCCL_SHM_DISABLE", "1"},
        {"NCCL_MNNVL_ENABLE", "0"},
        {"NCCL_NVLS_ENABLE", "0"},
        {"NCCL_MULTI_RANK_GPU_ENABLE", "1"},
    };
    size_t node = 0, nodes = 0;
    char host[64], name[96];
    if (!run->facts.spec.share_gpu)
        return MOE_OK;
    moe_status_t status = control->ops->nodes(control, &node, &nodes, error);
    moe_hostname(host, sizeof host);
    snprintf(name, sizeof name, "%s-rank-%zu", host, control->rank);
    if (status == MOE_OK)
        status = put("NCCL_HOSTID", name, 1, error); /* must differ, whatever there was */
    if (status == MOE_OK && nodes == 1)
        status = put("NCCL_SOCKET_IFNAME", "lo", 0, error);
    for (size_t i = 0; status == MOE_OK && i < sizeof settings / sizeof settings[0]; i++)
        status = put(settings[i][0], settings[i][1], 0, error);
    return status;
}

/* ---- Making communicators ---- */

static ncclConfig_t config_of(const moe_nccl_spec_t *spec)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = MOE_NCCL_BLOCKING;
    if (spec->min_ctas > 0)
        config.minCTAs = (int)spec->min_ctas;
    if (spec->max_ctas > 0)
        config.maxCTAs = (int)spec->max_ctas;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 0)
    if (spec->channels_per_peer > 0)
        config.nChannelsPerNetPeer = (int)spec->channels_per_peer;
    if (spec->registration == MOE_NCCL_REGISTER_COPY)
        config.CTAPolicy = NCCL_CTA_POLICY_ZERO;
#endif
    return config;
}

static ncclResult_t make_init(moe_nccl_call_t *call)
{
    const ncclResult_t result =
        ncclCommInitRankConfig(&call->made, call->ranks, call->id, call->rank, &call->config);
    call->polled = call->made;
    call->polled_is_new = true;
    return result;
}

static ncclResult_t make_split(moe_nccl_call_t *call)
{
    call->polled = call->comm; /* which tells whether it has been split */
    return ncclCommSplit(call->comm, call->color, call->rank, &call->made, &call->config);
}

/* All ranks come to this at about the same time. */
static moe_status_t fail_late(const moe_nccl_run_t *run, const char *name, moe_error_t *error)
{
    const moe_nccl_spec_t *spec = &run->facts.spec;
    if (run->world_rank > 0)
        moe_nccl_let_others_speak();
    return moe_fail(error, MOE_FAILED,
                    "rank %zu (%s): NCCL set-up did not end within %g s (%s is still in progress): "
                    "a rank has not come, or NCCL finds no way between hosts (NCCL_DEBUG=INFO "
                    "tells more, NCCL_SOCKET_IFNAME names the interface, --timeout waits longer)",
                    run->world_rank, spec->label, spec->timeout_seconds, name);
}

/* Ends a call that makes a communicator. */
static moe_status_t make(const moe_nccl_run_t *run, moe_nccl_call_t *call, const char *name,
                         ncclComm_t *out, moe_error_t *error)
{
    const moe_nccl_spec_t *spec = &run->facts.spec;
    call->config = config_of(spec);
    moe_status_t status = MOE_OK;
    if (!moe_nccl_bounded(call, spec->timeout_seconds))
        status = fail_late(run, name, error);
    else if (call->result != ncclSuccess)
        status = moe_fail(
            error, MOE_FAILED, "rank %zu (%s): NCCL set-up: %s failed: %s%s%s", run->world_rank,
            spec->label, name, ncclGetErrorString(call->result), call->text,
            strstr(call->text, "Duplicate GPU") != NULL ? " (--share-gpu lets ranks share one)"
                                                        : "");
    else
        *out = call->made;
    moe_nccl_call_leave(call);
    return status;
}

/* An id of rank 0's, on all ranks. */
static moe_status_t share_id(const moe_nccl_run_t *run, moe_transport_t *control, ncclUniqueId *id,
                             moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    memset(id, 0, sizeof *id);
    if (control->rank == 0) {
        const ncclResult_t result = ncclGetUniqueId(id);
        char last[MOE_NCCL_CALL_TEXT] = "";
        if (result != ncclSuccess) {
            moe_nccl_last_error(NULL, last, sizeof last);
            status = moe_fail(
                error, MOE_FAILED, "rank %zu (%s): NCCL set-up: ncclGetUniqueId failed: %s%s",
                run->world_rank, run->facts.spec.label, ncclGetErrorString(result), last);
        }
    }
    status = moe_nccl_agree(control, status, "could not begin NCCL's set-up", error);
    return status == MOE_OK ? control->ops->broadcast(control, id, sizeof *id, 0, error) : status;
}

moe_status_t moe_nccl_init(const moe_nccl_run_t *run, moe_transport_t *control, ncclComm_t *out,
                           moe_error_t *error)
{
    moe_nccl_call_t *call;
    ncclUniqueId id;
    moe_status_t status = share_id(run, control, &id, error);
    if (status == MOE_OK)
        status = moe_nccl_call_create(run, make_init, &call, error);
    if (status != MOE_OK)
        return status;
    call->id = id;
    call->ranks = (int)control->size;
    call->rank = (int)control->rank;
    return make(run, call, "ncclCommInitRankConfig", out, error);
}

moe_status_t moe_nccl_split_comm(moe_nccl_state_t *state, int color, ncclComm_t *out,
                                 moe_error_t *error)
{
    moe_nccl_call_t *call;
    const moe_status_t status = moe_nccl_call_create(state->run, make_split, &call, error);
    if (status != MOE_OK)
        return status;
    call->comm = state->comm;
    call->color = color;
    call->rank = (int)state->control->rank;
    return make(state->run, call, "ncclCommSplit", out, error);
}

/* ---- Their end ---- */

static ncclResult_t wait_finalized(ncclComm_t comm)
{
    ncclResult_t result = ncclCommFinalize(comm);
    while (result == ncclInProgress) {
        ncclResult_t now = ncclSuccess;
        result = ncclCommGetAsyncError(comm, &now);
        result = result == ncclSuccess ? now : result;
    }
    return result;
}

static ncclResult_t make_end(moe_nccl_call_t *call)
{
    ncclResult_t now = ncclSuccess;
    ncclResult_t result = ncclCommGetAsyncError(call->comm, &now);
    if (result == ncclSuccess && now == ncclSuccess)
        result = wait_finalized(call->comm);
    else
        result = ncclInternalError;
    return result == ncclSuccess ? ncclCommDestroy(call->comm) : ncclCommAbort(call->comm);
}

void moe_nccl_end_comm(const moe_nccl_run_t *run, ncclComm_t comm)
{
    moe_nccl_call_t *call;
    if (moe_nccl_call_create(run, make_end, &call, NULL) != MOE_OK)
        return;
    call->comm = comm;
    (void)moe_nccl_bounded(call, END_SECONDS);
    moe_nccl_call_leave(call);
}

#endif
