#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../src/system/memory.h"
#include "moe/system.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The refusal of an allocation is tested: the sanitizer must pass it on, not end the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* ---- Errors ---- */

static void test_an_error_holds_status_and_text_and_may_be_dropped(void **state)
{
    (void)state;
    moe_error_t error = {0};
    assert_int_equal(moe_fail(&error, MOE_FAILED, "rank %d: %s", 3, "gone"), MOE_FAILED);
    assert_int_equal(error.status, MOE_FAILED);
    assert_string_equal(error.text, "rank 3: gone");
    assert_int_equal(moe_fail(NULL, MOE_BAD_INPUT, "nobody listens"), MOE_BAD_INPUT);
}

static void test_an_error_can_quote_itself(void **state)
{
    (void)state;
    moe_error_t error = {0};
    moe_fail(&error, MOE_FAILED, "inner");
    moe_fail(&error, MOE_BAD_INPUT, "outer: %s", error.text);
    assert_string_equal(error.text, "outer: inner");
}

static void test_an_error_is_one_line_and_shows_where_it_was_cut(void **state)
{
    (void)state;
    moe_error_t error = {0};
    moe_fail(&error, MOE_BAD_INPUT, "a\nb\x1b[31mc");
    assert_string_equal(error.text, "a?b?[31mc");

    char text[2 * MOE_ERROR_TEXT];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    moe_fail(&error, MOE_BAD_INPUT, "%s", text);
    assert_int_equal(strlen(error.text), MOE_ERROR_TEXT - 1);
    assert_string_equal(error.text + MOE_ERROR_TEXT - 4, "...");
}

/* ---- Sizes ---- */

static void test_sizes_take_binary_and_decimal_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t value;
    } cases[] = {
        {"0", 0},
        {"1", 1},
        {"007", 7},
        {"4096", 4096},
        {"4K", 4096},
        {"4KiB", 4096},
        {"4KB", 4000},
        {"3M", 3145728},
        {"3MiB", 3145728},
        {"3MB", 3000000},
        {"2G", 2147483648},
        {"2GiB", 2147483648},
        {"2GB", 2000000000},
        {"18446744073709551615", SIZE_MAX},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t value = 12345;
        assert_int_equal(moe_parse_size("--tokens", cases[i].text, 0, SIZE_MAX, &value, NULL),
                         MOE_OK);
        assert_true(value == cases[i].value);
    }
}

static void test_sizes_refuse_what_is_no_whole_number_in_range(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        " 5",
        "5 ",
        "5 K",
        "-1",
        "+1",
        "1e30",
        "1e3",
        "nan",
        "inf",
        "12x",
        "K",
        "0x10",
        "1.5K",
        "1,000",
        "12k",
        "12kb",
        "12KBB",
        "12B",
        "12T",
        "1073741825", /* one past the limit */
        "2G",
        "18446744073709551616",
        "99999999999999999999999999",
        "18014398509481984K",
        "17179869184G",
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        moe_error_t error = {0};
        size_t value = 77;
        assert_int_equal(moe_parse_size("--tokens", wrong[i], 0, 1073741824, &value, &error),
                         MOE_BAD_INPUT);
        assert_int_equal(value, 77);
        assert_int_equal(error.status, MOE_BAD_INPUT);
        char start[80];
        snprintf(start, sizeof start, "--tokens: '%s' is not a whole number", wrong[i]);
        assert_int_equal(strncmp(error.text, start, strlen(start)), 0);
    }
}

static void test_the_message_of_a_size_names_option_text_limits_and_units(void **state)
{
    (void)state;
    moe_error_t error = {0};
    size_t value = 0;
    moe_parse_size("--tokens", "1e30", 0, 1073741824, &value, &error);
    assert_string_equal(error.text, "--tokens: '1e30' is not a whole number between 0 and "
                                    "1073741824 (K, M, G = 1024; KB, MB, GB = 1000)");
}

static void test_long_text_does_not_push_the_limits_out_of_the_message(void **state)
{
    (void)state;
    char text[4096];
    memset(text, '9', sizeof text);
    text[sizeof text - 1] = '\0';
    moe_error_t error = {0};
    size_t value = 0;
    assert_int_equal(moe_parse_size("--tokens", text, 1, 10, &value, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "9...' is not a whole number between 1 and 10 "));
}

