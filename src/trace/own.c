/* Reading the format `moe`: see own.h. */
#include "own.h"

#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "moe/system.h"
#include "rows.h"

static bool detect(const char *head, size_t size, unsigned wanted)
{
    (void)wanted;
    return size >= MOE_OWN_MAGIC_BYTES && memcmp(head, MOE_OWN_MAGIC, MOE_OWN_MAGIC_BYTES) == 0;
}

static uint32_t word_at(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

typedef struct reader {
    moe_input_t *input;
    moe_trace_t *trace;
    size_t cells;
    uint32_t flags, crc;
    size_t row; /* bytes of the experts of a token */
} reader_t;

/* Sizes that a sound file has. */
static moe_status_t check_sizes(reader_t *r)
{
    const moe_trace_t *t = r->trace;
    if (t->experts < 1 || t->experts > MOE_TRACE_MAX_EXPERTS || t->top_k < 1 ||
        t->top_k > MOE_TRACE_MAX_TOP_K || t->steps < 1 || t->steps > MOE_TRACE_MAX_STEPS ||
        t->layers < 1 || t->layers > MOE_TRACE_MAX_LAYERS || t->ranks < 1 ||
        t->ranks > MOE_TRACE_MAX_RANKS || t->tokens < 1)
        return moe_input_refuse_byte(
            r->input, 16,
            "%zu experts, top-k %zu, %zu steps, %zu layers, %zu ranks, %zu "
            "tokens: one of them is none, or past its limit",
            t->experts, t->top_k, t->steps, t->layers, t->ranks, t->tokens);
    size_t need = 0, cells = 0;
    const size_t each = r->row + (r->flags & MOE_OWN_WEIGHTS ? t->top_k * 4 : 0);
    const size_t left = moe_input_left(r->input);
    if (__builtin_mul_overflow(t->steps * t->layers, t->ranks, &r->cells) ||
        __builtin_mul_overflow(r->cells, (size_t)4, &cells) ||
        __builtin_mul_overflow(t->tokens, each, &need) ||
        __builtin_add_overflow(need, cells, &need) ||
        __builtin_add_overflow(need, (size_t)4, &need) || need > left ||
        (r->input->unpacker == NULL && need < left))
        return moe_input_refuse_byte(r->input, MOE_OWN_HEADER,
                                     "%zu bytes follow the header, and it speaks of %zu tokens in "
                                     "%zu cells: the file is cut off or damaged",
                                     left, t->tokens, r->cells);
    if (need > moe_memory_available() / 2)
        return moe_input_refuse_byte(r->input, MOE_OWN_HEADER, "%zu bytes do not fit memory", need);
    return MOE_OK;
}

static moe_status_t read_header(reader_t *r)
{
    unsigned char head[MOE_OWN_HEADER];
    moe_trace_t *t = r->trace;
    const moe_status_t status = moe_input_read(r->input, head, sizeof head);
    if (status != MOE_OK)
        return status;
    if (!detect((const char *)head, sizeof head, 0))
        return moe_input_refuse_byte(r->input, 0, "this is no file of the format moe");
    if (word_at(head + 8) != MOE_OWN_VERSION)
        return moe_input_refuse_byte(r->input, 8,
                                     "version %u of the format moe; this program reads %d",
                                     word_at(head + 8), MOE_OWN_VERSION);
    if (word_at(head + 48) != moe_crc32(0, head, 48))
        return moe_input_refuse_byte(r->input, 48,
                                     "the checksum of the header is wrong: the file is damaged");
    r->flags = word_at(head + 12);
    if ((r->flags & ~MOE_OWN_FLAGS) != 0 || word_at(head + 44) != 0)
        return moe_input_refuse_byte(r->input, 12, "flags that version %d does not have",
                                     MOE_OWN_VERSION);
    t->has_steps = (r->flags & MOE_OWN_HAS_STEPS) != 0;
    t->has_ranks = (r->flags & MOE_OWN_HAS_RANKS) != 0;
    t->experts = word_at(head + 16);
    t->experts_known = (r->flags & MOE_OWN_MORE_EXPERTS) == 0;
    t->top_k = word_at(head + 20);
    t->steps = word_at(head + 24);
    t->layers = word_at(head + 28);
    t->ranks = word_at(head + 32);
    t->tokens = (size_t)word_at(head + 36) | (size_t)word_at(head + 40) << 32;
    r->row = t->top_k * (t->experts <= MOE_OWN_BYTE_EXPERTS ? 1 : 2);
    return check_sizes(r);
}

static moe_status_t take(reader_t *r, void *out, size_t size)
{
    const moe_status_t status = moe_input_read(r->input, out, size);
    if (status == MOE_OK)
        r->crc = moe_crc32(r->crc, out, size);
    return status;
}

static moe_status_t read_cells(reader_t *r)
{
    moe_trace_t *t = r->trace;
    void *first = NULL;
    moe_status_t status =
        moe_alloc("cells of a trace", r->cells + 1, sizeof(size_t), &first, r->input->error);
    t->first = first;
    for (size_t cell = 0; status == MOE_OK && cell < r->cells; cell++) {
        unsigned char word[4];
        status = take(r, word, sizeof word);
        if (status == MOE_OK)
            t->first[cell + 1] = t->first[cell] + word_at(word);
    }
    if (status == MOE_OK && t->first[r->cells] != t->tokens)
        return moe_input_refuse_byte(r->input, MOE_OWN_HEADER,
                                     "the cells have %zu tokens together, and the header says %zu",
                                     t->first[r->cells], t->tokens);
    for (size_t at = 0; status == MOE_OK && at < r->cells; at += t->ranks) {
        if (t->first[at] == t->first[at + t->ranks])
            return moe_input_refuse_byte(r->input, MOE_OWN_HEADER + 4 * at,
                                         "a layer has no tokens in some step");
    }
    return status;
}

static moe_status_t read_experts(reader_t *r)
{
    moe_trace_t *t = r->trace;
    unsigned char row[2 * MOE_TRACE_MAX_TOP_K];
    const size_t bytes = r->row / t->top_k;
    void *expert = NULL;
    moe_status_t status = moe_alloc("choices of a trace", t->tokens, t->top_k * sizeof(uint16_t),
                                    &expert, r->input->error);
    t->expert = expert;
    for (size_t token = 0; status == MOE_OK && token < t->tokens; token++) {
        uint16_t *to = t->expert + token * t->top_k, twice = 0;
        const size_t offset = moe_input_offset(r->input);
        status = take(r, row, r->row);
        for (size_t k = 0; status == MOE_OK && k < t->top_k; k++) {
            to[k] = bytes == 1 ? row[k] : (uint16_t)(row[2 * k] | row[2 * k + 1] << 8);
            if (to[k] >= t->experts && to[k] != (bytes == 1 ? UINT8_MAX : UINT16_MAX))
                status = moe_input_refuse_byte(r->input, offset + k * bytes,
                                               "expert %u, and there are %zu", to[k], t->experts);
            else if (to[k] >= t->experts)
                to[k] = MOE_TRACE_NO_EXPERT;
        }
        if (status == MOE_OK && !moe_row_sound(to, t->top_k, &twice))
            status =
                moe_input_refuse_byte(r->input, offset, "a token chooses expert %u twice", twice);
    }
    return status;
}

static moe_status_t read_weights(reader_t *r)
{
    moe_trace_t *t = r->trace;
    unsigned char row[4 * MOE_TRACE_MAX_TOP_K];
    void *weight = NULL;
    moe_status_t status = moe_alloc("weights of a trace", t->tokens, t->top_k * sizeof(uint32_t),
                                    &weight, r->input->error);
    t->weight = weight;
    for (size_t token = 0; status == MOE_OK && token < t->tokens; token++) {
        const size_t offset = moe_input_offset(r->input);
        uint32_t *to = t->weight + token * t->top_k;
        uint64_t sum = 0;
        bool sound = true;
        status = take(r, row, 4 * t->top_k);
        for (size_t k = 0; status == MOE_OK && k < t->top_k; k++) {
            to[k] = word_at(row + 4 * k);
            sum += to[k];
            sound = sound && (k == 0 || to[k] <= to[k - 1]) &&
                    (to[k] == 0 || t->expert[token * t->top_k + k] != MOE_TRACE_NO_EXPERT);
        }
        if (status == MOE_OK && (!sound || sum > MOE_TRACE_WEIGHT_ONE))
            status = moe_input_refuse_byte(r->input, offset,
                                           "the weights of a token do not descend, have one of no "
                                           "expert, or are more than 1 together");
    }
    return status;
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    reader_t r = {.input = input, .trace = out};
    unsigned char end[4];
    (void)wanted;
    out->kind = MOE_TRACE_CHOICES;
    moe_status_t status = read_header(&r);
    if (status == MOE_OK)
        status = read_cells(&r);
    if (status == MOE_OK)
        status = read_experts(&r);
    if (status == MOE_OK && (r.flags & MOE_OWN_WEIGHTS) != 0)
        status = read_weights(&r);
    const size_t offset = moe_input_offset(input);
    if (status == MOE_OK)
        status = moe_input_read(input, end, sizeof end);
    if (status == MOE_OK && word_at(end) != r.crc)
        return moe_input_refuse_byte(input, offset, "the checksum is wrong: the file is damaged");
    return status == MOE_OK ? moe_input_end(input) : status;
}

const moe_trace_format_t moe_trace_own = {
    .name = "moe",
    .summary = "realised routing as `pattern --export moe` writes it: choices with weights",
    .kinds = MOE_TRACE_CHOICES,
    .detect = detect,
    .read = read_trace,
};
