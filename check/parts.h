#ifndef WEFT_CHECK_PARTS_H
#define WEFT_CHECK_PARTS_H

#include "check/case.h"

bool weft_check_is_fused(weft_op op);
/* Adds the unfused parts of the case's op. `inputs` and `outputs` have the ports of the op. WEFT_UNSUPPORTED where it is no fused
 * one. */
weft_status weft_check_add_parts(const weft_check_case *c, weft_graph *graph, const weft_value *inputs, weft_value *outputs,
                                 weft_error *error);

#endif