/* ---- Real numbers and times ---- */

static void test_real_numbers_are_decimal(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0},      {"1.25", 1.25}, {"-3", -3},    {"+2.5", 2.5},      {".5", 0.5},  {"5.", 5},
        {"1e3", 1000}, {"1E-2", 0.01}, {"1e+2", 100}, {"989e12", 989e12}, {"0e0", 0.0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        double value = 12345;
        assert_int_equal(moe_parse_real("--skew", cases[i].text, -DBL_MAX, DBL_MAX, &value, NULL),
                         MOE_OK);
        assert_true(value == cases[i].value);
    }
    double zero = 1;
    assert_int_equal(moe_parse_real("--skew", "-0", 0, 1, &zero, NULL), MOE_OK);
    assert_false(signbit(zero));
}

static void test_real_numbers_refuse_infinity_nan_hexadecimal_and_trailing_text(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",       " 1",   "1 ",  "inf", "-inf",  "infinity", "nan",  "NAN",
        "nan(1)", "0x10", "1e",  "1e+", ".",     "-",        "e5",   "1.2.3",
        "1,5",    "1e5x", "--1", "1K",  "1e400", "1e-400",   "-0.1", "10.5",
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        moe_error_t error = {0};
        double value = 77;
        assert_int_equal(moe_parse_real("--capacity-factor", wrong[i], 0, 10, &value, &error),
                         MOE_BAD_INPUT);
        assert_true(value == 77);
        assert_non_null(strstr(error.text, "is not a number between 0 and 10"));
    }
}

static void test_messages_of_real_numbers_leave_out_limits_that_are_none(void **state)
{
    (void)state;
    moe_error_t error = {0};
    double value = 0;
    moe_parse_real("zipf", "nan", 0, DBL_MAX, &value, &error);
    assert_string_equal(error.text, "zipf: 'nan' is not a number of at least 0");
    moe_parse_real("zipf", "nan", -INFINITY, INFINITY, &value, &error);
    assert_string_equal(error.text, "zipf: 'nan' is not a number that is finite");
    moe_parse_real("zipf", "nan", -DBL_MAX, 2.5, &value, &error);
    assert_string_equal(error.text, "zipf: 'nan' is not a number of at most 2.5");
}

static void test_times_are_seconds_unless_a_unit_is_given(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double seconds;
    } cases[] = {
        {"2", 2}, {"2s", 2}, {"1.5s", 1.5}, {"100ms", 0.1}, {"250us", 250e-6}, {"3e2ms", 0.3},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        double seconds = 0;
        assert_int_equal(moe_parse_time("--timeout", cases[i].text, 0, 100, &seconds, NULL),
                         MOE_OK);
        assert_true(seconds == cases[i].seconds);
    }
    static const char *const wrong[] = {"", "5m", "5 s", "-1s", "nan", "us", "101", "1S", "5ns"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        moe_error_t error = {0};
        double seconds = 77;
        assert_int_equal(moe_parse_time("--timeout", wrong[i], 0, 100, &seconds, &error),
                         MOE_BAD_INPUT);
        assert_true(seconds == 77);
        assert_non_null(strstr(error.text, "is not a time between 0 s and 100 s (units us, ms, s"));
    }
}

/* ---- Nearest names ---- */

static void test_the_nearest_name_is_found_and_far_ones_are_not(void **state)
{
    (void)state;
    static const char *const names[] = {"mixtral-8x7b", "deepseek-v2", "deepseek-v3", "zipf",
                                        "qwen3-30b-a3b"};
    assert_string_equal(moe_nearest("mixtral-8x7", names, COUNT(names)), "mixtral-8x7b");
    assert_string_equal(moe_nearest("deepsek-v3", names, COUNT(names)), "deepseek-v3");
    assert_string_equal(moe_nearest("DeepSeek-V3", names, COUNT(names)), "deepseek-v3");
    assert_string_equal(moe_nearest("zip", names, COUNT(names)), "zipf");
    assert_string_equal(moe_nearest("qwen3_30b_a3b", names, COUNT(names)), "qwen3-30b-a3b");
    assert_null(moe_nearest("llama", names, COUNT(names)));
    assert_null(moe_nearest("", names, COUNT(names)));
    assert_null(moe_nearest("zipf", names, 0));
    assert_null(moe_nearest("zipf", NULL, 0));
}

