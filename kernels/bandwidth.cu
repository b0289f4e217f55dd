/* Reads memory in a way that the compiler cannot optimise away. */
#include "kernels/common.h"

WEFT_KERNEL(weft_read_memory, weft_cuda_reading, reading) {
    const uint4 *vectors = (const uint4 *)reading.memory;
    uint32_t own = 0;
#pragma unroll 8
    for (uint64_t i = (uint64_t)weft_thread(); i < reading.n_vectors; i += (uint64_t)weft_threads()) {
        uint4 vector = vectors[i];
        own += vector.x ^ vector.y ^ vector.z ^ vector.w;
    }
    if (own == 0x12345678u) *(uint32_t *)reading.sum = own;
}
