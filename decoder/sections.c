#include "decoder/sections.h"

#include <string.h>

#include "weft/ops/math.h"

static void store(unsigned char *to, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t load(const unsigned char *from, size_t n) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)from[i] << 8 * i;
    return value;
}

/* ---- Writing ---- */

static weft_status write_bytes(weft_sections *sections, const void *bytes, size_t size) {
    if (size == 0) return WEFT_OK;
    weft_hash_add(&sections->hash, bytes, size);
    sections->size += size;
    return sections->write(sections->user, bytes, size, sections->error);
}

weft_status weft_sections_write_start(weft_sections *sections, const char *magic, uint32_t version) {
    unsigned char start[12];
    sections->hash = (weft_hash){0, 0, 0};
    memcpy(start, magic, 8);
    store(start + 8, version, 4);
    return write_bytes(sections, start, sizeof start);
}

weft_status weft_section_write_begin(weft_sections *sections, uint32_t kind, uint64_t size) {
    unsigned char head[12];
    store(head, kind, 4);
    store(head + 4, size, 8);
    return write_bytes(sections, head, sizeof head);
}

weft_status weft_section_write(weft_sections *sections, const void *bytes, size_t size) {
    return write_bytes(sections, bytes, size);
}

weft_status weft_section_write_end(weft_sections *sections) {
    unsigned char hash[8];
    store(hash, weft_hash_value(&sections->hash), 8);
    return write_bytes(sections, hash, sizeof hash);
}

/* ---- Reading ---- */

weft_status weft_sections_damaged(const weft_sections *sections, const char *what) {
    return weft_fail(sections->error, WEFT_BAD_FILE, "%s: %s at byte %llu: it is damaged or cut", sections->name, what,
                     (unsigned long long)sections->size);
}

static weft_status read_bytes(weft_sections *sections, void *into, size_t size) {
    unsigned char *to = into;
    for (size_t done = 0, n = 0; done < size; done += n) {
        n = 0;
        weft_status status = sections->read(sections->user, to + done, size - done, &n, sections->error);
        if (status != WEFT_OK) return status;
        if (n == 0 || n > size - done) return weft_sections_damaged(sections, "the session ends too early");
        sections->size += n;
    }
    weft_hash_add(&sections->hash, into, size);
    return WEFT_OK;
}

weft_status weft_sections_read_start(weft_sections *sections, const char *magic, uint32_t *version) {
    unsigned char start[12];
    sections->hash = (weft_hash){0, 0, 0};
    weft_status status = read_bytes(sections, start, sizeof start);
    if (status == WEFT_OK && memcmp(start, magic, 8) != 0)
        status = weft_fail(sections->error, WEFT_BAD_FILE, "%s: this is not a saved session", sections->name);
    if (status == WEFT_OK) *version = (uint32_t)load(start + 8, 4);
    return status;
}

weft_status weft_section_read_begin(weft_sections *sections, uint32_t *kind) {
    unsigned char head[12];
    weft_status status = read_bytes(sections, head, sizeof head);
    *kind = (uint32_t)load(head, 4);
    sections->left = load(head + 4, 8);
    return status;
}

weft_status weft_section_read(weft_sections *sections, void *into, size_t size) {
    if (size > sections->left) return weft_sections_damaged(sections, "a section is too short");
    sections->left -= size;
    return read_bytes(sections, into, size);
}

weft_status weft_section_read_end(weft_sections *sections) {
    unsigned char piece[4096], hash[8];
    weft_status status = WEFT_OK;
    while (status == WEFT_OK && sections->left > 0)
        status = weft_section_read(sections, piece, sections->left < sizeof piece ? (size_t)sections->left : sizeof piece);
    uint64_t expected = weft_hash_value(&sections->hash);
    if (status == WEFT_OK) status = read_bytes(sections, hash, sizeof hash);
    if (status == WEFT_OK && load(hash, 8) != expected) status = weft_sections_damaged(sections, "a checksum is wrong");
    return status;
}

/* ---- Packing ---- */