static void test_a_third_of_the_longer_word_is_still_near(void **state)
{
    (void)state;
    static const char *const names[] = {"abcdef"};
    assert_non_null(moe_nearest("abcdxy", names, 1));
    assert_null(moe_nearest("abcxyz", names, 1));
    assert_non_null(moe_nearest("xxxabcdef", names, 1));
    assert_null(moe_nearest("xxxxabcdef", names, 1));
    assert_null(moe_nearest("abcdefxxxx", names, 1));
}

static void test_a_very_long_name_is_near_to_nothing(void **state)
{
    (void)state;
    char name[1000];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    const char *const names[] = {"aaaa", name};
    assert_null(moe_nearest(name, names, 2));
}

/* ---- Memory ---- */

static void test_memory_comes_zeroed_and_nothing_is_a_valid_pointer(void **state)
{
    (void)state;
    void *memory = NULL;
    assert_int_equal(moe_alloc("the table", 1000, 8, &memory, NULL), MOE_OK);
    for (size_t i = 0; i < 8000; i++)
        assert_int_equal(((unsigned char *)memory)[i], 0);
    free(memory);
    void *nothing = NULL;
    assert_int_equal(moe_alloc("the table", 0, 8, &nothing, NULL), MOE_OK);
    assert_non_null(nothing);
    free(nothing);
}

static void test_memory_that_cannot_be_had_is_bad_input(void **state)
{
    (void)state;
    moe_error_t error = {0};
    void *memory = &error;
    assert_int_equal(moe_alloc("the table", SIZE_MAX / 4, 8, &memory, &error), MOE_BAD_INPUT);
    assert_ptr_equal(memory, &error);
    assert_string_equal(error.text, "the table: 4611686018427387903 times 8 bytes does not fit "
                                    "memory: lower the sizes");
    assert_int_equal(moe_alloc("the table", SIZE_MAX / 4, 1, &memory, &error), MOE_BAD_INPUT);
    assert_ptr_equal(memory, &error);
    assert_non_null(strstr(error.text, "the table: 4.00 EiB "));
    assert_non_null(strstr(error.text, "does not fit memory"));
}

static void test_an_array_grows_and_is_kept_where_it_cannot(void **state)
{
    (void)state;
    int *numbers = NULL;
    size_t room = 0;
    for (size_t count = 0; count < 1000; count++) {
        assert_int_equal(
            moe_grow("numbers", count, sizeof *numbers, (void **)&numbers, &room, NULL), MOE_OK);
        assert_true(room > count);
        numbers[count] = (int)count;
    }
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    moe_error_t error = {0};
    int *const before = numbers;
    room = SIZE_MAX / 4;
    assert_int_equal(moe_grow("numbers", room, sizeof *numbers, (void **)&numbers, &room, &error),
                     MOE_BAD_INPUT);
    assert_ptr_equal(numbers, before);
    assert_true(room == SIZE_MAX / 4);
    assert_non_null(strstr(error.text, "numbers: "));
    free(numbers);
}

