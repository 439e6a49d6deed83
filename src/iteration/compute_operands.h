/* Memory that GEMMs read and write, bounded whatever the model.
 *
 * Operands come from one pool of pseudo-random numbers. It is walked round, so that a GEMM reads
 * other memory than the GEMM before it, as one layer's weights are other memory than the last
 * layer's: the operands are cold, and no panel stays in a cache from one repetition to the next. A
 * matrix that is larger than the pool is split into panels. Results that nothing reads go to one
 * place. */
#ifndef MOE_ITERATION_COMPUTE_OPERANDS_H
#define MOE_ITERATION_COMPUTE_OPERANDS_H

#include "moe/device.h"
#include "moe/iteration.h"
#include "moe/status.h"

/* In elements of the device's gemm_dtype. */
typedef struct moe_operand_sizes {
    size_t pool;
    size_t result;  /* results that nothing reads */
    size_t scratch; /* rows of experts, and what lies between their GEMMs */
} moe_operand_sizes_t;

typedef struct moe_operands {
    moe_operand_sizes_t size;
    size_t element;                /* its bytes */
    char *pool, *result, *scratch; /* device memory; NULL where the size is 0 */
    size_t at;                     /* element where the next operand starts in the pool */
} moe_operands_t;

/* What lists of these shapes need on the device; all 0 where they hold no GEMM. */
moe_operand_sizes_t moe_operand_sizes(const moe_device_t *d, const moe_gemm_list_t *lists,
                                      size_t count);
size_t moe_operand_bytes(const moe_device_t *d, moe_operand_sizes_t sizes);

/* Allocates and fills. *out is released with moe_operands_release(). */
moe_status_t moe_operands_create(moe_device_t *d, const moe_gemm_list_t *lists, size_t count,
                                 moe_operands_t *out, moe_error_t *error);
void moe_operands_release(moe_device_t *d, moe_operands_t *operands);

/* Where the matrices of a GEMM lie; NULL: in the pool, and c in the result. Where a GEMM is split,
 * a given matrix holds its panels one after another, each row major: its values are then not those
 * of the whole product (nobody reads them), its extent and the work are. */
typedef struct moe_matrices {
    const void *a, *b;
    void *c;
} moe_matrices_t;

void moe_operands_gemm(moe_device_t *d, moe_operands_t *operands, const moe_gemm_t *shape,
                       const moe_matrices_t *where);
/* `count` of them that do not depend on each other (at most MOE_GEMM_GROUP, none empty), in one call
 * of the device where none has to be split. */
#define MOE_GEMM_GROUP ((size_t)256)
void moe_operands_gemms(moe_device_t *d, moe_operands_t *operands, const moe_gemm_t *shape,
                        const moe_matrices_t *where, size_t count);

#endif
