/* The flat view of records: one line each, under the fixed columns of their kind. */
#ifndef MOE_RECORD_CSV_H
#define MOE_RECORD_CSV_H

#include <jansson.h>
#include <stdio.h>

typedef struct moe_csv_kind moe_csv_kind_t;

/* The columns of that kind of record, NULL where it has none (it stays out of CSV). */
const moe_csv_kind_t *moe_csv_find(const char *record);
/* Both write one line to the stream's buffer; errors show in ferror() after a flush. */
void moe_csv_write_header(const moe_csv_kind_t *kind, FILE *out);
void moe_csv_write_line(const moe_csv_kind_t *kind, const json_t *record, FILE *out);

#endif
