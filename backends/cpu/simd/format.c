/* The quantised types of GGUF as data, and their blocks decoded one at a time. Formats: ggml's block_q* structures. */
#include "backends/cpu/simd/simd.h"
#include "weft/ops/codebooks.h"

const int8_t weft_cpu_codebook_iq4[16] = {WEFT_CODEBOOK_IQ4}, weft_cpu_codebook_e2m1[16] = {WEFT_CODEBOOK_E2M1};

#define LARGEST_SUB 16

/* A 6-bit number less 32, as an int8. */
static inline uint8_t six_bits(int low, int high) {
    return (uint8_t)(((low & 15) | (high & 3) << 4) - 32);
}

static void sub_q3_k(const uint8_t *from, uint8_t *parts) {
    for (int i = 0; i < 16; i++) parts[i] = six_bits(from[i % 8] >> i / 8 * 4, from[8 + i % 4] >> i / 4 * 2);
}

static void sub_iq4_xs(const uint8_t *from, uint8_t *parts) {
    for (int i = 0; i < 8; i++) parts[i] = six_bits(from[2 + i / 2] >> i % 2 * 4, from[i / 4] >> i % 4 * 2);
}

static const weft_cpu_format formats[] = {
    {WEFT_Q4_0, WEFT_CPU_SCALE, 4, 0, 8, 32, 18, 0, 0, 0, NULL, NULL},
    {WEFT_Q4_1, WEFT_CPU_SCALE_MIN, 4, 0, 0, 32, 20, 0, 2, 0, NULL, NULL},
    {WEFT_Q5_0, WEFT_CPU_SCALE, 4, 1, 16, 32, 22, 0, 0, 0, NULL, NULL},
    {WEFT_Q5_1, WEFT_CPU_SCALE_MIN, 4, 1, 0, 32, 24, 0, 2, 0, NULL, NULL},
    {WEFT_Q8_0, WEFT_CPU_SCALE, 8, 0, 0, 32, 34, 0, 0, 0, NULL, NULL},
    {WEFT_Q2_K, WEFT_CPU_SUB_MIN_16, 2, 0, 0, 256, 84, 80, 82, 0, NULL, NULL},
    {WEFT_Q3_K, WEFT_CPU_SUB_SCALE_16, 2, 1, 4, 256, 110, 108, 0, 96, NULL, sub_q3_k},
    {WEFT_Q4_K, WEFT_CPU_SUB_MIN, 4, 0, 0, 256, 144, 0, 2, 4, NULL, NULL},
    {WEFT_Q5_K, WEFT_CPU_SUB_MIN, 4, 1, 0, 256, 176, 0, 2, 4, NULL, NULL},
    {WEFT_Q6_K, WEFT_CPU_SUB_SCALE_16, 4, 2, 32, 256, 210, 208, 0, 192, NULL, NULL},
    {WEFT_IQ4_NL, WEFT_CPU_SCALE, 4, 0, 0, 32, 18, 0, 0, 0, weft_cpu_codebook_iq4, NULL},
    {WEFT_IQ4_XS, WEFT_CPU_SUB_SCALE, 4, 0, 0, 256, 136, 0, 0, 2, weft_cpu_codebook_iq4, sub_iq4_xs},
    {WEFT_MXFP4, WEFT_CPU_SCALE_E8M0, 4, 0, 0, 32, 17, 0, 0, 0, weft_cpu_codebook_e2m1, NULL},
};

/* Bytes of a row's superblock, or block: of `sub`, of d and of m. */
static const struct {
    uint8_t sub, d, m;
} scale_bytes[] = {
    [WEFT_CPU_SCALE] = {0, 2, 0},         [WEFT_CPU_SCALE_MIN] = {0, 2, 2},   [WEFT_CPU_SCALE_E8M0] = {0, 1, 0},
    [WEFT_CPU_SUB_MIN] = {12, 2, 2},      [WEFT_CPU_SUB_MIN_16] = {16, 2, 2}, [WEFT_CPU_SUB_SCALE] = {8, 2, 0},
    [WEFT_CPU_SUB_SCALE_16] = {16, 2, 0},
};

