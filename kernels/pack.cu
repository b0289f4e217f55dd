/* Weights into the planar layout of kernels/layout.h. */
#include "kernels/common.h"
#include "kernels/layout.h"

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
