/* The program's own kernels, compiled for the host and run thread by thread.
 *
 * A thread of a kernel is a plain function call, until it comes to a shuffle: then it must wait for the
 * other lanes of its warp, and so each warp's lanes run on stacks of their own (fibers). A fiber whose
 * lane ends takes the next lane that has not begun: a warp without shuffles uses one stack. */
#ifdef _FORTIFY_SOURCE
#undef _FORTIFY_SOURCE /* it forbids longjmp() between stacks */
#endif
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <dlfcn.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "cudart_emulation.h"

#include "../../../src/device/cuda_check_kernels.cu"
#include "../../../src/device/cuda_kernels.cu"
#include "../../../src/device/cuda_oracle_kernels.cu"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define ON_ASAN(call) call
#else
#define ON_ASAN(call)
#endif

thread_local uint3 threadIdx, blockIdx;
thread_local dim3 blockDim, gridDim;

uint64_t emulated_globaltimer()
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- Finding kernels ---- */

static fake_thunk *first_thunk;

fake_thunk::fake_thunk(const char *name, void (*call_it)(void (*)(void), const void *), size_t size)
    : args_name(name), call(call_it), bytes(size), next(first_thunk)
{
    first_thunk = this;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Kernels are functions of this library with the names that nvcc gives them too, and take one struct,
 * whose name is the last part of theirs. */
extern "C" int fake_kernel_find(const char *device_name, fake_kernel_t *out)
{
    Dl_info here;
    void *const self = dladdr((void *)&fake_kernel_find, &here) != 0
                           ? dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD)
                           : nullptr;
    void *const function = self != nullptr ? dlsym(self, device_name) : nullptr;
    if (self != nullptr) {
        dlclose(self);
    }
    for (const fake_thunk *t = first_thunk; function != nullptr && t != nullptr; t = t->next) {
        if (ends_with(device_name, t->args_name)) {
            *out = {reinterpret_cast<void (*)(void)>(function), t->call, t->bytes};
            return 1;
        }
    }
    return 0;
}

/* ---- Fibers ---- */

enum { WARP_LANES = 32 };
static const size_t stack_bytes = (size_t)256 << 10;

struct fiber {
    char *stack;
    ucontext_t context;
    jmp_buf point;
    bool started, waiting;
    unsigned lane;
    unsigned long awaited; /* meeting that it waits for */
    void *fake_stack;      /* AddressSanitizer's */
};

/* A warp that is being run. */
struct warp {
    const fake_kernel_t *kernel;
    const void *args;
    unsigned first_thread, lanes, begun, ended;
    unsigned arrived;
    unsigned long meetings; /* that have taken place */
    uint32_t value[WARP_LANES], met[WARP_LANES];
};

struct fiber_pool {
    fiber fibers[WARP_LANES] = {};
    jmp_buf home_point;
    void *home_fake_stack = nullptr;
    const void *home_stack = nullptr;
    size_t home_bytes = 0;
    fiber *current = nullptr;
    warp *running = nullptr;
    ~fiber_pool()
    {
        for (fiber &f : fibers) {
            if (f.stack != nullptr) {
                munmap(f.stack, stack_bytes);
            }
        }
    }
};
static thread_local fiber_pool pool;

static void place_thread(unsigned thread)
{
    threadIdx.x = thread % blockDim.x;
    threadIdx.y = thread / blockDim.x % blockDim.y;
    threadIdx.z = thread / blockDim.x / blockDim.y;
}

/* The ways from a fiber to the scheduler and back: by longjmp(), because swapcontext() makes two system
 * calls for signal masks, which stay as they are here. AddressSanitizer is told of the other stack. */
static void go_home(fiber *from)
{
    ON_ASAN(__sanitizer_start_switch_fiber(&from->fake_stack, pool.home_stack, pool.home_bytes));
    if (_setjmp(from->point) == 0) {
        _longjmp(pool.home_point, 1);
    }
    ON_ASAN(__sanitizer_finish_switch_fiber(from->fake_stack, &pool.home_stack, &pool.home_bytes));
}

