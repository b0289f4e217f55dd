/* Opens libFuzzer's inputs as model files. It needs no corpus: an empty input becomes a small valid model, which libFuzzer then
 * mutates. Runs until an input makes it crash, leak or run for long:
 *     cmake --preset fuzz -G Ninja && cmake --build --preset fuzz && build/fuzz/bin/fuzz_gguf -max_len=131072 [-max_total_time=60]
 */
#include "decoder/model.h"
#include "decoder/synth.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size, unsigned int seed);

#define MAX_BASE ((size_t)1 << 17)

static weft_runtime *runtime;
static char path[64];
static unsigned char bases[2][MAX_BASE];
static size_t base_sizes[2];

static void remove_file(void) {
    remove(path);
}

static void make_base(size_t i) {
    static const weft_synth_model models[] = {{"fuzz", "llama", 1, 32, 2, 1, 16, 32, 270, 64, 1e-5f, 10000, false, 8, NULL},
                                              {"fuzz", "qwen2", 1, 32, 2, 1, 16, 32, 270, 64, 1e-6f, 10000, true, 0, NULL}};
    weft_os_file file;
    if (weft_synth_write(runtime, &models[i], weft_mix_find("Q8_0"), &(weft_synth_options){0}, path, NULL) ||
        weft_os_file_open(&file, path, NULL)) {
        abort();
    }
    base_sizes[i] = (size_t)file.size;
    if (file.size > MAX_BASE || weft_os_file_read(&file, 0, bases[i], base_sizes[i], NULL)) abort();
    weft_os_file_close(&file);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    /* Several fuzzers can run in one folder. */
    snprintf(path, sizeof path, "fuzz_gguf.%llx.tmp", (unsigned long long)weft_os_now());
    if (weft_runtime_create(NULL, &runtime, NULL)) abort();
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) make_base(i);
    atexit(remove_file);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size, unsigned int seed) {
    size_t base = seed % 2;
    if (size < 24 && base_sizes[base] <= max_size) {
        memcpy(bytes, bases[base], base_sizes[base]);
        size = base_sizes[base];
    }
    return LLVMFuzzerMutate(bytes, size, max_size);
}

/* What was accepted must also give a graph and text. */
static void use(weft_model *model) {
    static const char text[] = "A text <|eot_id|> with \xE4\xB8\xAD\n";
    weft_token tokens[64];
    weft_graph *graph = NULL;
    char value[64];
    const char *key, *type;
    size_t count = 0, size = 0;
    for (size_t i = 0; weft_model_metadata(model, i, &key, &type, value, sizeof value); i++) {
        if (strlen(value) >= sizeof value) abort();
    }
    if (weft_tokenize(model, text, sizeof text - 1, true, tokens, 64, &count, NULL) == WEFT_OK) {
        if (count > 64 || weft_detokenize(model, tokens, count, true, value, sizeof value, &size, NULL)) abort();
    }
    if (!model->has_weights || model->unreadable) return;
    if (weft_model_graph(model, &(weft_engine_options){.n_ctx = 16}, 1, 1, &graph, NULL)) abort();
    weft_graph_destroy(graph);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    weft_error error = {.message = ""};
    weft_model *model = NULL;
    remove(path);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) abort();
    weft_status status = weft_model_open(runtime, path, &model, &error);
    if ((status == WEFT_OK) != (model != NULL) || (status && !error.message[0])) abort();
    if (model) use(model);
    weft_model_close(model);
    return 0;
}
