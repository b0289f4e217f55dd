/* Writer of a GGUF header (version 3) into memory. A failed allocation is remembered: the calls after it do nothing, and
 * weft_gguf_header returns NULL. */
#ifndef WEFT_DECODER_GGUF_WRITE_H
#define WEFT_DECODER_GGUF_WRITE_H

#include "decoder/gguf.h"

#define WEFT_GGUF_ALIGNMENT 32

typedef struct weft_gguf_writer {
    weft_runtime *runtime;
    unsigned char *bytes;
    size_t size, capacity;
    uint64_t n_entries, n_tensors;
    uint64_t data_size; /* of the tensors added so far, padding between them included */
    bool failed;
} weft_gguf_writer;

/* Metadata entries come first, all of them before the first tensor. */
void weft_gguf_writer_begin(weft_gguf_writer *writer, weft_runtime *runtime);
void weft_gguf_write_u32(weft_gguf_writer *writer, const char *key, uint32_t value);
void weft_gguf_write_f32(weft_gguf_writer *writer, const char *key, float value);
void weft_gguf_write_flag(weft_gguf_writer *writer, const char *key, bool value);
void weft_gguf_write_text(weft_gguf_writer *writer, const char *key, const char *value);
/* Followed by `count` calls of the element function. */
void weft_gguf_write_array(weft_gguf_writer *writer, const char *key, weft_gguf_type type, uint64_t count);
void weft_gguf_write_element_text(weft_gguf_writer *writer, const char *bytes, size_t size);
void weft_gguf_write_element_i32(weft_gguf_writer *writer, int32_t value);
void weft_gguf_write_element_flag(weft_gguf_writer *writer, bool value);
/* An entry of another file. */
void weft_gguf_write_value(weft_gguf_writer *writer, const weft_gguf_value *value);
/* Tensors lie in the file in the order of these calls, each padded to the alignment. */
void weft_gguf_write_tensor(weft_gguf_writer *writer, const char *name, const weft_tensor *tensor);

/* The whole header, padded; owned by the writer. */
const unsigned char *weft_gguf_header(weft_gguf_writer *writer, size_t *size);
void weft_gguf_writer_end(weft_gguf_writer *writer);

#endif
