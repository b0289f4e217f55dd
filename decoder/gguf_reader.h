/* The header region of a GGUF file in memory, read in growing pieces; and the parts of an open file, for the reader's own files. */
#ifndef WEFT_DECODER_GGUF_READER_H
#define WEFT_DECODER_GGUF_READER_H

#include "decoder/gguf.h"

/* Real headers end below 32 MB (a vocabulary of 256,000 tokens takes 16): a larger one is damage, and is not read into memory. */
#define WEFT_GGUF_HEADER_LIMIT ((uint64_t)1 << 28)
#define WEFT_GGUF_KEY_LIMIT 65535 /* the format's */
#define WEFT_GGUF_NAME_LIMIT 63

typedef struct weft_gguf_entry {
    weft_gguf_value value;
    uint64_t key_at, data_at; /* in the header: pointers are set when it no longer moves */
} weft_gguf_entry;

typedef struct weft_gguf_tensor {
    weft_model_tensor tensor;
    uint64_t name_at;
    const weft_gguf *part; /* whose file has the data; NULL: that of the directory */
    char type_number[16];  /* "type 200", where the type has no name */
} weft_gguf_tensor;

struct weft_gguf {
    weft_runtime *runtime;
    char *path;
    weft_os_file file;
    unsigned char *header;
    uint64_t capacity, loaded;
    weft_gguf_entry *entries;
    size_t n_entries, entry_capacity;
    weft_gguf_tensor *tensors;
    size_t n_tensors, tensor_capacity;
    uint32_t *entry_order, *tensor_order; /* sorted by key and by name */
    weft_gguf **parts;                    /* of a model in several files, those after the first */
    size_t n_parts;
};

/* Reads from `position` on; a failure is kept by the caller, who stops at the first. */
typedef struct weft_gguf_reader {
    weft_gguf *gguf;
    uint64_t position;
    weft_error *error;
} weft_gguf_reader;

/* Bytes of one element; 0 for strings and arrays. */
size_t weft_gguf_type_size(weft_gguf_type type);
const char *weft_gguf_type_name(weft_gguf_type type);
/* The name of a tensor type of the format, even if weft cannot read the type. NULL: unknown number. */
const char *weft_gguf_tensor_type_name(uint32_t number);

/* weft_gguf_open for one file of a model that may have several. */
weft_status weft_gguf_open_file(weft_runtime *runtime, const char *path, weft_gguf **gguf, weft_error *error);
/* Opens the other files of the model, if there are any, and adds their tensors. */
weft_status weft_gguf_join(weft_gguf *gguf, weft_error *error);
/* Sorts the tensors by name. WEFT_BAD_FILE if two have the same. */
weft_status weft_gguf_index_tensors(weft_gguf *gguf, weft_error *error);

weft_status weft_gguf_read_u32(weft_gguf_reader *reader, uint32_t *value);
weft_status weft_gguf_read_u64(weft_gguf_reader *reader, uint64_t *value);
/* Bytes between the position and the end of the file. */
uint64_t weft_gguf_left(const weft_gguf_reader *reader);
/* Skips `size` bytes, after reading them into memory. */
weft_status weft_gguf_skip(weft_gguf_reader *reader, uint64_t size);
/* A string of 1 .. limit printable bytes that is zero-terminated in place; `at` is where it starts in the header. */
weft_status weft_gguf_read_name(weft_gguf_reader *reader, const char *what, uint64_t limit, uint64_t *at);
/* One key, its type and its value. */
weft_status weft_gguf_read_entry(weft_gguf_reader *reader, weft_gguf_entry *entry);

uint32_t weft_gguf_load_u32(const unsigned char *bytes);
uint64_t weft_gguf_load_u64(const unsigned char *bytes);

/* Sorts 0 .. n - 1 so that compare(items, a, b) <= 0 for neighbours: heapsort, so that no input is slow and nothing is allocated.
 */
void weft_gguf_sort(uint32_t *order, size_t n, int (*compare)(const void *items, uint32_t a, uint32_t b), const void *items);

#endif
