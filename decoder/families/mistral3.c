/* mistral3: Ministral 3. Like llama, with YaRN, and queries beyond the original context are multiplied by a temperature. */
#include "decoder/family.h"

#include <math.h>

#include "weft/ops/rope.h"

/* The log multiplier m takes back the factor that YaRN gives the sines and cosines: 1 + 0.1 ln(factor) becomes
 * (1 + 0.1 ln(factor)) / (1 + 0.1 m ln(factor)). */
static void complete(weft_hyperparameters *hyper) {
    weft_rope_options *rope = &hyper->rope;
    if (rope->scaling != WEFT_ROPE_YARN || rope->scaling_factor <= 1) return;
    const double given = rope->attn_factor != 0 ? (double)rope->attn_factor : 1;
    rope->attn_factor = (float)(given / (1 + 0.1 * (double)hyper->yarn_log_multiplier * log((double)rope->scaling_factor)));
}

const weft_family weft_family_mistral3 = {
    .name = "mistral3",
    .rope_order = WEFT_ROPE_ADJACENT,
    .keys =
        {
            WEFT_OPTIONAL_REAL_KEY("attention.temperature_scale", temperature_scale, 0, 1e3),
            WEFT_OPTIONAL_REAL_KEY("rope.scaling.yarn_log_multiplier", yarn_log_multiplier, 0, 1e3),
        },
    .complete = complete,
};
