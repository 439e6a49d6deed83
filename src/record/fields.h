/* The fields of records that a reader knows, and what must hold of their values. */
#ifndef MOE_RECORD_FIELDS_H
#define MOE_RECORD_FIELDS_H

#include <jansson.h>
#include <stdbool.h>

#include "moe/status.h"

/* Where a record was read, for messages. */
typedef struct moe_place {
    const char *file;
    size_t line;
} moe_place_t;

/* "FILE:LINE: FIELD: " and the rest. */
moe_status_t moe_refuse_field(const moe_place_t *place, const char *field, moe_error_t *error,
                              const char *format, ...) MOE_PRINTF(4, 5);

/* Does the program write that kind of record? Others are skipped. */
bool moe_kind_is_known(const char *kind);
/* Types, signs and presence of the known fields. */
moe_status_t moe_fields_check(const moe_place_t *place, const char *kind, const json_t *record,
                              moe_error_t *error);
/* What figures of one record, and of its run, must have to do with each other (checks.c). */
moe_status_t moe_figures_check(const moe_place_t *place, const char *kind, const json_t *record,
                               const json_t *run, moe_error_t *error);
/* The repetitions against the record that they were summarised in. */
moe_status_t moe_repetitions_check(const moe_place_t *place, const json_t *raw,
                                   const json_t *record, moe_error_t *error);

#endif
