/* Files of PyTorch and Python pickles: reading one runs the code in it, so they are refused. */
#include <string.h>

#include "format.h"

/* A zip archive (.pt since PyTorch 1.6, and .npz), or protocol 2 ... 5 of pickle. */
static bool detect(const char *head, size_t size, unsigned wanted)
{
    (void)wanted;
    return size >= 2 &&
           (memcmp(head, "PK", 2) == 0 || (head[0] == '\x80' && head[1] >= 2 && head[1] <= 5));
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    (void)wanted;
    (void)out;
    return moe_input_refuse_byte(
        input, 0,
        "a pickle or zip archive (.pt, .pkl, .npz), which is not read: a pickle can run any code. "
        "Convert it where you trust it: python3 -c \"import json, torch; d = torch.load('F.pt', "
        "weights_only=True); json.dump({'logical_count': d['logical_count'].tolist()}, "
        "open('F.json', "
        "'w'))\", or numpy.save('F.npy', array)");
}

const moe_trace_format_t moe_trace_pickle = {
    .name = "pickle",
    .summary = "refused, with how to convert",
    .kinds = 0,
    .detect = detect,
    .read = read_trace,
};
