/* get_rows: y[:, i] = table[:, index[0, i]] as F32.
 * table: any float type [n, m] (a weight or an activation) or [n, r, s, t], whose m = r * s * t rows are counted through; index:
 * I32 [w, N]; sequences: I32 state. y: F32 [n, N]. Index -1 takes sequences[LAST_TOKEN, index[1, i]] where `sequences` is given and
 * index[1, i] is a sequence; any other index outside 0 .. m - 1 gives a column of zeros. No parameters.
 */
#ifndef WEFT_OPS_GET_ROWS_H
#define WEFT_OPS_GET_ROWS_H

#include "weft/ops/step.h"

#endif
