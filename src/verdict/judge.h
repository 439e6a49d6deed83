/* One figure against one condition. */
#ifndef MOE_VERDICT_JUDGE_H
#define MOE_VERDICT_JUDGE_H

#include "moe/verdict.h"

/* Fills verdict, why and ratio from value and, where launches > 0, baseline. */
void moe_judge(moe_judgement_t *judgement);

#endif
