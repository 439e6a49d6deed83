/* Patterns of UCC's perftest (.ptini; openucx/ucc, tools/perf/generator/ucc_pt_generator_file.cc): a section
 * [collective] with the counts of an all-to-all-v in elements of a type, row = source. */
#include <ctype.h>
#include <string.h>

#include "matrix_file.h"

#define COMMENTS  "#;"
#define NAME_TEXT 32

/* Sizes of UCC's predefined types, ucc.h. */
static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    {"INT8", 1},     {"UINT8", 1},   {"INT16", 2},   {"UINT16", 2},   {"FLOAT16", 2},
    {"BFLOAT16", 2}, {"INT32", 4},   {"UINT32", 4},  {"FLOAT32", 4},  {"INT64", 8},
    {"UINT64", 8},   {"FLOAT64", 8}, {"INT128", 16}, {"UINT128", 16}, {"FLOAT128", 16},
};

typedef struct pattern {
    size_t collectives;
    bool counts;
    size_t team;       /* 0: not given */
    size_t type_bytes; /* of an element */
    size_t line;       /* of the counts */
} pattern_t;

/* Bytes before the end of the line; the head is not terminated. */
static size_t skip_to_line_end(const char *at, size_t size)
{
    const char *end = memchr(at, '\n', size);
    return end == NULL ? size - 1 : (size_t)(end - at);
}

static bool detect(const char *head, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (head[i] == '[')
            return true;
        if (head[i] == '#' || head[i] == ';')
            i += skip_to_line_end(head + i, size - i);
        else if (!isspace((unsigned char)head[i]))
            return false;
    }
    return false;
}

/* A word of letters, digits and underscores. */
static size_t take_word(moe_matrix_text_t *text, char word[NAME_TEXT])
{
    size_t length = 0;
    while (text->at < text->end && (isalnum((unsigned char)*text->at) || *text->at == '_')) {
        if (length + 1 < NAME_TEXT)
            word[length++] = *text->at;
        text->at++;
    }
    word[length] = '\0';
    return length;
}

static moe_status_t read_counts(moe_matrix_text_t *text, pattern_t *p)
{
    if (p->counts)
        return moe_matrix_refuse(text, "a second \"counts\" of one collective");
    if (text->at == text->end || *text->at != '{')
        return moe_matrix_refuse(text, "'{' must come");
    text->at++;
    p->counts = true;
    p->line = text->line;
    for (bool value = false;;) { /* a value has come, and no comma behind it */
        size_t count = 0;
        moe_matrix_skip_blanks(text, COMMENTS);
        if (text->at == text->end)
            return moe_matrix_refuse(text, "the file ends before '}'");
        if (*text->at == '}') {
            text->at++;
            return MOE_OK;
        }
        if (*text->at == '\n') {
            moe_matrix_next_line(text);
            value = false;
        } else if (*text->at == ',' && value) {
            text->at++;
            value = false;
        } else if (value) {
            return moe_matrix_refuse(text, "',', '}' or the end of the line must come");
        } else {
            const size_t length = strcspn(text->at, ", \t\n\v\f\r}#;");
            moe_status_t status = moe_matrix_whole(text, length, &count);
            if (status == MOE_OK)
                status = moe_matrix_add(text, (double)count);
            if (status != MOE_OK)
                return status;
            text->at += length;
            value = true;
        }
    }
}

static moe_status_t read_type(moe_matrix_text_t *text, pattern_t *p)
{
    char word[NAME_TEXT];
    (void)take_word(text, word);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(word, types[i].name) == 0) {
            p->type_bytes = types[i].bytes;
            return MOE_OK;
        }
    }
    return moe_matrix_refuse(text, "'%s' is no datatype of UCC", word);
}

