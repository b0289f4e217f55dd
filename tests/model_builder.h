/* Small model files for tests: a base model, of which entries and tensors are changed. Written with the library's own header
 * writer, whose output test_synth and the reader's tests check. Include after cmocka. */
#ifndef WEFT_TESTS_MODEL_BUILDER_H
#define WEFT_TESTS_MODEL_BUILDER_H

#include "decoder/synth.h"
#include "limited_allocator.h"

#include <stdio.h>
#include <string.h>

typedef enum entry_kind { U32, F32, TEXT, OMIT, I32_LIST } entry_kind; /* I32_LIST: an array of the numbers in `text` */

typedef struct entry {
    const char *key;
    entry_kind kind;
    double number;
    const char *text;
} entry;

typedef struct shape {
    const char *name;
    int64_t k, n;
    weft_type type;
} shape;

typedef struct change {
    const char *family; /* NULL: llama */
    entry entries[8];   /* in place of the base's, or added */
    shape tensors[4];   /* the same; k of 0 leaves a tensor out */
    bool vocabulary_only;
    const float *freq_factors; /* data of rope_freqs.weight */
} change;

enum { N_EMBD = 64, N_FF = 96, N_HEADS = 4, N_KV_HEADS = 2, HEAD_DIM = 16, N_VOCAB = 300 };

static const entry base_entries[] = {
    {"general.name", TEXT, 0, "Test model"},
    {"*.block_count", U32, 2, NULL},
    {"*.context_length", U32, 1024, NULL},
    {"*.embedding_length", U32, N_EMBD, NULL},
    {"*.feed_forward_length", U32, N_FF, NULL},
    {"*.attention.head_count", U32, N_HEADS, NULL},
    {"*.attention.head_count_kv", U32, N_KV_HEADS, NULL},
    {"*.attention.layer_norm_rms_epsilon", F32, 1e-5, NULL},
    {"*.rope.freq_base", F32, 500000, NULL},
};

static const shape base_tensors[] = {
    {"token_embd.weight", N_EMBD, N_VOCAB, WEFT_Q8_0},
    {"blk.*.attn_norm.weight", N_EMBD, 1, WEFT_F32},
    {"blk.*.attn_q.weight", N_EMBD, N_HEADS *HEAD_DIM, WEFT_Q4_0},
    {"blk.*.attn_k.weight", N_EMBD, N_KV_HEADS *HEAD_DIM, WEFT_Q4_1},
    {"blk.*.attn_v.weight", N_EMBD, N_KV_HEADS *HEAD_DIM, WEFT_Q5_0},
    {"blk.*.attn_output.weight", N_HEADS *HEAD_DIM, N_EMBD, WEFT_Q5_1},
    {"blk.*.ffn_norm.weight", N_EMBD, 1, WEFT_F32},
    {"blk.*.ffn_gate.weight", N_EMBD, N_FF, WEFT_F16},
    {"blk.*.ffn_up.weight", N_EMBD, N_FF, WEFT_BF16},
    {"blk.*.ffn_down.weight", N_FF, N_EMBD, WEFT_F32},
    {"output_norm.weight", N_EMBD, 1, WEFT_F32},
};

static const shape qwen2_tensors[] = {
    {"blk.*.attn_q.bias", N_HEADS *HEAD_DIM, 1, WEFT_F32},
    {"blk.*.attn_k.bias", N_KV_HEADS *HEAD_DIM, 1, WEFT_F32},
    {"blk.*.attn_v.bias", N_KV_HEADS *HEAD_DIM, 1, WEFT_F32},
};

/* `pattern` with its star replaced by `word`. */
static inline const char *filled(const char *pattern, const char *word, char text[static 96]) {
    const char *star = strchr(pattern, '*');
    if (!star) {
        snprintf(text, 96, "%s", pattern);
    } else {
        snprintf(text, 96, "%.*s%s%s", (int)(star - pattern), pattern, word, star + 1);
    }
    return text;
}

static inline void write_list(weft_gguf_writer *writer, const char *key, const char *numbers) {
    size_t n = 0;
    for (const char *at = numbers; *at; at++) n += *at != ' ' && (at == numbers || at[-1] == ' ');
    weft_gguf_write_array(writer, key, WEFT_GGUF_I32, n);
    for (char *at = (char *)(uintptr_t)numbers; n > 0; n--) weft_gguf_write_element_i32(writer, (int32_t)strtol(at, &at, 10));
}

static inline void write_entry(weft_gguf_writer *writer, const entry *item, const char *family) {
    char key[96];
    filled(item->key, family, key);
    if (item->kind == U32) weft_gguf_write_u32(writer, key, (uint32_t)item->number);
    if (item->kind == F32) weft_gguf_write_f32(writer, key, (float)item->number);
    if (item->kind == TEXT) weft_gguf_write_text(writer, key, item->text);
    if (item->kind == I32_LIST) write_list(writer, key, item->text);
}

