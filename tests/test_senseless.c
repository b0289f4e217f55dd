/* Metadata that are well-formed but make no sense, and tensors that do not fit them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MODEL_PATH "test_senseless.tmp"
#include "model_builder.h"

static void refuses_wrong_rope(void **state) {
    (void)state;
    static const struct {
        entry entries[3];
        weft_status status;
        const char *part;
    } cases[] = {
        {{{"*.rope.scaling.type", TEXT, 0, "spiral"}}, WEFT_UNSUPPORTED, "\"spiral\""},
        {{{"*.rope.scaling.type", U32, 1, NULL}}, WEFT_BAD_FILE, "rope.scaling.type"},
        {{{"*.rope.scaling.factor", F32, -2, NULL}}, WEFT_BAD_FILE, "rope.scaling.factor"},
        {{{"*.rope.scaling.factor", F32, NAN, NULL}}, WEFT_BAD_FILE, "rope.scaling.factor"},
        {{{"*.rope.scaling.factor", F32, INFINITY, NULL}}, WEFT_BAD_FILE, "rope.scaling.factor"},
        {{{"*.rope.scaling.factor", F32, 1e30, NULL}}, WEFT_BAD_FILE, "rope.scaling.factor"},
        {{{"*.rope.scaling.factor", F32, 1e-30, NULL}}, WEFT_BAD_FILE, "scaling factor"},
        {{{"*.rope.scaling.type", TEXT, 0, "yarn"}, {"*.rope.scaling.original_context_length", U32, 4294967295.0, NULL}},
         WEFT_BAD_FILE,
         "original_context_length"},
        {{{"*.rope.scaling.type", TEXT, 0, "yarn"}, {"*.rope.scaling.attn_factor", F32, NAN, NULL}}, WEFT_BAD_FILE, "attn_factor"},
        {{{"*.rope.scaling.type", TEXT, 0, "yarn"}, {"*.rope.scaling.yarn_beta_fast", F32, 0, NULL}}, WEFT_BAD_FILE, "beta_fast"},
        {{{"*.rope.scaling.type", TEXT, 0, "yarn"}, {"*.rope.scaling.yarn_log_multiplier", F32, 0.1, NULL}},
         WEFT_UNSUPPORTED,
         "log multiplier"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        change changed = {0};
        memcpy(changed.entries, cases[i].entries, sizeof cases[i].entries);
        refused(&changed, cases[i].status, cases[i].part);
    }
    static const float wrong[] = {0, -1, 1e-30f, 1e30f, (float)INFINITY, (float)NAN};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        float factors[HEAD_DIM / 2] = {1, 1, 1, 1, 1, 1, 1, 1};
        factors[i] = wrong[i];
        refused(&(change){.freq_factors = factors}, WEFT_BAD_FILE, "rope_freqs.weight");
    }
}

/* ---- Senseless metadata ---- */

