/* Opening model files: the values that are read. */
#include "decoder/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MODEL_PATH "test_model.tmp"
#include "model_builder.h"

/* ---- What is read ---- */

static void check_llama(const weft_model *model) {
    weft_model_info info;
    weft_model_describe(model, &info);
    assert_string_equal(info.path, MODEL_PATH);
    assert_string_equal(info.family, "llama");
    assert_string_equal(info.name, "Test model");
    assert_int_equal(info.n_layers, 2);
    assert_int_equal(info.n_embd, N_EMBD);
    assert_int_equal(info.n_heads, N_HEADS);
    assert_int_equal(info.n_kv_heads, N_KV_HEADS);
    assert_int_equal(info.head_dim, HEAD_DIM);
    assert_int_equal(info.n_ff, N_FF);
    assert_int_equal(info.n_vocab, N_VOCAB);
    assert_int_equal(info.n_ctx_train, 1024);
    assert_true(info.has_weights);
    assert_string_equal(info.tokenizer, "bpe llama-bpe");
    assert_string_equal(info.chat_format, "file");
    assert_int_equal(info.bos, N_VOCAB - 5);
    assert_int_equal(info.eos, N_VOCAB - 1);
    uint64_t layer = 64 * 2 + 64 * 64 * 2 + 64 * 32 * 2 + 64 * 96 * 3;
    assert_int_equal(info.n_parameters, 64 * 300 + 2 * layer + 64);
    uint64_t layer_bytes = 64 * 4 * 2 + 64 * 2 * 18 + 32 * 2 * 20 + 32 * 2 * 22 + 64 * 2 * 24 + 64 * 96 * (2 + 2 + 4);
    assert_int_equal(info.weight_bytes, 300 * 2 * 34 + 2 * layer_bytes + 64 * 4);
    assert_true(model->hyper.norm_epsilon == 1e-5f);
    assert_true(model->hyper.rope.freq_base == 500000);
    assert_int_equal(model->hyper.rope.n_dims, HEAD_DIM);
    assert_int_equal(model->hyper.rope.scaling, WEFT_ROPE_NONE);
    assert_null(model->hyper.rope.freq_factors);
}

static void check_tensors(const weft_model *model) {
    weft_model_tensor tensor;
    size_t n = 0;
    for (; weft_model_tensor_at(model, n, &tensor); n++) {
        if (strcmp(tensor.name, "blk.1.attn_k.weight") != 0) continue;
        assert_int_equal(tensor.tensor.type, WEFT_Q4_1);
        assert_int_equal(tensor.tensor.shape[0], N_EMBD);
        assert_int_equal(tensor.tensor.shape[1], N_KV_HEADS * HEAD_DIM);
        assert_int_equal(tensor.bytes, 32 * 2 * 20);
    }
    assert_int_equal(n, 1 + 9 * 2 + 1);
}

static const char *metadata(const weft_model *model, const char *wanted, const char *wanted_type, size_t size) {
    static char value[256];
    const char *key, *type;
    memset(value, 'x', sizeof value);
    for (size_t i = 0; weft_model_metadata(model, i, &key, &type, value, size); i++) {
        assert_true(strlen(value) < size);
        assert_true(value[size] == 'x');
        if (strcmp(key, wanted) != 0) continue;
        assert_string_equal(type, wanted_type);
        return value;
    }
    return NULL;
}

static void check_metadata(const weft_model *model) {
    assert_string_equal(metadata(model, "general.name", "string", 40), "Test model");
    assert_string_equal(metadata(model, "general.name", "string", 11), "Test model");
    assert_string_equal(metadata(model, "general.name", "string", 10), "Test m...");
    assert_string_equal(metadata(model, "general.name", "string", 1), "");
    assert_string_equal(metadata(model, "general.name", "string", 3), "..");
    assert_string_equal(metadata(model, "llama.block_count", "u32", 40), "2");
    assert_string_equal(metadata(model, "llama.rope.freq_base", "f32", 40), "500000");
    assert_string_equal(metadata(model, "llama.attention.layer_norm_rms_epsilon", "f32", 40), "1e-05");
    assert_string_equal(metadata(model, "tokenizer.ggml.add_bos_token", "bool", 40), "true");
    assert_string_equal(metadata(model, "tokenizer.ggml.token_type", "i32[]", 14), "[1, 1, 1, ...");
    assert_string_equal(metadata(model, "tokenizer.ggml.merges", "string[]", 24), "[\"a a\", \"a b\", \"a c\"...");
    /* The first tokens are two bytes each, and are not cut between them. */
    assert_string_equal(metadata(model, "tokenizer.ggml.tokens", "string[]", 8), "[\"\xC4\x80...");
    assert_string_equal(metadata(model, "tokenizer.ggml.tokens", "string[]", 7), "[\"...");
    assert_null(metadata(model, "no.such.key", "", 40));
}