static moe_status_t read_key(moe_matrix_text_t *text, pattern_t *p)
{
    char key[NAME_TEXT], word[NAME_TEXT];
    if (take_word(text, key) == 0)
        return moe_matrix_refuse(text, "'[', or a key and '=', must come");
    moe_matrix_skip_blanks(text, "");
    if (text->at == text->end || (*text->at != '=' && *text->at != ':'))
        return moe_matrix_refuse(text, "'=' must come");
    text->at++;
    moe_matrix_skip_blanks(text, "");
    if (p->collectives == 0)
        return MOE_OK; /* version and description */
    if (strcmp(key, "counts") == 0)
        return read_counts(text, p);
    if (strcmp(key, "datatype") == 0)
        return read_type(text, p);
    if (strcmp(key, "team_size") == 0)
        return moe_matrix_whole(text, strcspn(text->at, " \t\n\v\f\r#;"), &p->team);
    if (strcmp(key, "type") == 0 && (take_word(text, word), strcmp(word, "ALLTOALLV") != 0))
        return moe_matrix_refuse(text, "type '%s': only ALLTOALLV has counts from rank to rank",
                                 word);
    return MOE_OK;
}

static moe_status_t read_section(moe_matrix_text_t *text, pattern_t *p)
{
    char name[NAME_TEXT];
    text->at++;
    (void)take_word(text, name);
    if (text->at == text->end || *text->at != ']')
        return moe_matrix_refuse(text, "']' must come");
    text->at++;
    if (strcmp(name, "collective") != 0)
        return strcmp(name, "format") == 0 && p->collectives == 0
                   ? MOE_OK
                   : moe_matrix_refuse(text, "section '%s': [format] and then [collective] it is",
                                       name);
    if (++p->collectives > 1)
        return moe_matrix_refuse(text, "a second [collective]: one matrix is read of a file; keep "
                                       "one of them");
    return MOE_OK;
}

static moe_status_t make_bytes(moe_matrix_text_t *text, const pattern_t *p, size_t *ranks)
{
    size_t side = 0;
    if (!p->counts)
        return moe_matrix_refuse(text, "there is no [collective] with counts");
    while ((side + 1) * (side + 1) <= text->count)
        side++;
    if (side == 0 || side * side != text->count || (p->team != 0 && p->team != side))
        return moe_matrix_refuse_at(text, p->line, 1,
                                    "the matrix is not square, or not of team_size %zu: it has %zu "
                                    "counts",
                                    p->team, text->count);
    for (size_t i = 0; i < text->count; i++) {
        text->value[i] *= (double)p->type_bytes;
        if (!moe_matrix_fits(text, text->value[i]))
            return moe_matrix_refuse_at(text, p->line, 1, "%.0f bytes do not fit memory",
                                        text->value[i]);
    }
    *ranks = side;
    return MOE_OK;
}

static moe_status_t read_ucc(moe_matrix_text_t *text, size_t *ranks)
{
    pattern_t p = {.type_bytes = 4}; /* INT32, as in UCC's own example */
    do {
        moe_status_t status = MOE_OK;
        moe_matrix_skip_blanks(text, COMMENTS);
        if (text->at < text->end && *text->at == '[')
            status = read_section(text, &p);
        else if (text->at < text->end && *text->at != '\n')
            status = read_key(text, &p);
        if (status != MOE_OK)
            return status;
    } while (moe_matrix_next_line(text));
    return make_bytes(text, &p, ranks);
}

/* UCC keeps counts in 32 bits; bytes are elements of one byte each. */
static moe_status_t write_ucc(const moe_matrix_t *matrix, FILE *out, moe_error_t *error)
{
    const size_t n = matrix->ranks;
    for (size_t i = 0; i < n * n; i++) {
        if (matrix->bytes[i] > UINT32_MAX)
            return moe_fail(error, MOE_BAD_INPUT,
                            "%zu bytes from rank %zu to rank %zu: UCC's patterns hold counts up to "
                            "%u",
                            matrix->bytes[i], i / n, i % n, UINT32_MAX);
    }
    fprintf(out,
            "[format]\nversion = 1.0\ndescription = UCC Collective Pattern File\n\n"
            "[collective]\ntype = ALLTOALLV\nteam_size = %zu\ndatatype = UINT8\n"
            "flags = COUNT_32BIT\ncounts = {\n",
            n);
    for (size_t i = 0; i < n * n; i++)
        fprintf(out, "%s%zu%s", i % n == 0 ? "    " : "", matrix->bytes[i],
                (i + 1) % n == 0 ? "\n" : ",");
    fprintf(out, "}\n");
    return MOE_OK;
}

const moe_matrix_format_t moe_matrix_ucc = {
    .name = "ucc",
    .summary = "pattern of UCC's perftest (.ptini), one all-to-all-v",
    .detect = detect,
    .read = read_ucc,
    .write = write_ucc,
};
