#include "data_path.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moe/simulated.h"

/* From the folder of the program: where it was built (build/moe-a2a, or a folder deeper), or installed
 * (bin/moe-a2a and lib/moe-a2a/moe-a2a, wherever the prefix was moved to). */
static const char *const beside[] = {"../", "../../", "../share/moe-a2a/", "../../share/moe-a2a/"};

bool program_path(char *path, size_t size)
{
    if (moe_simulated()) { /* a library of SimGrid's program */
        const char *program = getenv("MOE_SIM_PROGRAM");
        return program != NULL && (size_t)snprintf(path, size, "%s", program) < size;
    }
    const ssize_t length = readlink("/proc/self/exe", path, size - 1);
    if (length <= 0) {
        return false;
    }
    path[length] = '\0';
    return true;
}

bool data_path(const char *below, char *path, size_t size)
{
    char program[PATH_MAX], wanted[2 * PATH_MAX];
    if (size < PATH_MAX) {
        return false;
    }
    const bool known = program_path(program, sizeof program);
    if (known) {
        *(strrchr(program, '/') + 1) = '\0';
    }
    for (size_t i = 0; known && i < sizeof beside / sizeof *beside; i++) {
        snprintf(wanted, sizeof wanted, "%s%s%s", program, beside[i], below);
        if (realpath(wanted, path) != NULL) {
            return true;
        }
    }
    /* Where this build was to be installed. */
    snprintf(wanted, sizeof wanted, "%s/%s", MOE_DATA_DIR, below);
    return realpath(wanted, path) != NULL;
}
