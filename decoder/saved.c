#include "decoder/saved.h"

#include <string.h>

/* ---- The head ---- */

static void pack_texts(weft_packed *packed, const char *const *texts, size_t n) {
    weft_pack_u64(packed, n);
    for (size_t i = 0; i < n; i++) weft_pack_text(packed, texts[i], strlen(texts[i]) + 1);
}

static void pack_sampling(weft_packed *packed, const weft_sampling_options *options) {
    const int32_t numbers[] = {options->max_tokens,     options->top_k,      options->ignore_end,
                               options->penalty_window, options->dry_window, options->dry_allowed_length};
    const float reals[] = {
        options->temperature,      options->top_p,          options->min_p,   options->repeat_penalty, options->frequency_penalty,
        options->presence_penalty, options->dry_multiplier, options->dry_base};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) weft_pack_i32(packed, numbers[i]);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) weft_pack_real(packed, reals[i]);
    weft_pack_u64(packed, options->seed);
    weft_pack_u32(packed, options->dry_breakers != NULL);
    pack_texts(packed, options->dry_breakers, options->dry_breakers ? options->n_dry_breakers : 0);
    pack_texts(packed, options->stop, options->n_stop);
    weft_pack_u64(packed, options->n_logit_bias);
    for (size_t i = 0; i < options->n_logit_bias; i++) {
        weft_pack_i32(packed, options->logit_bias[i].token);
        weft_pack_real(packed, options->logit_bias[i].bias);
    }
}

/* A list takes at least 8 bytes for each of its n elements, so a number that cannot be is found before there is memory for it. */
static void *unpack_list(weft_unpacking *from, weft_runtime *runtime, size_t element, size_t *n, bool *enough) {
    const uint64_t count = weft_unpack_u64(from);
    if (count > from->left / 8) from->failed = true;
    *n = from->failed ? 0 : (size_t)count;
    void *list = weft_allocate(runtime, (*n + 1) * element);
    if (!list) *n = 0;
    *enough = *enough && list;
    return list;
}

static const char **unpack_texts(weft_unpacking *from, weft_runtime *runtime, size_t *n, bool *enough) {
    const char **texts = unpack_list(from, runtime, sizeof *texts, n, enough);
    for (size_t i = 0; i < *n; i++) {
        weft_text text;
        if (!weft_unpack_text(from, &text) || text.size == 0 || text.bytes[text.size - 1] != 0) from->failed = true;
        texts[i] = from->failed ? "" : text.bytes;
    }
    return texts;
}

/* Its texts are those of the section. */
static void unpack_sampling(weft_unpacking *from, weft_runtime *runtime, weft_saved_head *head, bool *enough) {
    weft_sampling_options *options = &head->options.sampling;
    int32_t ignore_end = 0;
    int32_t *const numbers[] = {&options->max_tokens,     &options->top_k,      &ignore_end,
                                &options->penalty_window, &options->dry_window, &options->dry_allowed_length};
    float *const reals[] = {&options->temperature,
                            &options->top_p,
                            &options->min_p,
                            &options->repeat_penalty,
                            &options->frequency_penalty,
                            &options->presence_penalty,
                            &options->dry_multiplier,
                            &options->dry_base};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) *numbers[i] = weft_unpack_i32(from);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) *reals[i] = weft_unpack_real(from);
    options->ignore_end = ignore_end != 0;
    options->seed = weft_unpack_u64(from);
    const bool has_breakers = weft_unpack_u32(from) != 0;
    head->breakers = unpack_texts(from, runtime, &options->n_dry_breakers, enough);
    options->dry_breakers = has_breakers ? head->breakers : NULL;
    options->stop = head->stop = unpack_texts(from, runtime, &options->n_stop, enough);
    options->logit_bias = head->biases = unpack_list(from, runtime, sizeof *head->biases, &options->n_logit_bias, enough);
    for (size_t i = 0; i < options->n_logit_bias; i++) {
        head->biases[i].token = weft_unpack_i32(from);
        head->biases[i].bias = weft_unpack_real(from);
    }
}

void weft_saved_release_head(weft_runtime *runtime, weft_saved_head *head) {
    weft_release(runtime, (void *)(uintptr_t)head->breakers);
    weft_release(runtime, (void *)(uintptr_t)head->stop);
    weft_release(runtime, head->biases);
    head->breakers = head->stop = NULL;
    head->biases = NULL;
}

