/* Text of users and files in messages: what is too long is cut, so that what stands behind it
 * stays. */
#ifndef MOE_SYSTEM_QUOTE_H
#define MOE_SYSTEM_QUOTE_H

#include <string.h>

/* For printf: "'" MOE_QUOTED "'" with MOE_QUOTE_VALUE(text) or MOE_QUOTE_PATH(text). */
#define MOE_QUOTED            "%.*s%s"
#define MOE_QUOTE(text, most) (most), (text), (strlen(text) > (most) ? "..." : "")
#define MOE_QUOTE_VALUE(text) MOE_QUOTE(text, 60)
#define MOE_QUOTE_PATH(text)  MOE_QUOTE(text, 700)

#endif
