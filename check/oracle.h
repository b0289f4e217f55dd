/* The ops in double precision, from their definitions in weft/ops/STEM.h, each in its op's file; fused ops are made of these.
 * Tensors are columns of n values, T (or `t`) columns. `magnitude` arguments may be NULL.
 */
#ifndef WEFT_CHECK_ORACLE_H
#define WEFT_CHECK_ORACLE_H

#include "check/op.h"

/* The product of the weight that is input `port`, read row by row, and t columns. magnitude: root of the sum of squared terms. */
void weft_oracle_mul_mat(weft_check_case *c, size_t port, const double *x, int64_t t, double *y, double *magnitude);
void weft_oracle_rms_norm(const double *x, const double *weight, int64_t n, int64_t n_groups, int64_t t, double epsilon, double *y);
void weft_oracle_rope(const double *x, const int32_t *rows, const double *table, int64_t n_dims, int64_t n, int64_t head_dim,
                      int64_t t, int32_t order, double *y);
double weft_oracle_silu(double x);
double weft_oracle_gelu(double x);

/* Where place `i` of the keys (or values) of a KV head at a cache index lies in a KV state; -1: a padding row or an index without a
 * page. */
typedef struct weft_oracle_cache {
    int64_t head_dim, page_size, n_kv_heads, n_pages; /* of the state */
    const int32_t *sequences;
    int64_t sequence_words, n_sequences;
} weft_oracle_cache;
weft_oracle_cache weft_oracle_cache_of(const weft_check_input *kv, const weft_check_input *sequences);
int64_t weft_oracle_cache_place(const weft_oracle_cache *cache, int32_t sequence, int64_t index, int64_t kv_head, bool value);
void weft_oracle_kv_write(const weft_oracle_cache *cache, const double *k, const double *v, const int32_t *rows, int64_t t,
                          double *kv);

/* A page pool for checks: sequences of up to `n_ctx` positions whose pages lie shuffled in a pool with one page too many, and
 * `t` rows of them. */
typedef struct weft_check_rows {
    int64_t t, n_sequences, n_ctx, page_size;
    int64_t n_padding; /* rows that are padding: the last ones */
    bool decode;       /* each row the newest of its own sequence; otherwise runs of consecutive positions */
    bool shuffled;     /* rows in no order, padding amid them */
    bool full;         /* all sequences have n_ctx positions; otherwise only the first one */
} weft_check_rows;
/* Declares inputs `rows` and `sequences`, and fills them. Rope positions are WEFT_CHECK_ROPE_SHIFT past cache indices. */
#define WEFT_CHECK_ROPE_SHIFT 2
void weft_check_make_rows(weft_check_case *c, const weft_check_rows *options, size_t rows, size_t sequences);
/* Declares a KV state filled with NaN. */
void weft_check_make_cache(weft_check_case *c, size_t port, weft_type type, int64_t head_dim, int64_t n_kv_heads,
                           const weft_check_rows *options);
/* Fills every position of a cache up to the furthest row of its sequence with random keys and values. */
void weft_check_fill_cache(weft_check_case *c, size_t port, size_t rows, size_t sequences, double rms);
/* Declares a rope table of `n_positions` rows. */
void weft_check_make_rope_table(weft_check_case *c, size_t port, int64_t n_dims, int64_t n_positions);

/* ---- Choosing tokens ---- */

typedef struct weft_oracle_entry {
    double logit, logprob, p; /* p: at the current temperature */
    int32_t id;
} weft_oracle_entry;

/* The order of tokens of sample.h with log-probabilities; `entries` has room for n_vocab. NaN became -infinity. */
void weft_oracle_rank(const double *logits, int64_t n_vocab, weft_oracle_entry *entries);

/* Judges what a device chose for a case whose logits (n_vocab values a column) the device knows within `logit_tolerance`. Ports:
 * of heads and sequences. Outputs are chosen, top?, sequences. Lives in the case's memory. */
typedef struct weft_check_choice {
    const double *logits;
    int64_t n_vocab, n_top;
    double logit_tolerance, logprob_tolerance;
    size_t heads, sequences;
    weft_oracle_entry *entries; /* room for n_vocab */
} weft_check_choice;
const char *weft_check_judge_choice(const weft_check_case *c, weft_check_result *result);
/* Makes weft_check_judge_choice the case's judge. The caller sets all members of `choice` but `entries`. */
void weft_check_choose(weft_check_case *c, const weft_check_choice *choice);
/* Declares the outputs chosen, top (n_top > 0) and sequences. */
void weft_check_choice_outputs(weft_check_case *c, int64_t n_top, int64_t n_columns, size_t sequences);
/* Declares heads and sequences and fills them with greedy, target and padding columns, and (`draws`) every sampling option. */
void weft_check_make_heads(weft_check_case *c, size_t heads, size_t sequences, int64_t n_columns, int64_t n_vocab, bool draws);

#endif
