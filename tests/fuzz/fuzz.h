/* Readers of files and options, called with whatever bytes: the same targets under libFuzzer (`make fuzz`) and
 * under a small driver of our own (`make check`). */
#ifndef MOE_TESTS_FUZZ_H
#define MOE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

typedef struct fuzz_target {
    const char *name;
    /* Reads one input; the file at `path` holds the same bytes. */
    void (*read)(const char *path, const uint8_t *bytes, size_t size);
    /* Memory that a reader may hold at a time: so many bytes for each of the input, and so many more. */
    size_t factor, more;
} fuzz_target_t;

/* NULL past the end. A new reader is a row of targets.c, and samples in tests/fuzz/seeds. */
const fuzz_target_t *fuzz_target_at(size_t index);
const fuzz_target_t *fuzz_target_find(const char *name);

/* One input, written to a file in memory, read, and its memory held against the target's limit: a reader that
 * takes more ends the process. (What is never freed, the leak sanitizer finds.) */
void fuzz_one(const fuzz_target_t *target, const uint8_t *bytes, size_t size);

/* Counting of memory (memory.c): the most that was held since the last fuzz_memory_start(), beyond what was then. */
void fuzz_memory_start(void);
long fuzz_memory_most(void);

#endif
