/* Key names: the GGUF format's description, "Standardized key-value pairs". */
#include "decoder/model.h"

#include <stdio.h>
#include <string.h>

#define KEY_SIZE 128
#define MAX_LAYERS 4096
#define MAX_WIDTH (1 << 20)
#define MAX_CONTEXT (1 << 27)
#define MAX_EXPERTS (1 << 16)

static const char *key_of(const weft_model *model, const char *suffix, char key[static KEY_SIZE]) {
    snprintf(key, KEY_SIZE, "%s.%s", model->family->name, suffix);
    return key;
}

/* An array that has the same number for each layer counts as that number. */
static weft_status read_uniform(const weft_model *model, const weft_gguf_value *array, int64_t min, int64_t max, int64_t *number,
                                weft_error *error) {
    if (!weft_gguf_holds_integers(array))
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is an array, but not of integers", model->path, array->key);
    if (array->count < 1 || array->count != (uint64_t)model->hyper.n_layers)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s has %llu elements for %d layers", model->path, array->key,
                         (unsigned long long)array->count, model->hyper.n_layers);
    *number = weft_gguf_integer_at(array, 0);
    for (uint64_t i = 1; i < array->count; i++)
        if (weft_gguf_integer_at(array, i) != *number)
            return weft_fail(error, WEFT_UNSUPPORTED, "%s: %s differs from layer to layer, which weft does not support",
                             model->path, array->key);
    if (*number >= min && *number <= max) return WEFT_OK;
    return weft_fail(error, WEFT_BAD_FILE, "%s: %s holds %lld, not in %lld .. %lld", model->path, array->key, (long long)*number,
                     (long long)min, (long long)max);
}

/* If an optional key is missing, `value` does not change. */
static weft_status read_integer(const weft_model *model, const char *suffix, int64_t min, int64_t max, bool optional,
                                int32_t *value, weft_error *error) {
    char key[KEY_SIZE];
    int64_t number = 0;
    const weft_gguf_value *found = weft_gguf_find(model->gguf, key_of(model, suffix, key));
    weft_status status = found && found->is_array ? read_uniform(model, found, min, max, &number, error)
                                                  : weft_gguf_integer(model->gguf, key, min, max, &number, error);
    if (status == WEFT_NOT_FOUND)
        return optional ? WEFT_OK : weft_fail(error, WEFT_BAD_FILE, "%s: there is no %s", model->path, key);
    if (status == WEFT_OK) *value = (int32_t)number;
    return status;
}

static weft_status read_size(const weft_model *model, const char *suffix, int64_t max, bool optional, int32_t *value,
                             weft_error *error) {
    return read_integer(model, suffix, 1, max, optional, value, error);
}

static weft_status read_real(const weft_model *model, const char *suffix, double min, double max, bool optional, float *value,
                             weft_error *error) {
    char key[KEY_SIZE];
    double number = 0;
    weft_status status = weft_gguf_real(model->gguf, key_of(model, suffix, key), &number, error);
    if (status == WEFT_NOT_FOUND)
        return optional ? WEFT_OK : weft_fail(error, WEFT_BAD_FILE, "%s: there is no %s", model->path, key);
    if (status != WEFT_OK) return status;
    if (number < min || number > max) {
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is %g, not in %g .. %g", model->path, key, number, min, max);
    }
    *value = (float)number;
    return WEFT_OK;
}

static weft_status read_sizes(weft_model *model, weft_error *error) {
    weft_hyperparameters *hyper = &model->hyper;
    const struct {
        const char *suffix;
        int64_t max;
        int32_t *value;
    } sizes[] = {
        {"block_count", MAX_LAYERS, &hyper->n_layers},        {"embedding_length", MAX_WIDTH, &hyper->n_embd},
        {"feed_forward_length", MAX_WIDTH, &hyper->n_ff},     {"attention.head_count", MAX_WIDTH, &hyper->n_heads},
        {"context_length", MAX_CONTEXT, &hyper->n_ctx_train},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        weft_status status = read_size(model, sizes[i].suffix, sizes[i].max, false, sizes[i].value, error);
        if (status != WEFT_OK) return status;
    }
    return WEFT_OK;
}

