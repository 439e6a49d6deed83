/* Files that come with the program, found by name: patterns/KIND/NAME.json. */
#ifndef BENCH_READY_FILE_H
#define BENCH_READY_FILE_H

#include <stddef.h>

#include "moe/status.h"

/* One kind of them. */
typedef struct ready_kind {
    const char *folder; /* below patterns: "acceptance" */
    const char *option; /* that names them: "--rules" */
    const char *what;   /* in messages: "rules" */
} ready_kind_t;

extern const ready_kind_t ready_rules, ready_workloads, ready_machines, ready_figures;

#define READY_NAMES 64

/* The path of `name`, which is a file or the name of one that comes along ("link-efficiency"), into
 * path[size], size >= PATH_MAX. */
moe_status_t ready_file_find(const ready_kind_t *kind, const char *name, char *path, size_t size,
                             moe_error_t *error);
/* The names that come along, in order; each is freed by the caller. Returns how many. */
size_t ready_file_names(const ready_kind_t *kind, char *names[READY_NAMES]);

#endif
