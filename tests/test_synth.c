/* Synthetic models: shapes against the published models' figures, weights' statistics, determinism, and what is left on failure. */
#include "decoder/synth.h"
#include "limited_allocator.h"
#include "os/os.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATH "test_synth.tmp"
#define OTHER_PATH "test_synth.other.tmp"

static weft_runtime *runtime;

/* Small, with all that the large ones have: two K types, rows that are no multiple of 256, frequency factors. */
static const weft_synth_model small = {"small", "llama", 3, 256, 4, 2, 64, 352, 320, 1024, 1e-5f, 10000, false, 8, NULL};

static bool exists(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static unsigned char *contents(const char *path, size_t *size) {
    weft_os_file file;
    assert_int_equal(weft_os_file_open(&file, path, NULL), WEFT_OK);
    unsigned char *bytes = malloc((size_t)file.size);
    assert_non_null(bytes);
    assert_int_equal(weft_os_file_read(&file, 0, bytes, (size_t)file.size, NULL), WEFT_OK);
    *size = (size_t)file.size;
    weft_os_file_close(&file);
    return bytes;
}

static void write_small(const char *mix, uint64_t seed, const char *path) {
    weft_error error;
    weft_status status = weft_synth_write(runtime, &small, weft_mix_find(mix), &(weft_synth_options){.seed = seed}, path, &error);
    if (status) print_error("%s\n", error.message);
    assert_int_equal(status, WEFT_OK);
}

static void same_seed_same_file(void **state) {
    (void)state;
    size_t sizes[3];
    unsigned char *files[3];
    for (uint64_t i = 0; i < 3; i++) {
        write_small("Q4_K_M", 40 + i / 2, PATH);
        files[i] = contents(PATH, &sizes[i]);
    }
    assert_int_equal(sizes[0], sizes[1]);
    assert_int_equal(sizes[0], sizes[2]);
    assert_memory_equal(files[0], files[1], sizes[0]);
    size_t differing = 0;
    for (size_t i = 0; i < sizes[0]; i++) differing += files[0][i] != files[2][i];
    assert_true(differing > sizes[0] / 2);
    for (int i = 0; i < 3; i++) free(files[i]);
}

/* ---- Shapes ---- */

typedef struct totals {
    uint64_t total;
    int calls;
} totals;

static bool stop_at_once(void *user, uint64_t done, uint64_t total) {
    totals *seen = user;
    seen->calls++;
    seen->total = total;
    return done > total;
}

/* Sizes of published GGUF files (bytes; of those made without an importance matrix and with one head for tied embeddings), whose
 * vocabularies and so headers differ a little; and what 8 and 16 bits a weight must give for the published parameter counts. */
static void sizes_are_those_of_real_files(void **state) {
    (void)state;
    static const struct {
        const char *shape, *mix;
        double bytes, tolerance;
    } cases[] = {
        {"llama-3.1-8b", "Q4_K_M", 4.92e9, 0.003},       {"llama-3.1-8b", "Q4_0", 4.66e9, 0.003},
        {"llama-3.1-8b", "Q8_0", 8.54e9, 0.003},         {"llama-3.1-8b", "BF16", 8030261248.0 * 2, 0.001},
        {"llama-3.2-1b", "Q4_K_M", 8.08e8, 0.006},       {"llama-3.2-1b", "F16", 1235814400.0 * 2, 0.003},
        {"qwen2.5-1.5b", "Q4_K_M", 9.86e8, 0.006},       {"qwen2.5-1.5b", "F16", 1543714304.0 * 2, 0.003},
        {"qwen2.5-0.5b", "Q4_K_M", 3.98e8, 0.006},       {"qwen2.5-0.5b", "Q4_0", 3.52e8, 0.006},
        {"qwen2.5-0.5b", "F16", 494032768.0 * 2, 0.006},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        totals seen = {0};
        weft_synth_options options = {
            .shape = cases[i].shape, .mix = cases[i].mix, .progress = stop_at_once, .progress_user = &seen};
        assert_int_equal(weft_synth(runtime, &options, PATH, NULL), WEFT_CANCELLED);
        assert_int_equal(seen.calls, 1);
        double difference = (double)seen.total / cases[i].bytes - 1;
        if (!(fabs(difference) < cases[i].tolerance)) {
            print_error("%s %s: %llu\n", cases[i].shape, cases[i].mix, (unsigned long long)seen.total);
        }
        assert_true(fabs(difference) < cases[i].tolerance);
        assert_false(exists(PATH));
        assert_false(exists(PATH ".partial"));
    }
}

/* Of 28 layers, Q4_K_M gives these more bits: 28 / 8 at either end, rounded down and up, and every third between. */
static void more_bits_go_to_the_right_layers(void **state) {
    (void)state;
    static const bool more[28] = {1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 1};
    const weft_mix *mix = weft_mix_find("Q4_K_M");
    weft_mix_place place = {.n_layers = 28, .n_gqa = 6};
    for (place.layer = 0; place.layer < 28; place.layer++) {
        weft_type expected = more[place.layer] ? WEFT_Q6_K : WEFT_Q4_K, narrow = more[place.layer] ? WEFT_Q8_0 : WEFT_Q5_0;
        for (int i = 0; i < 4; i++) {
            place.role = i < 2 ? (i == 0 ? WEFT_MIX_VALUE : WEFT_MIX_DOWN) : WEFT_MIX_MATRIX;
            place.k = i % 2 == 0 ? 1536 : 896;
            assert_int_equal(weft_mix_type(mix, &place), i == 0 ? expected : i == 1 ? narrow : i == 2 ? WEFT_Q4_K : WEFT_Q5_0);
        }
    }
}

/* ---- Files ---- */

static void files_open_and_tokenise(void **state) {
    (void)state;
    static const char text[] = "Hello, wonderful world! \xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80 <|eot_id|>\n";
    static const char *const mixes[] = {"Q4_K_M", "Q4_0", "Q8_0", "F16", "BF16"};
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        for (size_t shape = 0; shape < 2; shape++) {
            weft_error error;
            weft_model *model = NULL;
            weft_model_info info;
            weft_token tokens[128];
            char back[128];
            size_t count = 0, size = 0;
            weft_synth_options options = {.shape = weft_synth_shape(shape), .mix = mixes[i]};
            assert_int_equal(weft_synth(runtime, &options, PATH, &error), WEFT_OK);
            weft_status status = weft_model_open(runtime, PATH, &model, &error);
            if (status) print_error("%s\n", error.message);
            assert_int_equal(status, WEFT_OK);
            weft_model_describe(model, &info);
            assert_string_equal(info.chat_format, "file");
            assert_string_equal(info.tokenizer, shape ? "bpe qwen2" : "bpe llama-bpe");
            assert_int_equal(weft_tokenize(model, text, sizeof text - 1, false, tokens, 128, &count, &error), WEFT_OK);
            assert_true(count < sizeof text - 3); /* "el", "or" and others are merged */
            assert_int_equal(weft_detokenize(model, tokens, count, true, back, sizeof back, &size, &error), WEFT_OK);
            assert_int_equal(size, sizeof text - 1);
            assert_memory_equal(back, text, size);
            weft_model_close(model);
        }
    }
}