static void test_bytes_are_shown_with_three_digits(void **state)
{
    (void)state;
    static const struct {
        double bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {17, "17 B"},
        {1023, "1023 B"},
        {1024, "1.00 KiB"},
        {12288, "12.0 KiB"},
        {1610612736, "1.50 GiB"},
        {104857600, "100 MiB"},
        {10485759, "10.0 MiB"},
        {1023.9 * 1024, "1.00 MiB"},
        {1073741823, "1.00 GiB"},
        {18446744073709551615.0, "16.0 EiB"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[16];
        assert_string_equal(moe_format_bytes(cases[i].bytes, text), cases[i].text);
    }
}

/* ---- What is left of memory, in a tree of files laid for it ---- */

typedef struct tree {
    char root[64];
} tree_t;

static int make_tree(void **state)
{
    tree_t *tree = calloc(1, sizeof *tree);
    assert_non_null(tree);
    snprintf(tree->root, sizeof tree->root, "/tmp/moe-test-XXXXXX");
    assert_non_null(mkdtemp(tree->root));
    *state = tree;
    return 0;
}

static int remove_tree(void **state)
{
    tree_t *tree = *state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", tree->root);
    const int status = system(command);
    free(tree);
    return status;
}

/* Writes a file and the directories above it. */
static void lay(const tree_t *tree, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", tree->root, path);
    for (char *at = full + strlen(tree->root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(full, 0700);
        *at = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

#define MEMINFO                                                                                    \
    "MemTotal:       24684092 kB\nMemFree:        24262516 kB\nMemAvailable:   1000 kB\n"
#define MOUNT_V2                                                                                   \
    "23 1 8:1 / / rw - ext4 /dev/vda rw\n"                                                         \
    "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static void test_memory_is_not_known_where_there_is_no_proc(void **state)
{
    const tree_t *tree = *state;
    assert_true(moe_memory_available_below(tree->root) == SIZE_MAX);
}

static void test_memory_is_what_the_host_has_where_there_is_proc_but_no_sys(void **state)
{
    const tree_t *tree = *state;
    lay(tree, "/proc/meminfo", MEMINFO);
    assert_true(moe_memory_available_below(tree->root) == 1000 * 1024);
    lay(tree, "/proc/self/cgroup", "0::/user.slice/job\n");
    lay(tree, "/proc/self/mountinfo", MOUNT_V2);
    assert_true(moe_memory_available_below(tree->root) == 1000 * 1024);
}

static void test_a_kernel_that_does_not_tell_leaves_memory_unknown(void **state)
{
    const tree_t *tree = *state;
    lay(tree, "/proc/meminfo", "MemTotal: 24684092 kB\n");
    assert_true(moe_memory_available_below(tree->root) == SIZE_MAX);
}

static void test_the_tightest_level_of_the_control_groups_counts(void **state)
{
    const tree_t *tree = *state;
    lay(tree, "/proc/meminfo", MEMINFO);
    lay(tree, "/proc/self/cgroup", "0::/user.slice/job/task\n");
    lay(tree, "/proc/self/mountinfo", MOUNT_V2);
    lay(tree, "/sys/fs/cgroup/user.slice/job/task/memory.max", "max\n");
    lay(tree, "/sys/fs/cgroup/user.slice/job/task/memory.current", "5000\n");
    assert_true(moe_memory_available_below(tree->root) == 1000 * 1024);
    lay(tree, "/sys/fs/cgroup/user.slice/job/memory.max", "60000\n");
    lay(tree, "/sys/fs/cgroup/user.slice/job/memory.current", "20000\n");
    assert_true(moe_memory_available_below(tree->root) == 40000);
    lay(tree, "/sys/fs/cgroup/user.slice/memory.max", "70000\n");
    lay(tree, "/sys/fs/cgroup/user.slice/memory.current", "69000\n");
    assert_true(moe_memory_available_below(tree->root) == 1000);
    lay(tree, "/sys/fs/cgroup/user.slice/memory.current", "70001\n");
    assert_true(moe_memory_available_below(tree->root) == 0);
}

static void test_cached_files_of_a_control_group_are_not_in_the_way(void **state)
{
    const tree_t *tree = *state;
    lay(tree, "/proc/self/cgroup", "0::/\n");
    lay(tree, "/proc/self/mountinfo", MOUNT_V2);
    lay(tree, "/sys/fs/cgroup/memory.max", "100000\n");
    lay(tree, "/sys/fs/cgroup/memory.current", "90000\n");
    assert_true(moe_memory_available_below(tree->root) == 10000);
    lay(tree, "/sys/fs/cgroup/memory.stat",
        "anon 10000\nfile 80000\nkernel 0\ninactive_file 50000\nactive_file 20000\n");
    assert_true(moe_memory_available_below(tree->root) == 80000);
}

static void test_version_one_control_groups_are_read_as_a_container_shows_them(void **state)
{
    const tree_t *tree = *state;
    lay(tree, "/proc/self/cgroup",
        "9:name=systemd:/docker/abc\n4:cpu,memory:/docker/abc\n0::/docker/abc\n");
    /* The container's mount shows its own group as the root of the hierarchy. */
    lay(tree, "/proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/cpu\\040and\\040memory ro - cgroup cgroup "
        "rw,cpu,memory\n");
    lay(tree, "/sys/fs/cgroup/cpu and memory/memory.limit_in_bytes", "4096\n");
    lay(tree, "/sys/fs/cgroup/cpu and memory/memory.usage_in_bytes", "1096\n");
    assert_true(moe_memory_available_below(tree->root) == 3000);
    lay(tree, "/sys/fs/cgroup/cpu and memory/memory.stat",
        "inactive_file 7\nactive_file 7\ntotal_inactive_file 40\ntotal_active_file 2\n");
    assert_true(moe_memory_available_below(tree->root) == 3042);
    /* A group inside the container's own. */
    lay(tree, "/proc/self/cgroup", "4:cpu,memory:/docker/abc/task\n");
    lay(tree, "/sys/fs/cgroup/cpu and memory/task/memory.limit_in_bytes", "500\n");
    lay(tree, "/sys/fs/cgroup/cpu and memory/task/memory.usage_in_bytes", "100\n");
    assert_true(moe_memory_available_below(tree->root) == 400);
    lay(tree, "/proc/self/cgroup", "4:cpu,memory:/docker/abcd/task\n");
    assert_true(moe_memory_available_below(tree->root) == 3042);
    lay(tree, "/sys/fs/cgroup/cpu and memory/memory.limit_in_bytes", "9223372036854771712\n");
    lay(tree, "/proc/meminfo", MEMINFO);
    assert_true(moe_memory_available_below(tree->root) == 1000 * 1024);
}

static void test_garbage_in_proc_is_not_a_limit(void **state)
{
    const tree_t *tree = *state;
    lay(tree, "/proc/meminfo", "MemAvailable: lots\n");
    lay(tree, "/proc/self/cgroup", "\n::\nno colon\n0:\n4:memory\n0::/../outside\n");
    lay(tree, "/proc/self/mountinfo",
        "\n - \n - cgroup2\n1 2 - cgroup2 a b\n1 2 3 4 - cgroup2 a b\n");
    assert_true(moe_memory_available_below(tree->root) == SIZE_MAX);
}

static void test_this_host_has_some_memory_left(void **state)
{
    (void)state;
    assert_true(moe_memory_available() > 0);
}

/* ---- Files ---- */

static void test_a_file_is_read_whole_with_a_nul_behind_it(void **state)
{
    const tree_t *tree = *state;
    enum { LENGTH = 100000 }; /* several growths of the buffer */
    char *written = malloc(LENGTH + 1), path[96];
    assert_non_null(written);
    for (size_t i = 0; i < LENGTH; i++)
        written[i] = (char)('a' + i % 23);
    written[LENGTH] = '\0';
    lay(tree, "/long", written);
    snprintf(path, sizeof path, "%s/long", tree->root);

    char *text = NULL;
    size_t size = 0;
    assert_int_equal(moe_file_read(path, LENGTH, &text, &size, NULL), MOE_OK);
    assert_int_equal(size, LENGTH);
    assert_string_equal(text, written);
    free(text);

    moe_error_t error = {0};
    text = NULL;
    assert_int_equal(moe_file_read(path, LENGTH - 1, &text, &size, &error), MOE_BAD_INPUT);
    assert_null(text);
    assert_non_null(strstr(error.text, "longer than the 99999 bytes"));
    free(written);
}

static void test_an_empty_file_is_an_empty_text(void **state)
{
    const tree_t *tree = *state;
    char path[96], *text = NULL;
    size_t size = 1;
    lay(tree, "/empty", "");
    snprintf(path, sizeof path, "%s/empty", tree->root);
    assert_int_equal(moe_file_read(path, 0, &text, &size, NULL), MOE_OK);
    assert_int_equal(size, 0);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(moe_file_read(path, SIZE_MAX, &text, &size, NULL), MOE_OK);
    free(text);
}

static void test_what_cannot_be_read_is_named_with_the_reason(void **state)
{
    const tree_t *tree = *state;
    moe_error_t error = {0};
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(moe_file_read("/no/such/file", 10, &text, &size, &error), MOE_BAD_INPUT);
    assert_string_equal(error.text, "cannot open '/no/such/file': No such file or directory");
    assert_int_equal(moe_file_read(tree->root, 10, &text, &size, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "': Is a directory"));
    /* Without an end: the limit ends it. */
    assert_int_equal(moe_file_read("/dev/zero", 1 << 20, &text, &size, &error), MOE_BAD_INPUT);
    assert_null(text);
}

/* ---- Where this runs ---- */

static void test_the_topology_is_hwlocs_or_unknown(void **state)
{
    (void)state;
    moe_topology_t topology;
    memset(&topology, 0xff, sizeof topology);
#ifdef MOE_HAVE_HWLOC
    moe_topology_read(&topology);
    assert_true(topology.known);
    assert_true(topology.pus >= 1);
    assert_true(topology.bound_pus >= 1 && topology.bound_pus <= topology.pus);
    assert_true(topology.cores <= topology.pus);
    assert_true(topology.memory_bytes >= (size_t)1 << 20);

    /* 2 sockets of 2 NUMA nodes of 4 cores of 2 threads, as hwloc itself describes it. */
    setenv("HWLOC_SYNTHETIC", "package:2 numa:2(memory=1073741824) core:4 pu:2", 1);
    moe_topology_read(&topology);
    unsetenv("HWLOC_SYNTHETIC");
    assert_true(topology.known);
    assert_int_equal(topology.packages, 2);
    assert_int_equal(topology.numa_nodes, 4);
    assert_int_equal(topology.cores, 16);
    assert_int_equal(topology.pus, 32);
    assert_int_equal(topology.bound_pus, 32);
    assert_true(topology.memory_bytes == (size_t)4 << 30);
#else
    moe_topology_read(&topology);
    assert_false(topology.known);
    assert_int_equal(topology.packages + topology.numa_nodes + topology.cores + topology.pus, 0);
    assert_int_equal(topology.memory_bytes + topology.bound_pus, 0);
#endif
}

static void test_the_host_has_a_name_that_fits_any_buffer(void **state)
{
    (void)state;
    char name[256] = "", two[2] = {'x', 'x'};
    moe_hostname(name, sizeof name);
    assert_true(strlen(name) > 0);
    moe_hostname(two, sizeof two);
    assert_int_equal(two[0], name[0]);
    assert_int_equal(two[1], '\0');
}

typedef struct seen {
    size_t count;
    char text[2048];
} seen_t;

static void remember(void *context, const char *name, const char *value)
{
    seen_t *seen = context;
    seen->count++;
    const size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%s=%s;", name, value);
}

static void test_the_environment_is_shown_sorted_and_without_secrets(void **state)
{
    (void)state;
    static char *planted[] = {
        "UCX_TLS=rc,sm",
        "NCCL_ALGO=Ring=1",
        "NCCL_DEBUG=",
        "OMPI_MCA_btl=self,vader",
        "PMIX_MCA_gds=hash",
        "MPICH_CC=gcc",
        "MPIR_CVAR_ALLTOALL_INTRA_ALGORITHM=brucks",
        "I_MPI_FABRICS=shm:ofi",
        "MV2_IBA_HCA=mlx5_0",
        "FI_PROVIDER=tcp",
        "CUDA_VISIBLE_DEVICES=0,1",
        "OMP_NUM_THREADS=4",
        "SLURM_NTASKS=8",
        "SLURM_NTASKS_PER_NODE=4",
        /* None of what follows may be shown. */
        "HOME=/home/alice",
        "AWS_SECRET_ACCESS_KEY=hidden",
        "OMP_NUM_THREADS_EXTRA=hidden",
        "SLURM_JOB_USER=hidden",
        "SLURM_JWT=hidden",
        "CUDA_VISIBLE_DEVICES_TOKEN=hidden",
        "NCCL_API_TOKEN=hidden",
        "UCX_my_password=hidden",
        "I_MPI_Secret=hidden",
        "FI_ACCESS_KEY=hidden",
        "NCCL_COMM_ID=hidden",
        "PMIX_SERVER_URI41=hidden",
        "PMIX_MCA_ptl_tcp_uri=hidden",
        "OMPI_MCA_orte_hnp_uri=hidden",
        "OMPI_MCA_orte_precondition_transports=hidden",
        "OMPI_MCA_ess_base_jobid=hidden",
        "OMPI_MCA_initial_wdir=hidden",
        "XUCX_TLS=hidden",
        "=hidden",
        "NCCL_without_value",
        NULL,
    };
    char **const kept = environ;
    seen_t seen = {0};
    environ = planted;
    moe_environment_visit(remember, &seen);
    environ = kept;
    assert_string_equal(seen.text,
                        "CUDA_VISIBLE_DEVICES=0,1;FI_PROVIDER=tcp;I_MPI_FABRICS=shm:ofi;"
                        "MPICH_CC=gcc;MPIR_CVAR_ALLTOALL_INTRA_ALGORITHM=brucks;MV2_IBA_HCA=mlx5_0;"
                        "NCCL_ALGO=Ring=1;NCCL_DEBUG=;OMPI_MCA_btl=self,vader;OMP_NUM_THREADS=4;"
                        "PMIX_MCA_gds=hash;SLURM_NTASKS=8;SLURM_NTASKS_PER_NODE=4;UCX_TLS=rc,sm;");
    assert_int_equal(seen.count, 14);
}

static void test_an_empty_environment_shows_nothing(void **state)
{
    (void)state;
    char **const kept = environ;
    char *none[] = {NULL};
    seen_t seen = {0};
    environ = none;
    moe_environment_visit(remember, &seen);
    environ = NULL; /* after clearenv() */
    moe_environment_visit(remember, &seen);
    environ = kept;
    assert_int_equal(seen.count, 0);
}

#define WITH_TREE(test) cmocka_unit_test_setup_teardown(test, make_tree, remove_tree)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_error_holds_status_and_text_and_may_be_dropped),
        cmocka_unit_test(test_an_error_can_quote_itself),
        cmocka_unit_test(test_an_error_is_one_line_and_shows_where_it_was_cut),
        cmocka_unit_test(test_sizes_take_binary_and_decimal_units),
        cmocka_unit_test(test_sizes_refuse_what_is_no_whole_number_in_range),
        cmocka_unit_test(test_the_message_of_a_size_names_option_text_limits_and_units),
        cmocka_unit_test(test_long_text_does_not_push_the_limits_out_of_the_message),
        cmocka_unit_test(test_real_numbers_are_decimal),
        cmocka_unit_test(test_real_numbers_refuse_infinity_nan_hexadecimal_and_trailing_text),
        cmocka_unit_test(test_messages_of_real_numbers_leave_out_limits_that_are_none),
        cmocka_unit_test(test_times_are_seconds_unless_a_unit_is_given),
        cmocka_unit_test(test_the_nearest_name_is_found_and_far_ones_are_not),
        cmocka_unit_test(test_a_third_of_the_longer_word_is_still_near),
        cmocka_unit_test(test_a_very_long_name_is_near_to_nothing),
        cmocka_unit_test(test_memory_comes_zeroed_and_nothing_is_a_valid_pointer),
        cmocka_unit_test(test_memory_that_cannot_be_had_is_bad_input),
        cmocka_unit_test(test_an_array_grows_and_is_kept_where_it_cannot),
        cmocka_unit_test(test_bytes_are_shown_with_three_digits),
        WITH_TREE(test_memory_is_not_known_where_there_is_no_proc),
        WITH_TREE(test_memory_is_what_the_host_has_where_there_is_proc_but_no_sys),
        WITH_TREE(test_a_kernel_that_does_not_tell_leaves_memory_unknown),
        WITH_TREE(test_the_tightest_level_of_the_control_groups_counts),
        WITH_TREE(test_cached_files_of_a_control_group_are_not_in_the_way),
        WITH_TREE(test_version_one_control_groups_are_read_as_a_container_shows_them),
        WITH_TREE(test_garbage_in_proc_is_not_a_limit),
        cmocka_unit_test(test_this_host_has_some_memory_left),
        WITH_TREE(test_a_file_is_read_whole_with_a_nul_behind_it),
        WITH_TREE(test_an_empty_file_is_an_empty_text),
        WITH_TREE(test_what_cannot_be_read_is_named_with_the_reason),
        cmocka_unit_test(test_the_topology_is_hwlocs_or_unknown),
        cmocka_unit_test(test_the_host_has_a_name_that_fits_any_buffer),
        cmocka_unit_test(test_the_environment_is_shown_sorted_and_without_secrets),
        cmocka_unit_test(test_an_empty_environment_shows_nothing),
    };
    return cmocka_run_group_tests_name("system", tests, NULL, NULL);
}
