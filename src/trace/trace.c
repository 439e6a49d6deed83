/* The table of formats, reading, and what follows from a trace. */
#include <stdlib.h>
#include <string.h>

#include "../system/quote.h"
#include "format.h"
#include "moe/system.h"

/* In the order in which they are asked whether a file is theirs: those that are surest first. */
static const moe_trace_format_t *const formats[] = {
    &moe_trace_own,       &moe_trace_megatron, &moe_trace_vllm,
    &moe_trace_vllm_load, &moe_trace_sglang,   &moe_trace_trtllm,
    &moe_trace_eplb,      &moe_trace_csv,      &moe_trace_pickle,
};
#define FORMATS (sizeof formats / sizeof formats[0])

const moe_trace_format_t *moe_trace_format_at(size_t index)
{
    return index < FORMATS ? formats[index] : NULL;
}

const char *moe_trace_format_name(const moe_trace_format_t *format)
{
    return format->name;
}

const char *moe_trace_format_summary(const moe_trace_format_t *format)
{
    return format->summary;
}

unsigned moe_trace_format_kinds(const moe_trace_format_t *format)
{
    return format->kinds;
}

const moe_trace_format_t *moe_trace_format_find(const char *name)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

/* ---- Telling them apart ---- */

bool moe_head_holds(const char *head, size_t size, const char *text)
{
    return memmem(head, size, text, strlen(text)) != NULL;
}

char moe_head_letter(const char *head, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (strchr(" \t\r\n", head[i]) == NULL || head[i] == '\0')
            return head[i];
    }
    return '\0';
}

static const moe_trace_format_t *detect(moe_input_t *input, unsigned wanted)
{
    const unsigned char *head;
    const size_t size = moe_input_peek(input, &head);
    for (size_t i = 0; i < FORMATS; i++) {
        /* Those that give nothing only refuse: with how to convert. */
        const bool of_use = formats[i]->kinds == 0 || (formats[i]->kinds & wanted) != 0;
        if (of_use && formats[i]->detect != NULL &&
            formats[i]->detect((const char *)head, size, wanted))
            return formats[i];
    }
    return NULL;
}

const moe_trace_format_t *moe_trace_recognise(const char *path, const moe_trace_format_t **other)
{
    moe_input_t input;
    *other = NULL;
    if (moe_input_open(path, &input, NULL) != MOE_OK)
        return NULL;
    const moe_trace_format_t *format = detect(&input, MOE_TRACE_ANY);
    if (format != NULL && (format->kinds & MOE_TRACE_COUNTS) != 0)
        *other = detect(&input, MOE_TRACE_CHOICES);
    moe_input_close(&input);
    return format;
}

static moe_status_t refuse_unknown(moe_input_t *input, unsigned wanted)
{
    char names[160] = "";
    const moe_trace_format_t *format;
    for (size_t i = 0; (format = moe_trace_format_at(i)) != NULL; i++) {
        const size_t length = strlen(names);
        if ((format->kinds & wanted) != 0)
            snprintf(names + length, sizeof names - length, "%s%s", length > 0 ? ", " : "",
                     format->name);
    }
    return moe_input_refuse_byte(input, 0,
                                 "by its beginning this is none of the formats that could be used "
                                 "here (%s): see docs/formats.md, or say which it is with `pattern "
                                 "--import FORMAT FILE`",
                                 names);
}

/* ---- Reading ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    uint64_t z =
        (hash ^ value) + 0x9e3779b97f4a7c15; /* SplitMix64 (Steele, Lea, Flood, OOPSLA'14) */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t hash_of(const moe_trace_t *t)
{
    const size_t cells = t->steps * t->layers * t->ranks;
    uint64_t hash = mix(mix(mix(mix(0, t->kind), t->steps), t->layers), t->ranks);
    for (size_t i = 0; t->first != NULL && i <= cells; i++)
        hash = mix(hash, t->first[i]);
    for (size_t i = 0; t->expert != NULL && i < t->tokens * t->top_k; i++)
        hash = mix(hash, t->expert[i]);
    for (size_t i = 0; t->weight != NULL && i < t->tokens * t->top_k; i++)
        hash = mix(hash, t->weight[i]);
    for (size_t i = 0; t->count != NULL && i < t->steps * t->layers * t->experts; i++) {
        uint64_t bits;
        memcpy(&bits, &t->count[i], sizeof bits);
        hash = mix(hash, bits);
    }
    for (size_t i = 0; t->sent != NULL && i < t->ranks * t->ranks; i++)
        hash = mix(hash, t->sent[i]);
    for (size_t i = 0; t->map != NULL && i < t->layers * t->slots; i++)
        hash = mix(hash, t->map[i]);
    return hash;
}

static moe_status_t read_as(moe_input_t *input, const moe_trace_format_t *format, unsigned wanted,
                            moe_trace_t *trace)
{
    trace->format = format->name;
    trace->packed = input->unpacker != NULL;
    trace->steps = trace->layers = trace->ranks = 1;
    trace->path = strdup(input->path);
    if (trace->path == NULL)
        return moe_fail(input->error, MOE_BAD_INPUT, "out of memory");
    moe_status_t status = format->read(input, wanted, trace);
    /* Readers stop where the bytes stop; why they do is told here. */
    if (input->status != MOE_OK)
        status = input->status;
    if (status == MOE_OK && (trace->kind & wanted) == 0)
        return moe_fail(input->error, MOE_BAD_INPUT,
                        "'" MOE_QUOTED "' (%s) holds %s, and %s are needed here",
                        MOE_QUOTE_PATH(input->path), format->name,
                        trace->kind == MOE_TRACE_CHOICES  ? "choices of tokens"
                        : trace->kind == MOE_TRACE_COUNTS ? "counts of experts"
                                                          : "a map of experts",
                        wanted == MOE_TRACE_CHOICES ? "choices of tokens" : "counts or choices");
    if (status == MOE_OK)
        trace->hash = hash_of(trace);
    return status;
}

