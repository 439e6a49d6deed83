/* Megatron-Core's router trace (megatron/core/transformer/moe/router_trace.py, NVIDIA/Megatron-LM #5220): JSON
 * Lines, one object for each (step, block, layer) and rank, a file for each rank. Files of several ranks may
 * stand one behind another. */
#include <string.h>

#include "pull.h"
#include "rows.h"

#define STAGE_TEXT 32
/* Layers of multi-token prediction are numbered apart, and come behind those of the decoder. */
#define MTP_BLOCK ((uint64_t)1 << 32)

typedef struct line {
    moe_piece_t piece;
    int64_t step, layer, rank, tokens, top_k, mtp; /* -1: not there */
    char stage[STAGE_TEXT], block[STAGE_TEXT];
    bool has_choices;
    size_t width; /* of its choices; 0: it has no token */
} line_t;

typedef struct reader {
    moe_input_t *input;
    moe_rows_t rows;
    char stage[STAGE_TEXT]; /* of the first line */
    bool ranks;             /* lines have them */
} reader_t;

static bool detect(const char *head, size_t size, unsigned wanted)
{
    (void)wanted;
    return moe_head_letter(head, size) == '{' && moe_head_holds(head, size, "\"top_indices\"");
}

static moe_status_t read_token(reader_t *reader, line_t *line)
{
    int64_t row[MOE_TRACE_MAX_TOP_K];
    moe_input_t *input = reader->input;
    size_t width = 0;
    bool more = true;
    moe_status_t status = moe_pull_open(input, '[', "the experts of a token");
    while (status == MOE_OK) {
        status = moe_pull_next(input, width, ']', &more);
        if (status != MOE_OK || !more)
            break;
        if (width == MOE_TRACE_MAX_TOP_K)
            return moe_input_refuse(input, "more than %d experts of one token",
                                    MOE_TRACE_MAX_TOP_K);
        status = moe_pull_whole(input, "an expert", -1, MOE_TRACE_MAX_EXPERTS - 1, &row[width++]);
    }
    if (status != MOE_OK)
        return status;
    if (reader->rows.top_k == 0)
        reader->rows.top_k = width;
    if (width == 0 || width != reader->rows.top_k)
        return moe_input_refuse(input, "a token of %zu experts, the first of the file has %zu",
                                width, reader->rows.top_k);
    line->width = width;
    return moe_rows_add(&reader->rows, input, row);
}

static moe_status_t read_choices(reader_t *reader, line_t *line)
{
    bool more = true;
    size_t tokens = 0;
    if (line->has_choices)
        return moe_input_refuse(reader->input, "a second \"top_indices\" in one object");
    line->has_choices = true;
    line->piece.first = reader->rows.tokens;
    moe_status_t status = moe_pull_open(reader->input, '[', "top_indices");
    while (status == MOE_OK) {
        status = moe_pull_next(reader->input, tokens, ']', &more);
        if (status != MOE_OK || !more)
            break;
        tokens++;
        status = read_token(reader, line);
    }
    line->piece.tokens = tokens;
    return status;
}

static moe_status_t read_field(reader_t *reader, line_t *line, const char *key)
{
    const struct {
        const char *key;
        int64_t *to, most;
    } numbers[] = {
        {"step", &line->step, (int64_t)MOE_TRACE_MAX_STEPS},
        {"layer", &line->layer, MOE_TRACE_MAX_LAYERS},
        {"rank", &line->rank, (int64_t)MOE_TRACE_MAX_RANKS - 1},
        {"num_tokens", &line->tokens, INT64_MAX},
        {"topk", &line->top_k, MOE_TRACE_MAX_TOP_K},
        {"mtp_idx", &line->mtp, MOE_TRACE_MAX_LAYERS},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(key, numbers[i].key) == 0)
            return moe_pull_whole(reader->input, key, 0, numbers[i].most, numbers[i].to);
    }
    if (strcmp(key, "top_indices") == 0)
        return read_choices(reader, line);
    if (strcmp(key, "stage") == 0)
        return moe_pull_text(reader->input, line->stage, STAGE_TEXT);
    if (strcmp(key, "block") == 0)
        return moe_pull_text(reader->input, line->block, STAGE_TEXT);
    return moe_pull_skip(reader->input);
}

