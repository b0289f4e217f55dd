#version 450
/* Columns of floats in blocks of 32 as int8: x is about scale * quant, the scale a 127th of the block's largest magnitude. Next to the
 * scale stands scale * (sum of quants), which a weight's minimum is multiplied by. Where it is asked for, what rounding left is rounded
 * in turn: x is much nearer to scale / RESTS * (RESTS * quant + rest), and `rests_scales` has the scale and the sum of that. An
 * invocation a block.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/rests.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, quants, scales, rests, rests_scales; /* the last two may be left out */
    uint n; /* blocks of all columns, which lie one after the other */
} p;

#define LEAST 1e-30 /* what is smaller counts as 0: its inverse would not be a float */

int packed(ivec4 four) {
    return four.x & 255 | (four.y & 255) << 8 | (four.z & 255) << 16 | four.w << 24;
}

int sum_of(ivec4 four) {
    return four.x + four.y + four.z + four.w;
}

ivec4 rounded(vec4 four) {
    return ivec4(clamp(roundEven(four), -127.0, 127.0));
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint i = gl_GlobalInvocationID.x; i < p.n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
        Floats x = Floats(address_of(p.x, i, 128u)), scales = Floats(address_of(p.scales, i, 8u));
        Words quants = Words(address_of(p.quants, i, 32u)), rests = Words(address_of(p.rests, i, 32u));
        bool has_rests = is_present(p.rests);
        float most = 0.0;
        for (uint j = 0u; j < 32u; j++) most = max(most, abs(x.at[j]));
        float inverse = most > LEAST ? 127.0 / most : 0.0;
        int sum = 0, rests_sum = 0;
        for (uint q = 0u; q < 8u; q++) {
            vec4 four = vec4(x.at[4u * q], x.at[4u * q + 1u], x.at[4u * q + 2u], x.at[4u * q + 3u]) * inverse;
            ivec4 quant = rounded(four);
            quants.at[q] = packed(quant);
            sum += sum_of(quant);
            if (!has_rests) continue;
            ivec4 rest = rounded((four - vec4(quant)) * float(RESTS));
            rests.at[q] = packed(rest);
            rests_sum += sum_of(rest);
        }
        float scale = most > LEAST ? most / 127.0 : 0.0;
        scales.at[0] = scale;
        scales.at[1] = scale * float(sum);
        if (!has_rests) continue;
        Floats fine = Floats(address_of(p.rests_scales, i, 8u));
        fine.at[0] = scale / float(RESTS);
        fine.at[1] = scale / float(RESTS) * float(RESTS * sum + rests_sum);
    }
}
