/* Text and tokens as libFuzzer makes them; the first byte says which. Runs until something crashes, leaks, takes
 * long or does not come back as it was:
 *     cmake --preset fuzz -G Ninja && cmake --build --preset fuzz && build/fuzz/bin/fuzz_tokenizer [-max_total_time=60]
 */
#include "decoder/tokenizer.h"
#include "os/os.h"
#include "tests/vocabulary_builder.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static weft_runtime *runtime;
/* One for each scheme, and one that merges characters. */
enum { N_TOKENIZERS = N_SCHEMES + 1 };
static weft_tokenizer *tokenizers[N_TOKENIZERS];

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    char path[64];
    /* Several fuzzers can run in one folder. */
    snprintf(path, sizeof path, "fuzz_tokenizer.%llx.tmp", (unsigned long long)weft_os_now());
    if (weft_runtime_create(NULL, &runtime, NULL)) abort();
    for (int scheme = 0; scheme < N_TOKENIZERS; scheme++) {
        static weft_gguf *files[N_TOKENIZERS]; /* tokenizers borrow from them */
        static const char *const merges[] = {
            "\xE2\x96\x81 t", "h e", "\xE2\x96\x81t he", "e r", "l l", "\xE2\x96\x81 \xE2\x96\x81", NULL};
        vocabulary_spec spec = {.scheme = scheme,
                                .added = {{"<tool>", WEFT_TOKEN_USER_DEFINED}, {"<|im_end|>x", WEFT_TOKEN_CONTROL}}};
        if (scheme == N_SCHEMES) {
            spec.scheme = SPM;
            spec.merges = merges;
            spec.entries[0] = (added_entry){"tokenizer.ggml.model", AS_TEXT, 0, "gemma4"};
        }
        if (!write_vocabulary(runtime, &spec, path) || weft_gguf_open(runtime, path, &files[scheme], NULL) ||
            weft_tokenizer_create(runtime, files[scheme], &tokenizers[scheme], NULL)) {
            abort();
        }
    }
    remove(path);
    return 0;
}

static void there_and_back(const weft_tokenizer *tokenizer, const char *text, size_t size, bool special) {
    weft_token *tokens = malloc((size + 8) * sizeof *tokens);
    char *back = malloc(size + 1);
    size_t count = 0, n_back = 0;
    if (!tokens || !back) abort();
    if (weft_tokenizer_encode(tokenizer, text, size, false, special, tokens, size + 8, &count, NULL) || count > size + 8) abort();
    if (weft_tokenizer_decode(tokenizer, tokens, count, true, back, size, &n_back, NULL)) abort();
    if (n_back != size || (size > 0 && memcmp(back, text, size) != 0)) abort();
    free(tokens);
    free(back);
}

static void any_tokens(const weft_tokenizer *tokenizer, const uint8_t *bytes, size_t size) {
    size_t n = size / 2, n_text = 0, same = 0;
    weft_token *tokens = malloc(n * sizeof *tokens + 1);
    if (!tokens) abort();
    for (size_t i = 0; i < n; i++) tokens[i] = (weft_token)(bytes[2 * i] | bytes[2 * i + 1] << 8) % weft_tokenizer_size(tokenizer);
    if (weft_tokenizer_decode(tokenizer, tokens, n, true, NULL, 0, &n_text, NULL)) abort();
    char *text = malloc(n_text + 1);
    if (!text || weft_tokenizer_decode(tokenizer, tokens, n, true, text, n_text, &same, NULL) || same != n_text) abort();
    free(text);
    free(tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size == 0) return 0;
    const char *text = (const char *)bytes + 1;
    const weft_tokenizer *tokenizer = tokenizers[bytes[0] % N_TOKENIZERS];
    there_and_back(tokenizer, size > 1 ? text : NULL, size - 1, bytes[0] & 128);
    any_tokens(tokenizer, bytes + 1, size - 1);
    return 0;
}
