/* What the CUDA device says when CUDA fails. Faults are planted in the fake CUDA runtime. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cuda_setting.h"

#ifdef MOE_HAVE_CUDA

#include "../../src/device/cuda_state.h"

/* "name" or "name:n": see tests/fakes/gpu/README.md. */
static void plant(const char *fault)
{
    assert_int_equal(setenv("MOE_FAKE_CUDA_FAIL", fault, 1), 0);
}

static void plant_none(void)
{
    assert_int_equal(unsetenv("MOE_FAKE_CUDA_FAIL"), 0);
}

static void assert_finish_says(moe_device_t *d, const char *said)
{
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(d->ops->finish(d, &error), MOE_FAILED);
    if (strstr(error.text, said) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, said);
    }
}

/* ---- Failures of calls ---- */

typedef void use_fn(moe_device_t *d, void *memory);

static void use_fill(moe_device_t *d, void *memory)
{
    d->ops->fill_bytes(d, memory, 1, 64);
}

static void use_copy(moe_device_t *d, void *memory)
{
    d->ops->copy(d, memory, (char *)memory + 64, 64);
}

static void use_parts(moe_device_t *d, void *memory)
{
    char host[64];
    d->ops->copy_parts(d, host, 16, memory, 32, 8, NULL, 4);
}

static void use_kernel(moe_device_t *d, void *memory)
{
    d->ops->fill_tokens(d, memory, MOE_BF16, 0, 0, 1, 64);
}

static void use_mark(moe_device_t *d, void *memory)
{
    (void)memory;
    d->ops->mark(d);
}

static void use_lanes(moe_device_t *d, void *memory)
{
    (void)memory;
    d->ops->sign(d, 0);
    d->ops->await(d, 0);
}

static void use_nothing(moe_device_t *d, void *memory)
{
    (void)d, (void)memory;
}

static void use_gemm(moe_device_t *d, void *memory)
{
    const moe_gemm_t shape = {.m = 2, .n = 2, .k = 2};
    moe_device_gemm(d, &shape, memory, memory, memory);
}

static const struct {
    const char *planted, *said;
    use_fn *use;
} failures[] = {
    {"cudaMalloc", "cudaMalloc of 32 MiB for cuBLAS failed: out of memory", use_gemm},
    {"cudaMemsetAsync", "cudaMemsetAsync failed: unknown error", use_fill},
    {"cudaMemcpyAsync", "cudaMemcpyAsync failed: unknown error", use_copy},
    {"cudaMemcpy2DAsync", "cudaMemcpy2DAsync failed: unknown error", use_parts},
    {"cudaLaunchKernel", "the kernel that fills tokens failed: unknown error", use_kernel},
    {"cudaEventRecord", "cudaEventRecord failed: unknown error", use_mark},
    {"cudaStreamWaitEvent", "cudaStreamWaitEvent failed: unknown error", use_lanes},
    {"cudaSetDevice", "cudaSetDevice failed: unknown error", use_fill},
    {"cudaStreamQuery", "waiting for the GPU failed: unknown error", use_nothing},
};

static void test_finish_names_the_call_that_failed_first_and_then_forgets(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    const pair_t p = make_pair(s, 4096);
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        plant(failures[i].planted);
        failures[i].use(d, p.gpu);
        use_fill(d, p.gpu); /* does nothing any more, or does well */
        assert_finish_says(d, failures[i].said);
        plant_none();
        assert_finished(d);
        double none;
        (void)d->ops->read_marks(d, &none, 0, NULL);
    }
    drop_pair(&p);
}

static void test_after_a_failure_nothing_is_done_until_it_is_told(void **state)
{
    setting_t *s = *state;
    const pair_t p = make_output(s, 64);
    plant("cudaEventRecord");
    s->gpu->ops->mark(s->gpu);
    use_fill(s->gpu, p.gpu);
    assert_finish_says(s->gpu, "cudaEventRecord");
    plant_none();
    assert_same(&p, "a fill after the failure");
    drop_pair(&p);
}

