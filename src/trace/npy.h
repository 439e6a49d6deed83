/* Arrays of NumPy's .npy files (numpy.lib.format, versions 1.0 to 3.0): whole and real numbers of either byte
 * order, in C order. */
#ifndef MOE_TRACE_NPY_H
#define MOE_TRACE_NPY_H

#include "format.h"

#define MOE_NPY_LEVELS 6

typedef struct moe_npy {
    char kind;     /* 'i', 'u', 'f' */
    bool swapped;  /* of the other byte order than this machine's */
    size_t bytes;  /* of an element */
    size_t levels; /* dimensions */
    size_t length[MOE_NPY_LEVELS];
    size_t count; /* elements in all; the file has as many */
    size_t data;  /* where they begin */
} moe_npy_t;

bool moe_npy_detect(const char *head, size_t size);
/* Dimensions and type from a file's beginning, without its whole; false where it is no such file. */
bool moe_npy_peek(const char *head, size_t size, moe_npy_t *out);
/* The header; the elements come next, and there are as many bytes as they need (of a packed file: there can
 * be). */
moe_status_t moe_npy_open(moe_input_t *input, moe_npy_t *out);
/* The next `count` elements, at most MOE_NPY_BLOCK, as whole numbers (of kinds i and u) or real ones. */
#define MOE_NPY_BLOCK 4096
moe_status_t moe_npy_whole(moe_input_t *input, const moe_npy_t *npy, size_t count, int64_t *out);
moe_status_t moe_npy_real(moe_input_t *input, const moe_npy_t *npy, size_t count, double *out);

#endif
