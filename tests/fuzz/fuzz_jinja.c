/* Chat templates and conversations as libFuzzer makes them: what comes before the first zero byte is the template, the rest JSON.
 *     cmake --preset fuzz -G Ninja && cmake --build --preset fuzz && build/fuzz/bin/fuzz_jinja [-runs=200000]
 */
#include "decoder/jinja/jinja.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static weft_runtime *runtime;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    if (weft_runtime_create(NULL, &runtime, NULL)) abort();
    return 0;
}

static bool now(void *user, weft_date *date) {
    (void)user;
    *date = (weft_date){2024, 2, 29, 23, 59, 58};
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char usual[] =
        "[{\"role\":\"user\",\"content\":\" Hi \xC3\xA9\"},{\"role\":\"assistant\",\"content\":null,\"n\":[1,2.5,true]}]";
    static const weft_jinja_own own[] = {{"bos_token", {"<s>", 3}}, {"eos_token", {"</s>", 4}}};
    const weft_jinja_limits limits = {.steps = 100000, .output = 1 << 16, .memory = 4 << 20};
    const uint8_t *end = size ? memchr(bytes, 0, size) : NULL;
    weft_text source = {(const char *)bytes, end ? (size_t)(end - bytes) : size}, json = {usual, sizeof usual - 1};
    if (end) json = (weft_text){(const char *)end + 1, size - source.size - 1};
    weft_jinja *parsed = NULL;
    weft_error error;
    if (weft_jinja_parse(runtime, source, &limits, &parsed, &error)) return 0;
    const weft_jinja_input input = {
        .messages = json, .tools = json, .own = own, .n_own = 2, .add_generation_prompt = true, .clock = now};
    weft_jinja_rendered rendered;
    if (weft_jinja_render(parsed, &input, &limits, &rendered, &error) == WEFT_OK) {
        if (rendered.size > limits.output) abort();
        for (size_t i = 0; i < rendered.size; i++)
            if (rendered.own[i] > 1) abort();
        weft_release(runtime, rendered.bytes);
        weft_release(runtime, rendered.own);
    }
    weft_jinja_destroy(parsed);
    return 0;
}
