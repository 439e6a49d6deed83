/* The fake NCCL: how ranks become a communicator. Each says who it is to one of them, which sorts them by
 * color and key, refuses two ranks on one GPU, and tells each who its others are. Nothing here waits:
 * fake_nccl_go_on() does what can be done now. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nccl_state.h"

typedef struct hello {
    int world, color, key;
    char host[128], gpu[16];
} hello_t;

typedef struct reply {
    ncclResult_t result;
    int context, rank, size;
    int world[]; /* [size of the meeting] */
} reply_t;

struct fake_meeting {
    int root, size;
    hello_t mine;
    hello_t *hellos;      /* [size] at the root; else NULL */
    int arrived;          /* of them */
    MPI_Request hello;    /* the next one at the root, or on its way to there */
    MPI_Request answer;   /* of the reply to this rank */
    MPI_Request *replies; /* [size] at the root */
    reply_t *reply;       /* to this rank */
    char *all_replies;    /* [size][reply_bytes] at the root */
    size_t reply_bytes;
    bool replied;
    ncclComm_t *made;
    bool is_first; /* the communicator itself is made, not one of it */
    ncclConfig_t config;
};

ncclResult_t fake_nccl_read_config(ncclComm_t comm, const ncclConfig_t *config)
{
    comm->blocking = config->blocking != 0; /* not set: blocking */
    comm->blocking = fake_nccl_knob("NCCL_COMM_BLOCKING", comm->blocking) != 0;
    comm->zero_ctas = config->CTAPolicy == NCCL_CTA_POLICY_ZERO;
    if (config->magic != 0xcafebeef)
        return fake_nccl_say(comm, ncclInvalidArgument, "a configuration without its magic number");
    if (config->minCTAs != NCCL_CONFIG_UNDEF_INT && config->maxCTAs != NCCL_CONFIG_UNDEF_INT &&
        config->minCTAs > config->maxCTAs)
        return fake_nccl_say(comm, ncclInvalidArgument, "minCTAs %d > maxCTAs %d", config->minCTAs,
                             config->maxCTAs);
    return ncclSuccess;
}

static int tag(const struct ncclComm *comm, fake_tag_t kind)
{
    return comm->context * FAKE_TAGS + (int)kind;
}

static hello_t hello_of(int color, int key)
{
    hello_t hello = {.world = fake_world_rank(), .color = color, .key = key};
    const char *host = getenv("NCCL_HOSTID");
    int gpu = 0;
    if (host != NULL)
        strncpy(hello.host, host, sizeof hello.host - 1);
    else
        (void)gethostname(hello.host, sizeof hello.host - 1);
    (void)cudaGetDevice(&gpu);
    (void)cudaDeviceGetPCIBusId(hello.gpu, sizeof hello.gpu, gpu);
    return hello;
}

static void end_meeting(ncclComm_t comm)
{
    fake_meeting_t *m = comm->meeting;
    comm->meeting = NULL;
    free(m->hellos);
    free(m->replies);
    free(m->reply);
    free(m->all_replies);
    free(m);
}

/* ---- The root ---- */

static bool same_gpu(const fake_meeting_t *m, int *a, int *b)
{
    for (*a = 0; *a < m->size; ++*a) {
        for (*b = *a + 1; *b < m->size; ++*b) {
            if (strcmp(m->hellos[*a].host, m->hellos[*b].host) == 0 &&
                strcmp(m->hellos[*a].gpu, m->hellos[*b].gpu) == 0)
                return true;
        }
    }
    return false;
}

static int by_color_and_key(const void *left, const void *right)
{
    const hello_t *a = left, *b = right;
    if (a->color != b->color)
        return a->color < b->color ? -1 : 1;
    return a->key != b->key ? (a->key < b->key ? -1 : 1) : a->world - b->world;
}

static void send_reply(ncclComm_t comm, int to, int first, int size, int context,
                       ncclResult_t result)
{
    fake_meeting_t *m = comm->meeting;
    reply_t *reply = (reply_t *)(m->all_replies + (size_t)to * m->reply_bytes);
    *reply = (reply_t){.result = result, .context = context, .rank = to - first, .size = size};
    for (int i = 0; i < size; i++)
        reply->world[i] = m->hellos[first + i].world;
    MPI_Isend(reply, (int)m->reply_bytes, MPI_BYTE, m->hellos[to].world, tag(comm, FAKE_TAG_REPLY),
              MPI_COMM_WORLD, &m->replies[to]);
}

static void reply_to_all(ncclComm_t comm)
{
    fake_meeting_t *m = comm->meeting;
    ncclResult_t result = ncclSuccess;
    int a = 0, b = 0;
    if (m->is_first && same_gpu(m, &a, &b))
        result = fake_nccl_say(comm, ncclInvalidUsage,
                               "Duplicate GPU detected : rank %d and rank %d both on CUDA device "
                               "%s",
                               m->hellos[a].key, m->hellos[b].key, m->hellos[a].gpu);
    qsort(m->hellos, (size_t)m->size, sizeof *m->hellos, by_color_and_key);
    for (int first = 0; first < m->size;) {
        int size = 1;
        while (first + size < m->size && m->hellos[first + size].color == m->hellos[first].color)
            size++;
        const int context = m->is_first ? comm->context : fake_nccl_new_context();
        for (int to = first; to < first + size; to++)
            send_reply(comm, to, first, size, context, result);
        first += size;
    }
    m->replied = true;
}

