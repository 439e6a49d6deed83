/* Host memory that rows pass through. It is given out from one end on and taken back all at once, when
 * nobody uses any of it: an exchange that has run twice finds all it needs in one piece, and asks for no
 * memory any more. On CUDA devices it is pinned. */
#include "staged.h"

#include <stdlib.h>

#include "moe/system.h"

#ifdef MOE_HAVE_CUDA
#include "../device/cuda_state.h"
#endif

/* Pieces begin on a cache line of their own, as far as any CPU has one. */
#define ALIGNMENT ((size_t)256)

static const char what[] = "host memory for rows on their way";

static moe_status_t alloc_host(moe_staged_state_t *state, size_t bytes, void **out,
                               moe_error_t *error)
{
#ifdef MOE_HAVE_CUDA
    if (moe_cuda_is(state->device))
        return moe_cuda_alloc_pinned(state->device, what, bytes, out, error);
#endif
    (void)state;
    return moe_alloc(what, bytes, 1, out, error);
}

static void free_host(moe_staged_state_t *state, void *memory)
{
#ifdef MOE_HAVE_CUDA
    if (moe_cuda_is(state->device)) {
        moe_cuda_release_pinned(state->device, memory);
        return;
    }
#endif
    (void)state;
    free(memory);
}

void moe_staged_copy(moe_staged_state_t *state, void *to, const void *from, size_t bytes)
{
    moe_device_t *d = state->device;
#ifdef MOE_HAVE_CUDA
    if (moe_cuda_is(d)) {
        moe_cuda_copy_pinned(d, to, from, bytes);
        return;
    }
#endif
    d->ops->copy(d, to, from, bytes);
}

static moe_status_t add_chunk(moe_staged_state_t *state, size_t bytes, moe_error_t *error)
{
    void *memory;
    moe_status_t status = moe_alloc(what, 1, sizeof(moe_staged_chunk_t), &memory, error);
    if (status != MOE_OK)
        return status;
    moe_staged_chunk_t *chunk = memory;
    status = alloc_host(state, bytes, &memory, error);
    if (status != MOE_OK) {
        free(chunk);
        return status;
    }
    *chunk = (moe_staged_chunk_t){.memory = memory, .bytes = bytes, .next = state->chunks};
    state->chunks = chunk;
    return MOE_OK;
}

void moe_staged_free(moe_staged_state_t *state)
{
    while (state->chunks != NULL) {
        moe_staged_chunk_t *chunk = state->chunks;
        state->chunks = chunk->next;
        free_host(state, chunk->memory);
        free(chunk);
    }
}

size_t moe_staged_rounded(size_t bytes)
{
    return bytes <= SIZE_MAX - ALIGNMENT ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
                                         : SIZE_MAX;
}

/* While nothing is given out: one chunk of at least `bytes`, and of all that there was. */
static moe_status_t gather_chunks(moe_staged_state_t *state, size_t bytes, moe_error_t *error)
{
    size_t all = 0;
    for (const moe_staged_chunk_t *c = state->chunks; c != NULL; c = c->next)
        all += c->bytes;
    if (all >= bytes && state->chunks != NULL && state->chunks->next == NULL)
        return MOE_OK;
    /* The device may still read from there. */
    const moe_status_t status = state->device->ops->finish(state->device, error);
    if (status != MOE_OK)
        return status;
    moe_staged_free(state);
    return add_chunk(state, all > bytes ? all : bytes, error);
}

moe_status_t moe_staged_reserve(moe_staged_state_t *state, size_t bytes, moe_error_t *error)
{
    return state->users == 0 && bytes > 0 ? gather_chunks(state, moe_staged_rounded(bytes), error)
                                          : MOE_OK;
}

moe_status_t moe_staged_take(moe_staged_state_t *state, size_t bytes, void **out,
                             moe_error_t *error)
{
    const size_t room = moe_staged_rounded(bytes);
    moe_status_t status = moe_staged_reserve(state, room, error);
    if (status != MOE_OK)
        return status;
    if (state->chunks == NULL || room > state->chunks->bytes - state->chunks->used)
        status = add_chunk(state, room > 0 ? room : ALIGNMENT, error);
    if (status != MOE_OK)
        return status;
    *out = state->chunks->memory + state->chunks->used;
    state->chunks->used += room;
    state->users++;
    return MOE_OK;
}

void moe_staged_give_back(moe_staged_state_t *state)
{
    if (--state->users > 0)
        return;
    for (moe_staged_chunk_t *c = state->chunks; c != NULL; c = c->next)
        c->used = 0;
}
