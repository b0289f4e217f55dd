/* Shapes of published models. */
#include "decoder/synth.h"

#include <string.h>

#define INTEGER(key, value)                                                                                                        \
    { .suffix = (key), .number = (value) }
#define REAL(key, value)                                                                                                           \
    { .suffix = (key), .is_real = true, .number = (value) }
#define TEXT(key, value)                                                                                                           \
    { .suffix = (key), .text = (value) }
#define PERIOD(key, value)                                                                                                         \
    { .suffix = (key), .is_period = true, .number = (value) }
#define KEYS(...) ((const weft_synth_entry[]){__VA_ARGS__, {.suffix = NULL}})

#define GRANITE_SCALES                                                                                                             \
    REAL("logit_scale", 6), REAL("residual_scale", 0.6), REAL("embedding_scale", 0.5), REAL("attention.scale", 0.02)
#define GRANITE KEYS(GRANITE_SCALES)
#define GRANITEMOE                                                                                                                 \
    KEYS(GRANITE_SCALES, INTEGER("expert_count", 8), INTEGER("expert_used_count", 3),                                              \
         INTEGER("expert_shared_feed_forward_length", 64))
#define OLMOE KEYS(INTEGER("expert_count", 16), INTEGER("expert_used_count", 4))
#define QWEN2MOE                                                                                                                   \
    KEYS(INTEGER("expert_count", 12), INTEGER("expert_used_count", 4), INTEGER("expert_feed_forward_length", 64),                  \
         INTEGER("expert_shared_feed_forward_length", 160))
#define OLMO3                                                                                                                      \
    KEYS(INTEGER("attention.sliding_window", 40), PERIOD("attention.sliding_window_pattern", 4),                                   \
         TEXT("rope.scaling.type", "yarn"), REAL("rope.scaling.factor", 8), REAL("rope.scaling.attn_factor", 1.2),                 \
         INTEGER("rope.scaling.original_context_length", 256))
#define PHI3                                                                                                                       \
    KEYS(TEXT("rope.scaling.type", "longrope"), REAL("rope.scaling.attn_factor", 1.19),                                            \
         INTEGER("rope.scaling.original_context_length", 256))
#define MINISTRAL3                                                                                                                 \
    KEYS(TEXT("rope.scaling.type", "yarn"), REAL("rope.scaling.factor", 16), REAL("rope.scaling.yarn_beta_fast", 32),              \
         REAL("rope.scaling.yarn_beta_slow", 1), REAL("rope.scaling.yarn_log_multiplier", 1),                                      \
         INTEGER("rope.scaling.original_context_length", 256), REAL("attention.temperature_scale", 0.1))

#define GEMMA2 KEYS(INTEGER("attention.sliding_window", 40), REAL("attn_logit_softcapping", 5), REAL("final_logit_softcapping", 10))
#define GEMMA3 KEYS(INTEGER("attention.sliding_window", 40), TEXT("rope.scaling.type", "linear"), REAL("rope.scaling.factor", 8))
#define MIXTRAL KEYS(INTEGER("expert_count", 4), INTEGER("expert_used_count", 2))
#define QWEN3_30B KEYS(INTEGER("expert_count", 128), INTEGER("expert_used_count", 8), INTEGER("expert_feed_forward_length", 768))
#define QWEN3MOE KEYS(INTEGER("expert_count", 16), INTEGER("expert_used_count", 3), INTEGER("expert_feed_forward_length", 96))

static const weft_synth_model models[] = {
    {"tiny", "llama", 3, 256, 4, 2, 64, 512, 512, 2048, 1e-5f, 10000, false, 0, NULL},
    {"tiny-qwen2", "qwen2", 2, 256, 4, 2, 64, 512, 512, 2048, 1e-6f, 1000000, true, 0, NULL},
    {"tiny-qwen3", "qwen3", 2, 128, 4, 2, 64, 256, 512, 2048, 1e-6f, 1000000, true, 0, NULL},
    {"tiny-granite", "granite", 2, 128, 4, 2, 32, 256, 512, 2048, 1e-5f, 10000, true, 0, GRANITE},
    {"tiny-smollm3", "smollm3", 4, 128, 4, 2, 32, 256, 512, 2048, 1e-6f, 5000000, true, 0, NULL},
    {"tiny-olmo2", "olmo2", 2, 128, 4, 2, 32, 256, 512, 2048, 1e-6f, 500000, false, 0, NULL},
    {"tiny-olmo3", "olmo2", 4, 128, 4, 2, 32, 256, 512, 2048, 1e-6f, 500000, false, 0, OLMO3},
    {"tiny-phi", "phi3", 2, 128, 4, 2, 32, 256, 512, 2048, 1e-5f, 10000, false, 0, PHI3},
    {"tiny-mistral3", "mistral3", 2, 128, 4, 2, 64, 256, 512, 2048, 1e-5f, 1000000, true, 0, MINISTRAL3},
    {"tiny-gemma", "gemma", 2, 128, 4, 1, 64, 256, 512, 2048, 1e-6f, 10000, true, 0, NULL},
    {"tiny-gemma2", "gemma2", 3, 128, 4, 2, 64, 256, 512, 2048, 1e-6f, 10000, true, 0, GEMMA2},
    {"tiny-gemma3", "gemma3", 7, 128, 4, 1, 64, 256, 512, 2048, 1e-6f, 1000000, false, 0, GEMMA3},
    {"tiny-starcoder2", "starcoder2", 2, 128, 4, 2, 32, 512, 512, 2048, 1e-5f, 100000, true, 0, NULL},
    {"tiny-mixtral", "llama", 2, 128, 4, 2, 32, 192, 512, 2048, 1e-5f, 1000000, false, 0, MIXTRAL},
    {"tiny-granitemoe", "granitemoe", 2, 128, 4, 2, 32, 96, 512, 2048, 1e-5f, 10000, true, 0, GRANITEMOE},
    {"tiny-olmoe", "olmoe", 2, 128, 4, 4, 32, 96, 512, 2048, 1e-5f, 10000, false, 0, OLMOE},
    {"tiny-qwen2moe", "qwen2moe", 2, 128, 4, 2, 32, 256, 512, 2048, 1e-6f, 1000000, false, 0, QWEN2MOE},
    {"tiny-qwen3moe", "qwen3moe", 2, 128, 4, 2, 64, 256, 512, 2048, 1e-6f, 1000000, false, 0, QWEN3MOE},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, 1e-6f, 1000000, true, 0, NULL},
    {"qwen2.5-1.5b", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, 32768, 1e-6f, 1000000, true, 0, NULL},
    {"llama-3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 1e-5f, 500000, true, 32, NULL},
    {"qwen3-30b-a3b", "qwen3moe", 48, 2048, 32, 4, 128, 6144, 151936, 40960, 1e-6f, 1000000, false, 0, QWEN3_30B},
    {"llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072, 1e-5f, 500000, false, 8, NULL},
};

const weft_synth_model *weft_synth_model_find(const char *name) {
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (strcmp(models[i].name, name) == 0) return &models[i];
    }
    return NULL;
}

const char *weft_synth_shape(size_t index) {
    return index < sizeof models / sizeof *models ? models[index].name : NULL;
}
