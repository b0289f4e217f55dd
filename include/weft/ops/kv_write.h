/* kv_write: stores keys and values of T rows at each row's cache index.
 * k, v: F32 [head_dim * n_kv_heads, T]; kv: a KV state (attention.h); rows, sequences: as in attention.h. Padding rows write
 * nothing, and neither do rows whose page table entry is no page of the state. F32 to F16 rounds to nearest even. No parameters.
 */
#ifndef WEFT_OPS_KV_WRITE_H
#define WEFT_OPS_KV_WRITE_H

#include "weft/ops/step.h"

#endif