static void test_a_check_on_a_failed_device_finds_nothing_and_finish_tells(void **state)
{
    setting_t *s = *state;
    const uint64_t token = 0;
    const pair_t rows = make_random(s, 128);
    moe_mismatch_t found = {.count = 0};
    plant("cudaLaunchKernel");
    s->gpu->ops->check_rows(s->gpu, rows.gpu, MOE_BF16, 1, &token, 1, 1, 64, 0, &found);
    assert_int_equal(found.count, 0);
    assert_finish_says(s->gpu, "the kernel that checks rows failed");
    plant_none();
    drop_pair(&rows);
}

static void test_memory_that_cannot_be_had_is_refused_and_nothing_is_lost(void **state)
{
    moe_device_t *d = ((setting_t *)*state)->gpu;
    const size_t before = d->ops->available(d), entry = 1;
    moe_error_t error = {.status = MOE_OK};
    void *memory = NULL;
    const void *list = NULL;
    plant("cudaMalloc");
    assert_int_equal(d->ops->alloc(d, "rows", 3 << 20, &memory, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "rows: 3.00 MiB do not fit the memory of GPU 0, fake GPU"));
    plant("cudaMalloc:2,cudaMemsetAsync");
    assert_int_equal(d->ops->alloc(d, "rows", 3 << 20, &memory, &error), MOE_FAILED);
    assert_string_equal(error.text, "cudaMemsetAsync failed: unknown error");
    plant("cudaMemcpyAsync");
    assert_int_equal(d->ops->list(d, "rows", &entry, sizeof entry, &list, &error), MOE_FAILED);
    plant("cudaHostAlloc");
    assert_int_equal(moe_cuda_alloc_pinned(d, "counts", 100, &memory, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "counts: 100 B of this host's memory cannot be pinned"));
    plant_none();
    assert_true(memory == NULL && list == NULL);
    assert_int_equal(d->ops->available(d), before);
    assert_finished(d);
}

static void test_a_device_that_cannot_be_made_leaves_nothing_behind(void **state)
{
    static const char *const calls[] = {"cudaGetDeviceCount",
                                        "cudaGetDeviceProperties",
                                        "cudaSetDevice",
                                        "cudaDeviceGetAttribute",
                                        "cudaStreamCreateWithPriority:2",
                                        "cudaStreamCreateWithFlags",
                                        "cudaHostAlloc",
                                        "cudaMalloc"};
    moe_device_t *d = ((setting_t *)*state)->gpu;
    const size_t before = d->ops->available(d);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        moe_device_t *other = NULL;
        moe_error_t error = {.status = MOE_OK};
        plant(calls[i]);
        assert_int_not_equal(moe_cuda_device_create(0, &other, &error), MOE_OK);
        assert_null(other);
        assert_int_not_equal(error.text[0], '\0');
        plant_none();
        assert_int_equal(d->ops->available(d), before);
    }
}

static void test_a_gpu_that_is_not_there_is_refused(void **state)
{
    (void)state;
    moe_device_t *d = NULL;
    moe_gpu_t gpus[3];
    size_t count = 0;
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(setenv("MOE_FAKE_GPUS", "2", 1), 0);
    assert_int_equal(moe_cuda_gpus(gpus, 3, &count, NULL), MOE_OK);
    assert_int_equal(count, 2);
    assert_string_equal(gpus[1].pci, "0000:1c:00.0");
    assert_int_equal(moe_cuda_device_create(2, &d, &error), MOE_BAD_INPUT);
    assert_string_equal(error.text, "GPU 2: this process sees 2, counted from 0");
    assert_int_equal(setenv("MOE_FAKE_GPUS", "0", 1), 0);
    assert_int_equal(moe_cuda_gpus(gpus, 3, &count, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "--device cuda: no CUDA device was found (no CUDA-capable "
                                       "device is detected)"));
    assert_int_equal(unsetenv("MOE_FAKE_GPUS"), 0);
}

