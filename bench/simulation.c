#include "simulation.h"

#include "moe/record.h"

void simulation_print(FILE *out)
{
    moe_simulation_t s;
    if (moe_simulated() && moe_simulation_read(&s, NULL) == MOE_OK) {
        fprintf(out, "simulated SIMULATED, nothing was measured: on %s by SimGrid %s%s%s\n",
                s.platform, s.simgrid, s.settings[0] != '\0' ? ", with " : "", s.settings);
    }
}

void simulation_record(json_t *run)
{
    moe_simulation_t s;
    if (moe_simulated() && moe_simulation_read(&s, NULL) == MOE_OK) {
        json_object_set_new(run, "platform", moe_json_text(s.platform));
        json_object_set_new(run, "platform_file", moe_json_text(s.file));
        json_object_set_new(run, "simgrid", json_string(s.simgrid));
        if (s.settings[0] != '\0')
            json_object_set_new(run, "simgrid_settings", moe_json_text(s.settings));
    }
}