void weft_saved_pack_head(weft_packed *packed, const weft_saved_head *head) {
    const weft_cache_kind *kind = &head->kind;
    const int32_t numbers[] = {kind->precision, kind->type,      kind->n_layers, kind->n_kv_heads,  kind->head_dim,
                               kind->is_long,   head->page_size, head->n_tokens, head->n_generated, (int32_t)head->chat_state};
    weft_pack_u64(packed, kind->model);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) weft_pack_i32(packed, numbers[i]);
    weft_pack_u32(packed, head->answering);
    weft_pack_u32(packed, head->ended);
    weft_pack_u32(packed, (uint32_t)head->finish);
    weft_pack_u32(packed, (uint32_t)head->options.when_full);
    pack_sampling(packed, &head->options.sampling);
    weft_pack_text(packed, head->held.bytes, head->held.size);
}

static bool is_possible(const weft_saved_head *head) {
    return head->chat_state >= WEFT_CHAT_PLAIN && head->chat_state <= WEFT_CHAT_ANSWER && head->page_size > 0 &&
           head->n_tokens >= 0 && head->n_generated >= 0 && head->n_generated <= head->n_tokens &&
           ((!head->answering && !head->ended) || head->n_tokens > 0) && head->finish >= WEFT_FINISH_NOT &&
           head->finish <= WEFT_FINISH_GRAMMAR && head->finish != WEFT_FINISH_CANCELLED;
}

weft_status weft_saved_unpack_head(weft_unpacking *from, weft_runtime *runtime, weft_saved_head *head) {
    weft_cache_kind *kind = &head->kind;
    int32_t state = 0;
    bool enough = true;
    int32_t *const numbers[] = {&kind->precision, &kind->type,      &kind->n_layers, &kind->n_kv_heads,  &kind->head_dim,
                                &kind->is_long,   &head->page_size, &head->n_tokens, &head->n_generated, &state};
    *head = (weft_saved_head){.kind = {.model = weft_unpack_u64(from)}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) *numbers[i] = weft_unpack_i32(from);
    head->answering = weft_unpack_u32(from) != 0;
    head->ended = weft_unpack_u32(from) != 0;
    head->finish = (weft_finish)weft_unpack_i32(from);
    head->options.when_full = (weft_when_full)weft_unpack_i32(from);
    unpack_sampling(from, runtime, head, &enough);
    weft_unpack_text(from, &head->held);
    head->chat_state = (weft_chat_state)state;
    if (!enough) return WEFT_OUT_OF_MEMORY;
    return !from->failed && from->left == 0 && is_possible(head) ? WEFT_OK : WEFT_BAD_FILE;
}

/* ---- The conversation ---- */

static void pack_string(weft_packed *packed, const char *text) {
    weft_pack_text(packed, text, text ? strlen(text) : 0);
}

/* The turns' members that are numbers or flags. */
#define TURN_NUMBERS 12
static void turn_numbers(const weft_turn *turn, uint64_t numbers[TURN_NUMBERS]) {
    const uint64_t all[TURN_NUMBERS] = {
        (uint64_t)turn->role, turn->begins,          turn->after_answer,       turn->ended,       turn->rewrote, turn->stale,
        turn->puts_system,    (uint64_t)turn->first, (uint64_t)turn->n_tokens, turn->size_before, turn->size,    turn->text_size};
    memcpy(numbers, all, sizeof all);
}