/* Every vocabulary has as many different tokens as it says, and each merge makes one of them. */
static void vocabularies_are_consistent(void **state) {
    (void)state;
    weft_gguf_writer writer;
    size_t size = 0;
    weft_gguf *gguf = NULL;
    weft_synth_model model = {.family = "qwen2", .n_vocab = 20000};
    weft_gguf_writer_begin(&writer, runtime);
    weft_synth_vocabulary(&writer, &model);
    const unsigned char *header = weft_gguf_header(&writer, &size);
    FILE *file = fopen(PATH, "wb");
    assert_int_equal(fwrite(header, 1, size, file), size);
    fclose(file);
    weft_gguf_writer_end(&writer);
    assert_int_equal(weft_gguf_open(runtime, PATH, &gguf, NULL), WEFT_OK);
    const weft_gguf_value *tokens = weft_gguf_find(gguf, "tokenizer.ggml.tokens"),
                          *merges = weft_gguf_find(gguf, "tokenizer.ggml.merges");
    assert_int_equal(tokens->count, 20000);
    assert_int_equal(merges->count, 20000 - 256 - 3);
    for (uint64_t i = 0; i < merges->count; i++) {
        weft_text merge = weft_gguf_text_at(merges, i), made = weft_gguf_text_at(tokens, 256 + i);
        assert_int_equal(merge.size, made.size + 1);
        assert_memory_equal(merge.bytes, made.bytes, made.size - 1);
        assert_true(merge.bytes[merge.size - 2] == ' ' && merge.bytes[merge.size - 1] == made.bytes[made.size - 1]);
        /* Tokens are sorted by length and then by their symbols, and none is there twice. */
        weft_text before = weft_gguf_text_at(tokens, 255 + i);
        bool space = (unsigned char)made.bytes[0] == 0xC4, space_before = (unsigned char)before.bytes[0] == 0xC4;
        if (i == 0 || made.size - space > before.size - space_before) continue;
        assert_int_equal(made.size - space, before.size - space_before);
        assert_true(space > space_before || memcmp(made.bytes, before.bytes, made.size) > 0);
    }
    weft_gguf_close(gguf);
}

