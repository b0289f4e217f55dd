/* get_rows from a table in units (kernels/units.h): the values of the file, but for what division by the row's power of two took
 * from the smallest. */
#include "kernels/get_rows.h"
#include "kernels/units.h"

static __device__ uint32_t word_of(const uint8_t *unit, weft_unit_place place) {
    return *(const uint32_t *)(unit + place.step / 4 * 512 + place.lane * 16 + place.step % 4 * 4);
}

static __device__ uint32_t code_at(uint32_t word, int rotation) {
    return (rotation == 0 ? word : word >> rotation | word << (32 - rotation)) & 15;
}

static __device__ float nibble_value(int format, const uint8_t *unit, int row, int i) {
    weft_unit_place place = weft_unit_place_of(row, i);
    float code = (float)code_at(word_of(unit, place), weft_nibble_rotation(place.reg, place.half));
    if (format == WEFT_UNIT_NIBBLES) {
        const uint16_t *pair = (const uint16_t *)(unit + WEFT_UNIT_HEADS) + (row * WEFT_UNIT_GROUPS + i / 32) * 2;
        return weft_from_f16(pair[0]) / weft_nibble_size(row) * code + weft_from_f16(pair[1]);
    }
    const uint32_t *words = (const uint32_t *)(unit + WEFT_UNIT_HEADS) + row * 4;
    uint32_t pair = weft_q4_k_pair(words, i / 32);
    return weft_from_f16((uint16_t)words[3]) / weft_nibble_size(row) * (float)(pair & 63) * code +
           weft_from_f16((uint16_t)(words[3] >> 16)) * (float)(pair >> 16);
}

static __device__ float q6_k_value(const uint8_t *unit, int row, int i) {
    weft_unit_place place = weft_unit_place_of(row, i);
    const uint32_t *first = (const uint32_t *)(unit + weft_q6_k_words_at(i / 32, place.lane));
    const uint32_t words[3] = {first[0], first[1], *(const uint32_t *)(unit + weft_q6_k_third_at(i / 32, place.lane))};
    uint32_t code = weft_q6_k_code(words, place.step % 2 * 4 + place.reg, place.half);
    float d = weft_from_f16(((const uint16_t *)(unit + WEFT_Q6_K_UNIT_D))[row]) * 0x1p-20f;
    return d * (float)((int)unit[WEFT_Q6_K_UNIT_SCALES + row * 16 + i / 16] - 128) * (float)((int)code - 32);
}

static __device__ float value_of(int format, const uint8_t *unit, int row, int i) {
    switch (format) {
    case WEFT_UNIT_NIBBLES:
    case WEFT_UNIT_Q4_K:
        return nibble_value(format, unit, row, i);
    case WEFT_UNIT_Q6_K:
        return q6_k_value(unit, row, i);
    case WEFT_UNIT_Q8_0: {
        const uint16_t *scales = (const uint16_t *)(unit + WEFT_Q8_0_UNIT_SCALES) + row * WEFT_UNIT_GROUPS;
        return weft_from_f16(scales[i / 32]) * (float)(int8_t)unit[weft_q8_0_unit_place(row, i)];
    }
    default:
        return weft_from_f16(*(const uint16_t *)(unit + weft_f16_unit_place(row, i)));
    }
}

/* One block a column. */
WEFT_KERNEL(weft_get_rows_units, weft_cuda_unit_rows, rows) {
    if (weft_cancelled(rows.phase)) return;
    const weft_cuda_tensor &table = rows.phase.inputs[WEFT_GET_ROWS_TABLE];
    int64_t n = table.shape[0], n_rows = table.shape[1], column = blockIdx.x, row = weft_row_to_get(rows.phase, column);
    float *y = weft_at<float>(rows.phase.outputs[WEFT_GET_ROWS_OUT_Y]) + column * n;
    bool there = row >= 0 && row < n_rows;
    if (!there) row = 0;
    int bytes = weft_unit_bytes(rows.format), within = (int)(row % WEFT_UNIT_ROWS);
    const uint8_t *units = weft_at<const uint8_t>(table) + row / WEFT_UNIT_ROWS * weft_units_of(n) * bytes;
    float power = ((const float *)(table.data + (uint64_t)weft_unit_powers_at(rows.format, n, n_rows)))[row];
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        y[i] =
            there ? value_of(rows.format, units + i / WEFT_UNIT_VALUES * bytes, within, (int)(i % WEFT_UNIT_VALUES)) * power : 0.0f;
}
