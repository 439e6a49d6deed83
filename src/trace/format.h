/* The operations of a format, and what its readers share. */
#ifndef MOE_TRACE_FORMAT_H
#define MOE_TRACE_FORMAT_H

#include "input.h"
#include "moe/trace.h"

struct moe_trace_format {
    const char *name;
    const char *summary; /* one line for help */
    unsigned kinds;      /* that it can give, of moe_trace_kind_t */
    /* Is this the beginning of such a file? `size` bytes, up to MOE_INPUT_BUFFER. NULL: never told apart by
     * itself. wanted: see read(). */
    bool (*detect)(const char *head, size_t size, unsigned wanted);
    /* Fills a zeroed trace, but for format, path and packed; what it holds after a refusal is destroyed by
     * the caller. wanted: the kinds that the caller can use, for formats that have several. */
    moe_status_t (*read)(moe_input_t *input, unsigned wanted, moe_trace_t *out);
};

extern const moe_trace_format_t moe_trace_own;
extern const moe_trace_format_t moe_trace_megatron;
extern const moe_trace_format_t moe_trace_vllm;
extern const moe_trace_format_t moe_trace_vllm_load;
extern const moe_trace_format_t moe_trace_sglang;
extern const moe_trace_format_t moe_trace_trtllm;
extern const moe_trace_format_t moe_trace_eplb;
extern const moe_trace_format_t moe_trace_csv;
extern const moe_trace_format_t moe_trace_pickle;

/* Does `text` stand in these bytes? */
bool moe_head_holds(const char *head, size_t size, const char *text);
/* The first byte that is no white space, 0 where there is none. */
char moe_head_letter(const char *head, size_t size);

/* Counts into a trace: takes over value[steps][layers][experts]. Layers without any count in all steps (those
 * of dense layers) are left out; refuses where none is left. */
moe_status_t moe_take_counts(moe_input_t *input, double *value, size_t steps, size_t layers,
                             size_t experts, moe_trace_t *out);

#endif
