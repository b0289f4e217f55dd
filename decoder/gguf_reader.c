/* Reading the header region: growing buffer, numbers, names, metadata entries. */
#include "decoder/gguf_reader.h"

#include <string.h>

#define FIRST_READ ((uint64_t)1 << 20)

static const struct {
    const char *name;
    size_t size;
} value_types[WEFT_GGUF_TYPE_COUNT] = {
    [WEFT_GGUF_U8] = {"u8", 1},       [WEFT_GGUF_I8] = {"i8", 1},     [WEFT_GGUF_U16] = {"u16", 2},
    [WEFT_GGUF_I16] = {"i16", 2},     [WEFT_GGUF_U32] = {"u32", 4},   [WEFT_GGUF_I32] = {"i32", 4},
    [WEFT_GGUF_F32] = {"f32", 4},     [WEFT_GGUF_BOOL] = {"bool", 1}, [WEFT_GGUF_STRING] = {"string", 0},
    [WEFT_GGUF_ARRAY] = {"array", 0}, [WEFT_GGUF_U64] = {"u64", 8},   [WEFT_GGUF_I64] = {"i64", 8},
    [WEFT_GGUF_F64] = {"f64", 8},
};

/* Type numbers are permanent. The names of withdrawn types are kept, so that the message about an old file can name its type. */
static const char *const tensor_types[] = {
    [0] = "F32",         [1] = "F16",         [2] = "Q4_0",        [3] = "Q4_1",      [4] = "Q4_2",     [5] = "Q4_3",
    [6] = "Q5_0",        [7] = "Q5_1",        [8] = "Q8_0",        [9] = "Q8_1",      [10] = "Q2_K",    [11] = "Q3_K",
    [12] = "Q4_K",       [13] = "Q5_K",       [14] = "Q6_K",       [15] = "Q8_K",     [16] = "IQ2_XXS", [17] = "IQ2_XS",
    [18] = "IQ3_XXS",    [19] = "IQ1_S",      [20] = "IQ4_NL",     [21] = "IQ3_S",    [22] = "IQ2_S",   [23] = "IQ4_XS",
    [24] = "I8",         [25] = "I16",        [26] = "I32",        [27] = "I64",      [28] = "F64",     [29] = "IQ1_M",
    [30] = "BF16",       [31] = "Q4_0_4_4",   [32] = "Q4_0_4_8",   [33] = "Q4_0_8_8", [34] = "TQ1_0",   [35] = "TQ2_0",
    [36] = "IQ4_NL_4_4", [37] = "IQ4_NL_4_8", [38] = "IQ4_NL_8_8", [39] = "MXFP4",    [40] = "NVFP4",   [41] = "Q1_0",
};

size_t weft_gguf_type_size(weft_gguf_type type) {
    return value_types[type].size;
}

const char *weft_gguf_type_name(weft_gguf_type type) {
    return value_types[type].name;
}

const char *weft_gguf_tensor_type_name(uint32_t number) {
    return number < sizeof tensor_types / sizeof *tensor_types ? tensor_types[number] : NULL;
}

uint32_t weft_gguf_load_u32(const unsigned char *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

uint64_t weft_gguf_load_u64(const unsigned char *bytes) {
    return weft_gguf_load_u32(bytes) | (uint64_t)weft_gguf_load_u32(bytes + 4) << 32;
}

uint64_t weft_gguf_left(const weft_gguf_reader *reader) {
    return reader->gguf->file.size - reader->position;
}

/* Makes `header` hold at least the first `end` bytes of the file, which are there. */
static weft_status load(weft_gguf *gguf, uint64_t end, weft_error *error) {
    uint64_t capacity = gguf->capacity ? gguf->capacity : FIRST_READ;
    while (capacity < end) capacity *= 2;
    if (capacity > gguf->file.size) capacity = gguf->file.size;
    unsigned char *header = weft_reallocate(gguf->runtime, gguf->header, (size_t)gguf->capacity, (size_t)capacity);
    if (!header) {
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for %llu bytes of metadata", gguf->path,
                         (unsigned long long)capacity);
    }
    gguf->header = header;
    gguf->capacity = capacity;
    weft_status status =
        weft_os_file_read(&gguf->file, gguf->loaded, header + gguf->loaded, (size_t)(capacity - gguf->loaded), error);
    if (status == WEFT_OK) gguf->loaded = capacity;
    return status;
}

static weft_status need(weft_gguf_reader *reader, uint64_t size) {
    weft_gguf *gguf = reader->gguf;
    if (size <= gguf->loaded - reader->position) return WEFT_OK;
    if (size > weft_gguf_left(reader)) {
        return weft_fail(reader->error, WEFT_BAD_FILE, "%s: the file ends inside its header, at byte %llu", gguf->path,
                         (unsigned long long)gguf->file.size);
    }
    if (reader->position + size > WEFT_GGUF_HEADER_LIMIT) {
        return weft_fail(reader->error, WEFT_BAD_FILE, "%s: the header says it is larger than %llu MB", gguf->path,
                         (unsigned long long)(WEFT_GGUF_HEADER_LIMIT >> 20));
    }
    return load(gguf, reader->position + size, reader->error);
}

weft_status weft_gguf_skip(weft_gguf_reader *reader, uint64_t size) {
    weft_status status = need(reader, size);
    if (status == WEFT_OK) reader->position += size;
    return status;
}

weft_status weft_gguf_read_u32(weft_gguf_reader *reader, uint32_t *value) {
    weft_status status = weft_gguf_skip(reader, 4);
    if (status == WEFT_OK) *value = weft_gguf_load_u32(reader->gguf->header + reader->position - 4);
    return status;
}

