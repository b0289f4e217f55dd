#version 450
/* Takes the blocks of Q6_K apart, a row at a time: 128 bytes of low nibbles of every block, then 64 bytes of high bits of every
 * block, then 16 scales of every block, then the blocks' 2-byte scales, and zeros up to a multiple of 16 bytes. Nothing is lost. An
 * invocation writes a word.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"

layout(local_size_x = 128) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, from, to;
    uint n_rows, n_blocks, row_bytes; /* blocks in a row; bytes of a packed row */
} p;

#define BLOCK_BYTES 210u

uint two_bytes(uvec2 row, uint byte) {
    return uint(Halves(row).at[byte / 2u]);
}

uint four_bytes(uvec2 row, uint byte) {
    return two_bytes(row, byte) | two_bytes(row, byte + 2u) << 16;
}

/* The word at `byte` of a part whose blocks have `bytes` bytes, which begin at `first` in the file's block. */
uint word_of(uvec2 row, uint byte, uint bytes, uint first) {
    return four_bytes(row, byte / bytes * BLOCK_BYTES + first + byte % bytes);
}

uint scale_of(uvec2 row, uint block) {
    return block < p.n_blocks ? two_bytes(row, block * BLOCK_BYTES + 208u) : 0u;
}

uint packed_at(uvec2 row, uint byte) {
    if (byte < 128u * p.n_blocks) return word_of(row, byte, 128u, 0u);
    if (byte < 192u * p.n_blocks) return word_of(row, byte - 128u * p.n_blocks, 64u, 128u);
    if (byte < 208u * p.n_blocks) return word_of(row, byte - 192u * p.n_blocks, 16u, 192u);
    uint block = (byte - 208u * p.n_blocks) / 2u;
    return scale_of(row, block) | scale_of(row, block + 1u) << 16;
}

void main() {
    for (uint r = gl_WorkGroupID.y; r < p.n_rows; r += gl_NumWorkGroups.y) {
        uvec2 from = address_of(p.from, r, p.n_blocks * BLOCK_BYTES);
        Words to = Words(address_of(p.to, r, p.row_bytes));
        for (uint i = gl_GlobalInvocationID.x; i < p.row_bytes / 4u; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x)
            to.at[i] = int(packed_at(from, i * 4u));
    }
}
