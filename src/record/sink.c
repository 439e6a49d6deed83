#include "sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_stdout(const moe_sink_t *sink)
{
    return sink->stream == stdout;
}

/* Does the file end in the middle of a line? Not where that cannot be seen. */
static bool ends_unfinished(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size == 0)
        return false;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    const int last = fseek(file, -1, SEEK_END) == 0 ? fgetc(file) : EOF;
    fclose(file);
    return last != EOF && last != '\n';
}

moe_status_t moe_sink_open(const char *option, const char *path, moe_sink_t *out,
                           moe_error_t *error)
{
    if (path == NULL) {
        *out = (moe_sink_t){.option = option};
        return MOE_OK;
    }
    const bool to_stdout = strcmp(path, "-") == 0;
    moe_sink_t sink = {.option = option, .path = strdup(path)};
    if (sink.path == NULL)
        return moe_fail(error, MOE_FAILED, "%s: out of memory", option);
    sink.unfinished = !to_stdout && ends_unfinished(path);
    sink.stream = to_stdout ? stdout : fopen(path, "a");
    if (sink.stream == NULL) {
        const int why = errno;
        free(sink.path);
        return moe_fail(error, MOE_BAD_INPUT, "%s: cannot write '%s': %s", option, path,
                        strerror(why));
    }
    *out = sink;
    return MOE_OK;
}

void moe_sink_begin(moe_sink_t *sink)
{
    if (sink->unfinished)
        fputc('\n', sink->stream);
    sink->unfinished = false;
}

moe_status_t moe_sink_flush(moe_sink_t *sink, moe_error_t *error)
{
    errno = 0;
    const bool flushed = fflush(sink->stream) == 0;
    if (flushed && !ferror(sink->stream))
        return MOE_OK;
    return moe_fail(error, MOE_FAILED,
                    "%s: cannot write to '%s': %s; the records before are complete", sink->option,
                    sink->path, errno != 0 ? strerror(errno) : "an earlier write failed");
}

bool moe_sink_same(const moe_sink_t *a, const moe_sink_t *b)
{
    struct stat about_a, about_b;
    if (a->stream == NULL || b->stream == NULL)
        return false;
    if (is_stdout(a) && is_stdout(b))
        return true;
    return fstat(fileno(a->stream), &about_a) == 0 && fstat(fileno(b->stream), &about_b) == 0 &&
           S_ISREG(about_a.st_mode) && about_a.st_dev == about_b.st_dev &&
           about_a.st_ino == about_b.st_ino;
}

void moe_sink_close(moe_sink_t *sink)
{
    if (sink->stream != NULL && !is_stdout(sink))
        fclose(sink->stream);
    free(sink->path);
    *sink = (moe_sink_t){.option = sink->option};
}
