/* Loops compiled for several instruction sets, the best of which the loader picks (ifunc).
 *
 * Results must be the same bits on every processor: such loops hold integers, or IEEE operations
 * without fused multiply-add (-std=c11 sets -ffp-contract=off). */
#ifndef MOE_SYSTEM_CLONES_H
#define MOE_SYSTEM_CLONES_H

#include <stdint.h> /* __GLIBC__ */

/* Sanitizers instrument the resolvers, which run before the sanitizer itself; clang of this age and
 * other C libraries have no ifunc for these. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(MOE_NO_CLONES)
#if __GNUC__ >= 12
#define MOE_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define MOE_CLONES __attribute__((target_clones("default", "avx2")))
#endif
#else
#define MOE_CLONES
#endif

#endif