/* ---- Weights ---- */

static void weights_have_the_deviation_asked_for(void **state) {
    (void)state;
    static const weft_type types[] = {WEFT_Q4_0, WEFT_Q4_1, WEFT_Q5_0,   WEFT_Q5_1,   WEFT_Q8_0,  WEFT_Q2_K, WEFT_Q3_K, WEFT_Q4_K,
                                      WEFT_Q5_K, WEFT_Q6_K, WEFT_IQ4_NL, WEFT_IQ4_XS, WEFT_MXFP4, WEFT_F16,  WEFT_BF16};
    enum { N = 1 << 16 };
    float *values = malloc(N * sizeof *values);
    unsigned char *blocks = malloc(N * 2);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        for (float deviation = 0.005f; deviation < 1; deviation *= 4) {
            const weft_type_info *info = weft_type_get(types[i]);
            weft_synth_blocks(types[i], weft_synth_key(7, i), 1000, N / info->block_elements, deviation, blocks);
            for (int64_t j = 0; j < N; j++) values[j] = NAN;
            assert_int_equal(weft_dequantise(types[i], blocks, N, values, NULL), WEFT_OK);
            double sum = 0, squares = 0;
            for (size_t j = 0; j < N; j++) {
                sum += (double)values[j];
                squares += (double)values[j] * (double)values[j];
            }
            double mean = sum / N, spread = sqrt(squares / N - mean * mean);
            if (!(fabs(spread / (double)deviation - 1) < 0.06)) print_error("%s %g: %g\n", info->name, (double)deviation, spread);
            assert_true(fabs(spread / (double)deviation - 1) < 0.06);
            assert_true(fabs(mean) < 0.03 * (double)deviation);
        }
    }
    free(values);
    free(blocks);
}

/* A tensor's blocks do not depend on the pieces in which it is read. */
static void blocks_depend_on_their_number_only(void **state) {
    (void)state;
    static const weft_type types[] = {WEFT_Q4_0, WEFT_Q4_1, WEFT_Q5_0,   WEFT_Q5_1,   WEFT_Q8_0,  WEFT_Q2_K, WEFT_Q3_K, WEFT_Q4_K,
                                      WEFT_Q5_K, WEFT_Q6_K, WEFT_IQ4_NL, WEFT_IQ4_XS, WEFT_MXFP4, WEFT_F16,  WEFT_BF16};
    static unsigned char whole[64 * 210], pieces[64 * 210];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t block_bytes = weft_type_get(types[i])->block_bytes;
        weft_synth_blocks(types[i], 99, 3, 64, 0.1f, whole);
        for (size_t first = 0, n = 1; first < 64; first += n, n = n % 7 + 1) {
            if (n > 64 - first) n = 64 - first;
            weft_synth_blocks(types[i], 99, 3 + first, n, 0.1f, pieces + first * block_bytes);
        }
        assert_memory_equal(whole, pieces, 64 * block_bytes);
        weft_synth_blocks(types[i], 98, 3, 64, 0.1f, pieces);
        assert_memory_not_equal(whole, pieces, 64 * block_bytes);
    }
}

/* Llama 3.1's rule: short wavelengths are kept, long ones stretched by the extension, and those between by something between. */
static void frequency_factors_rise(void **state) {
    (void)state;
    weft_gguf *gguf = NULL;
    float factors[32];
    write_small("Q8_0", 1, PATH);
    assert_int_equal(weft_gguf_open(runtime, PATH, &gguf, NULL), WEFT_OK);
    const weft_model_tensor *tensor = weft_gguf_tensor_find(gguf, "rope_freqs.weight");
    assert_int_equal(tensor->tensor.shape[0], 32);
    assert_int_equal(weft_gguf_read(gguf, tensor, 0, factors, sizeof factors, NULL), WEFT_OK);
    assert_true(factors[0] == 1 && factors[31] == 8);
    for (int i = 1; i < 32; i++) assert_true(factors[i] >= factors[i - 1]);
    weft_gguf_close(gguf);
}

