#include "input.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../system/quote.h"
#include "moe/system.h"
#include "moe/trace.h"

#ifdef MOE_HAVE_ZLIB
#include <zlib.h>
#endif

/* RFC 1952. */
static const unsigned char gzip_magic[] = {0x1f, 0x8b};

static size_t times(size_t a, size_t b, size_t more)
{
    size_t product = 0;
    return __builtin_mul_overflow(a, b, &product) || product > SIZE_MAX - more ? SIZE_MAX
                                                                               : product + more;
}

/* ---- Packed files ---- */

#ifdef MOE_HAVE_ZLIB

static moe_status_t start_unpacking(moe_input_t *input)
{
    const int descriptor = dup(fileno(input->file));
    if (descriptor >= 0 && lseek(descriptor, 0, SEEK_SET) == 0)
        input->unpacker = gzdopen(descriptor, "rb");
    if (input->unpacker == NULL) {
        if (descriptor >= 0)
            close(descriptor);
        return moe_fail(input->error, MOE_BAD_INPUT, "cannot unpack '" MOE_QUOTED "'",
                        MOE_QUOTE_PATH(input->path));
    }
    input->most = times(input->stored, MOE_TRACE_UNPACK_FACTOR, MOE_TRACE_UNPACK_FREE);
    return MOE_OK;
}

static size_t unpack(moe_input_t *input)
{
    const int got = gzread(input->unpacker, input->buffer, (unsigned)MOE_INPUT_BUFFER);
    int code = Z_OK;
    const char *why = gzerror(input->unpacker, &code);
    if (got < 0 || code != Z_OK) {
        /* Which byte of the packed file it is, zlib does not tell: the unpacked one is told. */
        input->status =
            moe_fail(input->error, MOE_BAD_INPUT,
                     MOE_QUOTED ": byte %zu (unpacked): the gzip file is damaged or cut off: %s",
                     MOE_QUOTE_PATH(input->path), input->offset, why);
        return 0;
    }
    return (size_t)got;
}

static void stop_unpacking(moe_input_t *input)
{
    if (input->unpacker != NULL)
        gzclose(input->unpacker);
}

#else

static moe_status_t start_unpacking(moe_input_t *input)
{
    return moe_fail(input->error, MOE_BAD_INPUT,
                    "'" MOE_QUOTED
                    "' is packed by gzip, and this build has no zlib: unpack it with "
                    "gunzip, or build with zlib1g-dev",
                    MOE_QUOTE_PATH(input->path));
}

static size_t unpack(moe_input_t *input)
{
    (void)input;
    return 0;
}

static void stop_unpacking(moe_input_t *input)
{
    (void)input;
}

#endif

/* ---- Opening ---- */

static moe_status_t start(moe_input_t *input)
{
    struct stat about;
    void *buffer = NULL;
    if (fstat(fileno(input->file), &about) != 0 || !S_ISREG(about.st_mode))
        return moe_fail(input->error, MOE_BAD_INPUT,
                        "'" MOE_QUOTED "' is no regular file: how much it holds cannot be checked; "
                        "write it to a file first",
                        MOE_QUOTE_PATH(input->path));
    input->stored = (size_t)about.st_size;
    input->most = input->stored;
    const moe_status_t status = moe_alloc("a buffer", MOE_INPUT_BUFFER, 1, &buffer, input->error);
    input->buffer = buffer;
    if (status != MOE_OK)
        return status;
    const unsigned char *bytes;
    const size_t size = moe_input_peek(input, &bytes);
    if (input->status != MOE_OK)
        return input->status;
    if (size < sizeof gzip_magic || memcmp(bytes, gzip_magic, sizeof gzip_magic) != 0)
        return MOE_OK;
    input->end = 0;
    return start_unpacking(input);
}

moe_status_t moe_input_open(const char *path, moe_input_t *out, moe_error_t *error)
{
    moe_input_t input = {.path = path, .line = 1, .error = error, .file = fopen(path, "rb")};
    if (input.file == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "cannot open '" MOE_QUOTED "': %s",
                        MOE_QUOTE_PATH(path), strerror(errno));
    const moe_status_t status = start(&input);
    if (status != MOE_OK) {
        moe_input_close(&input);
        return status;
    }
    *out = input;
    return MOE_OK;
}

void moe_input_close(moe_input_t *input)
{
    stop_unpacking(input);
    free(input->buffer);
    fclose(input->file);
    *input = (moe_input_t){0};
}

/* ---- Reading ---- */

size_t moe_input_offset(const moe_input_t *input)
{
    return input->offset + input->at;
}

size_t moe_input_left(const moe_input_t *input)
{
    const size_t offset = moe_input_offset(input);
    return input->most > offset ? input->most - offset : 0;
}