static weft_status read_heads(weft_model *model, weft_error *error) {
    weft_hyperparameters *hyper = &model->hyper;
    int32_t value_length = 0;
    hyper->n_kv_heads = hyper->n_heads;
    weft_status status = read_size(model, "attention.head_count_kv", hyper->n_heads, true, &hyper->n_kv_heads, error);
    if (status == WEFT_OK) status = read_size(model, "attention.key_length", MAX_WIDTH, true, &hyper->head_dim, error);
    if (status == WEFT_OK) status = read_size(model, "attention.value_length", MAX_WIDTH, true, &value_length, error);
    if (status != WEFT_OK) return status;
    if (hyper->n_heads % hyper->n_kv_heads) {
        return weft_fail(error, WEFT_BAD_FILE, "%s: %d heads are not a multiple of %d KV heads", model->path, hyper->n_heads,
                         hyper->n_kv_heads);
    }
    if (hyper->head_dim == 0) {
        if (hyper->n_embd % hyper->n_heads) {
            return weft_fail(error, WEFT_BAD_FILE, "%s: n_embd is %d, which is not a multiple of %d heads", model->path,
                             hyper->n_embd, hyper->n_heads);
        }
        hyper->head_dim = hyper->n_embd / hyper->n_heads;
    }
    if (value_length && value_length != hyper->head_dim) {
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: a head has keys of %d and values of %d; weft needs equal sizes", model->path,
                         hyper->head_dim, value_length);
    }
    if (hyper->head_dim % 2 || (int64_t)hyper->head_dim * hyper->n_heads > MAX_WIDTH) {
        return weft_fail(error, WEFT_BAD_FILE, "%s: %d heads of %d values; the size must be even, and the product at most %d",
                         model->path, hyper->n_heads, hyper->head_dim, MAX_WIDTH);
    }
    return WEFT_OK;
}

/* Experts are as large as a plain feed-forward part where the file does not say otherwise. */
static weft_status read_experts(weft_model *model, weft_error *error) {
    enum { SOFT_MAX = 1 };
    weft_hyperparameters *hyper = &model->hyper;
    int32_t function = SOFT_MAX;
    weft_status status = read_integer(model, "expert_count", 0, MAX_EXPERTS, true, &hyper->n_experts, error);
    if (status != WEFT_OK || hyper->n_experts == 0) return status;
    hyper->n_ff_expert = hyper->n_ff;
    status = read_size(model, "expert_used_count", hyper->n_experts, false, &hyper->n_experts_used, error);
    if (status == WEFT_OK) status = read_size(model, "expert_feed_forward_length", MAX_WIDTH, true, &hyper->n_ff_expert, error);
    if (status == WEFT_OK)
        status = read_integer(model, "expert_shared_feed_forward_length", 0, MAX_WIDTH, true, &hyper->n_ff_shared, error);
    if (status == WEFT_OK) status = read_real(model, "expert_weights_scale", 0, 1e3, true, &hyper->expert_weights_scale, error);
    if (status == WEFT_OK) status = read_integer(model, "expert_gating_func", 0, 1000, true, &function, error);
    if (status == WEFT_OK && function != SOFT_MAX)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: experts are chosen by function %d; weft knows softmax (%d) in this family",
                         model->path, function, SOFT_MAX);
    return status;
}

/* The tokenizer and the embedding must agree. What ARCHITECTURE.vocab_size says does not count: many files state more. */
static weft_status read_vocabulary(weft_model *model, weft_error *error) {
    weft_hyperparameters *hyper = &model->hyper;
    hyper->n_vocab = weft_tokenizer_size(model->tokenizer);
    return weft_model_expect(model, "token_embd.weight", hyper->n_embd, hyper->n_vocab, false, NULL, error);
}

static bool has_own_key(const weft_family *family, const char *suffix) {
    for (size_t i = 0; i < WEFT_MAX_FAMILY_KEYS && family->keys[i].suffix; i++)
        if (strcmp(family->keys[i].suffix, suffix) == 0) return true;
    return false;
}

/* What the log multiplier means differs between families, and so only those that have the key accept it. */
static weft_status read_yarn(weft_model *model, weft_error *error) {
    weft_rope_options *rope = &model->hyper.rope;
    float log_multiplier = 0, extrapolation = 1;
    weft_status status = WEFT_OK;
    const struct {
        const char *suffix;
        double min, max;
        float *value;
    } reals[] = {
        {"rope.scaling.yarn_beta_fast", 1e-3, 1e6, &rope->yarn_beta_fast},
        {"rope.scaling.yarn_beta_slow", 1e-3, 1e6, &rope->yarn_beta_slow},
        {"rope.scaling.yarn_log_multiplier", -1e3, 1e3, &log_multiplier},
        {"rope.scaling.yarn_ext_factor", -1e3, 1e3, &extrapolation},
    };
    for (size_t i = 0; status == WEFT_OK && i < sizeof reals / sizeof *reals; i++) {
        status = read_real(model, reals[i].suffix, reals[i].min, reals[i].max, true, reals[i].value, error);
    }
    if (status != WEFT_OK) return status;
    if (has_own_key(model->family, "rope.scaling.yarn_log_multiplier")) log_multiplier = 0;
    if (log_multiplier != 0 || extrapolation != 1) {
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "%s: YaRN with log multiplier %g and extrapolation factor %g is not supported; they must be 0 and 1",
                         model->path, (double)log_multiplier, (double)extrapolation);
    }
    return WEFT_OK;
}