/* Of a whole object. */
static moe_status_t check_line(reader_t *reader, const line_t *line)
{
    moe_input_t *input = reader->input;
    const size_t at = line->piece.line;
    if (!line->has_choices || line->step < 0 || line->layer < 0)
        return moe_input_refuse_at(input, at, 1, "the object has no \"%s\"",
                                   !line->has_choices ? "top_indices"
                                   : line->step < 0   ? "step"
                                                      : "layer");
    if (line->tokens >= 0 && (size_t)line->tokens != line->piece.tokens)
        return moe_input_refuse_at(input, at, 1, "\"num_tokens\" is %lld, \"top_indices\" has %zu",
                                   (long long)line->tokens, line->piece.tokens);
    if (line->top_k >= 0 && line->width > 0 && (size_t)line->top_k != line->width)
        return moe_input_refuse_at(input, at, 1, "\"topk\" is %lld, tokens have %zu experts",
                                   (long long)line->top_k, line->width);
    const bool first = reader->rows.pieces == 0;
    if (!first && strcmp(reader->stage, line->stage) != 0)
        return moe_input_refuse_at(input, at, 1,
                                   "\"stage\" is \"%s\", and \"%s\" before: keep the lines of one "
                                   "stage",
                                   line->stage, reader->stage);
    if (!first && reader->ranks != (line->rank >= 0))
        return moe_input_refuse_at(input, at, 1,
                                   "some objects have a \"rank\", and some have none");
    return MOE_OK;
}

static moe_status_t read_line(reader_t *reader)
{
    line_t line = {.step = -1, .layer = -1, .rank = -1, .tokens = -1, .top_k = -1, .mtp = -1};
    char key[MOE_PULL_KEY];
    bool more = true;
    line.piece.line = reader->input->line;
    moe_status_t status = moe_pull_open(reader->input, '{', "a record of the trace");
    for (size_t member = 0; status == MOE_OK; member++) {
        status = moe_pull_next(reader->input, member, '}', &more);
        if (status != MOE_OK || !more)
            break;
        status = moe_pull_key(reader->input, key);
        if (status == MOE_OK)
            status = read_field(reader, &line, key);
    }
    if (status == MOE_OK)
        status = check_line(reader, &line);
    if (status != MOE_OK)
        return status;
    if (reader->rows.pieces == 0) {
        memcpy(reader->stage, line.stage, STAGE_TEXT);
        reader->ranks = line.rank >= 0;
    }
    line.piece.step = (uint64_t)line.step;
    line.piece.rank = line.rank < 0 ? 0 : (uint64_t)line.rank;
    line.piece.layer = (uint64_t)line.layer;
    if (strcmp(line.block, "mtp") == 0)
        line.piece.layer += MTP_BLOCK * (1 + (line.mtp < 0 ? 0 : (uint64_t)line.mtp));
    return moe_rows_add_piece(&reader->rows, reader->input, &line.piece);
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    reader_t reader = {.input = input};
    moe_status_t status = MOE_OK;
    (void)wanted;
    while (status == MOE_OK && moe_pull_look(input) != MOE_INPUT_END)
        status = read_line(&reader);
    if (status == MOE_OK)
        status = input->status;
    if (status == MOE_OK)
        status = moe_rows_finish(&reader.rows, input, out);
    out->has_steps = true;
    out->has_ranks = reader.ranks;
    moe_rows_destroy(&reader.rows);
    return status;
}

const moe_trace_format_t moe_trace_megatron = {
    .name = "megatron",
    .summary = "router trace of Megatron-Core, JSON Lines: choices by step, layer and rank",
    .kinds = MOE_TRACE_CHOICES,
    .detect = detect,
    .read = read_trace,
};
