/* A stream of sections, each with its kind, its size and a checksum of everything so far. All numbers are little-endian. */
#ifndef WEFT_DECODER_SECTIONS_H
#define WEFT_DECODER_SECTIONS_H

#include "decoder/gguf.h"
#include "decoder/hash.h"

typedef struct weft_sections {
    const char *name; /* of the stream, for messages */
    /* One of the two, as in weft_save_options and weft_restore_options. */
    weft_status (*write)(void *user, const void *bytes, size_t size, weft_error *error);
    weft_status (*read)(void *user, void *into, size_t size, size_t *n_read, weft_error *error);
    void *user;
    weft_error *error;
    weft_hash hash; /* of all bytes so far */
    uint64_t left;  /* bytes of the section that come */
    uint64_t size;  /* bytes of the whole stream so far */
} weft_sections;

/* The stream's first bytes: `magic`, which has 8, and the version. Reading returns WEFT_BAD_FILE for another magic. */
weft_status weft_sections_write_start(weft_sections *sections, const char *magic, uint32_t version);
weft_status weft_sections_read_start(weft_sections *sections, const char *magic, uint32_t *version);

weft_status weft_section_write_begin(weft_sections *sections, uint32_t kind, uint64_t size);
weft_status weft_section_write(weft_sections *sections, const void *bytes, size_t size);
weft_status weft_section_write_end(weft_sections *sections);

/* WEFT_BAD_FILE if the stream ends too early or the checksum is another. */
weft_status weft_section_read_begin(weft_sections *sections, uint32_t *kind);
weft_status weft_section_read(weft_sections *sections, void *into, size_t size);
/* Reads what is left of the section, and checks it. */
weft_status weft_section_read_end(weft_sections *sections);

/* WEFT_BAD_FILE: the stream is damaged. */
weft_status weft_sections_damaged(const weft_sections *sections, const char *what);

/* ---- The content of a small section ---- */

/* After the first failure, all calls do nothing. */
typedef struct weft_packed {
    weft_runtime *runtime;
    unsigned char *bytes;
    size_t size, capacity;
    bool failed; /* there is no memory */
} weft_packed;

void weft_pack(weft_packed *packed, const void *bytes, size_t size);
void weft_pack_u32(weft_packed *packed, uint32_t value);
void weft_pack_i32(weft_packed *packed, int32_t value);
void weft_pack_u64(weft_packed *packed, uint64_t value);
void weft_pack_real(weft_packed *packed, float value);
/* Its size comes first. NULL and "" differ. */
void weft_pack_text(weft_packed *packed, const char *bytes, size_t size);
/* Writes a section of this content and releases the memory. */
weft_status weft_packed_write(weft_packed *packed, weft_sections *sections, uint32_t kind);

/* Reads a whole section, which has begun, into memory that grows as the bytes come. */
weft_status weft_packed_read(weft_packed *packed, weft_sections *sections);

/* Takes values in the order in which they were packed. */
typedef struct weft_unpacking {
    const unsigned char *bytes;
    size_t left;
    bool failed; /* there were not enough bytes */
} weft_unpacking;

const unsigned char *weft_unpack(weft_unpacking *from, size_t size);
uint32_t weft_unpack_u32(weft_unpacking *from);
int32_t weft_unpack_i32(weft_unpacking *from);
uint64_t weft_unpack_u64(weft_unpacking *from);
float weft_unpack_real(weft_unpacking *from);
/* False for NULL. The bytes are those of the section. */
bool weft_unpack_text(weft_unpacking *from, weft_text *text);

#endif
