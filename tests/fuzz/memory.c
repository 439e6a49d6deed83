/* How much memory is held: by the hooks of the sanitizers, or by standing before glibc's allocator. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_HOOKS
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WITH_HOOKS
#endif

static _Thread_local long held, most;

static void add(size_t size)
{
    held += (long)size;
    most = held > most ? held : most;
}

void fuzz_memory_start(void)
{
    held = most = 0;
}

long fuzz_memory_most(void)
{
    return most;
}

#ifdef WITH_HOOKS

/* sanitizer/allocator_interface.h, which not every compiler brings along. */
int __sanitizer_install_malloc_and_free_hooks(void (*taken)(const volatile void *, size_t),
                                              void (*freed)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *memory);

static void on_malloc(const volatile void *memory, size_t size)
{
    (void)memory;
    add(size);
}

static void on_free(const volatile void *memory)
{
    if (memory != NULL)
        held -= (long)__sanitizer_get_allocated_size(memory);
}

__attribute__((constructor)) static void install(void)
{
    __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}

#elif defined(__GLIBC__)

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void __libc_free(void *memory);

void *malloc(size_t size)
{
    void *memory = __libc_malloc(size);
    add(memory != NULL ? malloc_usable_size(memory) : 0);
    return memory;
}

void *calloc(size_t count, size_t size)
{
    void *memory = __libc_calloc(count, size);
    add(memory != NULL ? malloc_usable_size(memory) : 0);
    return memory;
}

void *realloc(void *memory, size_t size)
{
    const size_t before = memory != NULL ? malloc_usable_size(memory) : 0;
    void *moved = __libc_realloc(memory, size);
    if (moved != NULL || size == 0) {
        held -= (long)before;
        add(moved != NULL ? malloc_usable_size(moved) : 0);
    }
    return moved;
}

void free(void *memory)
{
    held -= memory != NULL ? (long)malloc_usable_size(memory) : 0;
    __libc_free(memory);
}

#endif
