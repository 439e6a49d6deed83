#include "pull.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* Arrays and objects in one another, in what is skipped. */
#define MOST_LEVELS 64
/* Of a number. */
#define NUMBER_TEXT 64

int moe_pull_look(moe_input_t *input)
{
    int letter = moe_input_look(input);
    while (letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r') {
        moe_input_take(input);
        letter = moe_input_look(input);
    }
    return letter;
}

static moe_status_t unexpected(moe_input_t *input, const char *wanted)
{
    const int letter = moe_input_look(input);
    if (letter == MOE_INPUT_END)
        return moe_input_refuse(input, "the file ends where %s must come", wanted);
    if (letter < ' ' || letter > '~')
        return moe_input_refuse(input, "byte 0x%02x where %s must come", (unsigned)letter, wanted);
    return moe_input_refuse(input, "'%c' where %s must come", letter, wanted);
}

moe_status_t moe_pull_open(moe_input_t *input, char bracket, const char *what)
{
    char wanted[96];
    if (moe_pull_look(input) != bracket) {
        snprintf(wanted, sizeof wanted, "'%c' (%s)", bracket, what);
        return unexpected(input, wanted);
    }
    moe_input_take(input);
    return MOE_OK;
}

moe_status_t moe_pull_next(moe_input_t *input, size_t member, char closing, bool *more)
{
    const int letter = moe_pull_look(input);
    *more = letter != closing;
    if (!*more) {
        moe_input_take(input);
        return MOE_OK;
    }
    if (member == 0)
        return letter != MOE_INPUT_END ? MOE_OK : unexpected(input, "a value");
    if (letter != ',')
        return unexpected(input, closing == ']' ? "',' or ']'" : "',' or '}'");
    moe_input_take(input);
    return MOE_OK;
}

/* ---- Strings ---- */

/* Letters that may follow a backslash; after \u come four digits, which need no look: they are letters. */
static moe_status_t take_escape(moe_input_t *input)
{
    const int letter = moe_input_look(input);
    if (letter == MOE_INPUT_END || letter == 0 || strchr("\"\\/bfnrtu", letter) == NULL)
        return unexpected(input, "the letter of an escape");
    moe_input_take(input);
    return MOE_OK;
}

moe_status_t moe_pull_text(moe_input_t *input, char *text, size_t size)
{
    size_t length = 0;
    if (moe_pull_look(input) != '"')
        return unexpected(input, "a string");
    moe_input_take(input);
    for (;;) {
        const int letter = moe_input_look(input);
        if (letter == MOE_INPUT_END || letter < ' ')
            return unexpected(input, "the end of a string");
        moe_input_take(input);
        if (letter == '"')
            break;
        if (length + 1 < size)
            text[length++] = (char)letter;
        if (letter == '\\' && take_escape(input) != MOE_OK)
            return input->status;
    }
    if (size > 0)
        text[length] = '\0';
    return MOE_OK;
}

moe_status_t moe_pull_key(moe_input_t *input, char key[MOE_PULL_KEY])
{
    const moe_status_t status = moe_pull_text(input, key, MOE_PULL_KEY);
    if (status != MOE_OK)
        return status;
    if (moe_pull_look(input) != ':')
        return unexpected(input, "':'");
    moe_input_take(input);
    return MOE_OK;
}

/* ---- Numbers ---- */

typedef struct number {
    char text[NUMBER_TEXT];
    size_t line, column;
} number_t;

static bool of_a_number(int letter)
{
    return (letter >= '0' && letter <= '9') || letter == '-' || letter == '+' || letter == '.' ||
           letter == 'e' || letter == 'E';
}

/* As in RFC 8259; strtod() would take more than that. */
static bool is_number(const char *text)
{
    text += *text == '-';
    const size_t whole = strspn(text, "0123456789");
    if (whole == 0 || (whole > 1 && text[0] == '0'))
        return false;
    text += whole;
    if (*text == '.') {
        const size_t digits = strspn(text + 1, "0123456789");
        if (digits == 0)
            return false;
        text += 1 + digits;
    }
    if (*text == 'e' || *text == 'E') {
        text += 1 + (text[1] == '+' || text[1] == '-');
        const size_t digits = strspn(text, "0123456789");
        if (digits == 0)
            return false;
        text += digits;
    }
    return *text == '\0';
}

