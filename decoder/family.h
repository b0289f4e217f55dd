/* A model family as data: what its files hold and how its layers differ from the usual ones. One constant a family, in a file of
 * its own under decoder/families/; model_hyperparameters.c and model_tensors.c read files by it, layer.c builds graphs, synth.c
 * makes files.
 */
#ifndef WEFT_DECODER_FAMILY_H
#define WEFT_DECODER_FAMILY_H

#include <stddef.h>

#include "decoder/gguf.h"
#include "decoder/hyperparameters.h"

/* A count as a sum of hyperparameters: {.q = 1, .kv = 2} is the rows of Q, K and V in one tensor. All 0: not given. */
typedef struct weft_extent {
    int8_t one, embd, ff, head, vocab;
    int8_t experts, ff_expert, ff_shared;
    int8_t q, kv; /* head_dim * n_heads, head_dim * n_kv_heads */
} weft_extent;

int64_t weft_extent_of(weft_extent extent, const weft_hyperparameters *hyper);

/* The parts that models are made of, those of a layer first, in the order of their use. */
typedef enum weft_model_part {
    WEFT_PART_ATTN_NORM,
    WEFT_PART_ATTN_NORM_BIAS, /* of layer_norm, as those of the other norms */
    WEFT_PART_Q,
    WEFT_PART_K,
    WEFT_PART_V,
    WEFT_PART_Q_BIAS,
    WEFT_PART_K_BIAS,
    WEFT_PART_V_BIAS,
    WEFT_PART_Q_NORM, /* [head_dim]: of each head by itself; [q]: of all heads together; likewise K's */
    WEFT_PART_K_NORM,
    WEFT_PART_ATTN_OUTPUT,
    WEFT_PART_ATTN_OUTPUT_BIAS,
    WEFT_PART_ATTN_POST_NORM, /* the norm of attention's result, before it is added */
    WEFT_PART_FFN_NORM,
    WEFT_PART_FFN_NORM_BIAS,
    WEFT_PART_GATE, /* absent: the activation is applied to `up` */
    WEFT_PART_GATE_BIAS,
    WEFT_PART_UP,
    WEFT_PART_UP_BIAS,
    WEFT_PART_DOWN,
    WEFT_PART_DOWN_BIAS,
    WEFT_PART_ROUTER, /* the experts' logits; this and the parts of experts take the place of the plain ones, up to DOWN_BIAS */
    WEFT_PART_GATE_EXPERTS,
    WEFT_PART_UP_EXPERTS,
    WEFT_PART_DOWN_EXPERTS,
    WEFT_PART_SHARED_ROUTER, /* the logit of the shared experts' weight; absent: 1 */
    WEFT_PART_SHARED_GATE,
    WEFT_PART_SHARED_UP,
    WEFT_PART_SHARED_DOWN,
    WEFT_PART_FFN_POST_NORM, /* the norm of the feed-forward part's result, before it is added */
    WEFT_PART_EMBEDDING,     /* the first that is not a layer's */
    WEFT_PART_OUTPUT_NORM,
    WEFT_PART_OUTPUT_NORM_BIAS,
    WEFT_PART_OUTPUT, /* if the file lacks it, the embedding is used */
    WEFT_PART_COUNT
} weft_model_part;

typedef enum weft_presence {
    WEFT_AS_USUAL,
    WEFT_REQUIRED,
    WEFT_COMMON, /* optional, but published models have it: synth makes it */
    WEFT_OPTIONAL,
    WEFT_ABSENT
} weft_presence;

/* The models that have a part. */
typedef enum weft_part_scope {
    WEFT_OF_ALL,
    WEFT_OF_PLAIN,  /* those without experts */
    WEFT_OF_ROUTED, /* those with experts */
    WEFT_OF_SHARED  /* those with shared experts */
} weft_part_scope;

/* A family's description of a part. Zeros mean the usual one, weft_part_usual. */
typedef struct weft_family_part {
    weft_presence presence;
    const char *stem; /* the tensor: "attn_q.weight", after "blk.N." in a layer */
    weft_extent k, n; /* the part's columns and rows; n one: a vector */
    weft_extent whole,
        first;             /* of a tensor that holds several parts: all its rows (of a vector: elements), and this part's first */
    weft_extent matrices;  /* of a part with more than one matrix */
    weft_part_scope scope; /* only in weft_part_usual */
} weft_family_part;

extern const weft_family_part weft_part_usual[WEFT_PART_COUNT];