weft_status weft_gguf_read_u64(weft_gguf_reader *reader, uint64_t *value) {
    weft_status status = weft_gguf_skip(reader, 8);
    if (status == WEFT_OK) *value = weft_gguf_load_u64(reader->gguf->header + reader->position - 8);
    return status;
}

weft_status weft_gguf_read_name(weft_gguf_reader *reader, const char *what, uint64_t limit, uint64_t *at) {
    weft_gguf *gguf = reader->gguf;
    uint64_t start = reader->position, size;
    weft_status status = weft_gguf_read_u64(reader, &size);
    if (status != WEFT_OK) return status;
    if (size == 0 || size > limit) {
        return weft_fail(reader->error, WEFT_BAD_FILE, "%s: the %s at byte %llu has %llu bytes; 1 to %llu are allowed", gguf->path,
                         what, (unsigned long long)start, (unsigned long long)size, (unsigned long long)limit);
    }
    status = weft_gguf_skip(reader, size);
    if (status != WEFT_OK) return status;
    unsigned char *bytes = gguf->header + start;
    for (uint64_t i = 0; i < size; i++) {
        if (bytes[8 + i] < ' ' || bytes[8 + i] > '~') {
            return weft_fail(reader->error, WEFT_BAD_FILE, "%s: the %s at byte %llu is not plain text", gguf->path, what,
                             (unsigned long long)start);
        }
    }
    /* The length is no longer needed: moved over it, the name has room for its zero. */
    memmove(bytes, bytes + 8, (size_t)size);
    bytes[size] = 0;
    *at = start;
    return WEFT_OK;
}

static weft_status skip_strings(weft_gguf_reader *reader, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t size;
        weft_status status = weft_gguf_read_u64(reader, &size);
        if (status == WEFT_OK) status = weft_gguf_skip(reader, size);
        if (status != WEFT_OK) return status;
    }
    return WEFT_OK;
}

/* Finds where each string of an array starts. The offsets are stored only after all strings were read, so a false count is never
 * trusted. */
static weft_status index_strings(const weft_gguf *gguf, weft_gguf_entry *entry, weft_error *error) {
    uint64_t *offsets = weft_allocate(gguf->runtime, (size_t)entry->value.count * sizeof *offsets);
    if (!offsets) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for an array of strings", gguf->path);
    const unsigned char *data = gguf->header + entry->data_at;
    uint64_t at = 0;
    for (uint64_t i = 0; i < entry->value.count; i++) {
        offsets[i] = at;
        at += 8 + weft_gguf_load_u64(data + at);
    }
    entry->value.offsets = offsets;
    return WEFT_OK;
}

/* Moves with the header. */
static const char *key_of(const weft_gguf *gguf, const weft_gguf_entry *entry) {
    return (const char *)gguf->header + entry->key_at;
}

static weft_status read_elements(weft_gguf_reader *reader, weft_gguf_entry *entry) {
    weft_gguf *gguf = reader->gguf;
    weft_gguf_value *value = &entry->value;
    bool is_string = value->type == WEFT_GGUF_STRING;
    size_t size = is_string ? 8 : weft_gguf_type_size(value->type); /* a string has at least 8 */
    if (value->count > weft_gguf_left(reader) / size) {
        return weft_fail(reader->error, WEFT_BAD_FILE, "%s: %.80s has %llu elements, more than the file can hold", gguf->path,
                         key_of(gguf, entry), (unsigned long long)value->count);
    }
    entry->data_at = reader->position;
    weft_status status = is_string ? skip_strings(reader, value->count) : weft_gguf_skip(reader, value->count * size);
    if (status != WEFT_OK) return status;
    if (is_string && value->is_array && value->count) return index_strings(gguf, entry, reader->error);
    if (value->type == WEFT_GGUF_BOOL) {
        for (uint64_t i = 0; i < value->count; i++) {
            if (gguf->header[entry->data_at + i] > 1) {
                return weft_fail(reader->error, WEFT_BAD_FILE, "%s: %.80s is neither true nor false", gguf->path,
                                 key_of(gguf, entry));
            }
        }
    }
    return WEFT_OK;
}

weft_status weft_gguf_read_entry(weft_gguf_reader *reader, weft_gguf_entry *entry) {
    weft_gguf *gguf = reader->gguf;
    uint32_t type, element;
    weft_status status = weft_gguf_read_name(reader, "key", WEFT_GGUF_KEY_LIMIT, &entry->key_at);
    if (status == WEFT_OK) status = weft_gguf_read_u32(reader, &type);
    if (status != WEFT_OK) return status;
    element = type;
    entry->value.count = 1;
    entry->value.is_array = type == WEFT_GGUF_ARRAY;
    if (entry->value.is_array) {
        status = weft_gguf_read_u32(reader, &element);
        if (status == WEFT_OK) status = weft_gguf_read_u64(reader, &entry->value.count);
        if (status != WEFT_OK) return status;
    }
    if (element >= WEFT_GGUF_TYPE_COUNT) {
        return weft_fail(reader->error, WEFT_BAD_FILE, "%s: %.80s has a value of unknown type %u", gguf->path, key_of(gguf, entry),
                         element);
    }
    if (element == WEFT_GGUF_ARRAY) {
        return weft_fail(reader->error, WEFT_UNSUPPORTED, "%s: %.80s is an array of arrays, which weft cannot read", gguf->path,
                         key_of(gguf, entry));
    }
    entry->value.type = (weft_gguf_type)element;
    return read_elements(reader, entry);
}
