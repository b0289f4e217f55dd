#include "decoder/saved.h"

#include <string.h>

/* ---- The head ---- */

static void pack_options(weft_packed *packed, const weft_sampling_options *options) {
    weft_pack_i32(packed, options->max_tokens);
    weft_pack_real(packed, options->temperature);
    weft_pack_i32(packed, options->top_k);
    weft_pack_real(packed, options->top_p);
    weft_pack_real(packed, options->min_p);
    weft_pack_u64(packed, options->seed);
    weft_pack_u32(packed, options->ignore_end);
}

static void unpack_options(weft_unpacking *from, weft_sampling_options *options) {
    options->max_tokens = weft_unpack_i32(from);
    options->temperature = weft_unpack_real(from);
    options->top_k = weft_unpack_i32(from);
    options->top_p = weft_unpack_real(from);
    options->min_p = weft_unpack_real(from);
    options->seed = weft_unpack_u64(from);
    options->ignore_end = weft_unpack_u32(from) != 0;
}

void weft_saved_pack_head(weft_packed *packed, const weft_saved_head *head) {
    const weft_cache_kind *kind = &head->kind;
    const int32_t numbers[] = {kind->precision, kind->type,      kind->n_layers, kind->n_kv_heads,  kind->head_dim,
                               kind->is_long,   head->page_size, head->n_tokens, head->n_generated, (int32_t)head->chat_state};
    weft_pack_u64(packed, kind->model);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) weft_pack_i32(packed, numbers[i]);
    weft_pack_u32(packed, head->answering);
    weft_pack_u32(packed, head->ended);
    pack_options(packed, &head->options.sampling);
    weft_pack_text(packed, head->held.bytes, head->held.size);
}

bool weft_saved_unpack_head(weft_unpacking *from, weft_saved_head *head) {
    weft_cache_kind *kind = &head->kind;
    int32_t state = 0;
    int32_t *const numbers[] = {&kind->precision, &kind->type,      &kind->n_layers, &kind->n_kv_heads,  &kind->head_dim,
                                &kind->is_long,   &head->page_size, &head->n_tokens, &head->n_generated, &state};
    *head = (weft_saved_head){.kind = {.model = weft_unpack_u64(from)}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) *numbers[i] = weft_unpack_i32(from);
    head->answering = weft_unpack_u32(from) != 0;
    head->ended = weft_unpack_u32(from) != 0;
    unpack_options(from, &head->options.sampling);
    weft_unpack_text(from, &head->held);
    head->chat_state = (weft_chat_state)state;
    return !from->failed && from->left == 0 && state >= WEFT_CHAT_PLAIN && state <= WEFT_CHAT_ANSWER && head->page_size > 0 &&
           head->n_tokens >= 0 && head->n_generated >= 0 && head->n_generated <= head->n_tokens &&
           ((!head->answering && !head->ended) || head->n_tokens > 0);
}

/* ---- The conversation ---- */

static void pack_string(weft_packed *packed, const char *text) {
    weft_pack_text(packed, text, text ? strlen(text) : 0);
}

void weft_saved_pack_conversation(weft_packed *packed, const weft_conversation *conversation) {
    const weft_date *date = &conversation->date;
    const int32_t numbers[] = {
        conversation->n_before, conversation->n_tokens, date->year, date->month, date->day, date->hour, date->minute, date->second,
        conversation->has_date, conversation->has_asked};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) weft_pack_i32(packed, numbers[i]);
    pack_string(packed, conversation->options.tools);
    pack_string(packed, conversation->options.documents);
    pack_string(packed, conversation->options.variables);
    pack_string(packed, conversation->begun);
    pack_string(packed, conversation->system);
    weft_pack_text(packed, conversation->messages, conversation->size);
    weft_pack_text(packed, conversation->text.bytes, conversation->text.size);
    if (conversation->text.bytes) weft_pack(packed, conversation->text.own, conversation->text.size);
    weft_pack_u64(packed, conversation->places.n);
    for (size_t i = 0; i < conversation->places.n; i++) {
        weft_pack_u64(packed, conversation->places.items[i].at);
        weft_pack_u64(packed, conversation->places.items[i].index);
    }
}

