/* Weights into the layouts of kernels/layout.h. */
#include "kernels/common.h"
#include "kernels/layout.h"
#include "kernels/units.h"

/* Reads 16 bytes at once, from memory of the host, and writes them by twos. */
WEFT_KERNEL(weft_pack_q6_k, weft_cuda_packing, packing) {
    int64_t row_units = packing.n_blocks * WEFT_Q6_K_UNITS, n_units = packing.n_rows * row_units;
    int64_t row_bytes = weft_q6_k_row_bytes(packing.n_blocks);
    const uint16_t *from = (const uint16_t *)packing.from;
    for (int64_t first = 8 * weft_thread(); first < n_units; first += 8 * weft_threads()) {
        union {
            uint4 vector;
            uint16_t units[8];
        } piece;
        int count = n_units - first < 8 ? (int)(n_units - first) : 8;
        if (count == 8)
            piece.vector = *(const uint4 *)(from + first);
        else
            for (int i = 0; i < count; i++) piece.units[i] = from[first + i];
        int64_t row = first / row_units, block = first % row_units / WEFT_Q6_K_UNITS;
        int unit = (int)(first % row_units % WEFT_Q6_K_UNITS);
        for (int i = 0; i < count; i++) {
            *(uint16_t *)(packing.to + row * row_bytes + weft_q6_k_place(packing.n_blocks, block, unit)) = piece.units[i];
            if (++unit < WEFT_Q6_K_UNITS) continue;
            unit = 0;
            if (++block < packing.n_blocks) continue;
            block = 0;
            row++;
        }
    }
}

/* A thread has a block of 32 codes and its scale. Rows of a band that are missing stay zeros. */
WEFT_KERNEL(weft_pack_q8_0_units, weft_cuda_unit_packing, packing) {
    int64_t row_blocks = packing.n_units * WEFT_UNIT_BLOCKS, n_blocks = packing.n_rows * row_blocks;
    for (int64_t i = weft_thread(); i < n_blocks; i += weft_threads()) {
        const uint16_t *from = (const uint16_t *)(packing.from + i * WEFT_Q8_0_BLOCK_BYTES);
        int64_t row = i / row_blocks, unit = i % row_blocks / WEFT_UNIT_BLOCKS;
        int block = (int)(i % WEFT_UNIT_BLOCKS), within = (int)(row % WEFT_UNIT_ROWS);
        uint64_t to = packing.to + (row / WEFT_UNIT_ROWS * packing.n_units + unit) * WEFT_Q8_0_UNIT_BYTES;
        ((uint16_t *)(to + WEFT_Q8_0_UNIT_SCALES))[within * WEFT_UNIT_BLOCKS + block] = from[0];
        for (int pair = 0; pair < 16; pair++)
            *(uint16_t *)(to + weft_q8_0_unit_place(within, block * 32 + 2 * pair)) = from[1 + pair];
    }
}
