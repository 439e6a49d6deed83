/* Conditions, as people write them:
 *     condition  [METRIC] (comparison | within)
 *     comparison (>= | > | <= | < | == | !=) reference
 *     reference  NUMBER | baseline | NUMBER * baseline | baseline * NUMBER
 *     within     within NUMBER % of (NUMBER | baseline)                                          */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../system/quote.h"
#include "moe/verdict.h"

/* Limits of numbers in conditions: a typo in an exponent is one. */
#define LARGEST 1e18

static const struct spelling {
    const char *text;
    moe_operator_t op;
} spellings[] = {
    {">=", MOE_AT_LEAST},  {"<=", MOE_AT_MOST}, {"==", MOE_EQUAL},
    {"!=", MOE_NOT_EQUAL}, {">", MOE_ABOVE},    {"<", MOE_BELOW},
};

static void skip_blanks(const char **at)
{
    while (isspace((unsigned char)**at))
        (*at)++;
}

/* Takes `word` from the front; a word of letters must end there. */
static bool take(const char **at, const char *word)
{
    const size_t length = strlen(word);
    skip_blanks(at);
    if (strncmp(*at, word, length) != 0)
        return false;
    if (isalpha((unsigned char)word[0]) &&
        (isalnum((unsigned char)(*at)[length]) || (*at)[length] == '_'))
        return false;
    *at += length;
    return true;
}

/* Decimal only: strtod() would take "nan", "inf" and hexadecimal numbers too. */
static bool take_number(const char **at, double *out)
{
    char *end;
    skip_blanks(at);
    const size_t length = strspn(*at, "+-.0123456789eE");
    const double value = strtod(*at, &end);
    if (length == 0 || end == *at || (size_t)(end - *at) > length || !isfinite(value) ||
        fabs(value) > LARGEST)
        return false;
    *at = end;
    *out = value;
    return true;
}

static bool take_metric(const char **at, char *metric, size_t size)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
    const char *from = *at;
    metric[0] = '\0';
    if (take(&from, "within"))
        return true;
    skip_blanks(at);
    const size_t length = isalpha((unsigned char)**at) ? strspn(*at, letters) : 0;
    if (length >= size)
        return false;
    memcpy(metric, *at, length);
    metric[length] = '\0';
    *at += length;
    return true;
}

static bool take_reference(const char **at, moe_condition_t *out)
{
    out->factor = 1;
    if (take(at, "baseline")) {
        out->baseline = true;
        return !take(at, "*") || take_number(at, &out->factor);
    }
    if (!take_number(at, &out->factor))
        return false;
    out->baseline = take(at, "*");
    return !out->baseline || take(at, "baseline");
}

static bool take_within(const char **at, moe_condition_t *out)
{
    out->op = MOE_WITHIN;
    out->factor = 1;
    if (!take_number(at, &out->share) || !take(at, "%") || !take(at, "of"))
        return false;
    out->share /= 100;
    out->baseline = take(at, "baseline");
    return out->share > 0 && out->share < 1 && (out->baseline || take_number(at, &out->factor));
}

static bool take_comparison(const char **at, moe_condition_t *out)
{
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        if (take(at, spellings[i].text)) {
            out->op = spellings[i].op;
            return take_reference(at, out);
        }
    }
    return false;
}

moe_status_t moe_condition_parse(const char *what, const char *text, char *metric, size_t size,
                                 moe_condition_t *out, moe_error_t *error)
{
    const char *at = text;
    moe_condition_t condition = {0};
    bool sound = take_metric(&at, metric, size);
    if (sound)
        sound =
            take(&at, "within") ? take_within(&at, &condition) : take_comparison(&at, &condition);
    skip_blanks(&at);
    /* A negative share of a baseline, or a limit below all that is measured, is a slip. */
    sound = sound && *at == '\0' && condition.factor >= 0;
    if (!sound)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: '" MOE_QUOTED "' is no condition: [METRIC] and >=, >, <=, <, == or != "
                        "with NUMBER, baseline or NUMBER * baseline; or within PERCENT %% "
                        "of NUMBER or baseline",
                        what, MOE_QUOTE_VALUE(text));
    *out = condition;
    return MOE_OK;
}
