/* Metadata as text for people. */
#include "decoder/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[WEFT_GGUF_TYPE_COUNT][2] = {
    [WEFT_GGUF_U8] = {"u8", "u8[]"},          [WEFT_GGUF_I8] = {"i8", "i8[]"},       [WEFT_GGUF_U16] = {"u16", "u16[]"},
    [WEFT_GGUF_I16] = {"i16", "i16[]"},       [WEFT_GGUF_U32] = {"u32", "u32[]"},    [WEFT_GGUF_I32] = {"i32", "i32[]"},
    [WEFT_GGUF_F32] = {"f32", "f32[]"},       [WEFT_GGUF_BOOL] = {"bool", "bool[]"}, [WEFT_GGUF_STRING] = {"string", "string[]"},
    [WEFT_GGUF_ARRAY] = {"array", "array[]"}, [WEFT_GGUF_U64] = {"u64", "u64[]"},    [WEFT_GGUF_I64] = {"i64", "i64[]"},
    [WEFT_GGUF_F64] = {"f64", "f64[]"},
};

typedef struct text_sink {
    char *text;
    size_t size, length; /* `length` can pass `size`: that much was wanted */
} text_sink;

static bool is_full(const text_sink *sink) {
    return sink->length >= sink->size;
}

static void put(text_sink *sink, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++, sink->length++) {
        if (is_full(sink)) {
            sink->length++;
            return;
        }
        sink->text[sink->length] = bytes[i] ? bytes[i] : '?'; /* a zero would end the text */
    }
}

static void put_word(text_sink *sink, const char *word) {
    put(sink, word, strlen(word));
}

static void put_real(text_sink *sink, weft_gguf_type type, double value) {
    char digits[40];
    snprintf(digits, sizeof digits, "%.6g", value);
    bool exact = type == WEFT_GGUF_F32 ? strtof(digits, NULL) == (float)value : strtod(digits, NULL) == value;
    if (!exact) snprintf(digits, sizeof digits, type == WEFT_GGUF_F32 ? "%.9g" : "%.17g", value);
    put_word(sink, digits);
}

static void put_integer(text_sink *sink, weft_gguf_type type, int64_t value) {
    char digits[24];
    if (type == WEFT_GGUF_U64) {
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    } else {
        snprintf(digits, sizeof digits, "%lld", (long long)value);
    }
    put_word(sink, digits);
}

static void put_element(text_sink *sink, const weft_gguf_value *value, uint64_t index) {
    if (value->type == WEFT_GGUF_STRING) {
        weft_text text = weft_gguf_text_at(value, index);
        if (value->is_array) put_word(sink, "\"");
        put(sink, text.bytes, text.size);
        if (value->is_array) put_word(sink, "\"");
    } else if (value->type == WEFT_GGUF_F32 || value->type == WEFT_GGUF_F64) {
        put_real(sink, value->type, weft_gguf_real_at(value, index));
    } else if (value->type == WEFT_GGUF_BOOL) {
        put_word(sink, value->data[index] ? "true" : "false");
    } else {
        put_integer(sink, value->type, weft_gguf_integer_at(value, index));
    }
}

/* Ends the text. If it did not fit, cuts it between UTF-8 characters and appends "...". */
static void finish(text_sink *sink) {
    if (sink->length < sink->size) {
        sink->text[sink->length] = 0;
        return;
    }
    size_t dots = sink->size > 3 ? 3 : sink->size - 1, end = sink->size - 1 - dots;
    while (end > 0 && ((unsigned char)sink->text[end] & 0xC0) == 0x80) end--;
    memset(sink->text + end, '.', dots);
    sink->text[end + dots] = 0;
}

bool weft_model_metadata(const weft_model *model, size_t index, const char **key, const char **type, char *value, size_t size) {
    if (!model || index >= weft_gguf_value_count(model->gguf)) return false;
    const weft_gguf_value *entry = weft_gguf_value_at(model->gguf, index);
    if (key) *key = entry->key;
    if (type) *type = type_names[entry->type][entry->is_array];
    if (!value || size == 0) return true;
    text_sink sink = {value, size, 0};
    if (entry->is_array) put_word(&sink, "[");
    for (uint64_t i = 0; i < entry->count && !is_full(&sink); i++) {
        if (i) put_word(&sink, ", ");
        put_element(&sink, entry, i);
    }
    if (entry->is_array) put_word(&sink, "]");
    finish(&sink);
    return true;
}
