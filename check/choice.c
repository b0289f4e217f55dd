/* Judges chosen tokens against the definition in weft/ops/sample.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check/oracle.h"
#include "weft/ops/sample.h"

/* Probabilities and their sums are in F32. This is how far a boundary may be from the definition's. */
#define DRAW_TOLERANCE 2e-5

typedef struct options {
    int64_t top_k;
    double temperature, top_p, min_p, u;
} options;

static double real_of(int32_t bits) {
    float real;
    memcpy(&real, &bits, sizeof real);
    return (double)real;
}

static int32_t bits_of(double value) {
    float real = (float)value;
    int32_t bits;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}

static int compare_entries(const void *a, const void *b) {
    const weft_oracle_entry *left = a, *right = b;
    if (left->logit != right->logit) return left->logit > right->logit ? -1 : 1;
    return left->id < right->id ? -1 : 1;
}

void weft_oracle_rank(const double *logits, int64_t n_vocab, weft_oracle_entry *entries) {
    double sum = 0.0;
    for (int64_t i = 0; i < n_vocab; i++)
        entries[i] = (weft_oracle_entry){.logit = isnan(logits[i]) ? -INFINITY : logits[i], .id = (int32_t)i};
    qsort(entries, (size_t)n_vocab, sizeof *entries, compare_entries);
    for (int64_t i = 0; i < n_vocab; i++) sum += exp(entries[i].logit - entries[0].logit);
    for (int64_t i = 0; i < n_vocab; i++) entries[i].logprob = entries[i].logit - entries[0].logit - log(sum);
}

static void tempered(const weft_check_choice *choice, double temperature) {
    weft_oracle_entry *entries = choice->entries;
    double sum = 0.0;
    for (int64_t i = 0; i < choice->n_vocab; i++) sum += entries[i].p = exp((entries[i].logit - entries[0].logit) / temperature);
    for (int64_t i = 0; i < choice->n_vocab; i++) entries[i].p /= sum;
}

/* The number of tokens that the limits keep, from the first of the order on. */
static int64_t count_kept(const weft_check_choice *choice, const options *o) {
    const weft_oracle_entry *entries = choice->entries;
    int64_t count = choice->n_vocab, run = 0;
    double sum = 0.0;
    if (o->top_k > 0 && o->top_k < count) count = o->top_k;
    if (o->top_p > 0.0 && o->top_p < 1.0) {
        while (run < count && (run == 0 || sum < o->top_p)) sum += entries[run++].p;
        count = run;
    }
    while (o->min_p > 0.0 && count > 1 && entries[count - 1].p < o->min_p * entries[0].p) count--;
    return count;
}

static int64_t pick(const weft_check_choice *choice, int64_t n_kept, double u) {
    double total = 0.0, sum = 0.0;
    for (int64_t i = 0; i < n_kept; i++) total += choice->entries[i].p;
    for (int64_t i = 0; i < n_kept; i++) {
        sum += choice->entries[i].p;
        if (sum >= u * total) return i;
    }
    return n_kept - 1;
}

/* Whether rounding can make the definition choose the token at `rank`. */
static bool may_be_drawn(const weft_check_choice *choice, const options *o, int64_t rank) {
    const weft_oracle_entry *entries = choice->entries;
    options narrow = *o, wide = *o;
    double slack = DRAW_TOLERANCE;
    narrow.top_p -= o->top_p > 0.0 && o->top_p < 1.0 ? DRAW_TOLERANCE : 0.0;
    wide.top_p += o->top_p > 0.0 && o->top_p < 1.0 ? DRAW_TOLERANCE : 0.0;
    narrow.min_p *= 1.0 + DRAW_TOLERANCE;
    wide.min_p *= 1.0 - DRAW_TOLERANCE;
    int64_t fewest = count_kept(choice, &narrow), most = count_kept(choice, &wide);
    if (choice->logit_tolerance > 0.0) {
        /* Probabilities are off by a factor, and neighbours in the order may be swapped. */
        double off = 2.0 * choice->logit_tolerance;
        slack += off / o->temperature;
        for (int64_t i = 0; i < choice->n_vocab; i++)
            if (i != rank && fabs(entries[i].logit - entries[rank].logit) <= off) slack += entries[i].p / entries[0].p;
        fewest = fewest > 1 ? fewest - 1 : 1;
        most += most < choice->n_vocab ? 1 : 0;
    }
    for (int64_t n_kept = fewest; n_kept <= most; n_kept++)
        if (rank >= pick(choice, n_kept, o->u - slack) && rank <= pick(choice, n_kept, o->u + slack)) return true;
    return false;
}

static int64_t rank_of(const weft_check_choice *choice, int32_t token) {
    int64_t rank = 0;
    while (rank < choice->n_vocab && choice->entries[rank].id != token) rank++;
    return rank;
}

