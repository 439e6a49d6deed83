/* CSV of selections: `layer,expert`, one selection a line (llama.cpp's moe-trace, ggml-org/llama.cpp #28544), or
 * `layer,expert,count`. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "moe/system.h"

#define COLUMNS 3

/* A layer's counts grow with the numbers of its experts. */
typedef struct layer {
    double *count;
    size_t experts;
} layer_t;

typedef struct reader {
    moe_input_t *input;
    layer_t *layer; /* [layers] */
    size_t layers, room, experts;
    size_t memory;  /* bytes of all counts */
    size_t columns; /* of the first line; 0: not known yet */
} reader_t;

/* With the heading that such files have, or two or three whole numbers in the first line. */
static bool detect(const char *head, size_t size, unsigned wanted)
{
    size_t commas = 0, digits = 0, at = 0;
    (void)wanted;
    if (size >= 12 && memcmp(head, "layer,expert", 12) == 0)
        return true;
    for (; at < size && head[at] != '\n' && head[at] != '\r'; at++) {
        if (head[at] == ',')
            commas++;
        else if (isdigit((unsigned char)head[at]))
            digits++;
        else if (head[at] != ' ')
            return false;
    }
    return digits > commas && (commas == 1 || commas == 2);
}

static int skip_blanks(moe_input_t *input)
{
    while (moe_input_look(input) == ' ' || moe_input_look(input) == '\t' ||
           moe_input_look(input) == '\r')
        moe_input_take(input);
    return moe_input_look(input);
}

static moe_status_t read_number(moe_input_t *input, const char *what, size_t most, size_t *out)
{
    const size_t column = (skip_blanks(input), moe_input_column(input));
    size_t value = 0, digits = 0;
    for (int letter; letter = moe_input_look(input), letter >= '0' && letter <= '9'; digits++) {
        if (value <= most)
            value = 10 * value + (size_t)(letter - '0');
        moe_input_take(input);
    }
    if (digits == 0)
        return moe_input_refuse_at(input, input->line, column, "a whole number (%s) must come",
                                   what);
    if (value > most)
        return moe_input_refuse_at(input, input->line, column, "%s: more than %zu", what, most);
    *out = value;
    return MOE_OK;
}

/* Up to the end of the line, which holds as many values as the first. */
static moe_status_t read_values(reader_t *r, size_t value[COLUMNS])
{
    static const char *const names[COLUMNS] = {"layer", "expert", "count"};
    static const size_t most[COLUMNS] = {MOE_TRACE_MAX_LAYERS, MOE_TRACE_MAX_EXPERTS - 1,
                                         (size_t)1 << 53};
    moe_input_t *input = r->input;
    size_t columns = 0;
    for (;;) {
        if (columns == COLUMNS)
            return moe_input_refuse(input, "more than %d values in a line", COLUMNS);
        if (read_number(input, names[columns], most[columns], &value[columns]) != MOE_OK)
            return input->status;
        columns++;
        if (skip_blanks(input) != ',')
            break;
        moe_input_take(input);
    }
    const int letter = moe_input_look(input);
    if (letter != '\n' && letter != MOE_INPUT_END)
        return moe_input_refuse(input, "',' or the end of the line must come");
    r->columns = r->columns == 0 ? columns : r->columns;
    if (columns < 2 || columns != r->columns)
        return moe_input_refuse(input,
                                "%zu values in a line, %zu before: `layer,expert` or "
                                "`layer,expert,count` it is",
                                columns, r->columns);
    return MOE_OK;
}