const weft_cpu_format *weft_cpu_format_get(weft_type type) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i].type == type) return &formats[i];
    }
    return NULL;
}

#define LOW_NIBBLES 0x0f0f0f0fU
#define LOW_PAIRS 0x03030303U

/* Spreads bits 4g .. 4g + 3 of `bits` over bit 4 of four bytes. */
static inline uint32_t spread_high(uint32_t bits, unsigned g) {
    return ((bits >> (4 * g) & 15U) * 0x00204081U & 0x01010101U) << 4;
}

/* Types of blocks of 32, and IQ4_XS: byte j holds weights j and j + 16. */
static inline void split_nibbles(const uint8_t *quants, uint32_t *words) {
    for (unsigned i = 0; i < 4; i++) {
        uint32_t word = weft_cpu_load_u32(quants + 4 * i);
        words[i] = word & LOW_NIBBLES;
        words[i + 4] = word >> 4 & LOW_NIBBLES;
    }
}

static void words_q6_k(const uint8_t *from, unsigned sub, uint32_t *words) {
    const uint8_t *low = from + 64 * (sub / 4) + 32 * (sub % 2);
    const uint8_t *high = from + 128 + 32 * (sub / 4);
    unsigned low_shift = sub % 4 / 2 * 4, high_shift = sub % 4 * 2;
    for (unsigned g = 0; g < 8; g++) {
        uint32_t top = weft_cpu_load_u32(high + 4 * g) >> high_shift & 0x03030303U;
        words[g] = (weft_cpu_load_u32(low + 4 * g) >> low_shift & LOW_NIBBLES) | top << 4;
    }
}

/* Group g of the pairs of bits of Q2_K and Q3_K. */
static inline uint32_t pairs(const uint8_t *from, unsigned sub, unsigned g) {
    return weft_cpu_load_u32(from + 32 * (sub / 4) + 4 * g) >> (sub % 4 * 2) & LOW_PAIRS;
}

static void words_of(weft_type type, const uint8_t *from, unsigned sub, uint32_t *words) {
    uint32_t bits;
    switch (type) {
    case WEFT_Q4_0:
        split_nibbles(from + 2, words);
        break;
    case WEFT_Q4_1:
        split_nibbles(from + 4, words);
        break;
    case WEFT_Q5_0:
    case WEFT_Q5_1:
        from += type == WEFT_Q5_0 ? 2 : 4;
        bits = weft_cpu_load_u32(from);
        split_nibbles(from + 4, words);
        for (unsigned g = 0; g < 8; g++) words[g] |= spread_high(bits, g);
        break;
    case WEFT_Q8_0:
        memcpy(words, from + 2, 32);
        break;
    case WEFT_IQ4_NL:
        split_nibbles(from + 2, words);
        break;
    case WEFT_IQ4_XS:
        split_nibbles(from + 8 + 16 * sub, words);
        break;
    case WEFT_MXFP4:
        split_nibbles(from + 1, words);
        break;
    case WEFT_Q2_K:
        for (unsigned g = 0; g < 8; g++) words[g] = pairs(from + 16, sub, g);
        break;
    case WEFT_Q3_K:
        for (unsigned g = 0; g < 8; g++) {
            words[g] = pairs(from + 32, sub, g) | (weft_cpu_load_u32(from + 4 * g) >> sub & 0x01010101U) << 2;
        }
        break;
    case WEFT_Q4_K:
        for (unsigned g = 0; g < 8; g++) {
            words[g] = weft_cpu_load_u32(from + 16 + 32 * (sub / 2) + 4 * g) >> (sub % 2 * 4) & LOW_NIBBLES;
        }
        break;
    case WEFT_Q5_K:
        for (unsigned g = 0; g < 8; g++) {
            uint32_t top = weft_cpu_load_u32(from + 16 + 4 * g) >> sub & 0x01010101U;
            words[g] = (weft_cpu_load_u32(from + 48 + 32 * (sub / 2) + 4 * g) >> (sub % 2 * 4) & LOW_NIBBLES) | top << 4;
        }
        break;
    default:
        words_q6_k(from, sub, words);
        break;
    }
}

