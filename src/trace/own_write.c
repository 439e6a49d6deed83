/* Writing the format `moe`: see own.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../system/quote.h"
#include "moe/trace.h"
#include "own.h"

typedef struct writer {
    FILE *file;
    uint32_t crc;
    bool failed;
} writer_t;

static void put(writer_t *w, const void *bytes, size_t size)
{
    w->crc = moe_crc32(w->crc, bytes, size);
    w->failed = w->failed || fwrite(bytes, 1, size, w->file) != size;
}

static void put_number(writer_t *w, uint64_t value, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    put(w, bytes, size);
}

static void write_header(writer_t *w, const moe_trace_t *t)
{
    const uint32_t flags =
        (t->weight != NULL ? MOE_OWN_WEIGHTS : 0) | (t->has_steps ? MOE_OWN_HAS_STEPS : 0) |
        (t->has_ranks ? MOE_OWN_HAS_RANKS : 0) | (t->experts_known ? 0 : MOE_OWN_MORE_EXPERTS);
    put(w, MOE_OWN_MAGIC, MOE_OWN_MAGIC_BYTES);
    put_number(w, MOE_OWN_VERSION, 4);
    put_number(w, flags, 4);
    put_number(w, t->experts, 4);
    put_number(w, t->top_k, 4);
    put_number(w, t->steps, 4);
    put_number(w, t->layers, 4);
    put_number(w, t->ranks, 4);
    put_number(w, t->tokens, 8);
    put_number(w, 0, 4);
    put_number(w, w->crc, 4);
}

static void write_body(writer_t *w, const moe_trace_t *t)
{
    const size_t cells = t->steps * t->layers * t->ranks, choices = t->tokens * t->top_k;
    w->crc = 0;
    for (size_t cell = 0; cell < cells; cell++)
        put_number(w, t->first[cell + 1] - t->first[cell], 4);
    for (size_t i = 0; i < choices; i++)
        put_number(w, t->expert[i], t->experts <= MOE_OWN_BYTE_EXPERTS ? 1 : 2);
    for (size_t i = 0; t->weight != NULL && i < choices; i++)
        put_number(w, t->weight[i], 4);
    put_number(w, w->crc, 4);
}

moe_status_t moe_trace_write(const moe_trace_t *choices, const char *path, moe_error_t *error)
{
    if (choices->kind != MOE_TRACE_CHOICES)
        return moe_fail(error, MOE_BAD_INPUT,
                        "only choices of tokens can be written in the format moe, and '" MOE_QUOTED
                        "' holds none",
                        MOE_QUOTE_PATH(choices->path));
    writer_t w = {.file = fopen(path, "wb")};
    if (w.file == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "cannot write '" MOE_QUOTED "': %s",
                        MOE_QUOTE_PATH(path), strerror(errno));
    write_header(&w, choices);
    write_body(&w, choices);
    const int why = errno;
    if (fclose(w.file) != 0 || w.failed)
        return moe_fail(error, MOE_FAILED, "'" MOE_QUOTED "' could not be written: %s",
                        MOE_QUOTE_PATH(path), strerror(why));
    return MOE_OK;
}
