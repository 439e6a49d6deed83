/* JSON (RFC 8259), read token by token with the place of each, in no memory of its own. Jansson, which the rest
 * of the house reads JSON with, builds documents: some 40 bytes for each number, and without the places that
 * refusals of wrong values have to name. Here documents are arrays of millions of numbers.
 *
 * A caller that knows the shape asks for what must come; each call refuses what comes instead. */
#ifndef MOE_TRACE_PULL_H
#define MOE_TRACE_PULL_H

#include <stdint.h>

#include "input.h"

#define MOE_PULL_KEY 64 /* longer keys are none that a reader looks for: they are cut */

/* The first byte of what comes next, white space skipped; MOE_INPUT_END. */
int moe_pull_look(moe_input_t *input);
/* Takes '[' or '{'; what: "the loads of a layer", for the message. */
moe_status_t moe_pull_open(moe_input_t *input, char bracket, const char *what);
/* In an array or object, before member number `member` (from 0): takes the comma where there is one, or the
 * bracket that closes; *more: a member comes. */
moe_status_t moe_pull_next(moe_input_t *input, size_t member, char closing, bool *more);
/* A key and its colon. */
moe_status_t moe_pull_key(moe_input_t *input, char key[MOE_PULL_KEY]);
/* A whole number in [min, max]; its place stays that of the input's error calls until the next call. */
moe_status_t moe_pull_whole(moe_input_t *input, const char *what, int64_t min, int64_t max,
                            int64_t *out);
/* A number that is not negative. */
moe_status_t moe_pull_count(moe_input_t *input, const char *what, double *out);
/* A string, cut to `size` - 1 bytes; escapes stay as they are written. */
moe_status_t moe_pull_text(moe_input_t *input, char *text, size_t size);
/* Any value. */
moe_status_t moe_pull_skip(moe_input_t *input);
/* Nothing but white space up to the end of the file. */
moe_status_t moe_pull_end(moe_input_t *input);

/* Arrays in arrays of one length on each level, with numbers innermost, read into one table. */
#define MOE_PULL_LEVELS 3
typedef struct moe_pull_table {
    size_t levels;                  /* 1 ... MOE_PULL_LEVELS */
    size_t length[MOE_PULL_LEVELS]; /* from the outermost */
    double *value;                  /* the caller's to free */
    size_t count, room;
} moe_pull_table_t;
/* `most` levels at most. After a refusal there is nothing to free. */
moe_status_t moe_pull_table(moe_input_t *input, const char *what, size_t most,
                            moe_pull_table_t *out);

#endif