/* ---- Failure ---- */

static bool stop_in_the_middle(void *user, uint64_t done, uint64_t total) {
    (void)user;
    return done < total / 2;
}

static void cancelling_leaves_what_was_there(void **state) {
    (void)state;
    size_t before_size, after_size;
    write_small("F16", 1, PATH);
    unsigned char *before = contents(PATH, &before_size);
    weft_synth_options options = {.shape = "tiny", .mix = "BF16", .progress = stop_in_the_middle};
    assert_int_equal(weft_synth(runtime, &options, PATH, NULL), WEFT_CANCELLED);
    unsigned char *after = contents(PATH, &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    assert_false(exists(PATH ".partial"));
    free(before);
    free(after);
}

static void says_what_is_wrong(void **state) {
    (void)state;
    weft_error error;
    weft_synth_options options = {.shape = "tiny", .mix = "Q8_0"};
    assert_int_equal(weft_synth(NULL, &options, PATH, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_synth(runtime, NULL, PATH, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_synth(runtime, &options, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_synth(runtime, &options, "no/such/folder/file", &error), WEFT_IO);
    assert_non_null(strstr(error.message, "no/such/folder/file"));
    options.mix = "Q3_M";
    assert_int_equal(weft_synth(runtime, &options, PATH, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "Q4_K_M"));
    options.mix = NULL;
    assert_int_equal(weft_synth(runtime, &options, PATH, &error), WEFT_INVALID_ARGUMENT);
    options = (weft_synth_options){.shape = "llama-4", .mix = "Q4_0"};
    assert_int_equal(weft_synth(runtime, &options, PATH, &error), WEFT_INVALID_ARGUMENT);
    for (size_t i = 0; weft_synth_shape(i); i++) assert_non_null(strstr(error.message, weft_synth_shape(i)));
    options.shape = NULL;
    assert_int_equal(weft_synth(runtime, &options, PATH, &error), WEFT_INVALID_ARGUMENT);
}

static bool count_calls(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    ++*(int *)user;
    return true;
}

/* Something that is no regular file is not replaced, and nothing is written before that is known. */
static void takes_no_folders_or_devices_place(void **state) {
    (void)state;
    weft_error error = {0};
    int n_calls = 0;
    weft_synth_options options = {.shape = "tiny", .mix = "Q4_0", .progress = count_calls, .progress_user = &n_calls};
    assert_int_equal(weft_synth(runtime, &options, ".", &error), WEFT_IO);
    assert_non_null(strstr(error.message, "not a regular file"));
    assert_int_equal(n_calls, 0);
    assert_false(exists("..partial"));
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    weft_status status = WEFT_OUT_OF_MEMORY;
    size_t n_failed = 0;
    for (; status; n_failed++) {
        limited_allocator limits = {0};
        weft_runtime *limited = limited_runtime(&limits);
        limits.fail_at = limits.n_all + n_failed + 1;
        remove(OTHER_PATH);
        status = weft_synth(limited, &(weft_synth_options){.shape = "tiny", .mix = "Q4_0"}, OTHER_PATH, NULL);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_int_equal(exists(OTHER_PATH), status == WEFT_OK);
        assert_false(exists(OTHER_PATH ".partial"));
        weft_runtime_destroy(limited);
        assert_int_equal(limits.n_live, 0);
    }
    assert_in_range(n_failed, 4, 1000);
}

static int begin(void **state) {
    (void)state;
    remove(PATH);
    return weft_runtime_create(NULL, &runtime, NULL) != WEFT_OK;
}

static int end(void **state) {
    (void)state;
    weft_runtime_destroy(runtime);
    remove(PATH);
    remove(OTHER_PATH);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_those_of_real_files),
        cmocka_unit_test(more_bits_go_to_the_right_layers),
        cmocka_unit_test(same_seed_same_file),
        cmocka_unit_test(files_open_and_tokenise),
        cmocka_unit_test(vocabularies_are_consistent),
        cmocka_unit_test(weights_have_the_deviation_asked_for),
        cmocka_unit_test(blocks_depend_on_their_number_only),
        cmocka_unit_test(frequency_factors_rise),
        cmocka_unit_test(cancelling_leaves_what_was_there),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(takes_no_folders_or_devices_place),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
