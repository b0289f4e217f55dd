/* A fragments of mma.m16n8k16 from the units of kernels/units.h: 32 values of 16 rows at a time, as half floats. */
#ifndef WEFT_KERNELS_FAST_FRAGMENTS_H
#define WEFT_KERNELS_FAST_FRAGMENTS_H

#include "kernels/common.h"
#include "kernels/fast/halves.h"
#include "kernels/fast/mma.h"
#include "kernels/units.h"

/* What a lane keeps of a unit. Its rows are `top` and `bottom`, 8 further on. `begin` comes first; `group` 0 .. 7 has the values
 * 32 * group and on, as the fragments of two steps. Groups come in ascending order. The compiler must know them. */
template <int FORMAT> struct weft_fragments;

/* A format that the compiler knows. */
template <int FORMAT> struct weft_known_format { static const int value = FORMAT; };

/* Calls `work` with the format as such a constant. */
template <typename WORK> static __device__ inline void weft_with_format(int format, const WORK &work) {
    switch (format) {
    case WEFT_UNIT_NIBBLES:
        work(weft_known_format<WEFT_UNIT_NIBBLES>());
        break;
    case WEFT_UNIT_Q4_K:
        work(weft_known_format<WEFT_UNIT_Q4_K>());
        break;
    case WEFT_UNIT_Q6_K:
        work(weft_known_format<WEFT_UNIT_Q6_K>());
        break;
    case WEFT_UNIT_Q8_0:
        work(weft_known_format<WEFT_UNIT_Q8_0>());
        break;
    default:
        work(weft_known_format<WEFT_UNIT_F16>());
        break;
    }
}

/* Codes in bits 6 to 9 are the half floats code * 2^-18, those in bits 2 to 5 code * 2^-22. So one fused operation gives
 * scale * code + offset, rounded once. Scale and offset are the halves of `top` and `bottom`. */
static __device__ inline void weft_nibble_step(uint32_t codes, uint32_t top, uint32_t bottom, uint32_t (&a)[4]) {
    const uint32_t top_mask = 0x03c003c0, bottom_mask = 0x003c003c, rotated = codes >> 8 | codes << 24;
    a[0] = weft_halves_fma(codes & top_mask, weft_low_twice(top), weft_high_twice(top));
    a[1] = weft_halves_fma(codes & bottom_mask, weft_low_twice(bottom), weft_high_twice(bottom));
    a[2] = weft_halves_fma(rotated & top_mask, weft_low_twice(top), weft_high_twice(top));
    a[3] = weft_halves_fma(rotated & bottom_mask, weft_low_twice(bottom), weft_high_twice(bottom));
}

static __device__ inline void weft_nibble_group(const uint8_t *unit, int group, uint32_t top, uint32_t bottom,
                                                uint32_t (&a)[2][4]) {
    const uint2 codes = *(const uint2 *)(unit + group / 2 * 512 + weft_lane() * 16 + group % 2 * 8);
    weft_nibble_step(codes.x, top, bottom, a[0]);
    weft_nibble_step(codes.y, top, bottom, a[1]);
}

template <> struct weft_fragments<WEFT_UNIT_NIBBLES> {
    __device__ inline void begin(const uint8_t *) {}

    __device__ inline void group(const uint8_t *unit, int group, uint32_t (&a)[2][4]) const {
        const uint32_t *scales = (const uint32_t *)(unit + WEFT_UNIT_HEADS) + weft_lane() / 4 * WEFT_UNIT_GROUPS + group;
        weft_nibble_group(unit, group, scales[0], scales[8 * WEFT_UNIT_GROUPS], a);
    }
};

/* One row's scales of a Q4_K unit. */
struct weft_q4_k_head {
    uint32_t words[3], d; /* d and -dmin */

    __device__ inline void begin(const uint4 &head) {
        words[0] = head.x, words[1] = head.y, words[2] = head.z;
        d = head.w;
    }

    /* d * scale and -dmin * minimum, each rounded once: 6-bit numbers become 64 + number with the bits of 64 before them. */
    __device__ inline uint32_t scales(int group) const {
        uint32_t bits;
        if (group < 6)
            bits = words[group % 3] >> (group < 3 ? 0 : 6) & 0x03f003f0;
        else
            bits = (words[group - 6] << 4 & 0x00f000f0) | (words[2] << (group == 6 ? 8 : 6) & 0x03000300);
        return weft_halves_fma(bits | 0x54005400, d, weft_halves_mul(d, 0xd400d400u)); /* less 64 times both */
    }
};

