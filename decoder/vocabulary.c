#include "decoder/vocabulary.h"

#include <string.h>

#include "decoder/random.h"
#include "os/os.h"

#define TOKEN_LIMIT ((uint64_t)1 << 24) /* the largest vocabularies in use have under 300,000 tokens */

/* ---- Spellings ---- */

/* One character of well-formed UTF-8, or 0 bytes. */
static size_t read_character(const char *bytes, size_t size, uint32_t *character) {
    const unsigned char *b = (const unsigned char *)bytes;
    if (size >= 1 && b[0] < 0x80) {
        *character = b[0];
        return 1;
    }
    if (size >= 2 && (b[0] & 0xE0) == 0xC0 && (b[1] & 0xC0) == 0x80) {
        *character = (uint32_t)(b[0] & 0x1F) << 6 | (uint32_t)(b[1] & 0x3F);
        return 2;
    }
    return 0;
}

/* GPT-2's alphabet (its published encoder): printable Latin-1 bytes are themselves, the 68 others are U+0100 + n in order. */
static int byte_of_character(uint32_t character) {
    if ((character >= 33 && character <= 126) || (character >= 161 && character <= 172) || (character >= 174 && character <= 255))
        return (int)character;
    if (character < 256 || character > 256 + 67) return -1;
    int n = (int)character - 256;
    if (n <= 32) return n;
    return n <= 66 ? n - 33 + 127 : 173;
}

bool weft_vocabulary_unspell(weft_text text, char *bytes, size_t *size) {
    size_t n = 0;
    for (size_t at = 0; at < text.size;) {
        uint32_t character = 0;
        size_t length = read_character(text.bytes + at, text.size - at, &character);
        int byte = length ? byte_of_character(character) : -1;
        if (byte < 0) return false;
        bytes[n++] = (char)(unsigned char)byte;
        at += length;
    }
    *size = n;
    return true;
}

