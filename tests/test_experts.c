/* Models with routed experts: what their files must hold, what a step reads, and that a row does not depend on other rows. */
#include "engine_support.h"

#include "decoder/family.h"
#include "decoder/layer.h"
#include "decoder/synth.h"

#define PATH "test_experts.tmp"
enum { N_LAYERS = 2, N_EMBD = 64, N_FF = 96, N_EXPERTS = 8, N_USED = 2, N_SHARED = 32 };

static weft_runtime *runtime;

#define INTEGER(key, value)                                                                                                        \
    { .suffix = (key), .number = (value) }
#define END                                                                                                                        \
    { .suffix = NULL }

/* A file with these entries, in F32. */
static void write_model(const weft_synth_entry *keys) {
    const weft_synth_model model = {"test", "llama", N_LAYERS, N_EMBD, 2, 2, 32, N_FF, 320, 512, 1e-5f, 10000, false, 0, keys};
    weft_error error = {0};
    CHECK(weft_synth_write(runtime, &model, weft_mix_find("F32"), &(weft_synth_options){.seed = 5}, PATH, &error));
}

static weft_model *open_model(const weft_synth_entry *keys) {
    weft_error error = {0};
    weft_model *model = NULL;
    write_model(keys);
    CHECK(weft_model_open(runtime, PATH, &model, &error));
    return model;
}

static const weft_synth_entry usual[] = {INTEGER("expert_count", N_EXPERTS), INTEGER("expert_used_count", N_USED), END};

/* ---- Files ---- */

static void refused(const weft_family *family, weft_status expected, const char *says) {
    weft_error error = {0};
    weft_model *model = NULL;
    weft_status status = weft_model_open_as(runtime, PATH, family, &model, &error);
    if (status != expected || !strstr(error.message, says)) fail_msg("status %d: %s, not %s", status, error.message, says);
    assert_null(model);
}

static void files_are_checked(void **state) {
    (void)state;
    static const weft_synth_entry not_used[] = {INTEGER("expert_count", N_EXPERTS), END};
    static const weft_synth_entry too_many[] = {INTEGER("expert_count", N_EXPERTS), INTEGER("expert_used_count", N_EXPERTS + 1),
                                                END};
    static const weft_synth_entry sigmoid[] = {INTEGER("expert_count", N_EXPERTS), INTEGER("expert_used_count", N_USED),
                                               INTEGER("expert_gating_func", 2), END};
    static const weft_synth_entry plain[] = {INTEGER("expert_count", 0), END};
    write_model(not_used);
    refused(NULL, WEFT_BAD_FILE, "there is no llama.expert_used_count");
    write_model(too_many);
    refused(NULL, WEFT_BAD_FILE, "llama.expert_used_count");
    write_model(sigmoid);
    refused(NULL, WEFT_UNSUPPORTED, "experts are chosen by function 2");

    weft_family other = *weft_family_find((weft_text){"llama", 5});
    write_model(usual);
    other.parts[WEFT_PART_UP_EXPERTS].matrices = (weft_extent){.one = 7};
    refused(&other, WEFT_BAD_FILE, "blk.0.ffn_up_exps.weight is [64, 96, 8, 1]; the metadata ask for [64, 96, 7, 1]");
    other.parts[WEFT_PART_UP_EXPERTS] = (weft_family_part){.presence = WEFT_ABSENT};
    refused(&other, WEFT_UNSUPPORTED, "blk.0.ffn_up_exps.weight");

    weft_model *model = open_model(plain); /* no experts, and so a plain feed-forward part */
    weft_part_place place;
    assert_true(weft_part_find(model->family, &model->hyper, WEFT_PART_UP, &place));
    assert_false(weft_part_find(model->family, &model->hyper, WEFT_PART_ROUTER, &place));
    weft_model_close(model);
    model = open_model(usual);
    assert_false(weft_part_find(model->family, &model->hyper, WEFT_PART_UP, &place));
    assert_false(weft_part_find(model->family, &model->hyper, WEFT_PART_SHARED_UP, &place));
    assert_true(weft_part_find(model->family, &model->hyper, WEFT_PART_DOWN_EXPERTS, &place));
    assert_true(place.k == N_FF && place.n == N_EMBD && place.n_matrices == N_EXPERTS);
    weft_model_close(model);
}

/* ---- What a step reads ---- */

static uint64_t decode_bytes(weft_model *model, uint64_t *all) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_info info;
    answer a;
    CHECK(
        weft_engine_create(model, &(weft_engine_options){.device = "cpu", .precision = WEFT_EXACT, .n_ctx = 64}, &engine, &error));
    begin_answer(engine, &(question){.seed = 3, .n_prompt = 5, .n_predict = 3}, &a);
    while (a.session) go_on_answer(&a);
    weft_engine_describe(engine, &info);
    *all = info.bytes.weights;
    weft_engine_destroy(engine);
    return info.decode_weight_bytes;
}

static void only_chosen_experts_are_counted(void **state) {
    (void)state;
    static const weft_synth_entry all_used[] = {INTEGER("expert_count", N_EXPERTS), INTEGER("expert_used_count", N_EXPERTS), END};
    const uint64_t expert = (uint64_t)3 * N_EMBD * N_FF * N_LAYERS;
    weft_model *model = open_model(all_used);
    weft_model_info info;
    uint64_t bytes, few_bytes, read_with_all = decode_bytes(model, &bytes);
    weft_model_describe(model, &info);
    assert_int_equal(info.n_active_parameters, info.n_parameters);
    weft_model_close(model);

    model = open_model(usual);
    assert_int_equal(decode_bytes(model, &few_bytes), read_with_all - (N_EXPERTS - N_USED) * expert * sizeof(float));
    assert_int_equal(few_bytes, bytes);
    weft_model_describe(model, &info);
    assert_int_equal(info.n_experts, N_EXPERTS);
    assert_int_equal(info.n_experts_used, N_USED);
    assert_int_equal(info.n_active_parameters, info.n_parameters - (N_EXPERTS - N_USED) * expert);
    weft_model_close(model);
}

/* ---- Rows ---- */

/* The answer to a prompt whose rows run in steps of up to max_rows. */
static void answer_of(weft_model *model, int32_t max_rows, answer *a) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    CHECK(weft_engine_create(
        model,
        &(weft_engine_options){.device = "cpu", .precision = WEFT_EXACT, .n_ctx = 128, .max_rows = max_rows, .max_top = N_TOP},
        &engine, &error));
    begin_answer(engine, &(question){.seed = 9, .n_prompt = 61, .n_predict = 12}, a);
    while (a->session) go_on_answer(a);
    weft_engine_destroy(engine);
}

static void rows_do_not_depend_on_others(void **state) {
    (void)state;
    static const weft_synth_entry shared[] = {INTEGER("expert_count", N_EXPERTS), INTEGER("expert_used_count", N_USED),
                                              INTEGER("expert_shared_feed_forward_length", N_SHARED), END};
    weft_model *model = open_model(shared);
    static answer together, alone;
    answer_of(model, 64, &together);
    answer_of(model, 1, &alone);
    assert_true(together.n > 8);
    assert_memory_equal(&together, &alone, sizeof alone);
    weft_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_are_checked), cmocka_unit_test(only_chosen_experts_are_counted),
                                       cmocka_unit_test(rows_do_not_depend_on_others)};
    if (weft_runtime_create(NULL, &runtime, NULL)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    remove(PATH);
    return failed;
}
