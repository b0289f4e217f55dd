/* Random blocks, made as blocks: uniformly random codes, and scales and minimums that vary from block to block. The layouts are
 * those of the types as weft_dequantise reads them. */
#include <math.h>
#include <string.h>

#include "decoder/halves.h"
#include "decoder/synth.h"

/* SplitMix64 (Steele, Lea and Flood 2014): a stream is a counter, so that any block can be made by itself. */
#define GOLDEN 0x9E3779B97F4A7C15u

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

uint64_t weft_synth_key(uint64_t seed, uint64_t index) {
    return mix(mix(seed + GOLDEN) + index * GOLDEN);
}

typedef struct stream {
    uint64_t counter;
} stream;

static stream stream_of(uint64_t key, uint64_t block) {
    return (stream){mix(key ^ mix(block + 1))};
}

static uint64_t next(stream *random) {
    return mix(random->counter += GOLDEN);
}

/* 24 bits as a number in 0 .. 1. */
static float fraction(uint64_t bits) {
    return (float)(bits & 0xFFFFFF) * 0x1p-24f;
}

float weft_synth_uniform(uint64_t key, uint64_t index) {
    stream random = stream_of(key, index);
    return 2 * fraction(next(&random)) - 1;
}

/* Random bytes; `size` is a multiple of 8. */
static void fill(stream *random, unsigned char *bytes, size_t size) {
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = next(random);
        for (size_t j = 0; j < 8; j++) bytes[i + j] = (unsigned char)(word >> 8 * j);
    }
}

/* `scale` times 0.7 to 1.3, with either sign: codes are not symmetric about zero, and signs let their means cancel. */
static float vary(stream *random, float scale) {
    uint64_t bits = next(random);
    float varied = scale * (0.7f + 0.6f * fraction(bits));
    return bits >> 63 ? -varied : varied;
}

/* The root mean square of a uniformly random code, by which deviations are divided: sqrt((n^2 - 1) / 12 + 1/4) for the codes
 * -n/2 .. n/2 - 1. */
#define RMS_4_BITS 4.637f
#define RMS_5_BITS 9.247f
#define RMS_6_BITS 18.48f
#define RMS_8_BITS 73.90f

static void block_q4_0(stream *random, float deviation, unsigned char *block) {
    weft_store_u16(block, weft_half(vary(random, deviation / RMS_4_BITS)));
    fill(random, block + 2, 16);
}

static void block_q4_1(stream *random, float deviation, unsigned char *block) {
    float scale = vary(random, deviation / RMS_4_BITS);
    weft_store_u16(block, weft_half(scale));
    weft_store_u16(block + 2, weft_half(-7.5f * scale));
    fill(random, block + 4, 16);
}

static void block_q5_1(stream *random, float deviation, unsigned char *block) {
    float scale = vary(random, deviation / RMS_5_BITS);
    unsigned char bytes[24];
    weft_store_u16(block, weft_half(scale));
    weft_store_u16(block + 2, weft_half(-15.5f * scale));
    fill(random, bytes, sizeof bytes);
    memcpy(block + 4, bytes, 20);
}

static void block_q5_0(stream *random, float deviation, unsigned char *block) {
    unsigned char bytes[24];
    weft_store_u16(block, weft_half(vary(random, deviation / RMS_5_BITS)));
    fill(random, bytes, sizeof bytes);
    memcpy(block + 2, bytes, 20);
}

static void block_q8_0(stream *random, float deviation, unsigned char *block) {
    weft_store_u16(block, weft_half(vary(random, deviation / RMS_8_BITS)));
    fill(random, block + 2, 32);
    for (int i = 2; i < 34; i++) {
        if (block[i] == 0x80) block[i] = 0x81; /* quantisers only make -127 .. 127 */
    }
}

/* Eight 6-bit scales and eight 6-bit minimums in 12 bytes: the low six bits of bytes 0 .. 7 are scales 0 .. 3 and minimums 0 .. 3;
 * bytes 8 .. 11 hold the low four bits of scales and minimums 4 .. 7, whose upper two are in the top bits of bytes 0 .. 7. */
static void pack_scales(const unsigned *scales, const unsigned *minimums, unsigned char *packed) {
    for (int i = 0; i < 4; i++) {
        packed[i] = (unsigned char)(scales[i] | scales[i + 4] >> 4 << 6);
        packed[i + 4] = (unsigned char)(minimums[i] | minimums[i + 4] >> 4 << 6);
        packed[i + 8] = (unsigned char)((scales[i + 4] & 15) | (minimums[i + 4] & 15) << 4);
    }
}

/* The head of a block of Q4_K or Q5_K. Weights are d * scale * code - dmin * minimum: with dmin near half the largest code times d,
 * minimums near the scales centre the codes. */
static void head_of_k(stream *random, float d, float half_codes, unsigned char *block) {
    unsigned scales[8], minimums[8];
    uint64_t bits = next(random);
    for (int i = 0; i < 8; i++, bits >>= 8) {
        scales[i] = 28 + (unsigned)(bits & 31);
        minimums[i] = scales[i] + (unsigned)(bits >> 5 & 3);
    }
    weft_store_u16(block, weft_half(d));
    weft_store_u16(block + 2, weft_half(half_codes * d));
    pack_scales(scales, minimums, block + 4);
}

static void block_q4_k(stream *random, float deviation, unsigned char *block) {
    head_of_k(random, fabsf(vary(random, deviation / (43.5f * RMS_4_BITS))), 7.25f, block);
    fill(random, block + 16, 128);
}

