/* Under libFuzzer: the target is that of the program's name, fuzz-TARGET. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static const fuzz_target_t *target;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = strstr((*argv)[0], "fuzz-");
    for (const char *next = name; next != NULL; next = strstr(next + 1, "fuzz-"))
        name = next;
    (void)argc;
    target = name != NULL ? fuzz_target_find(name + strlen("fuzz-")) : NULL;
    if (target == NULL) {
        fprintf(stderr, "%s: no target of that name\n", (*argv)[0]);
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_one(target, bytes, size);
    return 0;
}
