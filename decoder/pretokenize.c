/* Pre-tokenizers: the patterns of pretokenize_schemes.c, run by PCRE2. */
#include "decoder/pretokenize.h"
#include "decoder/pretokenize_schemes.h"
#include "decoder/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

struct weft_pretokenizer {
    weft_runtime *runtime;
    const weft_scheme *scheme;
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_code *codes[WEFT_MAX_STAGES];
};

static void *pcre2_allocate(PCRE2_SIZE size, void *runtime) {
    return weft_allocate(runtime, size);
}

static void pcre2_release(void *memory, void *runtime) {
    weft_release(runtime, memory);
}

static weft_status compile_stage(weft_pretokenizer *pretokenizer, int stage, pcre2_compile_context *options, weft_error *error) {
    const char *source = pretokenizer->scheme->patterns[stage];
    size_t size = weft_pattern_expand(source, NULL);
    char *pattern = weft_allocate(pretokenizer->runtime, size);
    if (!pattern) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the pre-tokenizer");
    weft_pattern_expand(source, pattern);
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *made =
        pcre2_compile((PCRE2_SPTR)pattern, size, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, options);
    weft_release(pretokenizer->runtime, pattern);
    pretokenizer->codes[stage] = made;
    if (!made)
        return weft_fail(error, code == PCRE2_ERROR_HEAP_FAILED ? WEFT_OUT_OF_MEMORY : WEFT_UNSUPPORTED,
                         "PCRE2 cannot compile a pattern of %s: error %d at %zu", pretokenizer->scheme->name, code, at);
    /* If the system forbids generating code at run time, PCRE2's interpreter gives the same matches more slowly. */
    pcre2_jit_compile(made, PCRE2_JIT_COMPLETE);
    return WEFT_OK;
}

static weft_status compile(weft_pretokenizer *pretokenizer, weft_error *error) {
    weft_runtime *runtime = pretokenizer->runtime;
    pretokenizer->memory = pcre2_general_context_create(pcre2_allocate, pcre2_release, runtime);
    pretokenizer->limits = pretokenizer->memory ? pcre2_match_context_create(pretokenizer->memory) : NULL;
    pcre2_compile_context *options = pretokenizer->memory ? pcre2_compile_context_create(pretokenizer->memory) : NULL;
    weft_status status = WEFT_OK;
    if (!pretokenizer->limits || !options) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the pre-tokenizer");
    for (int stage = 0; status == WEFT_OK && stage < WEFT_MAX_STAGES && pretokenizer->scheme->patterns[stage]; stage++)
        status = compile_stage(pretokenizer, stage, options, error);
    pcre2_compile_context_free(options);
    if (pretokenizer->limits) pcre2_set_match_limit(pretokenizer->limits, UINT32_MAX);
    return status;
}

weft_status weft_pretokenizer_create(weft_runtime *runtime, const char *path, weft_text name, weft_pretokenizer **pretokenizer,
                                     weft_error *error) {
    const weft_scheme *found = weft_scheme_find(name);
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

bool weft_pretokenizer_merges_characters(weft_text name) {
    const weft_scheme *scheme = weft_scheme_find(name);
    return scheme && scheme->merges_characters;
}

void weft_pretokenizer_destroy(weft_pretokenizer *pretokenizer) {
    if (!pretokenizer) return;
    for (int stage = 0; stage < WEFT_MAX_STAGES; stage++) pcre2_code_free(pretokenizer->codes[stage]);
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
    pcre2_match_data *match[WEFT_MAX_STAGES];
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
    if (stage == WEFT_MAX_STAGES || !cutter->pretokenizer->codes[stage]) return cutter->piece(cutter->user, text, size, error);
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
    for (int stage = 0; stage < WEFT_MAX_STAGES && pretokenizer->codes[stage]; stage++) {
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
    for (int stage = 0; stage < WEFT_MAX_STAGES; stage++) pcre2_match_data_free(cutter.match[stage]);
    return status;
}