static moe_status_t take_number(moe_input_t *input, const char *what, number_t *out)
{
    size_t length = 0;
    int letter = moe_pull_look(input);
    out->line = input->line;
    out->column = moe_input_column(input);
    if (!of_a_number(letter))
        return unexpected(input, what);
    for (; of_a_number(letter) && length + 1 < NUMBER_TEXT; letter = moe_input_look(input)) {
        out->text[length++] = (char)letter;
        moe_input_take(input);
    }
    out->text[length] = '\0';
    if (!is_number(out->text) || of_a_number(letter))
        return moe_input_refuse_at(input, out->line, out->column, "'%.24s' is no number",
                                   out->text);
    return MOE_OK;
}

static moe_status_t refuse_whole(moe_input_t *input, const char *what, const number_t *number,
                                 int64_t min, int64_t max)
{
    return moe_input_refuse_at(input, number->line, number->column,
                               "%s: '%.24s' is no whole number between %lld and %lld", what,
                               number->text, (long long)min, (long long)max);
}

/* Most numbers by far are of a few digits: they need no copy. */
static bool take_short(moe_input_t *input, int64_t *out)
{
    const unsigned char *at = input->buffer + input->at;
    const size_t left = input->end - input->at;
    int64_t value = 0;
    size_t digits = 0;
    while (digits < left && digits < 9 && at[digits] >= '0' && at[digits] <= '9')
        value = 10 * value + (at[digits++] - '0');
    if (digits == 0 || digits == left || of_a_number(at[digits]) || (digits > 1 && at[0] == '0'))
        return false;
    input->at += digits;
    *out = value;
    return true;
}

moe_status_t moe_pull_whole(moe_input_t *input, const char *what, int64_t min, int64_t max,
                            int64_t *out)
{
    number_t number = {.line = input->line};
    int64_t value = 0;
    (void)moe_pull_look(input);
    number.line = input->line;
    number.column = moe_input_column(input);
    char *end = number.text;
    errno = 0;
    if (take_short(input, &value)) {
        if (value < min || value > max)
            snprintf(number.text, sizeof number.text, "%lld", (long long)value);
    } else {
        if (take_number(input, what, &number) != MOE_OK)
            return input->status;
        value = strtoll(number.text, &end, 10);
    }
    if ((end != number.text && *end != '\0') || errno != 0 || value < min || value > max)
        return refuse_whole(input, what, &number, min, max);
    *out = value;
    return MOE_OK;
}

moe_status_t moe_pull_count(moe_input_t *input, const char *what, double *out)
{
    /* Sums of up to 2^32 of them stay finite. */
    const double most = 1e290;
    number_t number;
    int64_t value = 0;
    (void)moe_pull_look(input);
    if (take_short(input, &value)) {
        *out = (double)value;
        return MOE_OK;
    }
    if (take_number(input, what, &number) != MOE_OK)
        return input->status;
    const double real = strtod(number.text, NULL);
    if (!(real >= 0 && real <= most))
        return moe_input_refuse_at(input, number.line, number.column,
                                   "%s: '%.24s' is not between 0 and %g", what, number.text, most);
    *out = real;
    return MOE_OK;
}

/* ---- What nobody asked for ---- */

static moe_status_t skip_word(moe_input_t *input)
{
    static const char *const words[] = {"true", "false", "null"};
    const int first = moe_input_look(input);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (first != words[i][0])
            continue;
        for (const char *at = words[i]; *at != '\0'; at++) {
            if (moe_input_look(input) != *at)
                return unexpected(input, "a value");
            moe_input_take(input);
        }
        return MOE_OK;
    }
    return unexpected(input, "a value");
}