/* The count of an expert, NULL where the file does not justify the room for it. */
static double *find_count(reader_t *r, size_t layer, size_t expert)
{
    moe_input_t *input = r->input;
    if (r->layer == NULL || layer >= r->room) {
        const size_t room = 2 * (layer + 1);
        if (moe_input_allow(input, r->memory + room * sizeof *r->layer) != MOE_OK)
            return NULL;
        layer_t *moved = realloc(r->layer, room * sizeof *moved);
        if (moved == NULL) {
            moe_input_refuse(input, "%zu layers do not fit memory", room);
            return NULL;
        }
        memset(moved + r->room, 0, (room - r->room) * sizeof *moved);
        r->layer = moved;
        r->room = room;
    }
    layer_t *at = &r->layer[layer];
    if (at->count == NULL || expert >= at->experts) {
        const size_t experts = expert >= r->experts ? expert + 1 : r->experts;
        r->memory += (experts - at->experts) * sizeof *at->count;
        if (moe_input_allow(input, r->memory + r->room * sizeof *r->layer) != MOE_OK)
            return NULL;
        double *moved = realloc(at->count, experts * sizeof *moved);
        if (moved == NULL) {
            moe_input_refuse(input, "%zu experts do not fit memory", experts);
            return NULL;
        }
        memset(moved + at->experts, 0, (experts - at->experts) * sizeof *moved);
        at->count = moved;
        at->experts = r->experts = experts;
    }
    r->layers = layer >= r->layers ? layer + 1 : r->layers;
    return &at->count[expert];
}

static moe_status_t skip_heading(moe_input_t *input)
{
    const unsigned char *head;
    const size_t size = moe_input_peek(input, &head);
    if (size == 0 || !isalpha(head[0]))
        return MOE_OK;
    if (size < 12 || memcmp(head, "layer,expert", 12) != 0)
        return moe_input_refuse(input, "the heading is not layer,expert or layer,expert,count");
    while (moe_input_look(input) != '\n' && moe_input_look(input) != MOE_INPUT_END)
        moe_input_take(input);
    return MOE_OK;
}

static moe_status_t read_lines(reader_t *r)
{
    moe_input_t *input = r->input;
    for (int letter; (letter = skip_blanks(input)) != MOE_INPUT_END;) {
        size_t value[COLUMNS] = {0, 0, 1};
        if (letter == '\n') {
            moe_input_take(input);
            continue;
        }
        double *count = read_values(r, value) == MOE_OK ? find_count(r, value[0], value[1]) : NULL;
        if (count == NULL)
            return input->status;
        *count += (double)value[2];
    }
    return input->status;
}

static moe_status_t hand_over(reader_t *r, moe_trace_t *out)
{
    moe_input_t *input = r->input;
    size_t used = 0;
    for (size_t l = 0; l < r->layers; l++)
        used += r->layer[l].count != NULL;
    if (used == 0)
        return moe_input_refuse(input, "there are no selections in this file");
    void *value = NULL;
    if (moe_input_allow(input, r->memory + used * r->experts * sizeof(double)) != MOE_OK)
        return input->status;
    const moe_status_t status =
        moe_alloc("counts of experts", used, r->experts * sizeof(double), &value, input->error);
    if (status != MOE_OK)
        return input->status = status;
    double *to = value;
    for (size_t l = 0; l < r->layers; l++) {
        if (r->layer[l].count == NULL)
            continue;
        memcpy(to, r->layer[l].count, r->layer[l].experts * sizeof *to);
        to += r->experts;
    }
    return moe_take_counts(input, value, 1, used, r->experts, out);
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    reader_t r = {.input = input};
    (void)wanted;
    moe_status_t status = skip_heading(input);
    if (status == MOE_OK)
        status = read_lines(&r);
    if (status == MOE_OK)
        status = hand_over(&r, out);
    for (size_t l = 0; l < r.room; l++)
        free(r.layer[l].count);
    free(r.layer);
    return status;
}

const moe_trace_format_t moe_trace_csv = {
    .name = "counts-csv",
    .summary =
        "layer,expert (one selection a line, as llama.cpp's moe-trace) or layer,expert,count",
    .kinds = MOE_TRACE_COUNTS,
    .detect = detect,
    .read = read_trace,
};
