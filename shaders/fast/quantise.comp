#version 450
/* Rounds columns of floats to int8, in blocks of 32: x is about scale * quant, and the scale is a 127th of the block's largest
 * magnitude. Next to the scale stands scale * (sum of quants), by which a product multiplies a weight's minimum. For extra precision
 * the rounding errors are rounded to int8, too: x is about scale / ERROR_STEPS * (ERROR_STEPS * quant + error_quant), and
 * extra_scales holds scale / ERROR_STEPS and the sum of that. Each invocation rounds one block.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/extra_precision.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, quants, scales, error_quants, extra_scales; /* the last two may be left out */
    uint n; /* blocks of all columns, which lie one after the other */
} p;

#define MIN_MAGNITUDE 1e-30 /* smaller values count as 0: the inverse of their scale would overflow */

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
        Words quants = Words(address_of(p.quants, i, 32u)), error_quants = Words(address_of(p.error_quants, i, 32u));
        bool has_errors = is_present(p.error_quants);
        float largest = 0.0;
        for (uint j = 0u; j < 32u; j++) largest = max(largest, abs(x.at[j]));
        float inverse = largest > MIN_MAGNITUDE ? 127.0 / largest : 0.0;
        int sum = 0, error_sum = 0;
        for (uint q = 0u; q < 8u; q++) {
            vec4 four = vec4(x.at[4u * q], x.at[4u * q + 1u], x.at[4u * q + 2u], x.at[4u * q + 3u]) * inverse;
            ivec4 quant = rounded(four);
            quants.at[q] = packed(quant);
            sum += sum_of(quant);
            if (!has_errors) continue;
            ivec4 error = rounded((four - vec4(quant)) * float(ERROR_STEPS));
            error_quants.at[q] = packed(error);
            error_sum += sum_of(error);
        }
        float scale = largest > MIN_MAGNITUDE ? largest / 127.0 : 0.0;
        scales.at[0] = scale;
        scales.at[1] = scale * float(sum);
        if (!has_errors) continue;
        Floats extra_scales = Floats(address_of(p.extra_scales, i, 8u));
        extra_scales.at[0] = scale / float(ERROR_STEPS);
        extra_scales.at[1] = scale / float(ERROR_STEPS) * float(ERROR_STEPS * sum + error_sum);
    }
}
