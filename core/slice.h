/* Weights that are part of a tensor of the source. */
#ifndef WEFT_CORE_SLICE_H
#define WEFT_CORE_SLICE_H

#include "weft/weft.h"

/* Checks that a valid `tensor`, the weight `name`, lies inside the source's tensor. */
weft_status weft_slice_check(const weft_slice *slice, const char *name, const weft_tensor *tensor, weft_error *error);

/* A copy in one piece of memory, its name included, for weft_release; NULL: no memory. */
weft_slice *weft_slice_copy(weft_runtime *runtime, const weft_slice *slice);

/* Either may be NULL: the weight is a whole tensor. */
bool weft_slice_same(const weft_slice *a, const weft_slice *b);

#define WEFT_SLICE_TEXT_SIZE 160
/* "from [0, 40, 0, 0] of blk.0.attn_qkv.weight"; returns `text`. */
const char *weft_slice_text(const weft_slice *slice, char *text, size_t size);

/* Rows of a tensor, those of all its matrices counted through, and the bytes of one. */
int64_t weft_tensor_rows(const weft_tensor *tensor);
uint64_t weft_tensor_row_bytes(const weft_tensor *tensor);

/* Reads rows `first_row` .. `first_row + n_rows - 1` of a weight, as they lie in the file, one after the other. `slice` may be
 * NULL. */
weft_status weft_slice_read(const weft_weight_source *source, const char *name, const weft_tensor *tensor, const weft_slice *slice,
                            int64_t first_row, int64_t n_rows, void *into, weft_error *error);

#endif
