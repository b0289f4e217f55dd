/* What the parts of sample share (weft/ops/sample.h). A run has up to WEFT_VULKAN_SAMPLE_COLUMNS columns. Its parts are: the largest
 * logit of each range and the order of tokens, then the sums of exponentials of each range, then the choice.
 */
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/sample.h"
#include "weft/ops/step.h"

#define SAMPLE_RANGE uint(WEFT_SAMPLE_RANGE)

layout(push_constant, std430) uniform Parameters {
    uvec2 control, logits, heads, sequences, chosen, top; /* logits: of the first column of this run; top may be left out */
    uvec2 ranges;                                         /* for each column and range: largest logit, sum, tempered sum */
    uvec2 order;                                          /* for each column 4 * n_vocab words: keys and ids, twice */
    uint n_vocab, first_column, n_columns, n_ranges, n_top, sequence_words, n_sequences, n_heads;
} p;

/* Word `word` of head `column` of this run. */
int head_word(uint column, uint word) {
    return Words(p.heads).at[(p.first_column + column) * WEFT_HEAD_WORDS + word];
}

bool is_padding(uint column) {
    return head_word(column, WEFT_HEAD_ROW) < 0;
}

bool has_target(uint column) {
    int target = head_word(column, WEFT_HEAD_TARGET);
    return target >= 0 && uint(target) < p.n_vocab;
}

/* The temperature of a column that draws a token at random, else 0. */
float temperature_of(uint column) {
    float temperature = intBitsToFloat(head_word(column, WEFT_HEAD_TEMPERATURE));
    return temperature > 0.0 && !has_target(column) ? temperature : 0.0;
}

Floats logits_of(uint column) {
    return Floats(address_of(p.logits, column, p.n_vocab * 4u));
}

Floats range_parts(uint column, uint range) {
    return Floats(address_of(p.ranges, column * p.n_ranges + range, 12u));
}

/* exp((x - largest) / temperature); 0 where x is NaN, or -infinity and not the largest. */
float exponential(float x, float largest, float temperature) {
    precise float difference = x == largest ? 0.0 : x - largest;
    if (temperature != 1.0) difference = weft_divide(difference, temperature);
    return x > -INFINITY || x == largest ? weft_exp(difference) : 0.0;
}
