/* The words of the step inputs and of the state "sequences".
 *
 * rows      I32 [4, T]: a column for each token of the step
 * heads     I32 [8, R]: a column for each row that reaches the output head
 * sequences I32 [1 + max_pages, n_sequences]: a state with a column for each sequence slot
 * updates   I32 [2, N]: (flat index into a state, new value); index -1 does nothing
 */
#ifndef WEFT_OPS_STEP_H
#define WEFT_OPS_STEP_H

#define WEFT_ROW_WORDS 4
#define WEFT_ROW_TOKEN 0         /* a token id, or -1: the sequence's last token */
#define WEFT_ROW_SEQUENCE 1      /* sequence slot; -1 marks a padding row, which reads as zeros and writes nothing */
#define WEFT_ROW_CACHE_INDEX 2   /* position c in the KV cache: entry c / page_size of the page table, place c % page_size */
#define WEFT_ROW_ROPE_POSITION 3 /* row of the rope table */

#define WEFT_HEAD_WORDS 8
#define WEFT_HEAD_ROW 0         /* which of the T rows; -1 marks a padding column, whose result is token -1 */
#define WEFT_HEAD_SEQUENCE 1    /* sequence slot whose last token is set; -1: none */
#define WEFT_HEAD_TARGET 2      /* a token to score instead of choosing one, or -1 */
#define WEFT_HEAD_TOP_K 3       /* 0: no limit */
#define WEFT_HEAD_TEMPERATURE 4 /* F32 bits; 0 or less is greedy */
#define WEFT_HEAD_TOP_P 5       /* F32 bits; 1 or 0: no limit */
#define WEFT_HEAD_MIN_P 6       /* F32 bits; 0: no limit */
#define WEFT_HEAD_RANDOM 7      /* 32 random bits for this draw, from seed and position: weft_sample_bits */

#define WEFT_SEQUENCE_LAST_TOKEN 0
#define WEFT_SEQUENCE_PAGES 1 /* the page table begins here */

#define WEFT_UPDATE_INDEX 0
#define WEFT_UPDATE_VALUE 1

#endif