static void check_qwen2(const weft_model *model) {
    weft_model_info info;
    weft_model_describe(model, &info);
    assert_string_equal(info.family, "qwen2");
    assert_int_equal(info.n_layers, 2);
}

static void check_head(const weft_model *model) {
    weft_model_tensor tensor;
    size_t n = 0;
    while (weft_model_tensor_at(model, n, &tensor)) n++;
    assert_int_equal(n, 1 + 9 * 2 + 1 + 1);
    assert_string_equal(tensor.name, "output.weight");
}

static void reads_models(void **state) {
    (void)state;
    opened(&(change){0}, check_llama);
    opened(&(change){0}, check_tensors);
    opened(&(change){0}, check_metadata);
    opened(&(change){.family = "qwen2"}, check_qwen2);
    opened(&(change){.tensors = {{"output.weight", N_EMBD, N_VOCAB, WEFT_Q4_0}}}, check_head);
}

static void check_counts(const weft_model *model) {
    weft_model_info info;
    weft_model_describe(model, &info);
    assert_int_equal(info.n_heads, N_HEADS);
    assert_int_equal(info.n_kv_heads, N_KV_HEADS);
    assert_int_equal(info.n_ff, N_FF);
    assert_int_equal(info.n_vocab, N_VOCAB);
}

/* Arrays with one number for all layers, a vocabulary size that nothing depends on, biases that are not there. */
static void reads_what_converters_write(void **state) {
    (void)state;
    static const char *const keys[] = {"*.attention.head_count", "*.attention.head_count_kv", "*.feed_forward_length"};
    opened(&(change){.entries = {{keys[0], I32_LIST, 0, "4 4"}, {keys[1], I32_LIST, 0, "2 2"}, {keys[2], I32_LIST, 0, "96 96"}}},
           check_counts);
    opened(&(change){.entries = {{"*.vocab_size", U32, 2 * N_VOCAB, NULL}}}, check_counts);
    opened(&(change){.entries = {{"*.vocab_size", U32, N_VOCAB - 1, NULL}}}, check_counts);
    opened(&(change){.family = "qwen2",
                     .tensors = {{"blk.0.attn_q.bias", 0, 0, WEFT_F32},
                                 {"blk.0.attn_v.bias", 0, 0, WEFT_F32},
                                 {"blk.1.attn_k.bias", 0, 0, WEFT_F32}}},
           check_qwen2);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        refused(&(change){.entries = {{keys[i], I32_LIST, 0, "4 2"}}}, WEFT_UNSUPPORTED, "differs from layer to layer");
        refused(&(change){.entries = {{keys[i], I32_LIST, 0, "4 4 4"}}}, WEFT_BAD_FILE, "has 3 elements for 2 layers");
        refused(&(change){.entries = {{keys[i], I32_LIST, 0, "0 0"}}}, WEFT_BAD_FILE, "holds 0");
    }
}

static void check_vocabulary(const weft_model *model) {
    weft_model_info info;
    weft_model_describe(model, &info);
    assert_false(info.has_weights);
    assert_int_equal(info.n_vocab, N_VOCAB);
    assert_int_equal(info.n_layers, 0);
    weft_token tokens[32];
    size_t count = 0, size = 0;
    char text[32];
    assert_int_equal(weft_tokenize(model, "hello, world", 12, false, tokens, 32, &count, NULL), WEFT_OK);
    assert_int_equal(weft_detokenize(model, tokens, count, false, text, sizeof text, &size, NULL), WEFT_OK);
    assert_int_equal(size, 12);
    assert_memory_equal(text, "hello, world", 12);
}

static void reads_vocabularies_of_any_family(void **state) {
    (void)state;
    opened(&(change){.vocabulary_only = true}, check_vocabulary);
    opened(&(change){.vocabulary_only = true, .family = "mamba"}, check_vocabulary);
    refused(&(change){.family = "mamba"}, WEFT_UNSUPPORTED, "\"mamba\"");
    refused(&(change){.family = ""}, WEFT_UNSUPPORTED, "model family");
}

