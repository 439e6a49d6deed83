/* JUnit's XML. Of its words `skipped` would let an INCONCLUSIVE pass, so that it is an error. */
#include <string.h>

#include "accept_output.h"

static void write_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        const unsigned char letter = (unsigned char)*text;
        if (letter == '<') {
            fputs("&lt;", out);
        } else if (letter == '&') {
            fputs("&amp;", out);
        } else if (letter == '"') {
            fputs("&quot;", out);
        } else { /* XML 1.0 has no other control characters; texts cut in a letter are no UTF-8 */
            fputc(letter < 32 || letter > 126 ? '?' : letter, out);
        }
    }
}

static void write_attribute(FILE *out, const char *name, const char *text)
{
    fprintf(out, " %s=\"", name);
    write_text(out, text);
    fputc('"', out);
}

static void write_case(FILE *out, const moe_judgement_t *j)
{
    char name[GRID_CELL * 2], value[48] = "n/a", message[MOE_WHY_TEXT + 256];
    describe_result(j->result, name, sizeof name);
    if (j->value.launches > 0) {
        format_estimate(&j->value, value);
    }
    snprintf(message, sizeof message, "%s %s: %.100s %s, wanted %.60s",
             moe_verdict_name(j->verdict), j->why, j->rule->metric, value, j->rule->text);
    fputs("    <testcase", out);
    write_attribute(out, "classname", j->rule->name);
    write_attribute(out, "name", name);
    if (j->verdict == MOE_PASS) {
        fputs("/>\n", out);
    } else if (j->rule->warning) {
        fputs("><system-out>warning: ", out);
        write_text(out, message);
        fputs("</system-out></testcase>\n", out);
    } else {
        const char *element = j->verdict == MOE_FAIL ? "failure" : "error";
        fprintf(out, "><%s", element);
        write_attribute(out, "type", moe_verdict_name(j->verdict));
        write_attribute(out, "message", message);
        fputs("/></testcase>\n", out);
    }
}

static void write_counts(FILE *out, const moe_acceptance_t *a)
{
    fprintf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"0\">\n", a->count,
            a->verdicts[MOE_FAIL], a->verdicts[MOE_UNDECIDED]);
}

void write_junit(FILE *out, const moe_rules_t *rules, const moe_acceptance_t *a)
{
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites", out);
    write_counts(out, a);
    fputs("  <testsuite", out);
    write_attribute(out, "name", rules->file);
    write_counts(out, a);
    for (size_t i = 0; i < a->count; i++) {
        write_case(out, &a->judgement[i]);
    }
    fputs("  </testsuite>\n</testsuites>\n", out);
}
