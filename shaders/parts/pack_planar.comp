#version 450
/* Splits the blocks of a quantised type into their parts. A packed row has the first part of every block, then the second part of
 * every block, and so on, then zeros up to a multiple of 16 bytes. No bit is lost. Each invocation writes words.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"

layout(local_size_x = 128) in;

#define MAX_PARTS 4u

layout(push_constant, std430) uniform Parameters {
    uvec2 control, from, to;
    uint n_rows, n_blocks, block_bytes, row_bytes; /* blocks in a row; bytes of a block in the file, and of a packed row */
    uvec2 parts[MAX_PARTS]; /* the size in bytes and the place in the file's block of each, both even; size 0: no such part */
} p;

/* Bytes `byte` and byte + 1 of a packed row. */
uint two_packed(uvec2 row, uint byte) {
    for (uint i = 0u; i < MAX_PARTS && p.parts[i].x != 0u; i++) {
        uint bytes = p.parts[i].x;
        if (byte < bytes * p.n_blocks)
            return uint(Halves(row).at[(byte / bytes * p.block_bytes + p.parts[i].y + byte % bytes) / 2u]);
        byte -= bytes * p.n_blocks;
    }
    return 0u;
}

void main() {
    for (uint r = gl_WorkGroupID.y; r < p.n_rows; r += gl_NumWorkGroups.y) {
        uvec2 from = address_of(p.from, r, p.n_blocks * p.block_bytes);
        Words to = Words(address_of(p.to, r, p.row_bytes));
        for (uint i = gl_GlobalInvocationID.x; i < p.row_bytes / 4u; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x)
            to.at[i] = int(two_packed(from, i * 4u) | two_packed(from, i * 4u + 2u) << 16);
    }
}
