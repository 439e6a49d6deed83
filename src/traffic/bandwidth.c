#include "moe/traffic.h"

double moe_flow_algbw(const moe_flow_t *flow, double seconds)
{
    return seconds > 0 ? (double)moe_flow_most_arriving(flow) / seconds : 0;
}

double moe_flow_busbw(const moe_flow_t *flow, double seconds)
{
    return seconds > 0 ? (double)moe_flow_busiest(flow, NULL) / seconds : 0;
}
