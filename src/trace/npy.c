#include "npy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC       "\x93NUMPY"
#define MAGIC_BYTES 6
/* numpy.lib.format refuses longer ones by itself (max_header_size). */
#define HEADER_BYTES 10000

bool moe_npy_detect(const char *head, size_t size)
{
    return size >= MAGIC_BYTES && memcmp(head, MAGIC, MAGIC_BYTES) == 0;
}

/* ---- The header: a literal of a Python dictionary ---- */

typedef struct header {
    const char *at, *end;
    const char *why; /* it is refused; NULL: it is not */
} header_t;

static void refuse(header_t *h, const char *why)
{
    if (h->why == NULL)
        h->why = why;
}

static void skip_space(header_t *h)
{
    while (h->at < h->end && isspace((unsigned char)*h->at))
        h->at++;
}

static bool take(header_t *h, const char *text)
{
    const size_t length = strlen(text);
    skip_space(h);
    if ((size_t)(h->end - h->at) < length || memcmp(h->at, text, length) != 0)
        return false;
    h->at += length;
    return true;
}

/* Text in quotes of either kind, without escapes. */
static void take_text(header_t *h, char *text, size_t size)
{
    const char quote = take(h, "'") ? '\'' : take(h, "\"") ? '"' : '\0';
    size_t length = 0;
    if (quote == '\0') {
        refuse(h, "text in quotes must come");
        return;
    }
    while (h->at < h->end && *h->at != quote && length + 1 < size)
        text[length++] = *h->at++;
    text[length] = '\0';
    if (h->at == h->end || *h->at != quote)
        refuse(h, "a text that does not end, or is too long");
    else
        h->at++;
}

static void take_type(header_t *h, moe_npy_t *npy)
{
    char text[16] = "";
    skip_space(h);
    if (h->at < h->end && *h->at == '[') {
        refuse(h, "a structured type: write one array of numbers a file");
        return;
    }
    take_text(h, text, sizeof text);
    if (h->why != NULL)
        return;
    const bool known = strchr("<>=|", text[0]) != NULL && strchr("iuf", text[1]) != NULL &&
                       text[1] != '\0' && strchr("1248", text[2]) != NULL && text[2] != '\0' &&
                       text[3] == '\0';
    if (!known || (text[1] == 'f' && text[2] < '4')) {
        refuse(h, "a type that is not read: i1 ... i8, u1 ... u8, f4 and f8 are, of either byte "
                  "order; convert with numpy's astype()");
        return;
    }
    const uint16_t probe = 1;
    const bool little = *(const unsigned char *)&probe == 1;
    npy->kind = text[1];
    npy->bytes = (size_t)(text[2] - '0');
    npy->swapped = (text[0] == '<' && !little) || (text[0] == '>' && little);
}

static void take_shape(header_t *h, moe_npy_t *npy)
{
    npy->levels = 0;
    npy->count = 1;
    if (!take(h, "("))
        refuse(h, "the tuple of a shape must come");
    while (h->why == NULL && !take(h, ")")) {
        size_t value = 0, digits = 0;
        for (; h->at < h->end && isdigit((unsigned char)*h->at); h->at++, digits++) {
            if (__builtin_mul_overflow(value, (size_t)10, &value) ||
                __builtin_add_overflow(value, (size_t)(*h->at - '0'), &value))
                refuse(h, "a length past all memory");
        }
        if (digits == 0)
            refuse(h, "a length must come");
        else if (npy->levels == MOE_NPY_LEVELS)
            refuse(h, "more than 6 dimensions");
        else if (__builtin_mul_overflow(npy->count, value, &npy->count))
            refuse(h, "a shape past all memory");
        else
            npy->length[npy->levels++] = value;
        if (!take(h, ",") && h->at < h->end && *h->at != ')')
            refuse(h, "',' or ')' must come");
    }
}

static void parse(header_t *h, moe_npy_t *npy)
{
    char key[24] = "";
    unsigned seen = 0;
    if (!take(h, "{"))
        refuse(h, "a dictionary must come");
    while (h->why == NULL && !take(h, "}")) {
        take_text(h, key, sizeof key);
        if (h->why == NULL && !take(h, ":"))
            refuse(h, "':' must come");
        if (h->why != NULL)
            return;
        if (strcmp(key, "descr") == 0) {
            seen |= 1u;
            take_type(h, npy);
        } else if (strcmp(key, "shape") == 0) {
            seen |= 2u;
            take_shape(h, npy);
        } else if (strcmp(key, "fortran_order") == 0) {
            seen |= 4u;
            if (!take(h, "False"))
                refuse(h, "an array in Fortran order: write numpy.ascontiguousarray() of it");
        } else {
            refuse(h, "a key that is not 'descr', 'fortran_order' or 'shape'");
        }
        if (!take(h, ",") && (h->at == h->end || *h->at != '}'))
            refuse(h, "',' or '}' must come");
    }
    skip_space(h);
    if (h->at < h->end)
        refuse(h, "text behind the dictionary");
    if (seen != 7)
        refuse(h, "'descr', 'fortran_order' or 'shape' is missing");
}