/* The 6-bit scale and minimum of sub-block `sub`: bytes 0-3 and 4-7 hold those of sub-blocks 0-3 and, in their top bits, the top
 * bits of those of 4-7; bytes 8-11 hold the low nibbles. `stride` lies between the bytes. */
static inline void sub_min(const uint8_t *bytes, size_t stride, unsigned sub, unsigned *scale, unsigned *minimum) {
    if (sub < 4) {
        *scale = bytes[sub * stride] & 63U;
        *minimum = bytes[(sub + 4) * stride] & 63U;
    } else {
        *scale = (bytes[(sub + 4) * stride] & 15U) | (bytes[(sub - 4) * stride] >> 2 & 0x30U);
        *minimum = (unsigned)bytes[(sub + 4) * stride] >> 4 | (bytes[sub * stride] >> 2 & 0x30U);
    }
}

static inline float signed_byte(int byte) {
    return (float)(byte < 128 ? byte : byte - 256);
}

/* `d`, `m` and `sub_scales` (bytes `stride` apart) are those of the block's superblock, as they are in a tile. */
static void block_scales(const weft_cpu_format *format, const void *d, const void *m, const uint8_t *sub_scales, size_t stride,
                         unsigned sub, weft_cpu_block *decoded) {
    bool is_e8m0 = format->scales == WEFT_CPU_SCALE_E8M0;
    float scale = is_e8m0 ? weft_cpu_half_e8m0(*(const uint8_t *)d) : weft_cpu_f16_to_f32(weft_cpu_load_u16(d));
    float minimum = scale_bytes[format->scales].m ? weft_cpu_f16_to_f32(weft_cpu_load_u16(m)) : 0.0F;
    unsigned sub_scale, sub_minimum;
    decoded->minimum[0] = decoded->minimum[1] = minimum;
    decoded->scale[0] = decoded->scale[1] = scale;
    switch (format->scales) {
    case WEFT_CPU_SCALE:
    case WEFT_CPU_SCALE_MIN:
    case WEFT_CPU_SCALE_E8M0:
        break;
    case WEFT_CPU_SUB_MIN:
        sub_min(sub_scales, stride, sub, &sub_scale, &sub_minimum);
        decoded->scale[0] = decoded->scale[1] = scale * (float)sub_scale;
        decoded->minimum[0] = decoded->minimum[1] = -(minimum * (float)sub_minimum);
        break;
    case WEFT_CPU_SUB_MIN_16:
        for (size_t half = 0; half < 2; half++) {
            uint8_t part = sub_scales[(2 * sub + half) * stride];
            decoded->scale[half] = scale * (float)(part & 15);
            decoded->minimum[half] = -(minimum * (float)(part >> 4));
        }
        break;
    case WEFT_CPU_SUB_SCALE:
        decoded->scale[0] = decoded->scale[1] = scale * signed_byte(sub_scales[sub * stride]);
        break;
    case WEFT_CPU_SUB_SCALE_16:
        for (size_t half = 0; half < 2; half++) decoded->scale[half] = scale * signed_byte(sub_scales[(2 * sub + half) * stride]);
        break;
    }
}

/* From codes to the codebook's values, signed bytes. */
static void look_up(const weft_cpu_format *format, uint32_t *words) {
    uint8_t bytes[WEFT_CPU_BLOCK];
    if (!format->codebook) return;
    memcpy(bytes, words, sizeof bytes);
    for (size_t i = 0; i < WEFT_CPU_BLOCK; i++) bytes[i] = (uint8_t)format->codebook[bytes[i]];
    memcpy(words, bytes, sizeof bytes);
}

void weft_cpu_block_decode(const weft_cpu_format *format, const uint8_t *row, int64_t block, weft_cpu_block *decoded) {
    int64_t per_file_block = format->block_elements / WEFT_CPU_BLOCK;
    const uint8_t *from = row + block / per_file_block * format->block_bytes;
    unsigned sub = (unsigned)(block % per_file_block);
    uint8_t parts[LARGEST_SUB];
    words_of(format->type, from, sub, decoded->words);
    look_up(format, decoded->words);
    if (format->sub_parts) format->sub_parts(from + format->sub_at, parts);
    block_scales(format, from + format->d_at, from + format->m_at, format->sub_parts ? parts : from + format->sub_at, 1, sub,
                 decoded);
}