static void fiber_main()
{
    fiber *const self = pool.current;
    ON_ASAN(__sanitizer_finish_switch_fiber(nullptr, &pool.home_stack, &pool.home_bytes));
    for (;;) {
        warp *const w = pool.running;
        while (w->begun < w->lanes) {
            self->lane = w->begun++;
            place_thread(w->first_thread + self->lane);
            w->kernel->call(w->kernel->function, w->args);
            w->ended++;
        }
        go_home(self);
    }
}

static void create_fiber(fiber *f)
{
    f->stack = static_cast<char *>(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
    if (f->stack == MAP_FAILED || getcontext(&f->context) != 0) {
        fprintf(stderr, "fake cudart: no stack for a lane\n");
        abort();
    }
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = stack_bytes;
    f->context.uc_link = nullptr;
    makecontext(&f->context, fiber_main, 0);
}

static void go_to(fiber *f)
{
    pool.current = f;
    if (f->stack == nullptr) {
        create_fiber(f);
    }
    if (f->waiting) {
        place_thread(pool.running->first_thread + f->lane);
    }
    f->waiting = false;
    ON_ASAN(__sanitizer_start_switch_fiber(&pool.home_fake_stack, f->stack, stack_bytes));
    if (_setjmp(pool.home_point) == 0) {
        if (f->started) {
            _longjmp(f->point, 1);
        }
        f->started = true;
        setcontext(&f->context);
    }
    ON_ASAN(__sanitizer_finish_switch_fiber(pool.home_fake_stack, nullptr, nullptr));
}

/* A fiber that can go on: one that waits for a meeting that took place, else an idle one while there
 * are lanes that have not begun. */
static fiber *runnable(const warp *w)
{
    fiber *idle = nullptr;
    for (fiber &f : pool.fibers) {
        if (f.waiting && w->meetings >= f.awaited) {
            return &f;
        }
        if (!f.waiting && idle == nullptr) {
            idle = &f;
        }
    }
    return w->begun < w->lanes ? idle : nullptr;
}

static void run_warp(warp *w)
{
    pool.running = w;
    while (w->ended < w->lanes) {
        fiber *const next = runnable(w);
        if (next == nullptr) {
            fprintf(stderr, "fake cudart: lanes of a warp do not meet at a shuffle (%u of %u)\n",
                    w->arrived, w->lanes);
            abort();
        }
        go_to(next);
    }
    pool.running = nullptr;
}

uint32_t __shfl_xor_sync(unsigned lanes, uint32_t value, int apart)
{
    warp *const w = pool.running;
    fiber *const self = pool.current;
    if (lanes != 0xffffffffu || w->lanes != WARP_LANES) {
        fprintf(stderr, "fake cudart: only whole warps shuffle here\n");
        abort();
    }
    w->value[self->lane] = value;
    if (++w->arrived == w->lanes) {
        memcpy(w->met, w->value, sizeof w->met);
        w->arrived = 0;
        w->meetings++;
    } else {
        self->awaited = w->meetings + 1;
        self->waiting = true;
        go_home(self);
    }
    return w->met[self->lane ^ (unsigned)apart];
}

/* ---- Running ---- */

extern "C" void fake_kernel_run(const fake_kernel_t *kernel, const unsigned grid[3],
                                const unsigned block[3], const void *args)
{
    gridDim = dim3(grid[0], grid[1], grid[2]);
    blockDim = dim3(block[0], block[1], block[2]);
    const unsigned threads = block[0] * block[1] * block[2];
    const size_t blocks = (size_t)grid[0] * grid[1] * grid[2];
    for (size_t b = 0; b < blocks; b++) {
        blockIdx.x = (unsigned)(b % grid[0]);
        blockIdx.y = (unsigned)(b / grid[0] % grid[1]);
        blockIdx.z = (unsigned)(b / grid[0] / grid[1]);
        for (unsigned first = 0; first < threads; first += WARP_LANES) {
            warp w = {};
            w.kernel = kernel;
            w.args = args;
            w.first_thread = first;
            w.lanes = threads - first < WARP_LANES ? threads - first : (unsigned)WARP_LANES;
            run_warp(&w);
        }
    }
}
