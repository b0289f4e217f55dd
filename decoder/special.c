/* Special tokens in text: sorted by their bytes, so that the longest one at a place is found by narrowing a range byte by byte. */
#include "decoder/gguf_reader.h"
#include "decoder/vocabulary.h"

#include <string.h>

#define SPECIAL_LIMIT 1024 /* bytes; bounds the work at each place of a text */

/* A control token of one byte would let a text become more tokens than it has bytes. */
static bool can_be_special(const weft_vocabulary *vocabulary, weft_token token) {
    size_t size = weft_vocabulary_text(vocabulary, token).size;
    switch (vocabulary->types[token]) {
    case WEFT_TOKEN_CONTROL:
    case WEFT_TOKEN_UNKNOWN:
        return size >= 2 && size <= SPECIAL_LIMIT;
    case WEFT_TOKEN_USER_DEFINED:
        return size >= 1 && size <= SPECIAL_LIMIT;
    default:
        return false;
    }
}

/* By bytes, the shorter first, then by id. */
static int compare_tokens(const void *items, uint32_t a, uint32_t b) {
    const weft_vocabulary *vocabulary = items;
    weft_text left = weft_vocabulary_text(vocabulary, (weft_token)vocabulary->sorted[a]);
    weft_text right = weft_vocabulary_text(vocabulary, (weft_token)vocabulary->sorted[b]);
    int order = memcmp(left.bytes, right.bytes, left.size < right.size ? left.size : right.size);
    if (order) return order;
    if (left.size != right.size) return left.size < right.size ? -1 : 1;
    return a < b ? -1 : a > b;
}

static weft_status sort_specials(weft_vocabulary *vocabulary, weft_error *error) {
    size_t n = vocabulary->n_special;
    uint32_t *order = weft_allocate(vocabulary->runtime, (n + 1) * sizeof *order);
    if (!order) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %u special tokens", (unsigned)vocabulary->n_special);
    weft_gguf_sort(order, n, compare_tokens, vocabulary);
    for (size_t i = 0; i < n; i++) order[i] = vocabulary->sorted[order[i]];
    weft_release(vocabulary->runtime, vocabulary->sorted);
    vocabulary->sorted = order;
    return WEFT_OK;
}

weft_status weft_special_index(weft_vocabulary *vocabulary, weft_error *error) {
    uint32_t n = 0;
    for (weft_token token = 0; token < vocabulary->n_tokens; token++) n += can_be_special(vocabulary, token);
    vocabulary->n_special = n;
    vocabulary->sorted = weft_allocate(vocabulary->runtime, (n + (size_t)1) * sizeof *vocabulary->sorted);
    if (!vocabulary->sorted) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %u special tokens", (unsigned)n);
    n = 0;
    for (weft_token token = 0; token < vocabulary->n_tokens; token++) {
        if (!can_be_special(vocabulary, token)) continue;
        size_t size = weft_vocabulary_text(vocabulary, token).size;
        if (size > vocabulary->longest_special) vocabulary->longest_special = size;
        vocabulary->sorted[n++] = (uint32_t)token;
    }
    weft_status status = sort_specials(vocabulary, error);
    if (status != WEFT_OK) return status;
    uint32_t at = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        vocabulary->special_first[byte] = at;
        while (at < n && (unsigned char)weft_vocabulary_text(vocabulary, (weft_token)vocabulary->sorted[at]).bytes[0] == byte) at++;
    }
    vocabulary->special_first[256] = at;
    return WEFT_OK;
}

/* The first of low .. high - 1, which agree in `depth` bytes, whose byte there is at least `byte`; one that ends there comes before
 * all. */
static uint32_t lower_bound(const weft_vocabulary *vocabulary, uint32_t low, uint32_t high, size_t depth, unsigned byte) {
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        weft_text text = weft_vocabulary_text(vocabulary, (weft_token)vocabulary->sorted[middle]);
        if (text.size > depth && (unsigned char)text.bytes[depth] >= byte)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

weft_token weft_special_at(const weft_vocabulary *vocabulary, const char *text, size_t size) {
    if (size == 0) return WEFT_NO_TOKEN;
    unsigned byte = (unsigned char)text[0];
    uint32_t low = vocabulary->special_first[byte], high = vocabulary->special_first[byte + 1];
    weft_token longest = WEFT_NO_TOKEN;
    for (size_t depth = 1; low < high; depth++) {
        weft_token token = (weft_token)vocabulary->sorted[low];
        if (weft_vocabulary_text(vocabulary, token).size == depth) longest = token;
        if (depth == size) break;
        byte = (unsigned char)text[depth];
        low = lower_bound(vocabulary, low, high, depth, byte);
        high = lower_bound(vocabulary, low, high, depth, byte + 1);
    }
    return longest;
}

weft_token weft_special_find(const weft_vocabulary *vocabulary, const char *text, size_t size) {
    weft_token token = weft_special_at(vocabulary, text, size);
    return token != WEFT_NO_TOKEN && weft_vocabulary_text(vocabulary, token).size == size ? token : WEFT_NO_TOKEN;
}