/* A hyperparameter of the family's own: ARCHITECTURE.SUFFIX. */
typedef struct weft_family_key {
    const char *suffix;
    bool is_real;    /* a float; otherwise an int32_t */
    size_t at;       /* offsetof(weft_hyperparameters, ...) */
    double min, max; /* the allowed range */
    bool optional;   /* where it is missing, zero stays */
} weft_family_key;
#define WEFT_INTEGER_KEY(suffix, member, min, max)                                                                                 \
    { suffix, false, offsetof(weft_hyperparameters, member), min, max, false }
#define WEFT_REAL_KEY(suffix, member, min, max)                                                                                    \
    { suffix, true, offsetof(weft_hyperparameters, member), min, max, false }
#define WEFT_OPTIONAL_INTEGER_KEY(suffix, member, min, max)                                                                        \
    { suffix, false, offsetof(weft_hyperparameters, member), min, max, true }
#define WEFT_OPTIONAL_REAL_KEY(suffix, member, min, max)                                                                           \
    { suffix, true, offsetof(weft_hyperparameters, member), min, max, true }
/* Windows: a size (0: none), and which layers have one. Files give the period or a list of all layers. */
#define WEFT_WINDOW_KEYS                                                                                                           \
    WEFT_OPTIONAL_INTEGER_KEY("attention.sliding_window", n_window, 0, 1 << 27),                                                   \
        WEFT_OPTIONAL_INTEGER_KEY("attention.sliding_window_pattern", window_period, 1, 1 << 16)
/* Scales of the Granite models. */
#define WEFT_GRANITE_KEYS                                                                                                          \
    WEFT_REAL_KEY("logit_scale", logit_scale, 1e-3, 1e3), WEFT_OPTIONAL_REAL_KEY("residual_scale", residual_scale, 1e-3, 1e3),     \
        WEFT_OPTIONAL_REAL_KEY("embedding_scale", embedding_scale, 1e-3, 1e3),                                                     \
        WEFT_OPTIONAL_REAL_KEY("attention.scale", attention_scale, 1e-6, 1e3)
#define WEFT_MAX_FAMILY_KEYS 8

typedef enum weft_layer_rope {
    WEFT_LAYER_ROPE,       /* hyper->rope or rope_long */
    WEFT_LAYER_ROPE_LOCAL, /* hyper->rope_local */
    WEFT_LAYER_NO_ROPE
} weft_layer_rope;

/* The differences between layers. */
typedef struct weft_layer_traits {
    weft_layer_rope rope;
    int32_t window; /* how many positions attention sees, its own included; 0: all */
} weft_layer_traits;

typedef struct weft_family {
    const char *name;                 /* general.architecture */
    int32_t rope_order;               /* WEFT_ROPE_ADJACENT or WEFT_ROPE_HALVES */
    int32_t activation;               /* WEFT_ACTIVATION_SILU or WEFT_ACTIVATION_GELU */
    bool layer_norm;                  /* the norms are layer_norm, not rms_norm */
    bool expert_weights_unnormalised; /* the weights of a row's experts are as the router gives them, and their sum is not 1 */
    weft_family_part parts[WEFT_PART_COUNT];
    weft_family_key keys[WEFT_MAX_FAMILY_KEYS];
    /* Sets what follows from the keys: scales, the local rope (which begins as a copy of the other). NULL: nothing. */
    void (*complete)(weft_hyperparameters *hyper);
    weft_layer_traits (*layer)(const weft_hyperparameters *hyper, int32_t layer); /* NULL: zeros */
} weft_family;

/* The family of that name, or NULL. */
const weft_family *weft_family_find(weft_text name);
/* Writes the names of all, "gemma, llama, ...". */
void weft_family_names(char *text, size_t size);

/* A part of a model of the family, as it is in the file. */
typedef struct weft_part_place {
    const char *stem;
    int64_t k, n, n_matrices; /* of the part */
    int64_t whole_k, whole_n, first_k, first_n;
    bool optional, common, sliced; /* common ones are optional too */
} weft_part_place;

/* False if the family has no such part. */
bool weft_part_find(const weft_family *family, const weft_hyperparameters *hyper, weft_model_part part, weft_part_place *place);

/* A family's `layer`: the window alone, and the window with the local rope, in the layers that window_period says. */
weft_layer_traits weft_layer_windowed(const weft_hyperparameters *hyper, int32_t layer);
weft_layer_traits weft_layer_windowed_local(const weft_hyperparameters *hyper, int32_t layer);

/* The `complete` of families with WEFT_GRANITE_KEYS. */
void weft_complete_granite(weft_hyperparameters *hyper);

weft_layer_traits weft_family_layer(const weft_family *family, const weft_hyperparameters *hyper, int32_t layer);

#endif