static void pack_turns(weft_packed *packed, const weft_conversation *conversation) {
    uint64_t numbers[TURN_NUMBERS];
    const bool is_cut = conversation->is_cut;
    weft_pack_u32(packed, is_cut);
    weft_pack_u32(packed, is_cut && conversation->is_ended);
    weft_pack_i32(packed, is_cut ? conversation->end : 0);
    weft_pack_u64(packed, conversation->n_turns);
    for (size_t i = 0; i < conversation->n_turns; i++) {
        turn_numbers(&conversation->turns[i], numbers);
        for (size_t k = 0; k < TURN_NUMBERS; k++) weft_pack_u64(packed, numbers[k]);
        pack_string(packed, conversation->turns[i].begun);
    }
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
    pack_string(packed, conversation->system);
    weft_pack_text(packed, conversation->messages, conversation->size);
    weft_pack_text(packed, conversation->text.bytes, conversation->text.size);
    if (conversation->text.bytes) weft_pack(packed, conversation->text.own, conversation->text.size);
    weft_pack_u64(packed, conversation->places.n);
    for (size_t i = 0; i < conversation->places.n; i++) {
        weft_pack_u64(packed, conversation->places.items[i].at);
        weft_pack_u64(packed, conversation->places.items[i].index);
    }
    pack_turns(packed, conversation);
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

/* One turn of a conversation whose texts have been unpacked; false if a number cannot be. */
static bool unpack_turn(weft_unpacking *from, const weft_conversation *conversation, int32_t n_tokens, weft_turn *turn) {
    const weft_turn *before = weft_conversation_last(conversation);
    uint64_t numbers[TURN_NUMBERS];
    for (size_t i = 0; i < TURN_NUMBERS; i++) numbers[i] = weft_unpack_u64(from);
    if (from->failed || numbers[0] > WEFT_ASSISTANT || numbers[8] > (uint64_t)n_tokens || numbers[7] > numbers[8]) return false;
    for (size_t i = 1; i < 7; i++)
        if (numbers[i] > 1) return false;
    *turn = (weft_turn){.role = (weft_role)numbers[0],
                        .begins = numbers[1] != 0,
                        .after_answer = numbers[2] != 0,
                        .ended = numbers[3] != 0,
                        .rewrote = numbers[4] != 0,
                        .stale = numbers[5] != 0,
                        .puts_system = numbers[6] != 0,
                        .first = (int32_t)numbers[7],
                        .n_tokens = (int32_t)numbers[8],
                        .size_before = numbers[9],
                        .size = numbers[10],
                        .text_size = numbers[11]};
    if (turn->size_before > turn->size || turn->size > conversation->size) return false;
    if (!turn->stale && turn->text_size > conversation->text.size) return false;
    if (turn->role == WEFT_SYSTEM) return !before && turn->n_tokens == 0 && !turn->begins && !turn->after_answer;
    if (before && before->n_tokens > turn->first) return false;
    bool answerable = before && before->role != WEFT_SYSTEM;
    return conversation->text.bytes && (answerable || !turn->after_answer) && (!turn->ended || turn->first > 0);
}

static bool unpack_turns(weft_unpacking *from, weft_conversation *conversation, int32_t n_tokens, bool *enough) {
    conversation->is_cut = weft_unpack_u32(from) != 0;
    conversation->is_ended = weft_unpack_u32(from) != 0;
    conversation->end = weft_unpack_i32(from);
    bool ordered = conversation->end >= (conversation->is_ended ? 1 : 0) && conversation->end <= n_tokens;
    for (uint64_t n = weft_unpack_u64(from); n > 0 && ordered && *enough; n--) {
        weft_turn turn;
        ordered = unpack_turn(from, conversation, n_tokens, &turn);
        if (ordered) *enough = weft_conversation_reserve(conversation, NULL) == WEFT_OK;
        if (!ordered || !*enough) break;
        turn.begun = unpack_string(from, conversation->runtime, 0, NULL, enough);
        conversation->turns[conversation->n_turns++] = turn;
    }
    const weft_turn *last = weft_conversation_last(conversation);
    return ordered && (!conversation->text.bytes || (last && last->role != WEFT_SYSTEM));
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
    conversation->system = unpack_string(from, runtime, 0, NULL, &enough);
    conversation->messages = unpack_string(from, runtime, 0, &conversation->size, &enough);
    conversation->capacity = conversation->messages ? conversation->size + 1 : 0;
    unpack_rendered(from, runtime, &conversation->text, &enough);
    const bool ordered = conversation->n_before >= 0 && conversation->n_before <= conversation->n_tokens &&
                         conversation->n_tokens <= n_tokens && unpack_places(from, conversation) &&
                         unpack_turns(from, conversation, n_tokens, &enough);
    if (!enough) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the conversation of a saved session");
    return ordered && !from->failed && from->left == 0 ? WEFT_OK : WEFT_BAD_FILE;
}