/* Long rope has its factors in tensors, and scales nothing else. A factor without a type is linear: older converters wrote no type,
 * and before that the key was rope.scale_linear. */
static weft_status read_scaling(weft_model *model, weft_error *error) {
    static const struct {
        const char *name;
        weft_rope_scaling scaling;
    } scalings[] = {{"none", WEFT_ROPE_NONE}, {"linear", WEFT_ROPE_LINEAR}, {"yarn", WEFT_ROPE_YARN}, {"longrope", WEFT_ROPE_NONE}};
    weft_rope_options *rope = &model->hyper.rope;
    char key[KEY_SIZE];
    weft_text type;
    weft_status status =
        read_integer(model, "rope.scaling.original_context_length", 0, MAX_CONTEXT, true, &rope->n_ctx_original, error);
    if (rope->n_ctx_original == 0) rope->n_ctx_original = model->hyper.n_ctx_train;
    if (status == WEFT_OK) status = read_real(model, "rope.scale_linear", 0, 1e6, true, &rope->scaling_factor, error);
    if (status == WEFT_OK) status = read_real(model, "rope.scaling.factor", 0, 1e6, true, &rope->scaling_factor, error);
    if (status == WEFT_OK) status = read_real(model, "rope.scaling.attn_factor", 1e-3, 1e3, true, &rope->attn_factor, error);
    if (status != WEFT_OK) return status;
    if (rope->scaling_factor == 0) rope->scaling_factor = 1; /* the format's "no scaling" */
    if (rope->scaling_factor < 1e-3f) {
        return weft_fail(error, WEFT_BAD_FILE, "%s: the rope scaling factor is %g; it must be at least 0.001", model->path,
                         (double)rope->scaling_factor);
    }
    rope->scaling = rope->scaling_factor == 1 ? WEFT_ROPE_NONE : WEFT_ROPE_LINEAR;
    status = weft_gguf_text(model->gguf, key_of(model, "rope.scaling.type", key), &type, error);
    if (status != WEFT_OK) return status == WEFT_NOT_FOUND ? WEFT_OK : status;
    for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++) {
        if (type.size != strlen(scalings[i].name) || memcmp(type.bytes, scalings[i].name, type.size)) continue;
        rope->scaling = scalings[i].scaling;
        return rope->scaling == WEFT_ROPE_YARN ? read_yarn(model, error) : WEFT_OK;
    }
    return weft_fail(error, WEFT_UNSUPPORTED,
                     "%s: weft does not know the rope scaling \"%.*s\"; it knows none, linear, yarn and longrope", model->path,
                     type.size < 40 ? (int)type.size : 40, type.bytes);
}

/* NULL where the file has no tensor of that name. */
static weft_status read_factors(weft_model *model, const char *name, float **factors, weft_error *error) {
    const weft_model_tensor *tensor = NULL;
    int32_t n = model->hyper.rope.n_dims / 2;
    weft_status status = weft_model_expect(model, name, n, 1, true, &tensor, error);
    if (status != WEFT_OK || !tensor) return status;
    float *values = *factors = weft_allocate(model->runtime, (size_t)n * sizeof *values);
    if (!values) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for its rope factors", model->path);
    status = weft_model_read_tensor(model, tensor, 0, values, (size_t)n * sizeof *values, error);
    if (status != WEFT_OK) return status;
    for (int32_t i = 0; i < n; i++) {
        /* Written so that a NaN fails. */
        if (!(values[i] >= 1e-6f && values[i] <= 1e6f)) {
            return weft_fail(error, WEFT_BAD_FILE, "%s: element %d of %s is %g, not in 1e-06 .. 1e+06", model->path, i, name,
                             (double)values[i]);
        }
    }
    return WEFT_OK;
}

/* One set for all contexts, or one for the original context and one for longer ones. */
static weft_status read_freq_factors(weft_model *model, weft_error *error) {
    weft_hyperparameters *hyper = &model->hyper;
    weft_status status = read_factors(model, "rope_freqs.weight", &model->freq_factors, error);
    if (status != WEFT_OK) return status;
    if (!model->freq_factors) {
        status = read_factors(model, "rope_factors_short.weight", &model->freq_factors, error);
        if (status == WEFT_OK) status = read_factors(model, "rope_factors_long.weight", &model->long_factors, error);
        if (status != WEFT_OK) return status;
        if (!model->freq_factors != !model->long_factors)
            return weft_fail(error, WEFT_BAD_FILE, "%s: of rope_factors_short.weight and rope_factors_long.weight, one is missing",
                             model->path);
    }
    hyper->rope.freq_factors = model->freq_factors;
    if (!model->long_factors) return WEFT_OK;
    hyper->rope_long = hyper->rope;
    hyper->rope_long.freq_factors = model->long_factors;
    return WEFT_OK;
}

