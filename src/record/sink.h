/* Where records go: a file that is appended to, or stdout. */
#ifndef MOE_RECORD_SINK_H
#define MOE_RECORD_SINK_H

#include <stdbool.h>
#include <stdio.h>

#include "moe/status.h"

/* Significant digits of real numbers, in both formats: more than any clock here gives. */
#define MOE_RECORD_DIGITS 9

typedef struct moe_sink {
    FILE *stream; /* NULL: not asked for */
    char *path;   /* owned; as the user wrote it */
    const char *option;
    bool unfinished; /* the file's last line has no end: an earlier run was cut off in it */
} moe_sink_t;

/* path: NULL leaves the sink closed, "-" is stdout. `option` names it in messages ("--json"). */
moe_status_t moe_sink_open(const char *option, const char *path, moe_sink_t *out,
                           moe_error_t *error);
/* To be called before anything is written to the stream: ends the line of an earlier run. */
void moe_sink_begin(moe_sink_t *sink);
/* Flushes; MOE_FAILED where not all of it could be written. */
moe_status_t moe_sink_flush(moe_sink_t *sink, moe_error_t *error);
/* Do both write to the same place? */
bool moe_sink_same(const moe_sink_t *a, const moe_sink_t *b);
void moe_sink_close(moe_sink_t *sink);

#endif
