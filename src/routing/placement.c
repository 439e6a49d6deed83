#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/routing.h"
#include "moe/system.h"

/* A file of MOE_MAX_EXPERTS ranks with room for comments. */
#define FILE_LIMIT ((size_t)16 << 20)
/* Of a word in a message. */
#define WORD_TEXT 24

/* ---- Which rank ---- */

/* The first experts % ranks ranks hold one more. */
static void place_blocks(moe_placement_t *placement)
{
    const size_t few = placement->experts / placement->ranks;
    const size_t more = placement->experts % placement->ranks;
    size_t e = 0;
    for (size_t r = 0; r < placement->ranks; r++) {
        for (size_t end = e + few + (r < more); e < end; e++)
            placement->rank_of[e] = (int32_t)r;
    }
}

static void place_round_robin(moe_placement_t *placement)
{
    for (size_t e = 0; e < placement->experts; e++)
        placement->rank_of[e] = (int32_t)(e % placement->ranks);
}

/* ---- From a file ---- */

typedef struct cursor {
    const char *path;
    const char *at;
    size_t line;
} cursor_t;

/* The next word's length; 0 at the end of the text. */
static size_t next_word(cursor_t *cursor)
{
    for (; *cursor->at != '\0'; cursor->at++) {
        if (*cursor->at == '#')
            cursor->at += strcspn(cursor->at, "\n");
        if (*cursor->at == '\n')
            cursor->line++;
        else if (!isspace((unsigned char)*cursor->at))
            break;
        if (*cursor->at == '\0')
            break;
    }
    return strcspn(cursor->at, " \t\n\v\f\r#");
}

/* A whole number below `ranks`; false for anything else. */
static bool read_rank(const char *word, size_t length, size_t ranks, int32_t *out)
{
    size_t value = 0;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)word[i]))
            return false;
        value = 10 * value + (size_t)(word[i] - '0');
        if (value >= ranks) /* ranks < 2^31: no overflow */
            return false;
    }
    *out = (int32_t)value;
    return length > 0;
}

static moe_status_t place_words(cursor_t *cursor, moe_placement_t *placement, moe_error_t *error)
{
    size_t given = 0, length;
    for (; (length = next_word(cursor)) > 0; given++) {
        const int shown = length < WORD_TEXT ? (int)length : WORD_TEXT;
        if (given == placement->experts)
            return moe_fail(error, MOE_BAD_INPUT,
                            "%.256s:%zu: '%.*s' is one rank too many: there are %zu experts",
                            cursor->path, cursor->line, shown, cursor->at, placement->experts);
        if (!read_rank(cursor->at, length, placement->ranks, &placement->rank_of[given]))
            return moe_fail(error, MOE_BAD_INPUT,
                            "%.256s:%zu: '%.*s' (expert %zu) is not a rank between 0 and %zu",
                            cursor->path, cursor->line, shown, cursor->at, given,
                            placement->ranks - 1);
        cursor->at += length;
    }
    if (given < placement->experts)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%.256s:%zu: the file ends after %zu ranks, but there are %zu experts: it "
                        "needs one rank for each",
                        cursor->path, cursor->line, given, placement->experts);
    return MOE_OK;
}

static moe_status_t place_from_file(const char *path, moe_placement_t *placement,
                                    moe_error_t *error)
{
    char *text = NULL;
    size_t size = 0;
    moe_error_t why = {0};
    moe_status_t status = moe_file_read(path, FILE_LIMIT, &text, &size, &why);
    if (status != MOE_OK)
        return moe_fail(error, status, "neither block, round-robin nor eplb, and %.512s", why.text);
    cursor_t cursor = {.path = path, .at = text, .line = 1};
    status = place_words(&cursor, placement, error);
    if (status == MOE_OK && cursor.at != text + size)
        status = moe_fail(error, MOE_BAD_INPUT, "%.256s:%zu: there is a NUL byte: this is no text",
                          path, cursor.line);
    free(text);
    return status;
}

/* ---- What follows from it ---- */

/* first, expert_at and local_of from rank_of: counting sort by rank. */
static void index_experts(moe_placement_t *placement)
{
    size_t *first = placement->first;
    for (size_t e = 0; e < placement->experts; e++)
        first[placement->rank_of[e] + 1]++;
    for (size_t r = 0; r < placement->ranks; r++)
        first[r + 1] += first[r];
    /* first[r] is where the next expert of r goes; afterwards it has become first[r + 1]. */
    for (size_t e = 0; e < placement->experts; e++)
        placement->expert_at[first[placement->rank_of[e]]++] = (int32_t)e;
    for (size_t r = placement->ranks; r > 0; r--)
        first[r] = first[r - 1];
    first[0] = 0;
    for (size_t r = 0; r < placement->ranks; r++) {
        for (size_t i = first[r]; i < first[r + 1]; i++)
            placement->local_of[placement->expert_at[i]] = (int32_t)(i - first[r]);
    }
}

static moe_status_t allocate(size_t experts, size_t ranks, moe_placement_t *out, moe_error_t *error)
{
    void *rank_of = NULL, *local_of = NULL, *first = NULL, *expert_at = NULL;
    moe_status_t status = moe_alloc("placement", experts, sizeof(int32_t), &rank_of, error);
    if (status == MOE_OK)
        status = moe_alloc("placement", experts, sizeof(int32_t), &local_of, error);
    if (status == MOE_OK)
        status = moe_alloc("placement", ranks + 1, sizeof(size_t), &first, error);
    if (status == MOE_OK)
        status = moe_alloc("placement", experts, sizeof(int32_t), &expert_at, error);
    *out = (moe_placement_t){.experts = experts,
                             .ranks = ranks,
                             .rank_of = rank_of,
                             .local_of = local_of,
                             .first = first,
                             .expert_at = expert_at};
    return status;
}

moe_status_t moe_placement_create(const char *what, size_t experts, size_t ranks,
                                  moe_placement_t *out, moe_error_t *error)
{
    if (experts < 1 || experts > MOE_MAX_EXPERTS)
        return moe_fail(error, MOE_BAD_INPUT, "placement: %zu experts: not between 1 and %d",
                        experts, MOE_MAX_EXPERTS);
    if (ranks < 1 || ranks > INT32_MAX)
        return moe_fail(error, MOE_BAD_INPUT, "placement: %zu ranks: not between 1 and %d", ranks,
                        INT32_MAX);
    moe_placement_t placement = {0};
    moe_status_t status = allocate(experts, ranks, &placement, error);
    if (status == MOE_OK) {
        if (strcmp(what, "block") == 0)
            place_blocks(&placement);
        else if (strcmp(what, "round-robin") == 0)
            place_round_robin(&placement);
        else
            status = place_from_file(what, &placement, error);
    }
    if (status != MOE_OK) {
        moe_placement_destroy(&placement);
        return status;
    }
    index_experts(&placement);
    *out = placement;
    return MOE_OK;
}

void moe_placement_destroy(moe_placement_t *placement)
{
    free(placement->replica_at);
    free(placement->replica_first);
    free(placement->logical_of);
    free(placement->expert_at);
    free(placement->first);
    free(placement->local_of);
    free(placement->rank_of);
    *placement = (moe_placement_t){0};
}