/* A copy with a final zero, and room for `more` bytes. NULL for NULL. */
static char *unpack_string(weft_unpacking *from, weft_runtime *runtime, size_t more, size_t *size, bool *enough) {
    weft_text text;
    if (!weft_unpack_text(from, &text)) return NULL;
    char *copy = weft_allocate(runtime, text.size + 1 + more);
    *enough = *enough && copy;
    if (copy && text.size > 0) memcpy(copy, text.bytes, text.size);
    if (size) *size = text.size;
    return copy;
}

static void unpack_option(weft_unpacking *from, weft_runtime *runtime, const char **option, bool *enough) {
    char *text = unpack_string(from, runtime, 0, NULL, enough);
    if (*option)
        weft_release(runtime, text); /* the caller's own option counts */
    else
        *option = text;
}

static void unpack_rendered(weft_unpacking *from, weft_runtime *runtime, weft_jinja_rendered *text, bool *enough) {
    text->bytes = unpack_string(from, runtime, 0, &text->size, enough);
    if (!text->bytes) return;
    const unsigned char *own = weft_unpack(from, text->size);
    text->own = weft_allocate(runtime, text->size + 1);
    *enough = *enough && text->own;
    if (from->failed || !text->own) return;
    for (size_t i = 0; i < text->size; i++) text->own[i] = own[i] != 0;
}

static bool unpack_places(weft_unpacking *from, weft_conversation *conversation) {
    const uint64_t n = weft_unpack_u64(from);
    bool ordered = n <= WEFT_MAX_PLACES;
    for (uint64_t i = 0; i < n && ordered; i++) {
        const uint64_t at = weft_unpack_u64(from), index = weft_unpack_u64(from);
        ordered =
            at < conversation->text.size && index < (uint64_t)conversation->n_tokens && index >= (uint64_t)conversation->n_before;
        if (ordered) weft_token_places_add(&conversation->places, (size_t)at, (size_t)index);
    }
    return ordered;
}

weft_status weft_saved_unpack_conversation(weft_unpacking *from, weft_conversation *conversation, int32_t n_tokens,
                                           weft_error *error) {
    weft_runtime *runtime = conversation->runtime;
    weft_date *date = &conversation->date;
    int32_t has_date = 0, has_asked = 0;
    bool enough = true;
    int32_t *const numbers[] = {
        &conversation->n_before, &conversation->n_tokens, &date->year, &date->month, &date->day, &date->hour,
        &date->minute,           &date->second,           &has_date,   &has_asked};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) *numbers[i] = weft_unpack_i32(from);
    conversation->has_date = has_date != 0;
    conversation->has_asked = has_asked != 0;
    unpack_option(from, runtime, &conversation->options.tools, &enough);
    unpack_option(from, runtime, &conversation->options.documents, &enough);
    unpack_option(from, runtime, &conversation->options.variables, &enough);
    conversation->begun = unpack_string(from, runtime, 0, NULL, &enough);
    conversation->system = unpack_string(from, runtime, 0, NULL, &enough);
    conversation->messages = unpack_string(from, runtime, 0, &conversation->size, &enough);
    conversation->capacity = conversation->messages ? conversation->size + 1 : 0;
    unpack_rendered(from, runtime, &conversation->text, &enough);
    const bool ordered = conversation->n_before >= 0 && conversation->n_before <= conversation->n_tokens &&
                         conversation->n_tokens <= n_tokens && unpack_places(from, conversation);
    if (!enough) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the conversation of a saved session");
    return ordered && !from->failed && from->left == 0 ? WEFT_OK : WEFT_BAD_FILE;
}
