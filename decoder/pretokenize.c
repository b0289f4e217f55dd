/* Pre-tokenizers: the patterns that were published with the models (tokenizer.json), run by PCRE2. */
#include "decoder/pretokenize.h"
#include "decoder/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#define MAX_STAGES 2

struct weft_pretokenizer {
    weft_runtime *runtime;
    const struct scheme *scheme;
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_code *codes[MAX_STAGES];
};

/* Unicode's White_Space. PCRE2's \s would add U+180E, which lost the property in Unicode 6.3. */
#define SPACE "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
/* Letters and numbers of Unicode 16, which the reference tokenizers know: with what 15 and 16 added, for a PCRE2 that is older. */
#define LETTER                                                                                                                     \
    "\\p{L}"                                                                                                                       \
    "\\x{1C89}-\\x{1C8A}\\x{A7CB}-\\x{A7CD}\\x{A7DA}-\\x{A7DC}\\x{105C0}-\\x{105F3}\\x{10D4A}-\\x{10D65}"                          \
    "\\x{10D6F}-\\x{10D85}\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}"                     \
    "\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}\\x{113D3}\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}"                      \
    "\\x{11F12}-\\x{11F33}\\x{1342F}\\x{13441}-\\x{13446}\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}"                               \
    "\\x{16D40}-\\x{16D6C}\\x{18CFF}\\x{1B132}\\x{1B155}\\x{1DF25}-\\x{1DF2A}\\x{1E030}-\\x{1E06D}"                                \
    "\\x{1E4D0}-\\x{1E4EB}\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"
#define NUMBER                                                                                                                     \
    "\\p{N}"                                                                                                                       \
    "\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}\\x{11F50}-\\x{11F59}\\x{16130}-\\x{16139}"                    \
    "\\x{16D70}-\\x{16D79}\\x{1CCF0}-\\x{1CCF9}\\x{1D2C0}-\\x{1D2D3}\\x{1E4F0}-\\x{1E4F9}\\x{1E5F1}-\\x{1E5FA}"
#define S "[" SPACE "]"
#define NOT_SPACE "[^" SPACE "]"
#define L "[" LETTER "]"
#define N "[" NUMBER "]"
#define OTHER "[^" SPACE LETTER NUMBER "]"

#define GPT_2 "'s|'t|'re|'ve|'m|'ll|'d| ?" L "+| ?" N "+| ?" OTHER "+|" S "+(?!" NOT_SPACE ")|" S "+"
#define LLAMA_3_WITH(numbers)                                                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n" LETTER NUMBER "]?" L "+|" numbers "| ?" OTHER "+[\\r\\n]*|" S "*[\\r\\n]+|" S          \
    "+(?!" NOT_SPACE ")|" S "+"

/* Each stage cuts the pieces of the previous stage into its matches and the text between them. */
struct scheme {
    const char *name;
    bool ignores_merges, adds_bos;
    const char *patterns[MAX_STAGES];
};

static const struct scheme gpt_2 = {"gpt-2", false, false, {GPT_2}};
static const struct scheme llama_3 = {"llama-bpe", true, true, {LLAMA_3_WITH(N "{1,3}")}};
static const struct scheme qwen2 = {"qwen2", false, false, {LLAMA_3_WITH(N)}};
/* The reference finds this scheme's digits without a pattern, and knows the numbers of Unicode 17. */
static const struct scheme smollm = {"smollm", false, false, {"[" NUMBER "\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]", GPT_2}};

/* Names in tokenizer.ggml.pre. */
static const struct {
    const char *name;
    const struct scheme *scheme;
} names[] = {
    {"gpt-2", &gpt_2}, {"llama-bpe", &llama_3}, {"llama3", &llama_3},         {"llama-v3", &llama_3},
    {"qwen2", &qwen2}, {"smollm", &smollm},     {"deepseek-r1-qwen", &qwen2},
};

static void *pcre2_allocate(PCRE2_SIZE size, void *runtime) {
    return weft_allocate(runtime, size);
}

static void pcre2_release(void *memory, void *runtime) {
    weft_release(runtime, memory);
}

static weft_status compile(weft_pretokenizer *pretokenizer, weft_error *error) {
    weft_runtime *runtime = pretokenizer->runtime;
    pretokenizer->memory = pcre2_general_context_create(pcre2_allocate, pcre2_release, runtime);
    pretokenizer->limits = pretokenizer->memory ? pcre2_match_context_create(pretokenizer->memory) : NULL;
    pcre2_compile_context *options = pretokenizer->memory ? pcre2_compile_context_create(pretokenizer->memory) : NULL;
    weft_status status = WEFT_OK;
    if (!pretokenizer->limits || !options) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the pre-tokenizer");
    for (int stage = 0; status == WEFT_OK && stage < MAX_STAGES && pretokenizer->scheme->patterns[stage]; stage++) {
        const char *pattern = pretokenizer->scheme->patterns[stage];
        int code = 0;
        PCRE2_SIZE at = 0;
        pretokenizer->codes[stage] = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                                   PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, options);
        if (!pretokenizer->codes[stage]) {
            bool memory = code == PCRE2_ERROR_HEAP_FAILED;
            status = weft_fail(error, memory ? WEFT_OUT_OF_MEMORY : WEFT_UNSUPPORTED,
                               "PCRE2 cannot compile the pattern of %s: error %d at %zu", pretokenizer->scheme->name, code, at);
        } else {
            /* If the system forbids generating code at run time, PCRE2's interpreter gives the same matches more slowly. */
            pcre2_jit_compile(pretokenizer->codes[stage], PCRE2_JIT_COMPLETE);
        }
    }
    pcre2_compile_context_free(options);
    if (pretokenizer->limits) pcre2_set_match_limit(pretokenizer->limits, UINT32_MAX);
    return status;
}