static inline void write_entries(weft_gguf_writer *writer, const change *changed, const char *family) {
    for (size_t i = 0; i < sizeof base_entries / sizeof *base_entries; i++) {
        bool replaced = false;
        for (size_t j = 0; j < 8 && changed->entries[j].key; j++) {
            replaced = replaced || strcmp(changed->entries[j].key, base_entries[i].key) == 0;
        }
        if (!replaced) write_entry(writer, &base_entries[i], family);
    }
    for (size_t j = 0; j < 8 && changed->entries[j].key; j++) write_entry(writer, &changed->entries[j], family);
}

static inline void write_tensor(weft_gguf_writer *writer, const change *changed, const shape *item, const char *name) {
    for (size_t j = 0; j < 4 && changed->tensors[j].name; j++) {
        if (strcmp(changed->tensors[j].name, name) == 0) return;
    }
    weft_gguf_write_tensor(writer, name, &(weft_tensor){item->type, {item->k, item->n, 1, 1}});
}

static inline void write_tensors(weft_gguf_writer *writer, const change *changed, const shape *items, size_t n_items) {
    char name[96];
    for (size_t i = 0; i < n_items; i++) {
        bool repeats = strchr(items[i].name, '*');
        write_tensor(writer, changed, &items[i], filled(items[i].name, "0", name));
        if (repeats) write_tensor(writer, changed, &items[i], filled(items[i].name, "1", name));
    }
}

static inline void write_weights(weft_gguf_writer *writer, const change *changed, bool qwen2) {
    /* The first tensor, so that its data come first in the file. */
    if (changed->freq_factors) {
        weft_gguf_write_tensor(writer, "rope_freqs.weight", &(weft_tensor){WEFT_F32, {HEAD_DIM / 2, 1, 1, 1}});
    }
    write_tensors(writer, changed, base_tensors, sizeof base_tensors / sizeof *base_tensors);
    if (qwen2) write_tensors(writer, changed, qwen2_tensors, sizeof qwen2_tensors / sizeof *qwen2_tensors);
    for (size_t j = 0; j < 4 && changed->tensors[j].name; j++) {
        const shape *item = &changed->tensors[j];
        if (item->k) weft_gguf_write_tensor(writer, item->name, &(weft_tensor){item->type, {item->k, item->n, 1, 1}});
    }
}

static inline void write_model(weft_runtime *runtime, const change *changed) {
    static const unsigned char zeros[4096];
    weft_gguf_writer writer;
    weft_synth_model model = {.family = "llama", .n_vocab = N_VOCAB};
    const char *family = changed->family ? changed->family : "llama";
    bool qwen2 = strcmp(family, "qwen2") == 0;
    size_t size = 0;
    weft_gguf_writer_begin(&writer, runtime);
    weft_gguf_write_text(&writer, "general.architecture", family);
    write_entries(&writer, changed, family);
    weft_synth_vocabulary(&writer, &model);
    if (!changed->vocabulary_only) write_weights(&writer, changed, qwen2);
    const unsigned char *header = weft_gguf_header(&writer, &size);
    assert_non_null(header);
    remove(MODEL_PATH); /* some file systems wait for the disk when a file is written again in its place */
    FILE *file = fopen(MODEL_PATH, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(header, 1, size, file), size);
    uint64_t left = writer.data_size;
    if (changed->freq_factors) {
        assert_int_equal(fwrite(changed->freq_factors, sizeof(float), HEAD_DIM / 2, file), HEAD_DIM / 2);
        left -= HEAD_DIM / 2 * sizeof(float);
    }
    for (; left > sizeof zeros; left -= sizeof zeros) assert_int_equal(fwrite(zeros, 1, sizeof zeros, file), sizeof zeros);
    assert_int_equal(fwrite(zeros, 1, (size_t)left, file), left);
    assert_int_equal(fclose(file), 0);
    weft_gguf_writer_end(&writer);
}

static inline void opened(const change *changed, void (*check)(const weft_model *model)) {
    weft_error error;
    weft_model *model = NULL;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    write_model(runtime, changed);
    weft_status status = weft_model_open(runtime, MODEL_PATH, &model, &error);
    if (status) print_error("%s\n", error.message);
    assert_int_equal(status, WEFT_OK);
    check(model);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static inline void refused(const change *changed, weft_status expected, const char *part) {
    weft_error error = {.message = "no message"};
    weft_model *model = NULL;
    limited_allocator limits = {.budget = 8 << 20};
    weft_runtime *runtime = limited_runtime(&limits);
    write_model(runtime, changed);
    weft_status status = weft_model_open(runtime, MODEL_PATH, &model, &error);
    if (status != expected || !strstr(error.message, part)) {
        const char *first = changed->entries[0].key;
        print_error("%s: status %d, message %s\n", first ? first : "tensors", status, error.message);
    }
    assert_int_equal(status, expected);
    assert_non_null(strstr(error.message, part));
    assert_non_null(strstr(error.message, MODEL_PATH));
    assert_null(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

#endif
