/* The parameters of get_rows, and the row of the table that a column names. */
#include "weft/ops/step.h"

layout(push_constant, std430) uniform Parameters {
    uvec2 control, table, y, index, sequences; /* the last may be left out */
    uint n, n_columns, n_rows, row_bytes;
    uint index_words, sequence_words, n_sequences;
} p;

int row_of(uint column) {
    int row = Words(p.index).at[column * p.index_words];
    if (row != -1 || !is_present(p.sequences) || p.index_words <= WEFT_ROW_SEQUENCE) return row;
    int sequence = Words(p.index).at[column * p.index_words + WEFT_ROW_SEQUENCE];
    if (sequence < 0 || uint(sequence) >= p.n_sequences) return -1;
    return Words(p.sequences).at[uint(sequence) * p.sequence_words + WEFT_SEQUENCE_LAST_TOKEN];
}