static weft_status read_rope(weft_model *model, weft_error *error) {
    weft_rope_options *rope = &model->hyper.rope;
    rope->n_dims = model->hyper.head_dim;
    rope->freq_base = 10000; /* the format's default */
    weft_status status = read_size(model, "rope.dimension_count", model->hyper.head_dim, true, &rope->n_dims, error);
    if (status == WEFT_OK) status = read_real(model, "rope.freq_base", 2, 1e12, true, &rope->freq_base, error);
    if (status != WEFT_OK) return status;
    if (rope->n_dims % 2)
        return weft_fail(error, WEFT_BAD_FILE, "%s: rope rotates %d dimensions; the number must be even", model->path,
                         rope->n_dims);
    status = read_scaling(model, error);
    return status != WEFT_OK ? status : read_freq_factors(model, error);
}

/* A block count that was made smaller would cut the model short and still run. */
static weft_status check_layers(const weft_model *model, weft_error *error) {
    for (size_t i = 0; i < weft_gguf_tensor_count(model->gguf); i++) {
        const char *name = weft_gguf_tensor_at(model->gguf, i)->name;
        if (strncmp(name, "blk.", 4) != 0) continue;
        int64_t layer = 0;
        for (const char *digit = name + 4; *digit >= '0' && *digit <= '9' && layer < MAX_LAYERS; digit++) {
            layer = layer * 10 + (*digit - '0');
        }
        if (layer >= model->hyper.n_layers) {
            return weft_fail(error, WEFT_BAD_FILE, "%s: there is a tensor %s, but the model says it has %d layers", model->path,
                             name, model->hyper.n_layers);
        }
    }
    return WEFT_OK;
}

/* A list of flags, one for each layer, counts as a period: the last of so many layers has a 0, the others have a 1. */
static weft_status read_period(const weft_model *model, const weft_gguf_value *flags, int32_t *period, weft_error *error) {
    const int32_t n = model->hyper.n_layers;
    if (flags->count != (uint64_t)n)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s has %llu elements for %d layers", model->path, flags->key,
                         (unsigned long long)flags->count, (int)n);
    for (*period = 1; *period <= n && flags->data[*period - 1]; ++*period) continue;
    for (int32_t i = 0; i < n; i++)
        if ((flags->data[i] != 0) != (i % *period < *period - 1))
            return weft_fail(error, WEFT_UNSUPPORTED, "%s: %s has no period, which weft does not support", model->path, flags->key);
    return WEFT_OK;
}

static weft_status read_own_key(weft_model *model, const weft_family_key *own, weft_error *error) {
    char key[KEY_SIZE];
    void *at = (char *)&model->hyper + own->at;
    if (own->is_real) return read_real(model, own->suffix, own->min, own->max, own->optional, at, error);
    const weft_gguf_value *found = weft_gguf_find(model->gguf, key_of(model, own->suffix, key));
    if (found && found->is_array && found->type == WEFT_GGUF_BOOL) return read_period(model, found, at, error);
    return read_integer(model, own->suffix, (int64_t)own->min, (int64_t)own->max, own->optional, at, error);
}

/* Reads the family's own keys. */
static weft_status read_own(weft_model *model, weft_error *error) {
    weft_hyperparameters *hyper = &model->hyper;
    const weft_family_key *keys = model->family->keys;
    weft_status status = WEFT_OK;
    hyper->rope_local = hyper->rope;
    for (size_t i = 0; i < WEFT_MAX_FAMILY_KEYS && keys[i].suffix && status == WEFT_OK; i++)
        status = read_own_key(model, &keys[i], error);
    if (status == WEFT_OK && model->family->complete) model->family->complete(hyper);
    if (status == WEFT_OK && hyper->temperature_scale != 0 && hyper->rope.n_dims != hyper->head_dim)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: the temperature of queries needs a rope over all of a head's %d values",
                         model->path, hyper->head_dim);
    return status;
}

weft_status weft_hyperparameters_read(weft_model *model, weft_error *error) {
    weft_status status = read_sizes(model, error);
    if (status == WEFT_OK) status = read_heads(model, error);
    if (status == WEFT_OK) status = read_experts(model, error);
    if (status == WEFT_OK) status = read_vocabulary(model, error);
    if (status == WEFT_OK) {
        const char *suffix = model->family->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
        status = read_real(model, suffix, 1e-15, 0.1, false, &model->hyper.norm_epsilon, error);
    }
    if (status == WEFT_OK) status = read_rope(model, error);
    if (status == WEFT_OK) status = read_own(model, error);
    if (status == WEFT_OK) status = check_layers(model, error);
    return status;
}