/* ---- Work that hangs ---- */

typedef struct watched {
    size_t asked;
    bool fails;
} watched_t;

static moe_status_t poll_watched(void *context, moe_error_t *error)
{
    watched_t *w = context;
    return ++w->asked == 5 && w->fails ? moe_fail(error, MOE_FAILED, "a peer is gone") : MOE_OK;
}

/* Of the fake CUDA runtime, which this program is not linked with. */
static void hang(moe_device_t *d, int hung)
{
    cudaError_t (*fake_hang)(cudaStream_t, int);
    void *const found = dlsym(RTLD_DEFAULT, "fake_cuda_hang");
    memcpy(&fake_hang, &found, sizeof fake_hang);
    assert_int_equal(fake_hang(moe_cuda_stream(d), hung), cudaSuccess);
}

static void test_a_watch_ends_a_wait_that_would_not_end(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    const pair_t p = make_pair(s, 64);
    watched_t gone = {.fails = true}, well = {.fails = false};
    assert_int_equal(moe_cuda_watch(d, poll_watched, &well, NULL), MOE_OK);
    assert_int_equal(moe_cuda_watch(d, poll_watched, &gone, NULL), MOE_OK);
    hang(d, 1);
    assert_finish_says(d, "a peer is gone");
    assert_int_equal(well.asked, 5);
    gone.asked = 0;
    unsigned char byte;
    d->ops->copy(d, &byte, p.gpu, 1); /* waits too */
    assert_finish_says(d, "a peer is gone");
    moe_cuda_unwatch(d, &gone);
    hang(d, 0);
    assert_finished(d);
    assert_true(well.asked > 10);
    moe_cuda_unwatch(d, &well);
    drop_pair(&p);
}

static void test_watches_are_as_many_as_there_is_room_for(void **state)
{
    moe_device_t *d = ((setting_t *)*state)->gpu;
    watched_t watched[MOE_CUDA_WATCHES + 1] = {{.asked = 0}};
    for (size_t i = 0; i < MOE_CUDA_WATCHES; i++) {
        assert_int_equal(moe_cuda_watch(d, poll_watched, &watched[i], NULL), MOE_OK);
    }
    assert_int_equal(moe_cuda_watch(d, poll_watched, &watched[MOE_CUDA_WATCHES], NULL), MOE_FAILED);
    for (size_t i = 0; i < MOE_CUDA_WATCHES; i++) {
        moe_cuda_unwatch(d, &watched[i]);
    }
    assert_finished(d);
    assert_int_equal(watched[0].asked, 0);
}

/* ---- Recording ---- */

static moe_status_t fill_work(void *context, moe_error_t *error)
{
    const pair_t *p = context;
    (void)error;
    use_fill(p->setting->gpu, p->gpu);
    return MOE_OK;
}

static void test_a_recording_that_cuda_refuses_is_told_with_the_call(void **state)
{
    static const char *const calls[] = {"cudaStreamBeginCapture", "cudaMemsetAsync",
                                        "cudaStreamEndCapture", "cudaGraphInstantiate"};
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    pair_t p = make_output(s, 64);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        moe_graph_t *graph = NULL;
        moe_error_t error = {.status = MOE_OK};
        plant(calls[i]);
        assert_int_equal(d->ops->capture(d, fill_work, &p, &graph, &error), MOE_FAILED);
        assert_non_null(strstr(error.text, calls[i]));
        assert_null(graph);
        plant_none();
        if (i == 2) { /* the fake's stream is still captured, as the call did nothing */
            cudaGraph_t left;
            assert_int_equal(cudaStreamEndCapture(moe_cuda_stream(d), &left), cudaSuccess);
            assert_int_equal(cudaGraphDestroy(left), cudaSuccess);
        }
        assert_finished(d);
    }
    drop_pair(&p);
}

