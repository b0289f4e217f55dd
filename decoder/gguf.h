/* Reader of GGUF files, version 2 and 3 (the format's published description in the ggml repository, docs/gguf.md). */
#ifndef WEFT_DECODER_GGUF_H
#define WEFT_DECODER_GGUF_H

#include "os/os.h"
#include "weft/decoder.h"

typedef enum weft_gguf_type {
    WEFT_GGUF_U8,
    WEFT_GGUF_I8,
    WEFT_GGUF_U16,
    WEFT_GGUF_I16,
    WEFT_GGUF_U32,
    WEFT_GGUF_I32,
    WEFT_GGUF_F32,
    WEFT_GGUF_BOOL,
    WEFT_GGUF_STRING,
    WEFT_GGUF_ARRAY,
    WEFT_GGUF_U64,
    WEFT_GGUF_I64,
    WEFT_GGUF_F64,
    WEFT_GGUF_TYPE_COUNT
} weft_gguf_type;

/* Bytes that need not end with a zero. */
typedef struct weft_text {
    const char *bytes;
    size_t size;
} weft_text;

typedef struct weft_gguf_value {
    char *key;           /* zero-terminated */
    weft_gguf_type type; /* of the element, where it is an array */
    bool is_array;
    uint64_t count;            /* 1 where it is none */
    const unsigned char *data; /* the elements, little-endian and unaligned; strings: see weft_gguf_text_at */
    uint64_t *offsets;         /* of each string of an array from `data`; NULL for all else */
} weft_gguf_value;

typedef struct weft_gguf weft_gguf;

/* Of a model in several files, `path` is that of the first, -00001-of-00003.gguf; the others lie beside it. */
weft_status weft_gguf_open(weft_runtime *runtime, const char *path, weft_gguf **gguf, weft_error *error);
void weft_gguf_close(weft_gguf *gguf);
/* For messages. */
const char *weft_gguf_path(const weft_gguf *gguf);

size_t weft_gguf_value_count(const weft_gguf *gguf);
const weft_gguf_value *weft_gguf_value_at(const weft_gguf *gguf, size_t index);
/* NULL where there is no such key. */
const weft_gguf_value *weft_gguf_find(const weft_gguf *gguf, const char *key);

/* Single values. A missing key is WEFT_NOT_FOUND; a wrong type, or an integer outside min .. max, WEFT_BAD_FILE, with a message
 * that names file and key. Reals must be finite. */
weft_status weft_gguf_integer(const weft_gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *value, weft_error *error);
weft_status weft_gguf_real(const weft_gguf *gguf, const char *key, double *value, weft_error *error);
weft_status weft_gguf_flag(const weft_gguf *gguf, const char *key, bool *value, weft_error *error);
weft_status weft_gguf_text(const weft_gguf *gguf, const char *key, weft_text *value, weft_error *error);
/* Whether the element type is an integer. */
bool weft_gguf_holds_integers(const weft_gguf_value *value);
/* Elements of an array value; `index` is below count and the type is the one asked for. */
weft_text weft_gguf_text_at(const weft_gguf_value *value, uint64_t index);
int64_t weft_gguf_integer_at(const weft_gguf_value *value, uint64_t index);
double weft_gguf_real_at(const weft_gguf_value *value, uint64_t index);

size_t weft_gguf_tensor_count(const weft_gguf *gguf);
const weft_model_tensor *weft_gguf_tensor_at(const weft_gguf *gguf, size_t index);
size_t weft_gguf_tensor_index(const weft_gguf *gguf, const weft_model_tensor *tensor);
const weft_model_tensor *weft_gguf_tensor_find(const weft_gguf *gguf, const char *name);
/* Whether weft knows its type. Of one that it does not, the size is what lies between it and the next. */
bool weft_gguf_tensor_readable(const weft_model_tensor *tensor);
/* WEFT_IO if a file of the model was changed after it was opened. */
weft_status weft_gguf_check_unchanged(const weft_gguf *gguf, weft_error *error);
/* Reads part of a tensor's data; the range is checked. */
weft_status weft_gguf_read(const weft_gguf *gguf, const weft_model_tensor *tensor, uint64_t offset, void *into, size_t size,
                           weft_error *error);

#endif