static size_t read_plain(moe_input_t *input)
{
    const size_t got = fread(input->buffer, 1, MOE_INPUT_BUFFER, input->file);
    if (got == 0 && ferror(input->file))
        input->status = moe_fail(input->error, MOE_BAD_INPUT, "cannot read '" MOE_QUOTED "': %s",
                                 MOE_QUOTE_PATH(input->path), strerror(errno));
    return got;
}

bool moe_input_fill(moe_input_t *input)
{
    if (input->status != MOE_OK)
        return false;
    input->offset += input->at;
    input->at = 0;
    input->end = input->unpacker != NULL ? unpack(input) : read_plain(input);
    if (input->status == MOE_OK && input->offset + input->end > input->most)
        input->status = moe_fail(
            input->error, MOE_BAD_INPUT,
            MOE_QUOTED ": byte %zu (unpacked): %s %d times as much as its %zu bytes: %s",
            MOE_QUOTE_PATH(input->path), input->offset,
            input->unpacker != NULL ? "the gzip file unpacks to more than" : "the file grew past",
            input->unpacker != NULL ? MOE_TRACE_UNPACK_FACTOR : 1, input->stored,
            input->unpacker != NULL ? "if it is sound, unpack it with gunzip" : "read it again");
    if (input->status != MOE_OK)
        input->end = 0;
    return input->end > 0;
}

size_t moe_input_peek(moe_input_t *input, const unsigned char **bytes)
{
    if (input->at == input->end)
        moe_input_fill(input);
    *bytes = input->buffer + input->at;
    return input->end - input->at;
}

moe_status_t moe_input_read(moe_input_t *input, void *out, size_t size)
{
    unsigned char *to = out;
    while (size > 0) {
        if (input->at == input->end && !moe_input_fill(input))
            return moe_input_refuse_byte(
                input, moe_input_offset(input),
                "the file ends in the middle: %zu bytes or more are missing", size);
        const size_t here = input->end - input->at < size ? input->end - input->at : size;
        memcpy(to, input->buffer + input->at, here);
        input->at += here;
        to += here;
        size -= here;
    }
    return MOE_OK;
}

moe_status_t moe_input_end(moe_input_t *input)
{
    if (moe_input_look(input) != MOE_INPUT_END || input->status != MOE_OK)
        return moe_input_refuse_byte(input, moe_input_offset(input),
                                     "the file goes on behind its end");
    return MOE_OK;
}

/* ---- Refusals ---- */

#define REASON 512
#define PLACE  64

static moe_status_t refuse(moe_input_t *input, const char *place, const char *reason)
{
    if (input->status == MOE_OK)
        input->status = moe_fail(input->error, MOE_BAD_INPUT, MOE_QUOTED "%s %s",
                                 MOE_QUOTE(input->path, 400), place, reason);
    return input->status;
}

moe_status_t moe_input_refuse(moe_input_t *input, const char *format, ...)
{
    char place[PLACE], reason[REASON];
    va_list values;
    snprintf(place, sizeof place, ":%zu:%zu:", input->line, moe_input_column(input));
    va_start(values, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    return refuse(input, place, reason);
}

moe_status_t moe_input_refuse_at(moe_input_t *input, size_t line, size_t column, const char *format,
                                 ...)
{
    char place[PLACE], reason[REASON];
    va_list values;
    snprintf(place, sizeof place, ":%zu:%zu:", line, column);
    va_start(values, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    return refuse(input, place, reason);
}

moe_status_t moe_input_refuse_byte(moe_input_t *input, size_t offset, const char *format, ...)
{
    char place[PLACE], reason[REASON];
    va_list values;
    snprintf(place, sizeof place, ": byte %zu:", offset);
    va_start(values, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    return refuse(input, place, reason);
}

moe_status_t moe_input_allow(moe_input_t *input, size_t bytes)
{
    char need[16], have[16];
    const size_t limit = times(input->unpacker != NULL ? moe_input_offset(input) : input->stored,
                               MOE_TRACE_MEMORY_FACTOR, MOE_TRACE_MEMORY_FREE);
    if (bytes > limit)
        return moe_input_refuse(input,
                                "what is read so far needs %s, %d times the size of the file: its "
                                "numbers of layers, experts, steps or ranks are not credible",
                                moe_format_bytes((double)bytes, need), MOE_TRACE_MEMORY_FACTOR);
    const size_t available = moe_memory_available();
    if (bytes > MOE_TRACE_MEMORY_FREE && bytes > available)
        return moe_input_refuse(input, "%s do not fit memory: %s are available",
                                moe_format_bytes((double)bytes, need),
                                moe_format_bytes((double)available, have));
    return MOE_OK;
}
