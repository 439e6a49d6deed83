#include "findings.h"

#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

const char *moe_slow_name(moe_slow_t what)
{
    static const char *const names[MOE_SLOW_KINDS] = {
        [MOE_SLOW_SENDER] = "sender", [MOE_SLOW_RECEIVER] = "receiver", [MOE_SLOW_RANK] = "rank",
        [MOE_SLOW_LINK] = "link",     [MOE_SLOW_HOST] = "host",
    };
    return names[what];
}

const char *moe_reach_name(moe_reach_t reach)
{
    return reach == MOE_REACH_BETWEEN ? "between hosts" : "within hosts";
}

void moe_verdicts_judge(moe_verdicts_t *verdicts, size_t ranks, const moe_outlier_rule_t *rule)
{
    verdicts->limit = moe_spread_limit(&verdicts->spread, rule);
    for (size_t r = 0; r < ranks; r++) {
        verdicts->slow[r] = verdicts->value[r] > verdicts->limit;
    }
}

bool moe_verdicts_node(const moe_verdicts_t *verdicts, const size_t *node, size_t ranks,
                       size_t which, size_t *count)
{
    size_t slow = 0;
    *count = 0;
    for (size_t r = 0; r < ranks; r++) {
        const bool judged = node[r] == which && verdicts->value[r] > 0;
        *count += judged;
        slow += judged && verdicts->slow[r];
    }
    return slow > 0 && slow == *count;
}

void moe_finding_set(moe_finding_t *finding, double value, const moe_spread_t *spread, double limit)
{
    finding->value = value;
    finding->others = spread->center;
    finding->limit = limit;
    finding->mads = spread->scale > 0 ? (value - spread->center) / spread->scale : 0;
}

moe_status_t moe_findings_add(moe_findings_t *findings, const moe_finding_t *finding,
                              moe_error_t *error)
{
    const size_t n = findings->count;
    if ((n & (n - 1)) == 0) { /* 0, 1, 2, 4, ...: full */
        moe_finding_t *grown;
        const moe_status_t status =
            moe_alloc("findings", n == 0 ? 1 : 2 * n, sizeof *grown, (void **)&grown, error);
        if (status != MOE_OK) {
            return status;
        }
        if (n > 0) {
            memcpy(grown, findings->finding, n * sizeof *grown);
        }
        free(findings->finding);
        findings->finding = grown;
    }
    findings->finding[findings->count++] = *finding;
    return MOE_OK;
}

void moe_findings_destroy(moe_findings_t *findings)
{
    free(findings->finding);
    *findings = (moe_findings_t){0};
}