static bool close_enough(const weft_check_choice *choice, int32_t bits, double logprob, weft_check_result *result) {
    double value = real_of(bits), off = value == logprob ? 0.0 : fabs(value - logprob);
    if (!isfinite(off)) off = INFINITY;
    if (off > result->error) {
        result->error = off;
        result->worst_value = value;
        result->worst_oracle = logprob;
    }
    return off <= choice->logprob_tolerance;
}

static const char *judge_token(const weft_check_choice *choice, const int32_t *head, const int32_t *chosen,
                               weft_check_result *result) {
    const weft_oracle_entry *entries = choice->entries;
    int64_t rank = rank_of(choice, chosen[0]);
    options o = {.top_k = head[WEFT_HEAD_TOP_K],
                 .temperature = real_of(head[WEFT_HEAD_TEMPERATURE]),
                 .top_p = real_of(head[WEFT_HEAD_TOP_P]),
                 .min_p = real_of(head[WEFT_HEAD_MIN_P]),
                 .u = (double)((uint32_t)head[WEFT_HEAD_RANDOM] >> 8) * 0x1p-24};
    result->worst_value = chosen[0];
    if (rank == choice->n_vocab) return "the token is not in the vocabulary";
    if (head[WEFT_HEAD_TARGET] >= 0) {
        if (chosen[0] != head[WEFT_HEAD_TARGET]) return "the token is not the target";
    } else if (o.temperature <= 0.0) {
        result->worst_oracle = entries[0].id;
        if (entries[rank].logit < entries[0].logit - 2.0 * choice->logit_tolerance) return "the token is not the most likely";
        if (choice->logit_tolerance == 0.0 && rank != 0) return "the token is not the first of those that tie";
    } else {
        tempered(choice, o.temperature);
        result->worst_oracle = entries[pick(choice, count_kept(choice, &o), o.u)].id;
        if (!may_be_drawn(choice, &o, rank)) return "the token is not the one that u draws";
    }
    return close_enough(choice, chosen[1], entries[rank].logprob, result) ? NULL : "the log-probability of the token is off";
}

static const char *judge_top(const weft_check_choice *choice, const int32_t *top, weft_check_result *result) {
    const weft_oracle_entry *entries = choice->entries;
    for (int64_t i = 0; i < choice->n_top; i++) {
        int64_t rank = rank_of(choice, top[2 * i]);
        result->worst_column = i;
        result->worst_value = top[2 * i];
        result->worst_oracle = entries[i].id;
        if (rank == choice->n_vocab) return "a most likely token is not in the vocabulary";
        if (choice->logit_tolerance == 0.0 && rank != i) return "the most likely tokens are not in order";
        if (entries[rank].logit < entries[i].logit - 2.0 * choice->logit_tolerance) return "a most likely token is not one";
        if (i > 0 && real_of(top[2 * i + 1]) > real_of(top[2 * i - 1])) return "the most likely tokens are not best first";
        for (int64_t j = 0; j < i; j++)
            if (top[2 * j] == top[2 * i]) return "a token is twice among the most likely";
        if (!close_enough(choice, top[2 * i + 1], entries[rank].logprob, result)) return "a log-probability is off";
    }
    return NULL;
}

/* The last tokens must be the chosen ones, and nothing else of the state may change. */
static const char *judge_sequences(const weft_check_case *c, const weft_check_choice *choice, weft_check_result *result) {
    const weft_check_input *sequences = &c->inputs[choice->sequences], *heads = &c->inputs[choice->heads];
    const int32_t *after = c->outputs[WEFT_SAMPLE_OUT_SEQUENCES].result, *chosen = c->outputs[WEFT_SAMPLE_OUT_CHOSEN].result;
    int64_t words = sequences->tensor.shape[0], n_sequences = sequences->tensor.shape[1];
    for (int64_t i = 0; i < sequences->n_elements; i++) {
        int32_t expected = sequences->words[i];
        for (int64_t column = 0; i % words == WEFT_SEQUENCE_LAST_TOKEN && column < heads->tensor.shape[1]; column++) {
            const int32_t *head = heads->words + column * WEFT_HEAD_WORDS;
            if (head[WEFT_HEAD_ROW] >= 0 && head[WEFT_HEAD_SEQUENCE] == i / words) expected = chosen[2 * column];
        }
        if (after[i] == expected) continue;
        result->worst_row = i / words;
        result->worst_column = i % words;
        result->worst_value = after[i];
        result->worst_oracle = expected;
        return i / words < n_sequences && i % words == WEFT_SEQUENCE_LAST_TOKEN ? "a sequence's last token is wrong"
                                                                                : "a word of the sequences changed";
    }
    return NULL;
}