template <> struct weft_fragments<WEFT_UNIT_Q4_K> {
    weft_q4_k_head top, bottom;

    __device__ inline void begin(const uint8_t *unit) {
        const uint4 *heads = (const uint4 *)(unit + WEFT_UNIT_HEADS) + weft_lane() / 4;
        top.begin(heads[0]);
        bottom.begin(heads[8]);
    }

    __device__ inline void group(const uint8_t *unit, int group, uint32_t (&a)[2][4]) const {
        weft_nibble_group(unit, group, top.scales(group), bottom.scales(group), a);
    }
};

/* Codes in bits 4 to 9 are the half floats code * 2^-20; the codes are 32 too large. */
template <> struct weft_fragments<WEFT_UNIT_Q6_K> {
    uint32_t top_d, bottom_d;
    uint2 top_scales, bottom_scales; /* of four groups */

    __device__ inline void begin(const uint8_t *unit) {
        const uint16_t *d = (const uint16_t *)(unit + WEFT_Q6_K_UNIT_D) + weft_lane() / 4;
        top_d = d[0] | (uint32_t)d[0] << 16;
        bottom_d = d[8] | (uint32_t)d[8] << 16;
    }

    /* A group's words, and with the first of four groups their scales. */
    __device__ inline void load(const uint8_t *unit, int group, uint32_t (&words)[3]) {
        const uint2 first = *(const uint2 *)(unit + weft_q6_k_words_at(group, weft_lane()));
        words[0] = first.x, words[1] = first.y;
        words[2] = *(const uint32_t *)(unit + weft_q6_k_third_at(group, weft_lane()));
        if (group % 4 != 0) return;
        const uint2 *of_rows = (const uint2 *)(unit + WEFT_Q6_K_UNIT_SCALES) + weft_lane() / 4 * 2 + group / 4;
        top_scales = of_rows[0];
        bottom_scales = of_rows[16];
    }

    /* The group's two scales times d. */
    static __device__ inline uint32_t scales(const uint2 &of_four, int group, uint32_t d) {
        return weft_halves_mul(weft_half_codes(group % 4 < 2 ? of_four.x : of_four.y, group % 2 * 2), d);
    }

    /* The codes of weft_q6_k_code. */
    static __device__ inline uint32_t codes(const uint32_t (&words)[3], int pair) {
        if (pair < 6) return words[pair / 2] >> (pair % 2 == 0 ? 0 : 6) & 0x03f003f0;
        return (words[pair - 6] << 4 & 0x00f000f0) | (words[2] << (pair == 6 ? 8 : 6) & 0x03000300);
    }

    __device__ inline void group(const uint8_t *unit, int group, uint32_t (&a)[2][4]) {
        uint32_t words[3];
        load(unit, group, words);
        uint32_t top = scales(top_scales, group, top_d), bottom = scales(bottom_scales, group, bottom_d);
#pragma unroll
        for (int step = 0; step < 2; step++) {
            uint32_t scale = step == 0 ? weft_low_twice(top) : weft_high_twice(top);
            uint32_t other = step == 0 ? weft_low_twice(bottom) : weft_high_twice(bottom);
            uint32_t offset = weft_halves_mul(scale, 0x82008200u), other_offset = weft_halves_mul(other, 0x82008200u); /* -2^-15 */
#pragma unroll
            for (int reg = 0; reg < 4; reg++)
                a[step][reg] = weft_halves_fma(codes(words, step * 4 + reg), reg % 2 == 0 ? scale : other,
                                               reg % 2 == 0 ? offset : other_offset);
        }
    }
};