static void block_q5_k(stream *random, float deviation, unsigned char *block) {
    head_of_k(random, fabsf(vary(random, deviation / (43.5f * RMS_5_BITS))), 15, block);
    fill(random, block + 16, 160);
}

/* Scales of 8 .. 15 and minimums equal to them, with dmin = 1.5 d, centre codes of 0 .. 3. */
static void block_q2_k(stream *random, float deviation, unsigned char *block) {
    float d = fabsf(vary(random, deviation / (11.73f * 1.118f)));
    fill(random, block, 80);
    for (int i = 0; i < 16; i++) block[i] = (unsigned char)((8 | (block[i] & 7)) * 17);
    weft_store_u16(block + 80, weft_half(d));
    weft_store_u16(block + 82, weft_half(1.5f * d));
}

/* Scales are 6-bit numbers less 32, here of any size and sign; codes are -4 .. 3. */
static void block_q3_k(stream *random, float deviation, unsigned char *block) {
    unsigned char bytes[112];
    fill(random, bytes, sizeof bytes);
    memcpy(block, bytes, 108);
    weft_store_u16(block + 108, weft_half(fabsf(vary(random, deviation / (18.48f * 2.345f)))));
}

#define RMS_IQ4 67.44f
#define RMS_E2M1 5.852f

static void block_iq4_nl(stream *random, float deviation, unsigned char *block) {
    weft_store_u16(block, weft_half(vary(random, deviation / RMS_IQ4)));
    fill(random, block + 2, 16);
}

static void block_iq4_xs(stream *random, float deviation, unsigned char *block) {
    unsigned char bytes[136];
    fill(random, bytes, sizeof bytes);
    weft_store_u16(block, weft_half(fabsf(vary(random, deviation / (18.48f * RMS_IQ4)))));
    memcpy(block + 2, bytes, 134);
}

/* The scale is a power of two, the next below the one asked for or above it: which of them is chosen at random, so that squares
 * have the right mean. */
static void block_mxfp4(stream *random, float deviation, unsigned char *block) {
    float scale = deviation / RMS_E2M1;
    int exponent = ilogbf(scale);
    float low = ldexpf(1, exponent), share = (scale * scale - low * low) / (3 * low * low);
    block[0] = (unsigned char)(128 + exponent + (fraction(next(random)) < share));
    fill(random, block + 1, 16);
}

static void block_q6_k(stream *random, float deviation, unsigned char *block) {
    unsigned char scales[16];
    fill(random, block, 192);
    fill(random, scales, sizeof scales);
    for (int i = 0; i < 16; i++) {
        int scale = 64 + (scales[i] & 63);
        block[192 + i] = (unsigned char)(scales[i] & 128 ? -scale : scale);
    }
    weft_store_u16(block + 208, weft_half(fabsf(vary(random, deviation / (96 * RMS_6_BITS)))));
}

/* Uniform in +-sqrt(3) deviations. A block of these types is one number: their streams run over groups of four. */
static void numbers(uint16_t (*round)(float), uint64_t key, uint64_t first, size_t n, float deviation, unsigned char *into) {
    float unit = deviation * 1.7320508f * 0x1p-15f;
    uint64_t word = 0;
    for (uint64_t i = first; i < first + n; i++) {
        if (i == first || i % 4 == 0) {
            stream random = stream_of(key, i / 4);
            word = next(&random) >> 16 * (i % 4);
        }
        weft_store_u16(into + 2 * (i - first), round(((float)(word & 0xFFFF) - 32767.5f) * unit));
        word >>= 16;
    }
}

/* Like `numbers`, of 24 bits each. */
static void floats(uint64_t key, uint64_t first, size_t n, float deviation, unsigned char *into) {
    for (size_t i = 0; i < n; i++) {
        weft_store_f32(into + 4 * i, 1.7320508f * deviation * weft_synth_uniform(key, first + i));
    }
}

void weft_synth_blocks(weft_type type, uint64_t key, uint64_t first, size_t n, float deviation, unsigned char *into) {
    static void (*const makers[WEFT_TYPE_COUNT])(stream *, float, unsigned char *) = {
        [WEFT_Q4_0] = block_q4_0,   [WEFT_Q4_1] = block_q4_1, [WEFT_Q5_0] = block_q5_0,     [WEFT_Q5_1] = block_q5_1,
        [WEFT_Q8_0] = block_q8_0,   [WEFT_Q2_K] = block_q2_k, [WEFT_Q3_K] = block_q3_k,     [WEFT_Q4_K] = block_q4_k,
        [WEFT_Q5_K] = block_q5_k,   [WEFT_Q6_K] = block_q6_k, [WEFT_IQ4_NL] = block_iq4_nl, [WEFT_IQ4_XS] = block_iq4_xs,
        [WEFT_MXFP4] = block_mxfp4,
    };
    if (type == WEFT_F16) {
        numbers(weft_half, key, first, n, deviation, into);
    } else if (type == WEFT_BF16) {
        numbers(weft_bfloat, key, first, n, deviation, into);
    } else if (type == WEFT_F32) {
        floats(key, first, n, deviation, into);
    } else {
        for (size_t i = 0; i < n; i++) {
            stream random = stream_of(key, first + i);
            makers[type](&random, deviation, into + i * weft_type_get(type)->block_bytes);
        }
    }
}