const char *weft_check_judge_choice(const weft_check_case *c, weft_check_result *result) {
    const weft_check_choice *choice = c->judge_data;
    const int32_t *chosen = c->outputs[WEFT_SAMPLE_OUT_CHOSEN].result, *top = c->outputs[WEFT_SAMPLE_OUT_TOP].result;
    result->error_limit = choice->logprob_tolerance;
    for (int64_t column = 0; column < c->inputs[choice->heads].tensor.shape[1]; column++) {
        const int32_t *head = c->inputs[choice->heads].words + column * WEFT_HEAD_WORDS;
        result->worst_row = column;
        result->worst_column = 0;
        if (head[WEFT_HEAD_ROW] < 0) {
            result->worst_value = chosen[2 * column];
            result->worst_oracle = -1.0;
            if (chosen[2 * column] != -1) return "a padding column's token is not -1";
            continue;
        }
        weft_oracle_rank(choice->logits + column * choice->n_vocab, choice->n_vocab, choice->entries);
        const char *failure = judge_token(choice, head, chosen + 2 * column, result);
        if (!failure && choice->n_top > 0) failure = judge_top(choice, top + column * 2 * choice->n_top, result);
        if (failure) return failure;
    }
    return judge_sequences(c, choice, result);
}

void weft_check_choose(weft_check_case *c, const weft_check_choice *choice) {
    weft_check_choice *own = weft_check_memory(c, 1, sizeof *own);
    weft_oracle_entry *entries = weft_check_memory(c, choice->n_vocab, sizeof *entries);
    if (!weft_check_ready(c)) return;
    *own = *choice;
    own->entries = entries;
    c->judge = weft_check_judge_choice;
    c->judge_data = own;
}

void weft_check_choice_outputs(weft_check_case *c, int64_t n_top, int64_t n_columns, size_t sequences) {
    weft_check_declare_output(c, WEFT_SAMPLE_OUT_CHOSEN, &(weft_tensor){WEFT_I32, {2, n_columns, 1, 1}});
    if (n_top > 0) weft_check_declare_output(c, WEFT_SAMPLE_OUT_TOP, &(weft_tensor){WEFT_I32, {2, n_top, n_columns, 1}});
    weft_check_state_output(c, WEFT_SAMPLE_OUT_SEQUENCES, sequences);
}

static void fill_options(weft_check_random *random, int32_t *head) {
    static const double top_p[] = {0.0, 1.0, 0.9, 0.5, 0.01}, min_p[] = {0.0, 0.0, 0.05, 0.5, 1.0};
    static const int32_t top_k[] = {0, 0, 1, 2, 5, 40, 1 << 30};
    static const uint32_t draws[] = {0, UINT32_MAX, 0xff};
    bool extreme = weft_check_below(random, 8) == 0;
    head[WEFT_HEAD_TEMPERATURE] = bits_of(0.2 + 1.8 * weft_check_uniform(random));
    head[WEFT_HEAD_TOP_K] = top_k[weft_check_below(random, 7)];
    head[WEFT_HEAD_TOP_P] = bits_of(top_p[weft_check_below(random, 5)]);
    head[WEFT_HEAD_MIN_P] = bits_of(min_p[weft_check_below(random, 5)]);
    head[WEFT_HEAD_RANDOM] = (int32_t)(extreme ? draws[weft_check_below(random, 3)] : (uint32_t)weft_check_bits(random));
}

void weft_check_make_heads(weft_check_case *c, size_t heads, size_t sequences, int64_t n_columns, int64_t n_vocab, bool draws) {
    int32_t *words = weft_check_words(c, heads, WEFT_LEAF_INPUT, WEFT_HEAD_WORDS, n_columns);
    int32_t *state = weft_check_words(c, sequences, WEFT_LEAF_STATE, WEFT_SEQUENCE_PAGES + 3, n_columns);
    for (int64_t i = 0; weft_check_ready(c) && i < c->inputs[sequences].n_elements; i++) state[i] = (int32_t)(1000 + i);
    for (int64_t column = 0; weft_check_ready(c) && column < n_columns; column++) {
        int32_t *head = words + column * WEFT_HEAD_WORDS;
        head[WEFT_HEAD_ROW] = column % 8 == 7 ? -1 : (int32_t)column;
        head[WEFT_HEAD_SEQUENCE] = column % 8 == 7 || column % 3 == 2 ? -1 : (int32_t)(n_columns - 1 - column);
        if (column % 16 == 6) head[WEFT_HEAD_SEQUENCE] = (int32_t)n_columns;
        head[WEFT_HEAD_TARGET] = column % 5 == 3 ? (int32_t)weft_check_below(&c->random, n_vocab) : -1;
        if (column % 4 == 2) head[WEFT_HEAD_TEMPERATURE] = bits_of(-1.0);
        if (draws && column % 4 != 0) fill_options(&c->random, head);
    }
}