static void refuses_senseless_metadata(void **state) {
    (void)state;
    static const struct {
        const char *key;
        double number;
        entry_kind kind;
        const char *part;
    } cases[] = {
        {"*.block_count", 0, U32, "block_count is 0"},
        {"*.block_count", 1, U32, "blk.1."},
        {"*.block_count", 3, U32, "blk.2."},
        {"*.block_count", 2147483648.0, U32, "block_count is 2147483648"},
        {"*.block_count", 4294967295.0, U32, "block_count"},
        {"*.block_count", 2, F32, "type f32"},
        {"*.block_count", 0, OMIT, "no llama.block_count"},
        {"*.embedding_length", 0, U32, "embedding_length is 0"},
        {"*.embedding_length", 128, U32, "token_embd.weight"},
        {"*.embedding_length", 62, U32, "not a multiple of 4 heads"},
        {"*.embedding_length", 2147483648.0, U32, "embedding_length"},
        {"*.embedding_length", 0, OMIT, "no llama.embedding_length"},
        {"*.feed_forward_length", 0, U32, "feed_forward_length is 0"},
        {"*.feed_forward_length", 64, U32, "blk.0.ffn_"},
        {"*.feed_forward_length", 4294967295.0, U32, "feed_forward_length"},
        {"*.feed_forward_length", 0, OMIT, "no llama.feed_forward_length"},
        {"*.attention.head_count", 0, U32, "head_count is 0"},
        {"*.attention.head_count", 3, U32, "not a multiple of 2"},
        {"*.attention.head_count", 8, U32, "blk.0.attn_k.weight"},
        {"*.attention.head_count", 64, U32, "64 heads of 1"},
        {"*.attention.head_count", 0, OMIT, "no llama.attention.head_count"},
        {"*.attention.head_count_kv", 0, U32, "head_count_kv is 0"},
        {"*.attention.head_count_kv", 3, U32, "not a multiple of 3"},
        {"*.attention.head_count_kv", 8, U32, "head_count_kv is 8"},
        {"*.attention.head_count_kv", 1, U32, "blk.0.attn_k.weight"},
        {"*.attention.head_count_kv", 0, OMIT, "blk.0.attn_k.weight"},
        {"*.attention.key_length", 0, U32, "key_length is 0"},
        {"*.attention.key_length", 32, U32, "blk.0.attn_q.weight"},
        {"*.attention.key_length", 17, U32, "4 heads of 17"},
        {"*.context_length", 0, U32, "context_length is 0"},
        {"*.context_length", 4294967295.0, U32, "context_length"},
        {"*.context_length", 0, OMIT, "no llama.context_length"},
        {"*.attention.layer_norm_rms_epsilon", 0, F32, "epsilon is 0"},
        {"*.attention.layer_norm_rms_epsilon", -1e-5, F32, "epsilon is -1e-05"},
        {"*.attention.layer_norm_rms_epsilon", NAN, F32, "epsilon is "},
        {"*.attention.layer_norm_rms_epsilon", INFINITY, F32, "epsilon is inf"},
        {"*.attention.layer_norm_rms_epsilon", 1e10, F32, "epsilon is 1e+10"},
        {"*.attention.layer_norm_rms_epsilon", 1, U32, "type u32"},
        {"*.attention.layer_norm_rms_epsilon", 0, OMIT, "no llama.attention.layer_norm_rms_epsilon"},
        {"*.rope.freq_base", 0, F32, "freq_base is 0"},
        {"*.rope.freq_base", -10000, F32, "freq_base is -10000"},
        {"*.rope.freq_base", NAN, F32, "freq_base is "},
        {"*.rope.freq_base", INFINITY, F32, "freq_base is inf"},
        {"*.rope.freq_base", 1e30, F32, "freq_base is 1e+30"},
        {"*.rope.dimension_count", 0, U32, "dimension_count is 0"},
        {"*.rope.dimension_count", 7, U32, "rotates 7 dimensions"},
        {"*.rope.dimension_count", 18, U32, "dimension_count is 18"},
        {"tokenizer.ggml.eot_token_id", 300, U32, "eot_token_id is 300"},
        {"tokenizer.ggml.fim_pad_token_id", 300, U32, "fim_pad_token_id is 300"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(&(change){.entries = {{cases[i].key, cases[i].kind, cases[i].number, NULL}}}, WEFT_BAD_FILE, cases[i].part);
    }
    refused(&(change){.entries = {{"*.attention.value_length", U32, 32, NULL}}}, WEFT_UNSUPPORTED, "values of 32");
    refused(&(change){.entries = {{"split.count", U32, 3, NULL}}}, WEFT_UNSUPPORTED, "one of 3 parts");
}

/* ---- Tensors ---- */

static void refuses_wrong_tensors(void **state) {
    (void)state;
    static const struct {
        shape tensor;
        weft_status status;
        const char *part;
    } cases[] = {
        {{"token_embd.weight", 0, 0, WEFT_F32}, WEFT_BAD_FILE, "no tensor token_embd.weight"},
        {{"token_embd.weight", N_EMBD, N_VOCAB - 1, WEFT_F32}, WEFT_BAD_FILE, "token_embd.weight is [64, 299, 1, 1]"},
        {{"token_embd.weight", N_EMBD, N_VOCAB, WEFT_I32}, WEFT_UNSUPPORTED, "type I32"},
        {{"output.weight", N_EMBD, N_VOCAB + 1, WEFT_F32}, WEFT_BAD_FILE, "output.weight"},
        {{"output_norm.weight", 0, 0, WEFT_F32}, WEFT_BAD_FILE, "no tensor output_norm.weight"},
        {{"output_norm.weight", N_EMBD, 2, WEFT_F32}, WEFT_BAD_FILE, "output_norm.weight"},
        {{"output_norm.weight", N_EMBD, 1, WEFT_Q8_0}, WEFT_UNSUPPORTED, "type Q8_0"},
        {{"blk.0.attn_norm.weight", 32, 1, WEFT_F32}, WEFT_BAD_FILE, "blk.0.attn_norm.weight is [32"},
        {{"blk.1.attn_q.weight", 32, 64, WEFT_F32}, WEFT_BAD_FILE, "blk.1.attn_q.weight is [32"},
        {{"blk.1.ffn_down.weight", N_EMBD, N_FF, WEFT_F32}, WEFT_BAD_FILE, "blk.1.ffn_down.weight is [64, 96"},
        {{"blk.1.ffn_down.weight", 0, 0, WEFT_F32}, WEFT_BAD_FILE, "no tensor blk.1.ffn_down.weight"},
        {{"blk.2.ffn_down.weight", N_FF, N_EMBD, WEFT_F32}, WEFT_BAD_FILE, "blk.2.ffn_down.weight, but"},
        {{"blk.99999999999999999999.x", 32, 1, WEFT_F32}, WEFT_BAD_FILE, "2 layers"},
        {{"blk.0.ffn_gate_inp.weight", N_EMBD, 8, WEFT_F32}, WEFT_UNSUPPORTED, "blk.0.ffn_gate_inp.weight is not one"},
        {{"something.else", 32, 1, WEFT_F32}, WEFT_UNSUPPORTED, "something.else is not one"},
        {{"rope_freqs.weight", 16, 1, WEFT_F32}, WEFT_BAD_FILE, "rope_freqs.weight is [16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(&(change){.tensors = {cases[i].tensor}}, cases[i].status, cases[i].part);
    }
    refused(&(change){.family = "qwen2", .tensors = {{"blk.1.attn_v.bias", 5, 1, WEFT_F32}}}, WEFT_BAD_FILE, "attn_v.bias is [5");
}

static int remove_file(void **state) {
    (void)state;
    remove(MODEL_PATH);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_wrong_rope),
        cmocka_unit_test(refuses_senseless_metadata),
        cmocka_unit_test(refuses_wrong_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, remove_file);
}