template <> struct weft_fragments<WEFT_UNIT_Q8_0> {
    __device__ inline void begin(const uint8_t *) {}

    __device__ inline void group(const uint8_t *unit, int group, uint32_t (&a)[2][4]) const {
        const uint4 codes = *(const uint4 *)(unit + group * 512 + weft_lane() * 16);
        const uint16_t *scales = (const uint16_t *)(unit + WEFT_Q8_0_UNIT_SCALES) + weft_lane() / 4 * WEFT_UNIT_GROUPS + group;
        uint32_t top = scales[0] * 0x10001u, bottom = scales[8 * WEFT_UNIT_GROUPS] * 0x10001u;
        const uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a[i / 2][i % 2 * 2] = weft_halves_mul(weft_half_codes(words[i] ^ 0x80808080u, 0), top);
            a[i / 2][i % 2 * 2 + 1] = weft_halves_mul(weft_half_codes(words[i] ^ 0x80808080u, 2), bottom);
        }
    }
};

template <> struct weft_fragments<WEFT_UNIT_F16> {
    __device__ inline void begin(const uint8_t *) {}

    __device__ inline void group(const uint8_t *unit, int group, uint32_t (&a)[2][4]) const {
#pragma unroll
        for (int step = 0; step < 2; step++) {
            const uint4 words = *(const uint4 *)(unit + (group * 2 + step) * 512 + weft_lane() * 16);
            a[step][0] = words.x, a[step][1] = words.y, a[step][2] = words.z, a[step][3] = words.w;
        }
    }
};

/* The same where all of a unit is there before the first group: formats of nibbles load all of a lane's codes at once, so that no
 * group waits for them. */
template <int FORMAT> struct weft_whole_fragments : weft_fragments<FORMAT> {};

struct weft_nibble_codes {
    uint4 words[4];

    __device__ inline void begin(const uint8_t *unit) {
#pragma unroll
        for (int i = 0; i < 4; i++) words[i] = *(const uint4 *)(unit + i * 512 + weft_lane() * 16);
    }

    __device__ inline void group(int group, uint32_t top, uint32_t bottom, uint32_t (&a)[2][4]) const {
        const uint4 &of_two = words[group / 2];
        weft_nibble_step(group % 2 == 0 ? of_two.x : of_two.z, top, bottom, a[0]);
        weft_nibble_step(group % 2 == 0 ? of_two.y : of_two.w, top, bottom, a[1]);
    }
};

template <> struct weft_whole_fragments<WEFT_UNIT_NIBBLES> {
    weft_nibble_codes codes;

    __device__ inline void begin(const uint8_t *unit) { codes.begin(unit); }

    __device__ inline void group(const uint8_t *unit, int group, uint32_t (&a)[2][4]) const {
        const uint32_t *scales = (const uint32_t *)(unit + WEFT_UNIT_HEADS) + weft_lane() / 4 * WEFT_UNIT_GROUPS + group;
        codes.group(group, scales[0], scales[8 * WEFT_UNIT_GROUPS], a);
    }
};

template <> struct weft_whole_fragments<WEFT_UNIT_Q4_K> : weft_fragments<WEFT_UNIT_Q4_K> {
    weft_nibble_codes codes;

    __device__ inline void begin(const uint8_t *unit) {
        weft_fragments<WEFT_UNIT_Q4_K>::begin(unit);
        codes.begin(unit);
    }

    __device__ inline void group(const uint8_t *, int group, uint32_t (&a)[2][4]) const {
        codes.group(group, top.scales(group), bottom.scales(group), a);
    }
};

/* The offsets of two steps in one operation. */
template <> struct weft_whole_fragments<WEFT_UNIT_Q6_K> : weft_fragments<WEFT_UNIT_Q6_K> {
    __device__ inline void group(const uint8_t *unit, int group, uint32_t (&a)[2][4]) {
        uint32_t words[3];
        load(unit, group, words);
        const uint32_t of_steps[2] = {scales(top_scales, group, top_d), scales(bottom_scales, group, bottom_d)};
        const uint32_t offsets[2] = {weft_halves_mul(of_steps[0], 0x82008200u),
                                     weft_halves_mul(of_steps[1], 0x82008200u)}; /* -2^-15 */
#pragma unroll
        for (int i = 0; i < 8; i++) {
            uint32_t scale = of_steps[i % 2], offset = offsets[i % 2];
            a[i / 4][i % 4] = weft_halves_fma(codes(words, i), i < 4 ? weft_low_twice(scale) : weft_high_twice(scale),
                                              i < 4 ? weft_low_twice(offset) : weft_high_twice(offset));
        }
    }
};

#endif