/* ---- Vectors of two bytes an element ---- */

/* Writes 1, 2, 3 ... into the vector's data. */
static void fill_vector(const weft_model_tensor *tensor) {
    FILE *file = fopen(MODEL_PATH, "r+b");
    assert_true(file && fseek(file, (long)tensor->offset, SEEK_SET) == 0);
    for (int64_t i = 0; i < tensor->tensor.shape[0]; i++) {
        float value = (float)(i + 1);
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        uint32_t half = tensor->tensor.type == WEFT_BF16 ? bits >> 16 : ((bits >> 23) - 112) << 10 | (bits >> 13 & 0x3FF);
        assert_true(fputc((int)(half & 0xFF), file) != EOF && fputc((int)(half >> 8), file) != EOF);
    }
    assert_int_equal(fclose(file), 0);
}

/* Every range of bytes is that of the floats. */
static void check_ranges(weft_weight_source source, const char *name, int64_t n) {
    float values[N_FF];
    unsigned char read[sizeof values];
    for (int64_t i = 0; i < n; i++) values[i] = (float)(i + 1);
    size_t total = (size_t)n * sizeof *values;
    for (size_t offset = 0; offset < total; offset += 3)
        for (size_t size = 1; size <= total - offset; size += 1 + size / 3) {
            memset(read, 0xEE, sizeof read);
            assert_int_equal(source.read(source.user, name, offset, read, size, NULL), WEFT_OK);
            assert_memory_equal(read, (const unsigned char *)values + offset, size);
            if (size < sizeof read) assert_int_equal(read[size], 0xEE);
        }
    assert_int_equal(source.read(source.user, name, total - 4, read, 8, NULL), WEFT_INVALID_ARGUMENT);
}

/* Norms and biases in F16 and BF16 are F32 in graphs, and converted as they are read. */
static void converts_vectors(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t n;
        weft_type type;
    } vectors[] = {{"output_norm.weight", N_EMBD, WEFT_BF16},
                   {"blk.0.attn_norm.weight", N_EMBD, WEFT_F16},
                   {"blk.1.attn_k.bias", N_KV_HEADS * HEAD_DIM, WEFT_F16},
                   {"blk.1.ffn_up.bias", N_FF, WEFT_BF16}};
    weft_error error = {.message = ""};
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    change changed = {.family = "qwen2"};
    for (size_t i = 0; i < 4; i++) changed.tensors[i] = (shape){vectors[i].name, vectors[i].n, 1, vectors[i].type};
    write_model(runtime, &changed);
    for (int filled = 0; filled < 2; filled++) {
        weft_model *model = NULL;
        weft_graph *graph = NULL;
        weft_model_tensor tensor;
        if (weft_model_open(runtime, MODEL_PATH, &model, &error) != WEFT_OK) fail_msg("%s", error.message);
        for (size_t k = 0; !filled && weft_model_tensor_at(model, k, &tensor); k++)
            for (size_t i = 0; i < 4; i++)
                if (strcmp(tensor.name, vectors[i].name) == 0) fill_vector(&tensor);
        for (size_t i = 0; filled && i < 4; i++) check_ranges(weft_model_source(model), vectors[i].name, vectors[i].n);
        if (weft_model_graph(model, NULL, 1, 1, &graph, &error) != WEFT_OK) fail_msg("%s", error.message);
        weft_graph_destroy(graph);
        weft_model_close(model);
    }
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* A file that is changed while its model is open gives no engine. */
static void notices_changed_files(void **state) {
    (void)state;
    weft_error error = {.message = ""};
    weft_runtime *runtime = NULL;
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    write_model(runtime, &(change){0});
    for (int changed = 0; changed < 2; changed++) {
        weft_model *model = NULL;
        weft_engine *engine = NULL;
        assert_int_equal(weft_model_open(runtime, MODEL_PATH, &model, &error), WEFT_OK);
        FILE *file = changed ? fopen(MODEL_PATH, "ab") : NULL;
        if (changed) assert_true(file && fputc(0, file) == 0 && fclose(file) == 0);
        const weft_engine_options options = {.device = "null", .n_ctx = 64, .max_rows = 2};
        weft_status status = weft_engine_create(model, &options, &engine, &error);
        assert_int_equal(status, changed ? WEFT_IO : WEFT_OK);
        if (changed) assert_non_null(strstr(error.message, MODEL_PATH ": the file was changed"));
        weft_engine_destroy(engine);
        weft_model_close(model);
    }
    weft_runtime_destroy(runtime);
}