static void next_hello(ncclComm_t comm)
{
    fake_meeting_t *m = comm->meeting;
    MPI_Irecv(&m->hellos[m->arrived], sizeof(hello_t), MPI_BYTE, MPI_ANY_SOURCE,
              tag(comm, FAKE_TAG_HELLO), MPI_COMM_WORLD, &m->hello);
}

static void go_on_at_root(ncclComm_t comm)
{
    fake_meeting_t *m = comm->meeting;
    int done = 1;
    while (m->arrived < m->size && done) {
        MPI_Test(&m->hello, &done, MPI_STATUS_IGNORE);
        m->arrived += done;
        if (done && m->arrived < m->size)
            next_hello(comm);
    }
    if (m->arrived == m->size && !m->replied)
        reply_to_all(comm);
}

/* ---- Every rank ---- */

ncclResult_t fake_nccl_meet(ncclComm_t comm, int root, int size, int color, int key,
                            ncclComm_t *made, const ncclConfig_t *config)
{
    fake_meeting_t *m = calloc(1, sizeof *m);
    if (m == NULL)
        return ncclSystemError;
    comm->meeting = m;
    m->root = root;
    m->size = size;
    m->made = made;
    m->config = *config;
    m->is_first = comm->size == 0;
    m->reply_bytes = sizeof(reply_t) + (size_t)size * sizeof(int);
    m->reply = malloc(m->reply_bytes);
    m->mine = hello_of(color, key);
    m->hello = m->answer = MPI_REQUEST_NULL;
    if (fake_nccl_fault() == FAKE_FAULT_SETUP)
        m->size = -1; /* says nothing, and waits */
    else if (m->mine.world == root) {
        m->hellos = calloc((size_t)size, sizeof *m->hellos);
        m->replies = calloc((size_t)size, sizeof *m->replies);
        m->all_replies = calloc((size_t)size, m->reply_bytes);
        m->hellos[0] = m->mine;
        m->arrived = 1;
        if (size > 1)
            next_hello(comm);
    } else {
        MPI_Isend(&m->mine, sizeof m->mine, MPI_BYTE, root, tag(comm, FAKE_TAG_HELLO),
                  MPI_COMM_WORLD, &m->hello);
    }
    if (m->size > 0)
        MPI_Irecv(m->reply, (int)m->reply_bytes, MPI_BYTE, root, tag(comm, FAKE_TAG_REPLY),
                  MPI_COMM_WORLD, &m->answer);
    if (!comm->blocking)
        return ncclInProgress;
    ncclResult_t result = ncclInProgress;
    __atomic_add_fetch(&comm->busy, 1, __ATOMIC_ACQ_REL);
    for (size_t turn = 0; result == ncclInProgress && !fake_nccl_is_aborted(comm); turn++) {
        result = fake_nccl_go_on(comm);
        fake_nccl_nap(turn);
    }
    __atomic_sub_fetch(&comm->busy, 1, __ATOMIC_ACQ_REL);
    return result == ncclInProgress ? ncclInternalError : result;
}

/* Becomes what the root has said. */
static ncclResult_t take_reply(ncclComm_t comm)
{
    const fake_meeting_t *m = comm->meeting;
    const reply_t *reply = m->reply;
    if (reply->result != ncclSuccess)
        return fake_nccl_say(comm, reply->result, "Duplicate GPU detected : among %d ranks",
                             m->size);
    ncclComm_t made = m->is_first ? comm : calloc(1, sizeof *made);
    if (made == NULL)
        return ncclSystemError;
    if (!m->is_first)
        (void)fake_nccl_read_config(made, &m->config);
    made->context = reply->context;
    made->rank = reply->rank;
    made->world = malloc((size_t)reply->size * sizeof *made->world);
    if (made->world == NULL)
        return ncclSystemError;
    memcpy(made->world, reply->world, (size_t)reply->size * sizeof *made->world);
    made->size = reply->size;
    *m->made = made;
    return ncclSuccess;
}

ncclResult_t fake_nccl_go_on(ncclComm_t comm)
{
    fake_meeting_t *m = comm->meeting;
    int done = 0;
    if (m->size < 0)
        return ncclInProgress;
    if (m->hellos != NULL)
        go_on_at_root(comm);
    MPI_Test(&m->answer, &done, MPI_STATUS_IGNORE);
    if (!done)
        return ncclInProgress;
    /* What this rank has sent has arrived, or is about to: nobody fails from here on. */
    MPI_Wait(&m->hello, MPI_STATUS_IGNORE);
    for (int i = 0; m->replies != NULL && i < m->size; i++)
        MPI_Wait(&m->replies[i], MPI_STATUS_IGNORE);
    const ncclResult_t result = take_reply(comm);
    end_meeting(comm);
    return result;
}
