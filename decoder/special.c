/* Special tokens in text: a trie whose nodes stand for as many bytes as all tokens below them share (Morrison 1968, PATRICIA). It
 * has at most two nodes a token, however long the tokens are. */
#include "decoder/gguf_reader.h"
#include "decoder/vocabulary.h"

#include <string.h>

#define SPECIAL_LIMIT 1024 /* bytes; bounds the work at each place of a text */
#define NO_NODE UINT32_MAX

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

/* ---- Making the trie ---- */

/* The special tokens, sorted. */
typedef struct special_list {
    const weft_vocabulary *vocabulary;
    weft_token *tokens; /* by id */
    uint32_t *order;    /* places in `tokens` */
    uint32_t n;
} special_list;

static weft_text text_of(const special_list *list, uint32_t place) {
    return weft_vocabulary_text(list->vocabulary, list->tokens[list->order[place]]);
}

/* By bytes, the shorter first, then by id. */
static int compare_tokens(const void *items, uint32_t a, uint32_t b) {
    const special_list *list = items;
    weft_text left = weft_vocabulary_text(list->vocabulary, list->tokens[a]);
    weft_text right = weft_vocabulary_text(list->vocabulary, list->tokens[b]);
    int order = memcmp(left.bytes, right.bytes, left.size < right.size ? left.size : right.size);
    if (order) return order;
    if (left.size != right.size) return left.size < right.size ? -1 : 1;
    return a < b ? -1 : a > b;
}

static void list_specials(weft_vocabulary *vocabulary, special_list *list) {
    uint32_t n = 0;
    for (weft_token token = 0; token < vocabulary->n_tokens; token++) {
        if (!can_be_special(vocabulary, token)) continue;
        size_t size = weft_vocabulary_text(vocabulary, token).size;
        if (size > vocabulary->longest_special) vocabulary->longest_special = size;
        if (vocabulary->types[token] == WEFT_TOKEN_USER_DEFINED && size > vocabulary->longest_user_defined)
            vocabulary->longest_user_defined = size;
        list->tokens[n++] = token;
    }
    weft_gguf_sort(list->order, n, compare_tokens, list);
}

/* Adds a child for each byte that the tokens first .. end - 1 have at `depth`. Until finish_node a child holds its range of tokens.
 */
static size_t add_children(weft_vocabulary *vocabulary, const special_list *list, uint32_t first, uint32_t end, size_t depth) {
    size_t n = 0;
    for (uint32_t next; first < end; first = next, n++) {
        char byte = text_of(list, first).bytes[depth];
        for (next = first + 1; next < end && text_of(list, next).bytes[depth] == byte;) next++;
        vocabulary->special_nodes[vocabulary->n_special_nodes++] =
            (weft_special_node){.first_child = first, .bytes_at = next, .n_bytes = (uint16_t)depth};
    }
    return n;
}

/* A prefix that the first and the last of sorted texts share is shared by all. Tokens that end with this prefix come first; if
 * there are several, the first counts.
 */
static void finish_node(weft_vocabulary *vocabulary, const special_list *list, uint32_t index) {
    weft_special_node *node = &vocabulary->special_nodes[index];
    uint32_t first = node->first_child, end = node->bytes_at;
    size_t depth = node->n_bytes, shared = depth;
    weft_text text = text_of(list, first), last = text_of(list, end - 1);
    while (shared < text.size && text.bytes[shared] == last.bytes[shared]) shared++;
    node->token = text.size == shared ? list->tokens[list->order[first]] : WEFT_NO_TOKEN;
    node->bytes_at = (uint32_t)((size_t)(text.bytes - vocabulary->bytes) + depth);
    node->n_bytes = (uint16_t)(shared - depth);
    while (first < end && text_of(list, first).size == shared) first++;
    node->first_child = vocabulary->n_special_nodes;
    node->n_children = (uint16_t)add_children(vocabulary, list, first, end, shared);
}

static void make_trie(weft_vocabulary *vocabulary, const special_list *list) {
    uint32_t n_first = (uint32_t)add_children(vocabulary, list, 0, list->n, 0);
    for (uint32_t i = 0; i < vocabulary->n_special_nodes; i++) finish_node(vocabulary, list, i);
    for (uint32_t i = 0; i < n_first; i++) {
        unsigned char byte = (unsigned char)vocabulary->bytes[vocabulary->special_nodes[i].bytes_at];
        vocabulary->special_first[byte] = i;
    }
}

weft_status weft_special_index(weft_vocabulary *vocabulary, weft_error *error) {
    weft_runtime *runtime = vocabulary->runtime;
    special_list list = {.vocabulary = vocabulary};
    for (weft_token token = 0; token < vocabulary->n_tokens; token++) list.n += can_be_special(vocabulary, token);
    for (int byte = 0; byte < 256; byte++) vocabulary->special_first[byte] = NO_NODE;
    if (list.n == 0) return WEFT_OK;
    list.tokens = weft_allocate(runtime, list.n * sizeof *list.tokens);
    list.order = weft_allocate(runtime, list.n * sizeof *list.order);
    vocabulary->special_nodes = weft_allocate(runtime, (size_t)list.n * 2 * sizeof *vocabulary->special_nodes);
    bool enough = list.tokens && list.order && vocabulary->special_nodes;
    if (enough) {
        list_specials(vocabulary, &list);
        make_trie(vocabulary, &list);
    }
    weft_release(runtime, list.tokens);
    weft_release(runtime, list.order);
    return enough ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %u special tokens", (unsigned)list.n);
}

/* ---- Finding ---- */

static uint32_t child_of(const weft_vocabulary *vocabulary, const weft_special_node *node, unsigned char byte) {
    uint32_t low = node->first_child, high = low + node->n_children;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        unsigned char other = (unsigned char)vocabulary->bytes[vocabulary->special_nodes[middle].bytes_at];
        if (other == byte) return middle;
        if (other < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return NO_NODE;
}

weft_token weft_special_at(const weft_vocabulary *vocabulary, const char *text, size_t size, bool control) {
    weft_token longest = WEFT_NO_TOKEN;
    uint32_t at = size > 0 ? vocabulary->special_first[(unsigned char)text[0]] : NO_NODE;
    while (at != NO_NODE) {
        const weft_special_node *node = &vocabulary->special_nodes[at];
        if (size < node->n_bytes || memcmp(vocabulary->bytes + node->bytes_at, text, node->n_bytes) != 0) break;
        if (node->token != WEFT_NO_TOKEN && (control || vocabulary->types[node->token] == WEFT_TOKEN_USER_DEFINED))
            longest = node->token;
        text += node->n_bytes;
        size -= node->n_bytes;
        at = size > 0 ? child_of(vocabulary, node, (unsigned char)text[0]) : NO_NODE;
    }
    return longest;
}

weft_token weft_special_find(const weft_vocabulary *vocabulary, const char *text, size_t size) {
    weft_token token = weft_special_at(vocabulary, text, size, true);
    return token != WEFT_NO_TOKEN && weft_vocabulary_text(vocabulary, token).size == size ? token : WEFT_NO_TOKEN;
}