static bool reserve(weft_packed *packed, size_t size) {
    if (packed->failed) return false;
    if (size <= packed->capacity - packed->size) return true;
    size_t capacity = packed->size + size + packed->size / 2;
    unsigned char *grown = size < SIZE_MAX / 4 ? weft_reallocate(packed->runtime, packed->bytes, packed->size, capacity) : NULL;
    packed->failed = !grown;
    if (packed->failed) return false;
    packed->bytes = grown;
    packed->capacity = capacity;
    return true;
}

void weft_pack(weft_packed *packed, const void *bytes, size_t size) {
    if (size == 0 || !reserve(packed, size)) return;
    memcpy(packed->bytes + packed->size, bytes, size);
    packed->size += size;
}

static void pack_number(weft_packed *packed, uint64_t value, size_t n) {
    unsigned char bytes[8];
    store(bytes, value, n);
    weft_pack(packed, bytes, n);
}

void weft_pack_u32(weft_packed *packed, uint32_t value) {
    pack_number(packed, value, 4);
}

void weft_pack_i32(weft_packed *packed, int32_t value) {
    pack_number(packed, (uint32_t)value, 4);
}

void weft_pack_u64(weft_packed *packed, uint64_t value) {
    pack_number(packed, value, 8);
}

void weft_pack_real(weft_packed *packed, float value) {
    weft_pack_i32(packed, weft_real_to_bits(value));
}

void weft_pack_text(weft_packed *packed, const char *bytes, size_t size) {
    weft_pack_u64(packed, bytes ? size : UINT64_MAX);
    if (bytes) weft_pack(packed, bytes, size);
}

weft_status weft_packed_write(weft_packed *packed, weft_sections *sections, uint32_t kind) {
    weft_status status = WEFT_OK;
    if (packed->failed) status = weft_fail(sections->error, WEFT_OUT_OF_MEMORY, "%s: no memory to write it", sections->name);
    if (status == WEFT_OK) status = weft_section_write_begin(sections, kind, packed->size);
    if (status == WEFT_OK) status = weft_section_write(sections, packed->bytes, packed->size);
    if (status == WEFT_OK) status = weft_section_write_end(sections);
    weft_release(packed->runtime, packed->bytes);
    *packed = (weft_packed){.runtime = packed->runtime};
    return status;
}

weft_status weft_packed_read(weft_packed *packed, weft_sections *sections) {
    const size_t max_piece = (size_t)1 << 16;
    weft_status status = WEFT_OK;
    while (status == WEFT_OK && sections->left > 0) {
        size_t n = sections->left < max_piece ? (size_t)sections->left : max_piece;
        if (!reserve(packed, n)) return weft_fail(sections->error, WEFT_OUT_OF_MEMORY, "%s: no memory to read it", sections->name);
        status = weft_section_read(sections, packed->bytes + packed->size, n);
        packed->size += n;
    }
    return status == WEFT_OK ? weft_section_read_end(sections) : status;
}

/* ---- Unpacking ---- */

const unsigned char *weft_unpack(weft_unpacking *from, size_t size) {
    static const unsigned char nothing[8];
    if (from->failed || size > from->left) {
        from->failed = true;
        return size <= sizeof nothing ? nothing : NULL;
    }
    const unsigned char *bytes = from->bytes;
    from->bytes += size;
    from->left -= size;
    return bytes;
}

uint32_t weft_unpack_u32(weft_unpacking *from) {
    return (uint32_t)load(weft_unpack(from, 4), 4);
}

int32_t weft_unpack_i32(weft_unpacking *from) {
    uint32_t bits = weft_unpack_u32(from);
    int32_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint64_t weft_unpack_u64(weft_unpacking *from) {
    return load(weft_unpack(from, 8), 8);
}

float weft_unpack_real(weft_unpacking *from) {
    return weft_bits_to_real(weft_unpack_i32(from));
}

bool weft_unpack_text(weft_unpacking *from, weft_text *text) {
    uint64_t size = weft_unpack_u64(from);
    *text = (weft_text){"", 0};
    if (size == UINT64_MAX) return false;
    if (size > from->left) from->failed = true;
    if (from->failed) return false;
    text->size = (size_t)size;
    text->bytes = (const char *)weft_unpack(from, text->size);
    return true;
}
