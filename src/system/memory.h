/* Memory that is left, read below another root than "/" so that tests can lay files there. */
#ifndef MOE_SYSTEM_MEMORY_H
#define MOE_SYSTEM_MEMORY_H

#include <limits.h>
#include <stddef.h>

#define MOE_SYSTEM_PATH PATH_MAX
/* What moe_format_bytes() asks for. */
#define MOE_BYTES_TEXT 16

/* moe_memory_available(), with <root>/proc and the mounted control groups below <root>. */
size_t moe_memory_available_below(const char *root);

/* Bytes that the control groups (versions 1 and 2) of this process leave, on all levels up to their
 * mount. SIZE_MAX where there is no limit or the system does not tell. */
size_t moe_memory_cgroup_left(const char *root);

/* The number behind `key` in text of lines "key number" or "key: number". SIZE_MAX: not there. */
size_t moe_memory_field(const char *text, const char *key);

#endif
