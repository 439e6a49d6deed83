#include "moe/status.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A message quotes what users and files hold: a control character in it must neither break the line
 * nor reach a terminal. */
static void make_one_line(char *text)
{
    for (; *text != '\0'; text++) {
        if (iscntrl((unsigned char)*text))
            *text = '?';
    }
}

#undef moe_fail /* the analyzer's */
moe_status_t moe_fail(moe_error_t *error, moe_status_t status, const char *format, ...)
{
    if (error == NULL)
        return status;

    /* Formatted aside: an argument may be the text of this same error. */
    char text[MOE_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    /* The analyzer forgets va_start() in runs over several files: */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0)
        snprintf(text, sizeof text, "%s", format);

    static const char cut[] = "...";
    if (length >= (int)sizeof text)
        memcpy(text + sizeof text - sizeof cut, cut, sizeof cut);
    make_one_line(text);
    memcpy(error->text, text, sizeof text);
    error->status = status;
    return status;
}