moe_status_t moe_trace_read(const char *path, const moe_trace_format_t *format, unsigned wanted,
                            moe_trace_t **out, moe_error_t *error)
{
    moe_input_t input;
    void *memory = NULL;
    moe_status_t status = moe_input_open(path, &input, error);
    if (status != MOE_OK)
        return status;
    const moe_trace_format_t *use = format != NULL ? format : detect(&input, wanted);
    status = use == NULL ? refuse_unknown(&input, wanted)
                         : moe_alloc("a trace", 1, sizeof(moe_trace_t), &memory, error);
    if (use != NULL && status == MOE_OK)
        status = read_as(&input, use, wanted, memory);
    moe_input_close(&input);
    if (status == MOE_OK)
        *out = memory;
    else
        moe_trace_destroy(memory);
    return status;
}

void moe_trace_destroy(moe_trace_t *trace)
{
    if (trace == NULL)
        return;
    free(trace->path);
    free(trace->first);
    free(trace->expert);
    free(trace->weight);
    free(trace->count);
    free(trace->sent);
    free(trace->map);
    free(trace);
}

moe_status_t moe_trace_create(size_t steps, size_t layers, size_t ranks, const size_t *tokens,
                              size_t top_k, bool weights, moe_trace_t **out, moe_error_t *error)
{
    const size_t cells = steps * layers * ranks;
    void *memory = NULL, *first = NULL, *expert = NULL, *weight = NULL;
    size_t sum = 0;
    for (size_t i = 0; i < cells; i++)
        sum += tokens[i];
    moe_status_t status = moe_alloc("a trace", 1, sizeof(moe_trace_t), &memory, error);
    if (status == MOE_OK)
        status = moe_alloc("cells of a trace", cells + 1, sizeof(size_t), &first, error);
    if (status == MOE_OK)
        status = moe_alloc("choices of a trace", sum, top_k * sizeof(uint16_t), &expert, error);
    if (status == MOE_OK && weights)
        status = moe_alloc("weights of a trace", sum, top_k * sizeof(uint32_t), &weight, error);
    if (status != MOE_OK) {
        free(expert);
        free(first);
        free(memory);
        return status;
    }
    moe_trace_t *trace = memory;
    *trace = (moe_trace_t){.kind = MOE_TRACE_CHOICES,
                           .format = moe_trace_own.name,
                           .steps = steps,
                           .layers = layers,
                           .ranks = ranks,
                           .top_k = top_k,
                           .tokens = sum,
                           .first = first,
                           .expert = expert,
                           .weight = weight};
    for (size_t i = 0; i < cells; i++)
        trace->first[i + 1] = trace->first[i] + tokens[i];
    *out = trace;
    return MOE_OK;
}

/* ---- What follows ---- */

void moe_trace_layer_counts(const moe_trace_t *trace, size_t layer, double *count)
{
    for (size_t e = 0; e < trace->experts; e++)
        count[e] = 0;
    for (size_t step = 0; step < trace->steps; step++) {
        const size_t at = step * trace->layers + layer;
        for (size_t e = 0; trace->count != NULL && e < trace->experts; e++)
            count[e] += trace->count[at * trace->experts + e];
        if (trace->expert == NULL)
            continue;
        const size_t first = trace->first[at * trace->ranks];
        const size_t end = trace->first[(at + 1) * trace->ranks];
        for (size_t i = first * trace->top_k; i < end * trace->top_k; i++) {
            if (trace->expert[i] != MOE_TRACE_NO_EXPERT)
                count[trace->expert[i]] += 1;
        }
    }
}

bool moe_trace_by_rank(const moe_trace_t *choices, const moe_trace_run_t *run)
{
    return choices->has_ranks && run->ranks == choices->ranks && run->tokens_per_rank > 0;
}

size_t moe_trace_token(const moe_trace_t *choices, const moe_trace_run_t *run, size_t step,
                       size_t layer, uint64_t token)
{
    const size_t at = (step % choices->steps) * choices->layers + layer % choices->layers;
    const size_t *first = choices->first + at * choices->ranks;
    const uint64_t earlier =
        choices->has_steps ? 0 : step; /* steps behind which this one goes on */
    if (moe_trace_by_rank(choices, run)) {
        const size_t rank = (size_t)(token / run->tokens_per_rank) % choices->ranks;
        const size_t there = first[rank + 1] - first[rank];
        const uint64_t before = earlier * run->tokens_per_rank;
        if (there > 0)
            return first[rank] + (size_t)((before + token % run->tokens_per_rank) % there);
    }
    const uint64_t before = earlier * run->ranks * run->tokens_per_rank;
    return first[0] + (size_t)((before + token) % (first[choices->ranks] - first[0]));
}