/* ---- Rope ---- */

static weft_rope_options expected_rope;

static void check_rope(const weft_model *model) {
    const weft_rope_options *rope = &model->hyper.rope;
    assert_int_equal(rope->n_dims, expected_rope.n_dims);
    assert_int_equal(rope->scaling, expected_rope.scaling);
    assert_true(rope->freq_base == expected_rope.freq_base);
    assert_true(rope->scaling_factor == expected_rope.scaling_factor);
    assert_int_equal(rope->n_ctx_original, expected_rope.n_ctx_original);
    assert_true(rope->attn_factor == expected_rope.attn_factor);
    assert_true(rope->yarn_beta_fast == expected_rope.yarn_beta_fast);
    assert_true(rope->yarn_beta_slow == expected_rope.yarn_beta_slow);
    assert_int_equal(rope->freq_factors != NULL, expected_rope.freq_factors != NULL);
    for (int i = 0; rope->freq_factors && i < HEAD_DIM / 2; i++) {
        assert_true(rope->freq_factors[i] == expected_rope.freq_factors[i]);
    }
}

static void reads_rope_scaling(void **state) {
    (void)state;
    static const float factors[HEAD_DIM / 2] = {1, 1, 1.5f, 2, 4, 8, 8, 8};
    const weft_rope_options none = {.n_dims = HEAD_DIM, .freq_base = 500000, .scaling_factor = 1, .n_ctx_original = 1024};
    expected_rope = none;
    opened(&(change){.entries = {{"*.rope.scaling.type", TEXT, 0, "none"}, {"*.rope.scaling.factor", F32, 1, NULL}}}, check_rope);
    expected_rope.freq_factors = factors;
    opened(&(change){.freq_factors = factors}, check_rope);
    expected_rope = none;
    expected_rope.freq_base = 10000;
    expected_rope.n_dims = 8;
    opened(&(change){.entries = {{"*.rope.freq_base", OMIT, 0, NULL}, {"*.rope.dimension_count", U32, 8, NULL}}}, check_rope);
    expected_rope = none;
    expected_rope.scaling = WEFT_ROPE_LINEAR;
    expected_rope.scaling_factor = 4;
    opened(&(change){.entries = {{"*.rope.scaling.type", TEXT, 0, "linear"}, {"*.rope.scaling.factor", F32, 4, NULL}}}, check_rope);
    opened(&(change){.entries = {{"*.rope.scaling.factor", F32, 4, NULL}}}, check_rope);
    opened(&(change){.entries = {{"*.rope.scale_linear", F32, 4, NULL}}}, check_rope);
    expected_rope.attn_factor = 1.25f;
    opened(&(change){.entries = {{"*.rope.scaling.factor", F32, 4, NULL}, {"*.rope.scaling.attn_factor", F32, 1.25, NULL}}},
           check_rope);
    expected_rope = none;
    expected_rope.attn_factor = 1.25f;
    opened(&(change){.entries = {{"*.rope.scaling.attn_factor", F32, 1.25, NULL}}}, check_rope);
    expected_rope.attn_factor = 0;
    opened(&(change){.entries = {{"*.rope.scaling.yarn_attn_factor", F32, 1.25, NULL}}}, check_rope);
    expected_rope.scaling_factor = 4;
    expected_rope.scaling = WEFT_ROPE_YARN;
    expected_rope.n_ctx_original = 1024;
    opened(&(change){.entries = {{"*.rope.scaling.type", TEXT, 0, "yarn"}, {"*.rope.scaling.factor", F32, 4, NULL}}}, check_rope);
    expected_rope.n_ctx_original = 256;
    expected_rope.attn_factor = 0.5f;
    expected_rope.yarn_beta_fast = 16;
    expected_rope.yarn_beta_slow = 2;
    opened(&(change){.entries = {{"*.rope.scaling.type", TEXT, 0, "yarn"},
                                 {"*.rope.scaling.factor", F32, 4, NULL},
                                 {"*.rope.scaling.original_context_length", U32, 256, NULL},
                                 {"*.rope.scaling.attn_factor", F32, 0.5, NULL},
                                 {"*.rope.scaling.yarn_beta_fast", F32, 16, NULL},
                                 {"*.rope.scaling.yarn_beta_slow", F32, 2, NULL}}},
           check_rope);
}