static moe_status_t skip_plain(moe_input_t *input, int letter)
{
    number_t number;
    return letter == '"'         ? moe_pull_text(input, NULL, 0)
           : of_a_number(letter) ? take_number(input, "a value", &number)
                                 : skip_word(input);
}

moe_status_t moe_pull_skip(moe_input_t *input)
{
    char closing[MOST_LEVELS], key[MOE_PULL_KEY];
    size_t members[MOST_LEVELS], levels = 0;
    do {
        bool more = true;
        if (levels > 0) {
            const char bracket = closing[levels - 1];
            moe_status_t status = moe_pull_next(input, members[levels - 1]++, bracket, &more);
            if (status == MOE_OK && more && bracket == '}')
                status = moe_pull_key(input, key);
            if (status != MOE_OK)
                return status;
        }
        const int letter = more ? moe_pull_look(input) : 0;
        if (!more) {
            levels--;
        } else if (letter == '[' || letter == '{') {
            if (levels == MOST_LEVELS)
                return moe_input_refuse(input, "more than %d arrays and objects in one another",
                                        MOST_LEVELS);
            moe_input_take(input);
            members[levels] = 0;
            closing[levels++] = letter == '[' ? ']' : '}';
        } else if (skip_plain(input, letter) != MOE_OK) {
            return input->status;
        }
    } while (levels > 0);
    return MOE_OK;
}

moe_status_t moe_pull_end(moe_input_t *input)
{
    if (moe_pull_look(input) != MOE_INPUT_END || input->status != MOE_OK)
        return unexpected(input, "the end of the file");
    return MOE_OK;
}

/* ---- Tables ---- */

static moe_status_t add_value(moe_input_t *input, const char *what, moe_pull_table_t *table)
{
    double value = 0;
    if (moe_pull_count(input, what, &value) != MOE_OK)
        return input->status;
    if (table->count == table->room &&
        moe_input_allow(input, 2 * (table->room + 16) * sizeof value) != MOE_OK)
        return input->status;
    moe_status_t status = moe_grow(what, table->count, sizeof value, (void **)&table->value,
                                   &table->room, input->error);
    if (status != MOE_OK)
        return input->status = status;
    table->value[table->count++] = value;
    return MOE_OK;
}

/* The end of an array on a level: as long as the first one there. */
static moe_status_t end_array(moe_input_t *input, moe_pull_table_t *table, size_t level,
                              size_t length)
{
    if (length == 0)
        return moe_input_refuse(input, "an empty array");
    if (table->length[level] != 0 && table->length[level] != length)
        return moe_input_refuse(input, "an array of %zu behind one of %zu on the same level",
                                length, table->length[level]);
    table->length[level] = length;
    return MOE_OK;
}

static moe_status_t read_levels(moe_input_t *input, const char *what, size_t most,
                                moe_pull_table_t *table)
{
    size_t members[MOE_PULL_LEVELS] = {0}, level = 0; /* the array that is open */
    if (moe_pull_open(input, '[', what) != MOE_OK)
        return input->status;
    for (;;) {
        bool more = true;
        if (moe_pull_next(input, members[level], ']', &more) != MOE_OK)
            return input->status;
        if (!more) {
            if (end_array(input, table, level, members[level]) != MOE_OK || level == 0)
                return input->status;
            members[level--] = 0;
            continue;
        }
        const bool array = moe_pull_look(input) == '[';
        if (table->levels == 0 && !array)
            table->levels = level + 1;
        if (array != (table->levels == 0 || level + 1 < table->levels) || level + array == most)
            return moe_input_refuse(input, "%s: arrays in arrays, up to %zu, of numbers", what,
                                    most);
        members[level]++;
        if (array) {
            moe_input_take(input);
            level++;
        } else if (add_value(input, what, table) != MOE_OK) {
            return input->status;
        }
    }
}

moe_status_t moe_pull_table(moe_input_t *input, const char *what, size_t most,
                            moe_pull_table_t *out)
{
    moe_pull_table_t table = {0};
    const moe_status_t status = read_levels(input, what, most, &table);
    if (status != MOE_OK)
        free(table.value);
    else
        *out = table;
    return status;
}