weft_cpu_tile weft_cpu_tile_measure(const weft_cpu_format *format, int64_t k, size_t rows) {
    size_t n_blocks = (size_t)(k / WEFT_CPU_BLOCK), n_file_blocks = (size_t)(k / format->block_elements);
    weft_cpu_tile tile;
    tile.high = n_blocks * format->quant_words * 4 * rows;
    tile.sub = tile.high + n_blocks * format->high_words * 4 * rows;
    tile.d = tile.sub + n_file_blocks * scale_bytes[format->scales].sub * rows;
    tile.m = tile.d + n_file_blocks * scale_bytes[format->scales].d * rows;
    tile.bytes = (tile.m + n_file_blocks * scale_bytes[format->scales].m * rows + 63) & ~(size_t)63;
    return tile;
}

/* ---- Packing ---- */

static void store_word(uint8_t *place, uint32_t word) {
    memcpy(place, &word, sizeof word);
}

/* Block `b` of row `r` of a tile, from its words. */
static void pack_words(const weft_cpu_format *format, const weft_cpu_tile *tile, size_t rows, uint8_t *place, size_t b, size_t r,
                       const uint32_t *words) {
    uint8_t *quants = place + (b * format->quant_words * rows + r) * 4;
    uint8_t *high = place + tile->high + (b * format->high_words * rows + r) * 4;
    if (format->quant_words == 8) {
        for (size_t g = 0; g < 8; g++) store_word(quants + g * rows * 4, words[g]);
    } else if (format->quant_words == 4) {
        for (size_t i = 0; i < 4; i++) {
            store_word(quants + i * rows * 4, (words[i] & LOW_NIBBLES) | (words[i + 4] & LOW_NIBBLES) << 4);
        }
    } else {
        for (size_t i = 0; i < 2; i++) {
            uint32_t bits = 0;
            for (size_t g = 0; g < 4; g++) bits |= (words[4 * i + g] & LOW_PAIRS) << 2 * g;
            store_word(quants + i * rows * 4, bits);
        }
    }
    if (format->high_words == 1) {
        uint32_t bits = 0;
        for (size_t g = 0; g < 8; g++) bits |= (words[g] >> format->quant_words & 0x01010101U) << g;
        store_word(high, bits);
    } else if (format->high_words == 2) {
        for (size_t i = 0; i < 2; i++) {
            uint32_t bits = 0;
            for (size_t g = 0; g < 4; g++) bits |= (words[4 * i + g] >> 4 & LOW_PAIRS) << 2 * g;
            store_word(high + i * rows * 4, bits);
        }
    }
}

static inline __attribute__((always_inline)) void pack_row_of(weft_type type, const weft_cpu_format *format,
                                                              const weft_cpu_tile *tile, size_t rows, uint8_t *place, size_t r,
                                                              const uint8_t *from, size_t n_file_blocks) {
    size_t per_file_block = format->block_elements / WEFT_CPU_BLOCK, n_sub = scale_bytes[format->scales].sub;
    size_t d_bytes = scale_bytes[format->scales].d, m_bytes = scale_bytes[format->scales].m;
    for (size_t f = 0; f < n_file_blocks; f++, from += format->block_bytes) {
        uint32_t words[8];
        for (size_t sub = 0; sub < per_file_block; sub++) {
            words_of(type, from, (unsigned)sub, words);
            pack_words(format, tile, rows, place, f * per_file_block + sub, r, words);
        }
        uint8_t parts[LARGEST_SUB];
        const uint8_t *sub_parts = from + format->sub_at;
        if (format->sub_parts) {
            format->sub_parts(sub_parts, parts);
            sub_parts = parts;
        }
        for (size_t i = 0; i < n_sub; i++) place[tile->sub + (f * n_sub + i) * rows + r] = sub_parts[i];
        memcpy(place + tile->d + (f * rows + r) * d_bytes, from + format->d_at, d_bytes);
        memcpy(place + tile->m + (f * rows + r) * m_bytes, from + format->m_at, m_bytes);
    }
}

