/* Where rules are found: a file, or by name among those that come with the program. */
#ifndef BENCH_RULES_FILE_H
#define BENCH_RULES_FILE_H

#include <stddef.h>

#include "moe/status.h"

/* The path of RULES, which is a file or a name ("link-efficiency"), into path[size], size >= PATH_MAX. */
moe_status_t rules_file_find(const char *rules, char *path, size_t size, moe_error_t *error);

#endif
