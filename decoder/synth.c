/* Files with random weights in the shape of real models. */
#include "decoder/synth.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decoder/family.h"
#include "decoder/halves.h"
#include "decoder/output.h"

#define CHUNK ((size_t)1 << 20)
#define MAX_TENSORS_A_LAYER WEFT_PART_EMBEDDING
#define MAX_TENSORS_ELSEWHERE 8

typedef struct synth_tensor {
    char name[48];
    weft_tensor tensor;
    weft_synth_role role;
} synth_tensor;

typedef struct synth {
    weft_runtime *runtime;
    const weft_synth_model *model;
    const weft_mix *mix;
    const weft_synth_options *options;
    synth_tensor *tensors;
    size_t n_tensors;
    unsigned char *chunk;
    weft_gguf_writer writer;
    weft_output output;
} synth;

/* The number of a key of the model's own, or `otherwise`. */
static int32_t own_number(const weft_synth_model *model, const char *suffix, int32_t otherwise) {
    for (const weft_synth_entry *own = model->keys; own && own->suffix; own++)
        if (strcmp(own->suffix, suffix) == 0) return (int32_t)own->number;
    return otherwise;
}

static void add(synth *s, const char *name, int32_t layer, weft_synth_role role, int64_t k, int64_t n, int64_t n_matrices) {
    synth_tensor *tensor = &s->tensors[s->n_tensors++];
    if (layer < 0) {
        snprintf(tensor->name, sizeof tensor->name, "%s", name);
    } else {
        snprintf(tensor->name, sizeof tensor->name, "blk.%d.%s", layer, name);
    }
    tensor->role = role;
    const weft_mix_place place = {.role = weft_mix_role_of(tensor->name, s->model->tied),
                                  .of_experts = n_matrices > 1,
                                  .k = k,
                                  .layer = layer < 0 ? 0 : layer,
                                  .n_layers = s->model->n_layers,
                                  .n_gqa = s->model->n_heads / s->model->n_kv_heads,
                                  .n_experts = own_number(s->model, "expert_count", 0)};
    const bool is_kept = role >= WEFT_SYNTH_NORM || place.role == WEFT_MIX_KEPT;
    tensor->tensor = (weft_tensor){is_kept ? WEFT_F32 : weft_mix_type(s->mix, &place), {k, n, n_matrices, 1}};
}

static weft_synth_role role_of(weft_model_part part, const weft_part_place *place) {
    const char *dot = strrchr(place->stem, '.');
    if (part == WEFT_PART_SHARED_ROUTER) return WEFT_SYNTH_BIAS; /* as small as one: its sum is the argument of a sigmoid */
    if (place->n > 1 || place->n_matrices > 1) return WEFT_SYNTH_MATRIX;
    return dot && strcmp(dot, ".bias") == 0 ? WEFT_SYNTH_BIAS : WEFT_SYNTH_NORM;
}

/* Every tensor that the family's published models have; one that holds several parts with the first of them. */
static void add_layer(synth *s, const weft_family *family, const weft_hyperparameters *hyper, int32_t layer) {
    for (int part = 0; part < WEFT_PART_EMBEDDING; part++) {
        weft_part_place place;
        if (!weft_part_find(family, hyper, (weft_model_part)part, &place) || (place.optional && !place.common)) continue;
        if (place.first_k > 0 || place.first_n > 0) continue;
        add(s, place.stem, layer, role_of((weft_model_part)part, &place), place.whole_k, place.whole_n, place.n_matrices);
    }
}

static const weft_family *family_of(const weft_synth_model *model) {
    return weft_family_find((weft_text){model->family, strlen(model->family)});
}

static bool has_long_rope(const weft_synth_model *model) {
    for (const weft_synth_entry *own = model->keys; own && own->suffix; own++)
        if (own->text && strcmp(own->text, "longrope") == 0) return true;
    return false;
}

static void list_tensors(synth *s) {
    const weft_synth_model *m = s->model;
    const weft_family *family = family_of(m);
    const weft_hyperparameters hyper = {.n_layers = m->n_layers,
                                        .n_embd = m->n_embd,
                                        .n_heads = m->n_heads,
                                        .n_kv_heads = m->n_kv_heads,
                                        .head_dim = m->head_dim,
                                        .n_ff = m->n_ff,
                                        .n_vocab = m->n_vocab,
                                        .n_experts = own_number(m, "expert_count", 0),
                                        .n_ff_expert = own_number(m, "expert_feed_forward_length", m->n_ff),
                                        .n_ff_shared = own_number(m, "expert_shared_feed_forward_length", 0)};
    if (m->freq_factor != 0) add(s, "rope_freqs.weight", -1, WEFT_SYNTH_FREQ_FACTORS, m->head_dim / 2, 1, 1);
    if (has_long_rope(m)) {
        add(s, "rope_factors_short.weight", -1, WEFT_SYNTH_NORM, m->head_dim / 2, 1, 1);
        add(s, "rope_factors_long.weight", -1, WEFT_SYNTH_LONG_FACTORS, m->head_dim / 2, 1, 1);
    }
    add(s, "token_embd.weight", -1, m->tied ? WEFT_SYNTH_HEAD : WEFT_SYNTH_MATRIX, m->n_embd, m->n_vocab, 1);
    for (int32_t layer = 0; layer < m->n_layers; layer++) add_layer(s, family, &hyper, layer);
    add(s, "output_norm.weight", -1, WEFT_SYNTH_NORM, m->n_embd, 1, 1);
    if (family->layer_norm) add(s, "output_norm.bias", -1, WEFT_SYNTH_BIAS, m->n_embd, 1, 1);
    if (!m->tied) add(s, "output.weight", -1, WEFT_SYNTH_HEAD, m->n_embd, m->n_vocab, 1);
}

