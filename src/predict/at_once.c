/* All messages at once: the busiest port decides, no message waits for another but on a port. */
#include "ports.h"
#include "predictors.h"

moe_status_t moe_predict_at_once(const moe_predictor_t *predictor, const moe_way_t *way,
                                 const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                                 moe_error_t *error)
{
    moe_ports_t ports;
    (void)predictor;
    moe_status_t status = moe_ports_create(way, machine, &ports, error);
    if (status != MOE_OK)
        return status;
    status = moe_ports_cost(&ports, machine, ~0U, row_bytes, (double)way->rounds, out, error);
    moe_ports_destroy(&ports);
    return status;
}
