#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

/* A file in memory that is written anew for each input. */
static int memory_file(const uint8_t *bytes, size_t size)
{
    static int file = -1;
    if (file < 0)
        file = memfd_create("fuzz", 0);
    if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, bytes, size, 0) != (ssize_t)size) {
        perror("a file in memory");
        exit(2);
    }
    return file;
}

void fuzz_one(const fuzz_target_t *target, const uint8_t *bytes, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory_file(bytes, size));
    fuzz_memory_start();
    target->read(path, bytes, size);
    const long limit = (long)(target->factor * size + target->more);
    if (fuzz_memory_most() > limit) {
        fprintf(stderr, "%s: %ld bytes of memory for an input of %zu, at most %ld (%zu a byte)\n",
                target->name, fuzz_memory_most(), size, limit, target->factor);
        abort();
    }
}
