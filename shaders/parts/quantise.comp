#version 450
/* Columns of floats in blocks of 32 as int8: x is about scale * quant, the scale a 127th of the block's largest magnitude. Next to the
 * scale stands scale * (sum of quants), which a weight's minimum is multiplied by. An invocation a block.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, quants, scales;
    uint n; /* blocks of all columns, which lie one after the other */
} p;

#define LEAST 1e-30 /* what is smaller counts as 0: its inverse would not be a float */

void main() {
    LEAVE_IF_STOPPED();
    for (uint i = gl_GlobalInvocationID.x; i < p.n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
        Floats x = Floats(address_of(p.x, i, 128u)), scales = Floats(address_of(p.scales, i, 8u));
        Words quants = Words(address_of(p.quants, i, 32u));
        float most = 0.0;
        for (uint j = 0u; j < 32u; j++) most = max(most, abs(x.at[j]));
        float inverse = most > LEAST ? 127.0 / most : 0.0;
        int sum = 0;
        for (uint q = 0u; q < 8u; q++) {
            ivec4 four;
            for (uint l = 0u; l < 4u; l++) four[l] = int(clamp(roundEven(x.at[4u * q + l] * inverse), -127.0, 127.0));
            sum += four.x + four.y + four.z + four.w;
            quants.at[q] = four.x & 255 | (four.y & 255) << 8 | (four.z & 255) << 16 | four.w << 24;
        }
        float scale = most > LEAST ? most / 127.0 : 0.0;
        scales.at[0] = scale;
        scales.at[1] = scale * float(sum);
    }
}