static void test_pinned_memory_comes_and_goes_without_a_stop(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    void *pinned = NULL;
    const pair_t p = make_random(s, 1000);
    assert_int_equal(moe_cuda_alloc_pinned(d, "rows", 1000, &pinned, NULL), MOE_OK);
    moe_cuda_copy_pinned(d, pinned, p.gpu, 1000);
    assert_finished(d);
    assert_memory_equal(pinned, p.host, 1000);
    moe_cuda_release_pinned(d, pinned);
    moe_cuda_release_pinned(d, NULL);
    drop_pair(&p);
}

/* ---- A fault in a kernel: last, it ends the use of the GPU ---- */

static void test_a_fault_in_a_kernel_is_told_by_finish_from_then_on(void **state)
{
    setting_t *s = *state;
    const pair_t p = make_pair(s, 4096);
    plant("kernel:2");
    use_kernel(s->gpu, p.gpu);
    assert_finished(s->gpu);
    use_kernel(s->gpu, p.gpu);
    assert_finish_says(s->gpu, "an illegal memory access was encountered");
    plant_none();
    assert_finish_says(s->gpu, "an illegal memory access was encountered");
    assert_int_equal(cudaDeviceReset(), cudaSuccess);
    drop_pair(&p);
}

static void test_a_list_of_the_host_given_to_a_kernel_is_noticed(void **state)
{
    setting_t *s = *state;
    const size_t index[] = {1, 0};
    const pair_t from = make_random(s, 256), to = make_output(s, 256);
    s->gpu->ops->gather(s->gpu, to.gpu, 128, MOE_BF16, from.gpu, 128, MOE_BF16, index, 2, 64);
    assert_finish_says(s->gpu, "an illegal memory access was encountered");
    assert_int_equal(cudaDeviceReset(), cudaSuccess);
    drop_pair(&from);
    drop_pair(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finish_names_the_call_that_failed_first_and_then_forgets),
        cmocka_unit_test(test_after_a_failure_nothing_is_done_until_it_is_told),
        cmocka_unit_test(test_a_check_on_a_failed_device_finds_nothing_and_finish_tells),
        cmocka_unit_test(test_memory_that_cannot_be_had_is_refused_and_nothing_is_lost),
        cmocka_unit_test(test_a_device_that_cannot_be_made_leaves_nothing_behind),
        cmocka_unit_test(test_a_gpu_that_is_not_there_is_refused),
        cmocka_unit_test(test_a_watch_ends_a_wait_that_would_not_end),
        cmocka_unit_test(test_watches_are_as_many_as_there_is_room_for),
        cmocka_unit_test(test_a_recording_that_cuda_refuses_is_told_with_the_call),
        cmocka_unit_test(test_pinned_memory_comes_and_goes_without_a_stop),
        cmocka_unit_test(test_a_fault_in_a_kernel_is_told_by_finish_from_then_on),
        cmocka_unit_test(test_a_list_of_the_host_given_to_a_kernel_is_noticed),
    };
    return RUN_CUDA_TESTS("CUDA faults", tests, true);
}

#else

static void test_a_program_without_cuda_says_so_and_what_to_do(void **state)
{
    (void)state;
    moe_error_t error = {.status = MOE_OK};
    moe_device_t *d = NULL;
    size_t count;
    assert_false(moe_cuda_built_in());
    assert_int_equal(moe_cuda_device_create(0, &d, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "--device cuda: this program was built without CUDA; "));
    assert_non_null(strstr(error.text, "CUDA_HOME"));
    assert_int_equal(moe_cuda_gpus(NULL, 0, &count, NULL), MOE_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_program_without_cuda_says_so_and_what_to_do),
    };
    return cmocka_run_group_tests_name("no CUDA", tests, NULL, NULL);
}

#endif