/* What is NULL although it is needed is refused, or nothing is done; what has a size of 0 may be NULL. */
static void check_missing(const weft_model *model) {
    weft_token token = 0;
    char text[4];
    size_t n = 5;
    const weft_status refused[] = {
        weft_tokenize(NULL, "a", 1, false, &token, 1, &n, NULL),     weft_tokenize(model, NULL, 1, false, &token, 1, &n, NULL),
        weft_tokenize(model, "a", 1, false, NULL, 1, &n, NULL),      weft_tokenize(model, "a", 1, false, &token, 1, NULL, NULL),
        weft_detokenize(NULL, &token, 1, false, text, 4, &n, NULL),  weft_detokenize(model, NULL, 1, false, text, 4, &n, NULL),
        weft_detokenize(model, &token, 1, false, NULL, 4, &n, NULL), weft_detokenize(model, &token, 1, false, text, 4, NULL, NULL),
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) assert_int_equal(refused[i], WEFT_INVALID_ARGUMENT);
    assert_int_equal(n, 5);
    for (int special = 0; special < 2; special++) {
        assert_int_equal(weft_tokenize(model, NULL, 0, special, NULL, 0, &n, NULL), WEFT_OK);
        assert_int_equal(n, special); /* the BOS */
        assert_int_equal(weft_detokenize(model, NULL, 0, special, NULL, 0, &n, NULL), WEFT_OK);
        assert_int_equal(n, 0);
    }
    assert_true(weft_model_metadata(model, 0, NULL, NULL, NULL, 0));
    assert_true(weft_model_metadata(model, 0, NULL, NULL, NULL, 8));
    assert_false(weft_model_tensor_at(model, 0, NULL));
    weft_model_describe(model, NULL);
}

static void check_no_model(void) {
    const char *key = "key", *type = "type";
    char value[] = "value";
    weft_model_info info = {.path = "path", .n_vocab = 5};
    weft_model_tensor tensor = {.name = "name"};
    assert_null(weft_model_runtime(NULL));
    weft_model_describe(NULL, &info);
    assert_true(info.path == NULL && info.n_vocab == 0 && info.bos == WEFT_NO_TOKEN && info.eos == WEFT_NO_TOKEN);
    assert_false(weft_model_metadata(NULL, 0, &key, &type, value, sizeof value));
    assert_false(weft_model_tensor_at(NULL, 0, &tensor));
    assert_false(weft_token_ends(NULL, 0));
}

static void refuses_wrong_arguments(void **state) {
    (void)state;
    opened(&(change){0}, check_missing);
    check_no_model();
    weft_model *model = NULL;
    weft_runtime *runtime = NULL;
    assert_int_equal(weft_runtime_create(NULL, &runtime, NULL), WEFT_OK);
    assert_int_equal(weft_model_open(NULL, MODEL_PATH, &model, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_model_open(runtime, NULL, &model, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_model_open(runtime, MODEL_PATH, NULL, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_model_open(runtime, "no such file", &model, NULL), WEFT_NOT_FOUND);
    weft_model_close(NULL);
    weft_runtime_destroy(runtime);
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    static const float factors[HEAD_DIM / 2] = {1, 1, 1, 2, 2, 2, 4, 4};
    for (int after = 0; after < 2; after++) {
        weft_status status = WEFT_OUT_OF_MEMORY;
        size_t n_failed = 0;
        for (; status; n_failed++) {
            limited_allocator limits = {0};
            weft_runtime *runtime = limited_runtime(&limits);
            weft_model *model = NULL;
            write_model(runtime, &(change){.family = "qwen2", .freq_factors = factors});
            limits.fail_at = limits.n_all + n_failed + 1;
            limits.fail_after = after;
            status = weft_model_open(runtime, MODEL_PATH, &model, NULL);
            assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
            weft_model_close(model);
            weft_runtime_destroy(runtime);
            assert_int_equal(limits.n_live, 0);
        }
        assert_in_range(n_failed, 20, 10000);
    }
}

static int remove_file(void **state) {
    (void)state;
    remove(MODEL_PATH);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_models),
        cmocka_unit_test(reads_what_converters_write),
        cmocka_unit_test(reads_vocabularies_of_any_family),
        cmocka_unit_test(converts_vectors),
        cmocka_unit_test(notices_changed_files),
        cmocka_unit_test(reads_rope_scaling),
        cmocka_unit_test(refuses_wrong_arguments),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, remove_file);
}
