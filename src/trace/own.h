/* The format `moe` (docs/formats.md): whole numbers of little-endian byte order.
 *
 *      0  8  89 4d 4f 45 0d 0a 1a 0a   as in PNG: shows what a transfer as text has changed
 *      8  4  version, 1
 *     12  4  flags
 *     16  4  experts
 *     20  4  top_k
 *     24  4  steps
 *     28  4  layers
 *     32  4  ranks
 *     36  8  tokens of all cells
 *     44  4  0
 *     48  4  CRC-32 of bytes 0 ... 47
 *     52  4  tokens of each cell, [steps][layers][ranks]
 *      .  .  [tokens][top_k] experts of 1 byte where there are at most 255, else of 2; all ones: none
 *      .  4  [tokens][top_k] weights of 1/65536, with flag 1
 *      .  4  CRC-32 of everything from byte 52 on */
#ifndef MOE_TRACE_OWN_H
#define MOE_TRACE_OWN_H

#include <stddef.h>
#include <stdint.h>

#define MOE_OWN_MAGIC        "\x89MOE\r\n\x1a\n"
#define MOE_OWN_MAGIC_BYTES  8
#define MOE_OWN_VERSION      1
#define MOE_OWN_HEADER       52
#define MOE_OWN_WEIGHTS      1u
#define MOE_OWN_HAS_STEPS    2u
#define MOE_OWN_HAS_RANKS    4u
#define MOE_OWN_MORE_EXPERTS 8u
#define MOE_OWN_FLAGS        15u
#define MOE_OWN_BYTE_EXPERTS 255

/* CRC-32 of ISO 3309, as in gzip and PNG; begins with 0. */
uint32_t moe_crc32(uint32_t crc, const void *bytes, size_t size);

#endif
