#include "memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

#define KIB 1024

moe_status_t moe_alloc(const char *what, size_t count, size_t size, void **out, moe_error_t *error)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes))
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: %zu times %zu bytes does not fit memory: lower the sizes", what, count,
                        size);
    void *memory = calloc(bytes > 0 ? bytes : 1, 1);
    if (memory == NULL) {
        char text[MOE_BYTES_TEXT];
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: %s (%zu times %zu bytes) does not fit memory: lower the sizes", what,
                        moe_format_bytes((double)bytes, text), count, size);
    }
    *out = memory;
    return MOE_OK;
}

moe_status_t moe_grow(const char *what, size_t count, size_t size, void **array, size_t *room,
                      moe_error_t *error)
{
    const size_t first = 16, wanted = *room == 0 ? first : 2 * *room;
    if (count < *room)
        return MOE_OK;
    void *moved = wanted > SIZE_MAX / size ? NULL : realloc(*array, wanted * size);
    if (moved == NULL)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: %zu times %zu bytes does not fit memory: lower the sizes", what,
                        wanted, size);
    *array = moved;
    *room = wanted;
    return MOE_OK;
}

char *moe_format_bytes(double bytes, char *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    const size_t last = sizeof units / sizeof units[0] - 1;
    /* The next unit from where three digits would round up to it. */
    const double next = 1023.5;
    size_t unit = 0;
    for (; bytes >= next && unit < last; unit++)
        bytes /= KIB;
    const int decimals = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    snprintf(text, MOE_BYTES_TEXT, "%.*f %s", decimals, bytes, units[unit]);
    return text;
}

size_t moe_memory_field(const char *text, const char *key)
{
    const size_t length = strlen(key);
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, key, length) == 0 && strchr(": \t", line[length]) != NULL) {
            const char *value = line + length + strspn(line + length, ": \t");
            uintmax_t number = 0;
            if (sscanf(value, "%" SCNuMAX, &number) == 1 && number < SIZE_MAX)
                return (size_t)number;
            return SIZE_MAX;
        }
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return SIZE_MAX;
}

/* MemAvailable: what the kernel thinks can be had without swapping (since Linux 3.14). */
static size_t host_memory_available(const char *root)
{
    enum { MEMINFO_LIMIT = 1 << 20 };
    char path[MOE_SYSTEM_PATH];
    char *text = NULL;
    size_t size = 0, bytes = 0;
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (moe_file_read(path, MEMINFO_LIMIT, &text, &size, NULL) != MOE_OK)
        return SIZE_MAX;
    const size_t kibibytes = moe_memory_field(text, "MemAvailable");
    free(text);
    return __builtin_mul_overflow(kibibytes, (size_t)KIB, &bytes) ? SIZE_MAX : bytes;
}

size_t moe_memory_available_below(const char *root)
{
    const size_t host = host_memory_available(root);
    const size_t group = moe_memory_cgroup_left(root);
    return host < group ? host : group;
}

size_t moe_memory_available(void)
{
    return moe_memory_available_below("");
}
