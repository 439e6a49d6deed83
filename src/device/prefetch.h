/* Fetching rows ahead of their use. */
#ifndef MOE_DEVICE_PREFETCH_H
#define MOE_DEVICE_PREFETCH_H

#include <stddef.h>

#if defined(__GNUC__)
#define MOE_PREFETCH(address) __builtin_prefetch(address)
#else
#define MOE_PREFETCH(address) ((void)(address))
#endif

#define MOE_CACHE_LINE ((size_t)64)

/* Bytes that must be under way to cover a memory latency of some 100 ns at the 20 to 40 GB/s of one
 * core. */
#define MOE_BYTES_AHEAD ((size_t)4096)

/* So many rows (of `bytes` each) ahead. */
static inline size_t moe_rows_ahead(size_t bytes)
{
    return bytes > 0 && bytes < MOE_BYTES_AHEAD ? MOE_BYTES_AHEAD / bytes : 1;
}

#endif