static void write_period(weft_gguf_writer *writer, const char *key, int32_t n_layers, int32_t period) {
    weft_gguf_write_array(writer, key, WEFT_GGUF_BOOL, (uint64_t)n_layers);
    for (int32_t layer = 0; layer < n_layers; layer++) weft_gguf_write_element_flag(writer, layer % period < period - 1);
}

static void write_hyperparameters(weft_gguf_writer *writer, const weft_synth_model *m) {
    const struct {
        const char *suffix;
        int32_t value;
    } sizes[] = {
        {"block_count", m->n_layers},          {"context_length", m->n_ctx_train},
        {"embedding_length", m->n_embd},       {"feed_forward_length", m->n_ff},
        {"attention.head_count", m->n_heads},  {"attention.head_count_kv", m->n_kv_heads},
        {"attention.key_length", m->head_dim}, {"attention.value_length", m->head_dim},
        {"rope.dimension_count", m->head_dim}, {"vocab_size", m->n_vocab},
    };
    char key[96];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(key, sizeof key, "%s.%s", m->family, sizes[i].suffix);
        weft_gguf_write_u32(writer, key, (uint32_t)sizes[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.%s", m->family,
             family_of(m)->layer_norm ? "layer_norm_epsilon" : "layer_norm_rms_epsilon");
    weft_gguf_write_f32(writer, key, m->norm_epsilon);
    snprintf(key, sizeof key, "%s.rope.freq_base", m->family);
    weft_gguf_write_f32(writer, key, m->freq_base);
    for (const weft_synth_entry *own = m->keys; own && own->suffix; own++) {
        snprintf(key, sizeof key, "%s.%s", m->family, own->suffix);
        if (own->is_period)
            write_period(writer, key, m->n_layers, (int32_t)own->number);
        else if (own->text)
            weft_gguf_write_text(writer, key, own->text);
        else if (own->is_real)
            weft_gguf_write_f32(writer, key, (float)own->number);
        else
            weft_gguf_write_u32(writer, key, (uint32_t)own->number);
    }
}

static void write_header(synth *s) {
    weft_gguf_writer *writer = &s->writer;
    char name[120];
    snprintf(name, sizeof name, "Random %s %s, seed %llu", s->model->name, weft_mix_name_of(s->mix),
             (unsigned long long)s->options->seed);
    weft_gguf_writer_begin(writer, s->runtime);
    weft_gguf_write_text(writer, "general.architecture", s->model->family);
    weft_gguf_write_text(writer, "general.type", "model");
    weft_gguf_write_text(writer, "general.name", name);
    weft_gguf_write_u32(writer, "general.file_type", weft_mix_file_type(s->mix));
    weft_gguf_write_u32(writer, "general.quantization_version", 2);
    write_hyperparameters(writer, s->model);
    weft_synth_vocabulary(writer, s->model);
    for (size_t i = 0; i < s->n_tensors; i++) weft_gguf_write_tensor(writer, s->tensors[i].name, &s->tensors[i].tensor);
}

/* Llama 3.1's: frequencies whose wavelength is over the original 8,192 positions are divided by the extension, those below a
 * quarter of it are kept, and those between are interpolated. */
static float freq_factor(const weft_synth_model *m, int64_t i) {
    const double original = 8192, low = 1, high = 4;
    double wavelength = 2 * 3.14159265358979323846 * pow((double)m->freq_base, 2 * (double)i / m->head_dim);
    if (wavelength < original / high) return 1;
    if (wavelength > original / low) return m->freq_factor;
    double smooth = (original / wavelength - low) / (high - low);
    return (float)(1 / ((1 - smooth) / (double)m->freq_factor + smooth));
}

static float vector_element(const synth *s, weft_synth_role role, uint64_t key, int64_t i) {
    if (role == WEFT_SYNTH_FREQ_FACTORS) return freq_factor(s->model, i);
    float random = weft_synth_uniform(key, (uint64_t)i);
    if (role == WEFT_SYNTH_LONG_FACTORS) return 1 + (float)i + 0.2f * random;
    return role == WEFT_SYNTH_NORM ? 1 + 0.2f * random : 0.2f * random;
}

static size_t make_vector(const synth *s, const synth_tensor *tensor, uint64_t key, uint64_t first, size_t n) {
    for (size_t i = 0; i < n; i++) {
        weft_store_f32(s->chunk + 4 * i, vector_element(s, tensor->role, key, (int64_t)(first + i)));
    }
    return 4 * n;
}

/* Deviations of 1 / sqrt(k) keep activations near 1; the head's are larger, so that logits spread as a trained model's do. */
static size_t make_matrix(const synth *s, const synth_tensor *tensor, uint64_t key, uint64_t first, size_t n) {
    float deviation = 1 / sqrtf((float)tensor->tensor.shape[0]);
    if (tensor->role == WEFT_SYNTH_HEAD) deviation *= 3;
    weft_synth_blocks(tensor->tensor.type, key, first, n, deviation, s->chunk);
    return n * weft_type_get(tensor->tensor.type)->block_bytes;
}

static weft_status write_tensor(synth *s, size_t index) {
    const synth_tensor *tensor = &s->tensors[index];
    uint64_t bytes = weft_tensor_bytes(&tensor->tensor), key = weft_synth_key(s->options->seed, index);
    uint32_t block_bytes = weft_type_get(tensor->tensor.type)->block_bytes;
    uint64_t n_blocks = bytes / block_bytes;
    size_t most = CHUNK / block_bytes;
    for (uint64_t first = 0; first < n_blocks; first += most) {
        size_t n = n_blocks - first < most ? (size_t)(n_blocks - first) : most;
        bool is_vector = tensor->role >= WEFT_SYNTH_NORM;
        size_t size = is_vector ? make_vector(s, tensor, key, first, n) : make_matrix(s, tensor, key, first, n);
        weft_status status = weft_output_write(&s->output, s->chunk, size);
        if (status != WEFT_OK) return status;
    }
    return weft_output_pad(&s->output, (WEFT_GGUF_ALIGNMENT - bytes % WEFT_GGUF_ALIGNMENT) % WEFT_GGUF_ALIGNMENT);
}

static weft_status write_all(synth *s) {
    size_t size = 0;
    list_tensors(s);
    write_header(s);
    const unsigned char *header = weft_gguf_header(&s->writer, &size);
    if (!header) return weft_fail(s->output.error, WEFT_OUT_OF_MEMORY, "%s: no memory for its header", s->output.path);
    s->output.total = size + s->writer.data_size;
    weft_status status = weft_output_write(&s->output, header, size);
    for (size_t i = 0; i < s->n_tensors && status == WEFT_OK; i++) status = write_tensor(s, i);
    return status;
}

static weft_status write_file(synth *s) {
    weft_status status = weft_output_open(&s->output);
    return status == WEFT_OK ? weft_output_close(&s->output, write_all(s)) : status;
}

weft_status weft_synth_write(weft_runtime *runtime, const weft_synth_model *model, const weft_mix *mix,
                             const weft_synth_options *options, const char *path, weft_error *error) {
    size_t n_tensors = (size_t)model->n_layers * MAX_TENSORS_A_LAYER + MAX_TENSORS_ELSEWHERE;
    synth s = {.runtime = runtime,
               .model = model,
               .mix = mix,
               .options = options,
               .writer = {.runtime = runtime},
               .output = {.runtime = runtime,
                          .path = path,
                          .progress = options->progress,
                          .progress_user = options->progress_user,
                          .error = error}};
    s.tensors = weft_allocate(runtime, n_tensors * sizeof *s.tensors);
    s.chunk = weft_allocate(runtime, CHUNK);
    weft_status status = WEFT_OK;
    if (s.tensors && s.chunk) {
        status = write_file(&s);
    } else {
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory to make it", path);
    }
    weft_gguf_writer_end(&s.writer);
    weft_release(runtime, s.chunk);
    weft_release(runtime, s.tensors);
    return status;
}

weft_status weft_synth(weft_runtime *runtime, const weft_synth_options *options, const char *path, weft_error *error) {
    if (!runtime || !options || !options->shape || !options->mix || !path) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a synthetic model needs a shape, a mix and a path");
    }
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    const weft_synth_model *model = weft_synth_model_find(options->shape);
    const weft_mix *mix = weft_mix_find(options->mix);
    if (!model) {
        char names[400] = "";
        for (size_t i = 0, n = 0; weft_synth_shape(i) && n < sizeof names; i++) {
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", weft_synth_shape(i));
        }
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no shape \"%.60s\"; there are %s", options->shape, names);
    }
    if (!mix) return weft_mix_unknown(options->mix, error);
    return weft_synth_write(runtime, model, mix, options, path, error);
}