static int hexadecimal(char digit) {
    static const char digits[] = "0123456789ABCDEF";
    const char *found = digit ? strchr(digits, digit) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* "<0x0A>" */
static int byte_of_name(weft_text text) {
    if (text.size != 6 || memcmp(text.bytes, "<0x", 3) != 0 || text.bytes[5] != '>') return -1;
    int high = hexadecimal(text.bytes[3]), low = hexadecimal(text.bytes[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool weft_vocabulary_unspell_sentencepiece(weft_text text, char *bytes, size_t *size) {
    size_t n = 0;
    bool reachable = true;
    for (size_t at = 0; at < text.size;) {
        if (text.size - at >= 3 && memcmp(text.bytes + at, "\xE2\x96\x81", 3) == 0) {
            bytes[n++] = ' ';
            at += 3;
        } else {
            reachable = reachable && text.bytes[at] != ' ';
            bytes[n++] = text.bytes[at++];
        }
    }
    *size = n;
    return reachable;
}

/* ---- Lookup by bytes ---- */

/* An odd number that nobody can know in advance. If a hash table's factor were known, a file could have tokens that all collide,
 * and filling the table would take very long. */
static uint64_t choose_factor(const void *place) {
    return weft_random_mix(weft_random_mix(weft_os_now()) ^ (uint64_t)(uintptr_t)place) | 1;
}

/* Multiply and shift (Dietzfelbinger et al. 1997), word by word. */
static uint32_t hash_bytes(const weft_vocabulary *vocabulary, const char *bytes, size_t size) {
    uint64_t factor = vocabulary->factor, hash = size * factor;
    while (size) {
        uint64_t word = 0;
        size_t n = size < sizeof word ? size : sizeof word;
        memcpy(&word, bytes, n);
        hash = (hash ^ hash >> 32 ^ word) * factor;
        bytes += n;
        size -= n;
    }
    return (uint32_t)(hash >> 32);
}

weft_text weft_vocabulary_text(const weft_vocabulary *vocabulary, weft_token token) {
    uint32_t start = vocabulary->starts[token];
    return (weft_text){vocabulary->bytes + start, vocabulary->starts[token + 1] - start};
}

static bool same(weft_text text, const char *bytes, size_t size) {
    return text.size == size && memcmp(text.bytes, bytes, size) == 0;
}

static weft_vocabulary_slot *slot_of(const weft_vocabulary *vocabulary, const char *bytes, size_t size, uint32_t hash) {
    uint32_t at = hash >> vocabulary->shift;
    for (;; at = (at + 1) & vocabulary->mask) {
        weft_vocabulary_slot *slot = &vocabulary->slots[at];
        if (slot->token == WEFT_NO_TOKEN) return slot;
        if (slot->hash == hash && same(weft_vocabulary_text(vocabulary, slot->token), bytes, size)) return slot;
    }
}

weft_token weft_vocabulary_find(const weft_vocabulary *vocabulary, const char *bytes, size_t size) {
    return slot_of(vocabulary, bytes, size, hash_bytes(vocabulary, bytes, size))->token;
}

static void add_to_lookup(weft_vocabulary *vocabulary, weft_token token) {
    weft_text text = weft_vocabulary_text(vocabulary, token);
    if (text.size == 0) return;
    if (text.size > vocabulary->longest) vocabulary->longest = text.size;
    uint32_t hash = hash_bytes(vocabulary, text.bytes, text.size);
    weft_vocabulary_slot *slot = slot_of(vocabulary, text.bytes, text.size, hash);
    if (slot->token == WEFT_NO_TOKEN) *slot = (weft_vocabulary_slot){hash, token};
}

/* ---- Reading ---- */

static const char tokens_key[] = "tokenizer.ggml.tokens", types_key[] = "tokenizer.ggml.token_type";

static weft_status read_types(weft_vocabulary *vocabulary, const weft_gguf *gguf, weft_spelling spelling, weft_error *error) {
    const char *path = weft_gguf_path(gguf);
    const weft_gguf_value *types = weft_gguf_find(gguf, types_key);
    if (!types && spelling == WEFT_SPELLING_SENTENCEPIECE)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is missing, which marks the byte tokens", path, types_key);
    if (!types) {
        memset(vocabulary->types, WEFT_TOKEN_NORMAL, (size_t)vocabulary->n_tokens);
        return WEFT_OK;
    }
    if (!types->is_array || (types->type != WEFT_GGUF_I32 && types->type != WEFT_GGUF_U32))
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is not an array of 32-bit integers", path, types_key);
    if (types->count != (uint64_t)vocabulary->n_tokens)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s has %llu entries for %d tokens", path, types_key,
                         (unsigned long long)types->count, (int)vocabulary->n_tokens);
    for (int32_t i = 0; i < vocabulary->n_tokens; i++) {
        int64_t type = weft_gguf_integer_at(types, (uint64_t)i);
        if (type < WEFT_TOKEN_UNDEFINED || type > WEFT_TOKEN_BYTE)
            return weft_fail(error, WEFT_BAD_FILE, "%s: %s: token %d has the type %lld, which the format does not know", path,
                             types_key, (int)i, (long long)type);
        vocabulary->types[i] = (unsigned char)type;
    }
    return WEFT_OK;
}

static unsigned char settled_type(unsigned char type, weft_spelling spelling, weft_text text) {
    if (type == WEFT_TOKEN_UNDEFINED && spelling == WEFT_SPELLING_SENTENCEPIECE && byte_of_name(text) >= 0) type = WEFT_TOKEN_BYTE;
    if (type == WEFT_TOKEN_UNDEFINED) type = WEFT_TOKEN_NORMAL;
    return type != WEFT_TOKEN_BYTE && weft_marker_controls(text) ? WEFT_TOKEN_CONTROL : type;
}

/* Writes the token's bytes at `into`; `reachable`: plain text can become this token. */
static weft_status unspell(weft_vocabulary *vocabulary, const char *path, weft_spelling spelling, weft_token token, weft_text text,
                           char *into, size_t *size, bool *reachable, weft_error *error) {
    unsigned char type = vocabulary->types[token] = settled_type(vocabulary->types[token], spelling, text);
    *reachable = false;
    if (type == WEFT_TOKEN_BYTE) {
        int byte = byte_of_name(text);
        if (byte < 0)
            return weft_fail(error, WEFT_BAD_FILE, "%s: %s: token %d is a byte but is not called <0x00> to <0xFF>", path,
                             tokens_key, (int)token);
        *into = (char)(unsigned char)byte;
        *size = 1;
        if (vocabulary->byte_tokens[byte] == WEFT_NO_TOKEN) vocabulary->byte_tokens[byte] = token;
        return WEFT_OK;
    }
    bool ordinary = type == WEFT_TOKEN_NORMAL || type == WEFT_TOKEN_UNUSED;
    if (spelling == WEFT_SPELLING_BYTE_ALPHABET && ordinary && weft_vocabulary_unspell(text, into, size)) {
        *reachable = true;
        return WEFT_OK;
    }
    if (spelling == WEFT_SPELLING_SENTENCEPIECE && (ordinary || type == WEFT_TOKEN_USER_DEFINED)) {
        *reachable = weft_vocabulary_unspell_sentencepiece(text, into, size) && type == WEFT_TOKEN_NORMAL;
        return WEFT_OK;
    }
    memcpy(into, text.bytes, text.size);
    *size = text.size;
    return WEFT_OK;
}

static weft_status read_tokens(weft_vocabulary *vocabulary, const weft_gguf *gguf, const weft_gguf_value *tokens,
                               weft_spelling spelling, weft_error *error) {
    size_t at = 0;
    for (weft_token token = 0; token < vocabulary->n_tokens; token++) {
        size_t size = 0;
        bool reachable;
        weft_status status = unspell(vocabulary, weft_gguf_path(gguf), spelling, token, weft_gguf_text_at(tokens, (uint64_t)token),
                                     vocabulary->bytes + at, &size, &reachable, error);
        if (status != WEFT_OK) return status;
        vocabulary->starts[token] = (uint32_t)at;
        at += size;
        vocabulary->starts[token + 1] = (uint32_t)at;
        if (reachable) add_to_lookup(vocabulary, token);
    }
    if (spelling == WEFT_SPELLING_SENTENCEPIECE) return WEFT_OK;
    for (int byte = 0; byte < 256; byte++) {
        char text = (char)(unsigned char)byte;
        vocabulary->byte_tokens[byte] = weft_vocabulary_find(vocabulary, &text, 1);
    }
    return WEFT_OK;
}

static weft_status allocate(weft_vocabulary *vocabulary, uint64_t total, weft_error *error) {
    size_t n = (size_t)vocabulary->n_tokens;
    uint32_t n_slots = 4;
    while (n_slots < 2 * n) n_slots *= 2;
    vocabulary->types = weft_allocate(vocabulary->runtime, n);
    vocabulary->starts = weft_allocate(vocabulary->runtime, (n + 1) * sizeof *vocabulary->starts);
    vocabulary->bytes = weft_allocate(vocabulary->runtime, (size_t)total + 1);
    vocabulary->slots = weft_allocate(vocabulary->runtime, n_slots * sizeof *vocabulary->slots);
    if (!vocabulary->types || !vocabulary->starts || !vocabulary->bytes || !vocabulary->slots)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a vocabulary of %d tokens", (int)vocabulary->n_tokens);
    for (uint32_t i = 0; i < n_slots; i++) vocabulary->slots[i].token = WEFT_NO_TOKEN;
    vocabulary->mask = n_slots - 1;
    for (vocabulary->shift = 32; n_slots > 1; n_slots /= 2) vocabulary->shift--;
    vocabulary->factor = choose_factor(vocabulary->slots);
    return WEFT_OK;
}

weft_status weft_vocabulary_read(weft_vocabulary *vocabulary, weft_runtime *runtime, const weft_gguf *gguf, weft_spelling spelling,
                                 weft_error *error) {
    const char *path = weft_gguf_path(gguf);
    vocabulary->runtime = runtime;
    for (int byte = 0; byte < 256; byte++) vocabulary->byte_tokens[byte] = WEFT_NO_TOKEN;
    const weft_gguf_value *tokens = weft_gguf_find(gguf, tokens_key);
    if (!tokens || !tokens->is_array || tokens->type != WEFT_GGUF_STRING)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is missing or not an array of strings", path, tokens_key);
    if (tokens->count < 1 || tokens->count > TOKEN_LIMIT)
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s has %llu entries", path, tokens_key, (unsigned long long)tokens->count);
    vocabulary->n_tokens = (int32_t)tokens->count;
    uint64_t total = 0;
    for (uint64_t i = 0; i < tokens->count; i++) total += weft_gguf_text_at(tokens, i).size;
    if (total > UINT32_MAX / 2) return weft_fail(error, WEFT_BAD_FILE, "%s: %s is too long", path, tokens_key);

    weft_status status = allocate(vocabulary, total, error);
    if (status == WEFT_OK) status = read_types(vocabulary, gguf, spelling, error);
    if (status == WEFT_OK) status = read_tokens(vocabulary, gguf, tokens, spelling, error);
    if (status == WEFT_OK) status = weft_special_index(vocabulary, error);
    for (int byte = 0; byte < 256; byte++) vocabulary->lacks_bytes |= vocabulary->byte_tokens[byte] == WEFT_NO_TOKEN;
    return status;
}

void weft_vocabulary_clear(weft_vocabulary *vocabulary) {
    weft_release(vocabulary->runtime, vocabulary->types);
    weft_release(vocabulary->runtime, vocabulary->starts);
    weft_release(vocabulary->runtime, vocabulary->bytes);
    weft_release(vocabulary->runtime, vocabulary->slots);
    weft_release(vocabulary->runtime, vocabulary->special_nodes);
}
