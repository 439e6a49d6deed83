/* CRC-32: zlib's where it is, else a plain one. */
#include "own.h"

#ifdef MOE_HAVE_ZLIB
#include <zlib.h>

uint32_t moe_crc32(uint32_t crc, const void *bytes, size_t size)
{
    return (uint32_t)crc32_z(crc, bytes, size);
}

#else

uint32_t moe_crc32(uint32_t crc, const void *bytes, size_t size)
{
    const uint32_t polynomial = 0xedb88320;
    const unsigned char *at = bytes;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
    }
    return ~crc;
}

#endif