void weft_cpu_pack(const weft_tensor *weight, uint32_t layout, void *place, int64_t first_row, int64_t n_rows, const void *from) {
    const weft_cpu_format *format = weft_cpu_format_get(weight->type);
    size_t rows = layout == WEFT_CPU_ROWS_16 ? 16 : 8;
    weft_cpu_tile tile = weft_cpu_tile_measure(format, weight->shape[0], rows);
    size_t n_file_blocks = (size_t)(weight->shape[0] / format->block_elements), row_bytes = n_file_blocks * format->block_bytes;
    for (int64_t i = 0; i < n_rows; i++) {
        size_t row = (size_t)(first_row + i);
        uint8_t *at = (uint8_t *)place + row / rows * tile.bytes;
        if (row % rows == 0 && n_rows - i < (int64_t)rows) memset(at, 0, tile.bytes);
        pack_row_of(format->type, format, &tile, rows, at, row % rows, (const uint8_t *)from + (size_t)i * row_bytes,
                    n_file_blocks);
    }
}

/* ---- Unpacking ---- */

static void words_of_tile(const weft_cpu_format *format, const weft_cpu_tile *tile, size_t rows, const uint8_t *place, size_t b,
                          size_t r, uint32_t *words) {
    const uint8_t *quants = place + (b * format->quant_words * rows + r) * 4;
    const uint8_t *high = place + tile->high + (b * format->high_words * rows + r) * 4;
    for (size_t i = 0; i < format->quant_words; i++) words[i] = weft_cpu_load_u32(quants + i * rows * 4);
    if (format->quant_words == 8) return;
    if (format->quant_words == 2) {
        uint32_t packed[2] = {words[0], words[1]};
        for (size_t g = 0; g < 8; g++) words[g] = packed[g / 4] >> 2 * (g % 4) & LOW_PAIRS;
    }
    for (size_t i = 0; format->quant_words == 4 && i < 4; i++) {
        words[i + 4] = words[i] >> 4 & LOW_NIBBLES;
        words[i] &= LOW_NIBBLES;
    }
    if (format->high_words == 1) {
        uint32_t bits = weft_cpu_load_u32(high);
        for (size_t g = 0; g < 8; g++) words[g] |= (bits >> g & 0x01010101U) << format->quant_words;
    } else if (format->high_words == 2) {
        for (size_t g = 0; g < 8; g++) {
            words[g] |= (weft_cpu_load_u32(high + g / 4 * rows * 4) >> 2 * (g % 4) & LOW_PAIRS) << 4;
        }
    }
    look_up(format, words);
}

static void block_values(const weft_cpu_format *format, const weft_cpu_block *decoded, float *values) {
    uint8_t bytes[WEFT_CPU_BLOCK];
    memcpy(bytes, decoded->words, sizeof bytes);
    for (size_t i = 0; i < WEFT_CPU_BLOCK; i++) {
        int q = format->quant_words == 8 || format->codebook ? (int8_t)bytes[i] : bytes[i] - format->offset;
        values[i] = decoded->scale[i / 16] * (float)q;
    }
    if (scale_bytes[format->scales].m == 0) return;
    for (size_t i = 0; i < WEFT_CPU_BLOCK; i++) values[i] += decoded->minimum[i / 16];
}

static void unpack_floats(const weft_cpu_matrix *matrix, int64_t row, float *values) {
    if (matrix->type == WEFT_F32) {
        memcpy(values, (const float *)matrix->data + row * matrix->k, (size_t)matrix->k * sizeof *values);
        return;
    }
    const uint16_t *from = (const uint16_t *)matrix->data + row * matrix->k;
    for (int64_t i = 0; i < matrix->k; i++) {
        values[i] = matrix->type == WEFT_F16 ? weft_cpu_f16_to_f32(from[i]) : weft_cpu_bf16_to_f32(from[i]);
    }
}

