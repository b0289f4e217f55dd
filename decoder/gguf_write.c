#include "decoder/gguf_write.h"

#include "decoder/gguf_reader.h"

#include <string.h>

static void put(weft_gguf_writer *writer, const void *bytes, size_t size) {
    if (writer->failed) return;
    if (size > writer->capacity - writer->size) {
        size_t capacity = writer->capacity ? writer->capacity : (size_t)1 << 16;
        while (capacity - writer->size < size) capacity *= 2;
        void *larger = weft_reallocate(writer->runtime, writer->bytes, writer->capacity, capacity);
        writer->failed = !larger;
        if (!larger) return;
        writer->bytes = larger;
        writer->capacity = capacity;
    }
    memcpy(writer->bytes + writer->size, bytes, size);
    writer->size += size;
}

static void store_u64(unsigned char *bytes, uint64_t value) {
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(value >> 8 * i);
}

static void put_u64(weft_gguf_writer *writer, uint64_t value) {
    unsigned char bytes[8];
    store_u64(bytes, value);
    put(writer, bytes, 8);
}

static void put_u32(weft_gguf_writer *writer, uint32_t value) {
    unsigned char bytes[8];
    store_u64(bytes, value);
    put(writer, bytes, 4);
}

static void put_string(weft_gguf_writer *writer, const char *bytes, size_t size) {
    put_u64(writer, size);
    put(writer, bytes, size);
}

static void put_key(weft_gguf_writer *writer, const char *key, weft_gguf_type type) {
    put_string(writer, key, strlen(key));
    put_u32(writer, (uint32_t)type);
    writer->n_entries++;
}

static void pad(weft_gguf_writer *writer) {
    static const unsigned char zeros[WEFT_GGUF_ALIGNMENT];
    put(writer, zeros, (WEFT_GGUF_ALIGNMENT - writer->size % WEFT_GGUF_ALIGNMENT) % WEFT_GGUF_ALIGNMENT);
}

void weft_gguf_writer_begin(weft_gguf_writer *writer, weft_runtime *runtime) {
    *writer = (weft_gguf_writer){.runtime = runtime};
    put(writer, "GGUF", 4);
    put_u32(writer, 3);
    put_u64(writer, 0); /* the counts are known at the end */
    put_u64(writer, 0);
}

void weft_gguf_write_u32(weft_gguf_writer *writer, const char *key, uint32_t value) {
    put_key(writer, key, WEFT_GGUF_U32);
    put_u32(writer, value);
}

void weft_gguf_write_f32(weft_gguf_writer *writer, const char *key, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(writer, key, WEFT_GGUF_F32);
    put_u32(writer, bits);
}

void weft_gguf_write_flag(weft_gguf_writer *writer, const char *key, bool value) {
    unsigned char byte = value;
    put_key(writer, key, WEFT_GGUF_BOOL);
    put(writer, &byte, 1);
}

void weft_gguf_write_text(weft_gguf_writer *writer, const char *key, const char *value) {
    put_key(writer, key, WEFT_GGUF_STRING);
    put_string(writer, value, strlen(value));
}

void weft_gguf_write_array(weft_gguf_writer *writer, const char *key, weft_gguf_type type, uint64_t count) {
    put_key(writer, key, WEFT_GGUF_ARRAY);
    put_u32(writer, (uint32_t)type);
    put_u64(writer, count);
}

void weft_gguf_write_element_text(weft_gguf_writer *writer, const char *bytes, size_t size) {
    put_string(writer, bytes, size);
}

void weft_gguf_write_element_i32(weft_gguf_writer *writer, int32_t value) {
    put_u32(writer, (uint32_t)value);
}

void weft_gguf_write_element_flag(weft_gguf_writer *writer, bool value) {
    unsigned char byte = value;
    put(writer, &byte, 1);
}

void weft_gguf_write_value(weft_gguf_writer *writer, const weft_gguf_value *value) {
    if (value->is_array)
        weft_gguf_write_array(writer, value->key, value->type, value->count);
    else
        put_key(writer, value->key, value->type);
    if (value->type != WEFT_GGUF_STRING) put(writer, value->data, (size_t)value->count * weft_gguf_type_size(value->type));
    for (uint64_t i = 0; value->type == WEFT_GGUF_STRING && i < value->count; i++) {
        weft_text text = weft_gguf_text_at(value, i);
        put_string(writer, text.bytes, text.size);
    }
}

void weft_gguf_write_tensor(weft_gguf_writer *writer, const char *name, const weft_tensor *tensor) {
    uint32_t n_dimensions = WEFT_MAX_DIMENSIONS;
    while (n_dimensions > 1 && tensor->shape[n_dimensions - 1] == 1) n_dimensions--;
    put_string(writer, name, strlen(name));
    put_u32(writer, n_dimensions);
    for (uint32_t i = 0; i < n_dimensions; i++) put_u64(writer, (uint64_t)tensor->shape[i]);
    put_u32(writer, (uint32_t)tensor->type);
    put_u64(writer, writer->data_size);
    uint64_t bytes = weft_tensor_bytes(tensor);
    writer->data_size += (bytes + WEFT_GGUF_ALIGNMENT - 1) / WEFT_GGUF_ALIGNMENT * WEFT_GGUF_ALIGNMENT;
    writer->n_tensors++;
}

const unsigned char *weft_gguf_header(weft_gguf_writer *writer, size_t *size) {
    pad(writer);
    if (writer->failed) return NULL;
    store_u64(writer->bytes + 8, writer->n_tensors);
    store_u64(writer->bytes + 16, writer->n_entries);
    *size = writer->size;
    return writer->bytes;
}

void weft_gguf_writer_end(weft_gguf_writer *writer) {
    weft_release(writer->runtime, writer->bytes);
}
