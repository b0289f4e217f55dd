/* The arithmetic of the scripted backend. */
#ifndef WEFT_TESTS_SCRIPTED_OPS_H
#define WEFT_TESTS_SCRIPTED_OPS_H

#include "weft/backend.h"

bool scripted_op_known(weft_op op);
size_t scripted_tensor_bytes(const weft_tensor *tensor); /* of F32 or I32 */
void scripted_op_run(const weft_phase *phase, const void *const *inputs, void *output);

#endif
