/* Values of a GGUF file by key, with their type and range checked. */
#include "decoder/gguf_reader.h"

#include <math.h>
#include <string.h>

size_t weft_gguf_value_count(const weft_gguf *gguf) {
    return gguf->n_entries;
}

const weft_gguf_value *weft_gguf_value_at(const weft_gguf *gguf, size_t index) {
    return &gguf->entries[index].value;
}

const weft_gguf_value *weft_gguf_find(const weft_gguf *gguf, const char *key) {
    size_t low = 0, high = gguf->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const weft_gguf_value *value = &gguf->entries[gguf->entry_order[middle]].value;
        int order = strcmp(key, value->key);
        if (order == 0) return value;
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static bool is_integer(weft_gguf_type type) {
    return type != WEFT_GGUF_F32 && type != WEFT_GGUF_F64 && type != WEFT_GGUF_BOOL && type != WEFT_GGUF_STRING;
}

/* Two's complement, whatever the sign of the type: a U64 past INT64_MAX comes out negative. */
static int64_t load_integer(weft_gguf_type type, const unsigned char *bytes) {
    switch (type) {
    case WEFT_GGUF_U8:
        return bytes[0];
    case WEFT_GGUF_I8:
        return bytes[0] - (bytes[0] >= 0x80 ? 0x100 : 0);
    case WEFT_GGUF_U16:
        return bytes[0] | bytes[1] << 8;
    case WEFT_GGUF_I16:
        return (bytes[0] | bytes[1] << 8) - (bytes[1] >= 0x80 ? 0x10000 : 0);
    case WEFT_GGUF_U32:
        return weft_gguf_load_u32(bytes);
    case WEFT_GGUF_I32:
        return (int64_t)weft_gguf_load_u32(bytes) - (bytes[3] >= 0x80 ? (int64_t)1 << 32 : 0);
    default: {
        uint64_t bits = weft_gguf_load_u64(bytes);
        int64_t value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    }
}

static double load_real(weft_gguf_type type, const unsigned char *bytes) {
    if (type == WEFT_GGUF_F32) {
        uint32_t bits = weft_gguf_load_u32(bytes);
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    uint64_t bits = weft_gguf_load_u64(bytes);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

weft_text weft_gguf_text_at(const weft_gguf_value *value, uint64_t index) {
    const unsigned char *string = value->data + (value->offsets ? value->offsets[index] : 0);
    return (weft_text){(const char *)string + 8, (size_t)weft_gguf_load_u64(string)};
}

bool weft_gguf_holds_integers(const weft_gguf_value *value) {
    return is_integer(value->type);
}

int64_t weft_gguf_integer_at(const weft_gguf_value *value, uint64_t index) {
    return load_integer(value->type, value->data + index * weft_gguf_type_size(value->type));
}

double weft_gguf_real_at(const weft_gguf_value *value, uint64_t index) {
    return load_real(value->type, value->data + index * weft_gguf_type_size(value->type));
}

/* The single value of `key`. */
static weft_status single(const weft_gguf *gguf, const char *key, const weft_gguf_value **found, weft_error *error) {
    const weft_gguf_value *value = weft_gguf_find(gguf, key);
    if (!value) return weft_fail(error, WEFT_NOT_FOUND, "%s: there is no %s", gguf->path, key);
    if (value->is_array) return weft_fail(error, WEFT_BAD_FILE, "%s: %s is an array, not one value", gguf->path, key);
    *found = value;
    return WEFT_OK;
}

static weft_status wrong_type(const weft_gguf *gguf, const weft_gguf_value *value, const char *wanted, weft_error *error) {
    return weft_fail(error, WEFT_BAD_FILE, "%s: %s has type %s, not %s", gguf->path, value->key, weft_gguf_type_name(value->type),
                     wanted);
}

weft_status weft_gguf_integer(const weft_gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *value, weft_error *error) {
    const weft_gguf_value *found = NULL;
    weft_status status = single(gguf, key, &found, error);
    if (status != WEFT_OK) return status;
    if (!is_integer(found->type)) return wrong_type(gguf, found, "an integer", error);
    int64_t number = load_integer(found->type, found->data);
    if (found->type == WEFT_GGUF_U64 && number < 0) {
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is %llu, not in %lld .. %lld", gguf->path, key, (unsigned long long)number,
                         (long long)min, (long long)max);
    }
    if (number < min || number > max) {
        return weft_fail(error, WEFT_BAD_FILE, "%s: %s is %lld, not in %lld .. %lld", gguf->path, key, (long long)number,
                         (long long)min, (long long)max);
    }
    *value = number;
    return WEFT_OK;
}

weft_status weft_gguf_real(const weft_gguf *gguf, const char *key, double *value, weft_error *error) {
    const weft_gguf_value *found = NULL;
    weft_status status = single(gguf, key, &found, error);
    if (status != WEFT_OK) return status;
    if (found->type != WEFT_GGUF_F32 && found->type != WEFT_GGUF_F64) return wrong_type(gguf, found, "a real number", error);
    double number = load_real(found->type, found->data);
    if (!isfinite(number)) return weft_fail(error, WEFT_BAD_FILE, "%s: %s is %f", gguf->path, key, number);
    *value = number;
    return WEFT_OK;
}

weft_status weft_gguf_flag(const weft_gguf *gguf, const char *key, bool *value, weft_error *error) {
    const weft_gguf_value *found = NULL;
    weft_status status = single(gguf, key, &found, error);
    if (status != WEFT_OK) return status;
    if (found->type != WEFT_GGUF_BOOL) return wrong_type(gguf, found, "bool", error);
    *value = found->data[0] != 0;
    return WEFT_OK;
}

weft_status weft_gguf_text(const weft_gguf *gguf, const char *key, weft_text *value, weft_error *error) {
    const weft_gguf_value *found = NULL;
    weft_status status = single(gguf, key, &found, error);
    if (status != WEFT_OK) return status;
    if (found->type != WEFT_GGUF_STRING) return wrong_type(gguf, found, "string", error);
    *value = weft_gguf_text_at(found, 0);
    return WEFT_OK;
}
