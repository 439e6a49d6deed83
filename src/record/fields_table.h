/* Every field of docs/results.md that a reader checks. */
#ifndef MOE_RECORD_FIELDS_TABLE_H
#define MOE_RECORD_FIELDS_TABLE_H

#include <stdbool.h>
#include <stddef.h>

/* Of one kind: more than the table has. */
#define MOE_MOST_FIELDS 128

typedef enum moe_field_type {
    MOE_FIELD_TEXT,
    MOE_FIELD_HASH,  /* 16 hexadecimal digits */
    MOE_FIELD_COUNT, /* whole, 0 or more */
    MOE_FIELD_REAL,  /* 0 or more */
    MOE_FIELD_FLAG,
    MOE_FIELD_OBJECT,
    MOE_FIELD_TEXTS,  /* a list of texts */
    MOE_FIELD_NUMBERS /* a list of reals, each 0 or more */
} moe_field_type_t;

typedef struct moe_field {
    const char *kind, *path;
    moe_field_type_t type;
    bool required;
} moe_field_t;

extern const moe_field_t moe_fields[];
extern const size_t moe_field_count;

#endif
