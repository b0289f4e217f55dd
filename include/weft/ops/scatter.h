/* scatter: state[updates[INDEX, i]] = updates[VALUE, i], for ascending i. An index outside of the state does nothing.
 * state: I32; updates: I32 [2, N]. No parameters.
 */
#ifndef WEFT_OPS_SCATTER_H
#define WEFT_OPS_SCATTER_H

#include "weft/ops/step.h"

#endif
