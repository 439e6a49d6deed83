#include <ctype.h>
#include <string.h>

#include "moe/system.h"

/* Longer words are near to nothing: names here are shorter, and the row of distances is fixed. */
#define LONGEST_WORD 64

/* 'Mixtral' and 'mixtral' are the same spelling to whoever typed the one for the other. */
static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static size_t least(size_t a, size_t b, size_t c)
{
    const size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Insertions, deletions and replacements between a and b (Levenshtein, 1966), by rows of the
 * table of Wagner and Fischer (J. ACM 21, 1974). Both are at most LONGEST_WORD long. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t row[LONGEST_WORD + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            const size_t above = row[j];
            row[j] = least(row[j - 1] + 1, above + 1,
                           diagonal + (same_letter(a[i - 1], b[j - 1]) ? 0 : 1));
            diagonal = above;
        }
    }
    return row[b_length];
}

const char *moe_nearest(const char *name, const char *const *candidates, size_t count)
{
    const size_t length = strlen(name);
    const char *nearest = NULL;
    size_t best = LONGEST_WORD + 1;
    for (size_t i = 0; i < count && length <= LONGEST_WORD; i++) {
        const size_t other = strlen(candidates[i]);
        if (other > LONGEST_WORD)
            continue;
        const size_t distance = edit_distance(name, length, candidates[i], other);
        if (distance < best && 3 * distance <= (length > other ? length : other)) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