weft_status weft_pretokenizer_create(weft_runtime *runtime, const char *path, weft_text name, weft_pretokenizer **pretokenizer,
                                     weft_error *error) {
    const struct scheme *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == name.size && memcmp(names[i].name, name.bytes, name.size) == 0) found = names[i].scheme;
    if (!found)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: the pre-tokenizer \"%.*s\" (tokenizer.ggml.pre) is not supported", path,
                         name.size < 64 ? (int)name.size : 64, name.bytes);
    weft_pretokenizer *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the pre-tokenizer");
    made->runtime = runtime;
    made->scheme = found;
    weft_status status = compile(made, error);
    if (status != WEFT_OK) {
        weft_pretokenizer_destroy(made);
        return status;
    }
    *pretokenizer = made;
    return WEFT_OK;
}

void weft_pretokenizer_destroy(weft_pretokenizer *pretokenizer) {
    if (!pretokenizer) return;
    for (int stage = 0; stage < MAX_STAGES; stage++) pcre2_code_free(pretokenizer->codes[stage]);
    pcre2_match_context_free(pretokenizer->limits);
    pcre2_general_context_free(pretokenizer->memory);
    weft_release(pretokenizer->runtime, pretokenizer);
}

const char *weft_pretokenizer_name(const weft_pretokenizer *pretokenizer) {
    return pretokenizer->scheme->name;
}

bool weft_pretokenizer_ignores_merges(const weft_pretokenizer *pretokenizer) {
    return pretokenizer->scheme->ignores_merges;
}

bool weft_pretokenizer_adds_bos(const weft_pretokenizer *pretokenizer) {
    return pretokenizer->scheme->adds_bos;
}

/* ---- Cutting ---- */

struct cutter {
    const weft_pretokenizer *pretokenizer;
    pcre2_match_data *match[MAX_STAGES];
    weft_piece_function piece;
    void *user;
};

/* Where the next match of a stage begins and ends; both `size` where there is none. */
static weft_status next_match(const struct cutter *cutter, int stage, const char *text, size_t size, size_t from, size_t *begin,
                              size_t *end, weft_error *error) {
    const pcre2_code *code = cutter->pretokenizer->codes[stage];
    pcre2_match_data *match = cutter->match[stage];
    pcre2_match_context *limits = cutter->pretokenizer->limits;
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int found = pcre2_match(code, subject, size, from, PCRE2_NO_UTF_CHECK, match, limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(code, subject, size, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match, limits);
    *begin = *end = size;
    if (found == PCRE2_ERROR_NOMATCH) return WEFT_OK;
    if (found == PCRE2_ERROR_NOMEMORY || found == PCRE2_ERROR_HEAPLIMIT)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to cut the text into words");
    if (found < 0) return weft_fail(error, WEFT_FAILED, "PCRE2 could not cut the text into words: error %d", found);
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(match);
    *begin = offsets[0];
    *end = offsets[1];
    return WEFT_OK;
}

static weft_status cut(const struct cutter *cutter, int stage, const char *text, size_t size, weft_error *error) {
    if (size == 0) return WEFT_OK;
    if (stage == MAX_STAGES || !cutter->pretokenizer->codes[stage]) return cutter->piece(cutter->user, text, size, error);
    for (size_t at = 0; at < size;) {
        size_t begin, end;
        weft_status status = next_match(cutter, stage, text, size, at, &begin, &end, error);
        if (status == WEFT_OK) status = cut(cutter, stage + 1, text + at, begin - at, error);
        if (status == WEFT_OK) status = cut(cutter, stage + 1, text + begin, end - begin, error);
        if (status != WEFT_OK) return status;
        at = end;
    }
    return WEFT_OK;
}

/* The end of the run of characters, or of bytes that are none, which begins at `at`. */
static size_t run_end(const char *text, size_t size, size_t at, bool valid) {
    while (at < size) {
        size_t n = weft_utf8_size(text + at, size - at);
        if ((n != 0) != valid) break;
        at += n ? n : 1;
    }
    return at;
}

weft_status weft_pretokenize(const weft_pretokenizer *pretokenizer, const char *text, size_t size, weft_piece_function piece,
                             void *user, weft_error *error) {
    struct cutter cutter = {.pretokenizer = pretokenizer, .piece = piece, .user = user};
    weft_status status = WEFT_OK;
    for (int stage = 0; stage < MAX_STAGES && pretokenizer->codes[stage]; stage++) {
        cutter.match[stage] = pcre2_match_data_create(1, pretokenizer->memory);
        if (!cutter.match[stage]) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to cut the text into words");
    }
    for (size_t at = 0; status == WEFT_OK && at < size;) {
        size_t end = run_end(text, size, at, true);
        status = cut(&cutter, 0, text + at, end - at, error);
        size_t next = run_end(text, size, end, false);
        if (status == WEFT_OK && next > end) status = piece(user, text + end, next - end, error);
        at = next;
    }
    for (int stage = 0; stage < MAX_STAGES; stage++) pcre2_match_data_free(cutter.match[stage]);
    return status;
}