void weft_cpu_unpack_row(const weft_cpu_matrix *matrix, int64_t row, float *values) {
    const weft_cpu_format *format = weft_cpu_format_get(matrix->type);
    weft_cpu_block decoded;
    if (!format) {
        unpack_floats(matrix, row, values);
        return;
    }
    int64_t n_blocks = matrix->k / WEFT_CPU_BLOCK, per_file_block = format->block_elements / WEFT_CPU_BLOCK;
    if (matrix->layout == WEFT_LAYOUT_FILE) {
        const uint8_t *from = (const uint8_t *)matrix->data + row * (matrix->k / format->block_elements) * format->block_bytes;
        for (int64_t b = 0; b < n_blocks; b++) {
            weft_cpu_block_decode(format, from, b, &decoded);
            block_values(format, &decoded, values + b * WEFT_CPU_BLOCK);
        }
        return;
    }
    size_t rows = matrix->layout == WEFT_CPU_ROWS_16 ? 16 : 8, r = (size_t)row % rows;
    size_t n_sub = scale_bytes[format->scales].sub, d_bytes = scale_bytes[format->scales].d;
    weft_cpu_tile tile = weft_cpu_tile_measure(format, matrix->k, rows);
    const uint8_t *place = (const uint8_t *)matrix->data + (size_t)row / rows * tile.bytes;
    for (int64_t b = 0; b < n_blocks; b++) {
        size_t f = (size_t)(b / per_file_block);
        const uint8_t *d = place + tile.d + (f * rows + r) * d_bytes, *sub = place + tile.sub + f * n_sub * rows + r;
        const uint8_t *m = place + tile.m + (f * rows + r) * 2;
        words_of_tile(format, &tile, rows, place, (size_t)b, r, decoded.words);
        block_scales(format, d, m, sub, rows, (unsigned)(b % per_file_block), &decoded);
        block_values(format, &decoded, values + b * WEFT_CPU_BLOCK);
    }
}

/* ---- Layouts and forms ---- */

static void layout_of(const weft_tensor *weight, uint32_t id, weft_layout *layout) {
    static const char *const names[] = {"file", "8 rows interleaved", "16 rows interleaved"};
    const weft_cpu_format *format = weft_cpu_format_get(weight->type);
    if (!format) id = 0;
    layout->id = id;
    layout->name = names[id];
    layout->rows_at_once = 0;
    int64_t n_rows = weight->shape[1] * weight->shape[2] * weight->shape[3];
    if (id == 0) {
        int64_t elements = weight->shape[0] * n_rows;
        int64_t element_bytes = weight->type == WEFT_F32 || weight->type == WEFT_I32 ? 4 : 2;
        layout->bytes = (uint64_t)(format ? elements / format->block_elements * format->block_bytes : elements * element_bytes);
        return;
    }
    layout->rows_at_once = id == WEFT_CPU_ROWS_16 ? 16 : 8;
    uint64_t n_tiles = ((uint64_t)n_rows + layout->rows_at_once - 1) / layout->rows_at_once;
    layout->bytes = n_tiles * weft_cpu_tile_measure(format, weight->shape[0], layout->rows_at_once).bytes;
}

void weft_cpu_layout_file(const weft_tensor *weight, weft_layout *layout) {
    layout_of(weight, 0, layout);
}

void weft_cpu_layout_rows_8(const weft_tensor *weight, weft_layout *layout) {
    layout_of(weight, WEFT_CPU_ROWS_8, layout);
}

void weft_cpu_layout_rows_16(const weft_tensor *weight, weft_layout *layout) {
    layout_of(weight, WEFT_CPU_ROWS_16, layout);
}

int32_t weft_cpu_form(weft_type type, uint32_t layout) {
    (void)layout;
    return weft_cpu_format_get(type) ? WEFT_CPU_BLOCKS : WEFT_CPU_FORM_FLOATS;
}

size_t weft_cpu_columns_bytes(int32_t form, int64_t k, int64_t n_columns) {
    size_t block = form == WEFT_CPU_WIDE_BLOCKS ? WEFT_CPU_WIDE_BLOCK_BYTES : WEFT_CPU_BLOCK_BYTES;
    size_t column = form == WEFT_CPU_FORM_FLOATS ? (size_t)k * sizeof(float) : (size_t)(k / WEFT_CPU_BLOCK) * block;
    return column * (size_t)n_columns;
}