/* Magic, version and length of the header: its bytes in all, 0 where they are no such. */
static size_t prefix(const unsigned char *head, size_t size, size_t *length)
{
    if (size < MAGIC_BYTES + 6 || !moe_npy_detect((const char *)head, size))
        return 0;
    const unsigned char version = head[MAGIC_BYTES];
    const unsigned char *at = head + MAGIC_BYTES + 2;
    if (version == 1) {
        *length = (size_t)at[0] | (size_t)at[1] << 8;
        return MAGIC_BYTES + 4;
    }
    *length = (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
    return version == 2 || version == 3 ? MAGIC_BYTES + 6 : 0;
}

bool moe_npy_peek(const char *head, size_t size, moe_npy_t *out)
{
    size_t length = 0;
    const size_t begin = prefix((const unsigned char *)head, size, &length);
    if (begin == 0 || length > HEADER_BYTES || length > size - begin)
        return false;
    header_t header = {.at = head + begin, .end = head + begin + length};
    moe_npy_t npy = {0};
    parse(&header, &npy);
    *out = npy;
    return header.why == NULL;
}

moe_status_t moe_npy_open(moe_input_t *input, moe_npy_t *out)
{
    unsigned char start[MAGIC_BYTES + 6];
    char text[HEADER_BYTES];
    size_t length = 0;
    moe_status_t status = moe_input_read(input, start, sizeof start);
    if (status != MOE_OK)
        return status;
    const size_t begin = prefix(start, sizeof start, &length);
    if (begin == 0 || length < sizeof start || length > HEADER_BYTES)
        return moe_input_refuse_byte(
            input, 0,
            "this is no .npy file of version 1, 2 or 3 with a header of up "
            "to %d bytes",
            HEADER_BYTES);
    const size_t taken = sizeof start - begin; /* of the header, with version 1 */
    memcpy(text, start + begin, taken);
    status = moe_input_read(input, text + taken, length - taken);
    if (status != MOE_OK)
        return status;
    header_t header = {.at = text, .end = text + length};
    moe_npy_t npy = {.data = begin + length};
    parse(&header, &npy);
    if (header.why != NULL)
        return moe_input_refuse_byte(input, begin + (size_t)(header.at - text), "%s", header.why);
    size_t bytes = 0;
    const size_t left = moe_input_left(input);
    if (__builtin_mul_overflow(npy.count, npy.bytes, &bytes) || bytes > left ||
        (input->unpacker == NULL && bytes < left))
        return moe_input_refuse_byte(
            input, npy.data, "the shape needs %zu elements of %zu bytes, and %zu bytes %s",
            npy.count, npy.bytes, left, input->unpacker == NULL ? "follow" : "can follow at most");
    *out = npy;
    return MOE_OK;
}

/* ---- Elements ---- */

typedef union element {
    unsigned char byte[8];
    int8_t i1;
    int16_t i2;
    int32_t i4;
    int64_t i8;
    uint8_t u1;
    uint16_t u2;
    uint32_t u4;
    uint64_t u8;
    float f4;
    double f8;
} element_t;

static element_t element_at(const moe_npy_t *npy, const unsigned char *at)
{
    element_t element = {.i8 = 0};
    for (size_t i = 0; i < npy->bytes; i++)
        element.byte[i] = at[npy->swapped ? npy->bytes - 1 - i : i];
    return element;
}

static int64_t whole_of(const moe_npy_t *npy, const unsigned char *at)
{
    const element_t e = element_at(npy, at);
    const bool has_sign = npy->kind == 'i';
    switch (npy->bytes) {
    case 1:
        return has_sign ? e.i1 : e.u1;
    case 2:
        return has_sign ? e.i2 : e.u2;
    case 4:
        return has_sign ? e.i4 : (int64_t)e.u4;
    default:
        return has_sign ? e.i8 : e.u8 > INT64_MAX ? INT64_MAX : (int64_t)e.u8;
    }
}

moe_status_t moe_npy_whole(moe_input_t *input, const moe_npy_t *npy, size_t count, int64_t *out)
{
    unsigned char block[MOE_NPY_BLOCK * sizeof(element_t)];
    const moe_status_t status = moe_input_read(input, block, count * npy->bytes);
    for (size_t i = 0; status == MOE_OK && i < count; i++)
        out[i] = whole_of(npy, block + i * npy->bytes);
    return status;
}

moe_status_t moe_npy_real(moe_input_t *input, const moe_npy_t *npy, size_t count, double *out)
{
    unsigned char block[MOE_NPY_BLOCK * sizeof(element_t)];
    const moe_status_t status = moe_input_read(input, block, count * npy->bytes);
    for (size_t i = 0; status == MOE_OK && i < count; i++) {
        const unsigned char *at = block + i * npy->bytes;
        const element_t e = npy->kind == 'f' ? element_at(npy, at) : (element_t){.i8 = 0};
        out[i] = npy->kind != 'f'  ? (double)whole_of(npy, at)
                 : npy->bytes == 4 ? (double)e.f4
                                   : e.f8;
    }
    return status;
}
