/* The fields of a well-formed GGUF file: where each number and text is, what it is, and whose. For tests that damage files and must
 * know what they damaged. */
#ifndef WEFT_TESTS_MODEL_FIELDS_H
#define WEFT_TESTS_MODEL_FIELDS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef enum field_kind {
    FIELD_MAGIC,
    FIELD_VERSION,
    FIELD_TENSOR_COUNT,
    FIELD_ENTRY_COUNT,
    FIELD_KEY_SIZE,
    FIELD_KEY,
    FIELD_VALUE_TYPE,
    FIELD_ELEMENT_TYPE,
    FIELD_ARRAY_COUNT,
    FIELD_NUMBER,
    FIELD_ELEMENT,
    FIELD_TEXT_SIZE,
    FIELD_TEXT,
    FIELD_NAME_SIZE,
    FIELD_NAME,
    FIELD_DIMENSION_COUNT,
    FIELD_DIMENSION,
    FIELD_TENSOR_TYPE,
    FIELD_OFFSET,
    FIELD_PADDING,
    FIELD_DATA,
    FIELD_KIND_COUNT
} field_kind;

typedef struct field {
    field_kind kind;
    size_t at, size;
    uint32_t type;  /* of the value, for numbers and value types */
    char owner[64]; /* key or tensor name */
} field;

typedef struct field_list {
    const unsigned char *bytes;
    size_t n_bytes, position;
    field *items;
    size_t n_items, capacity;
    char owner[64];
    size_t data_end; /* of the last tensor, before the file's last padding */
} field_list;

static inline uint64_t field_load(const unsigned char *bytes, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size && i < 8; i++) value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

/* Adds the next `size` bytes as a field and returns them as a number. */
static inline uint64_t field_next(field_list *list, field_kind kind, size_t size, uint32_t type) {
    if (list->n_items == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 1024;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        if (!list->items) abort();
    }
    field *added = &list->items[list->n_items++];
    *added = (field){.kind = kind, .at = list->position, .size = size, .type = type};
    memcpy(added->owner, list->owner, sizeof added->owner);
    list->position += size;
    return field_load(list->bytes + added->at, size);
}

/* A key or a tensor's name, the owner of the fields after it. */
static inline void field_owner(field_list *list, field_kind size_kind, field_kind kind) {
    size_t size = (size_t)field_load(list->bytes + list->position, 8);
    memset(list->owner, 0, sizeof list->owner);
    memcpy(list->owner, list->bytes + list->position + 8, size < 63 ? size : 63);
    field_next(list, size_kind, 8, 0);
    field_next(list, kind, size, 0);
}

static inline void field_value(field_list *list, uint32_t type, field_kind kind) {
    static const size_t sizes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8) {
        size_t size = (size_t)field_next(list, FIELD_TEXT_SIZE, 8, type);
        field_next(list, FIELD_TEXT, size, type);
    } else {
        field_next(list, kind, sizes[type], type);
    }
}

static inline void field_entry(field_list *list) {
    field_owner(list, FIELD_KEY_SIZE, FIELD_KEY);
    uint32_t type = (uint32_t)field_load(list->bytes + list->position, 4);
    field_next(list, FIELD_VALUE_TYPE, 4, type);
    if (type != 9) {
        field_value(list, type, FIELD_NUMBER);
        return;
    }
    type = (uint32_t)field_next(list, FIELD_ELEMENT_TYPE, 4, type);
    uint64_t count = field_next(list, FIELD_ARRAY_COUNT, 8, type);
    for (uint64_t i = 0; i < count; i++) field_value(list, type, FIELD_ELEMENT);
}

static inline void field_tensor(field_list *list) {
    field_owner(list, FIELD_NAME_SIZE, FIELD_NAME);
    uint64_t n_dimensions = field_next(list, FIELD_DIMENSION_COUNT, 4, 0);
    for (uint64_t i = 0; i < n_dimensions; i++) field_next(list, FIELD_DIMENSION, 8, 0);
    field_next(list, FIELD_TENSOR_TYPE, 4, 0);
    field_next(list, FIELD_OFFSET, 8, 0);
}

/* `last_bytes`: the size of the last tensor's data; the tensors lie in the order of their names. The caller frees list->items. */
static inline void field_scan(field_list *list, const unsigned char *bytes, size_t n_bytes, size_t last_bytes) {
    *list = (field_list){.bytes = bytes, .n_bytes = n_bytes};
    field_next(list, FIELD_MAGIC, 4, 0);
    field_next(list, FIELD_VERSION, 4, 0);
    uint64_t n_tensors = field_next(list, FIELD_TENSOR_COUNT, 8, 0);
    uint64_t n_entries = field_next(list, FIELD_ENTRY_COUNT, 8, 0);
    for (uint64_t i = 0; i < n_entries; i++) field_entry(list);
    for (uint64_t i = 0; i < n_tensors; i++) field_tensor(list);
    uint64_t last_offset = field_load(bytes + list->position - 8, 8);
    if (list->position % 32) field_next(list, FIELD_PADDING, 32 - list->position % 32, 0);
    list->data_end = list->position + (size_t)last_offset + last_bytes;
    memset(list->owner, 0, sizeof list->owner);
    field_next(list, FIELD_DATA, n_bytes - list->position, 0);
}

#endif
