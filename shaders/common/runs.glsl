/* Which positions rows see, and runs: consecutive rows of one sequence. Runs of up to FEW_ROWS rows are short. */
#define FEW_ROWS 8u

/* The row sees positions [low, high) of the sequence; sequence -1: none. */
struct seen_positions {
    int sequence;
    uint low, high;
};

seen_positions seen_by(uint row) {
    Words words = Words(address_of(p.rows, row, WEFT_ROW_WORDS * 4u));
    int sequence = sequence_of(words), index = sequence < 0 ? -1 : words.at[WEFT_ROW_CACHE_INDEX];
    uint max_positions = (p.sequence_words - WEFT_SEQUENCE_PAGES) * p.page_size;
    uint high = index < 0 ? 0u : min(uint(index) + 1u, max_positions);
    uint low = p.window > 0u && index >= 0 && uint(index) + 1u > p.window ? uint(index) + 1u - p.window : 0u;
    return seen_positions(sequence, low, high);
}

/* The sequence of a row; -2: there is no such row. */
int sequence_near(int row) {
    if (row < 0 || uint(row) >= p.n_rows) return -2;
    return sequence_of(Words(address_of(p.rows, uint(row), WEFT_ROW_WORDS * 4u)));
}
