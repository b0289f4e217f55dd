#version 450
/* Copies words between the step's slot of a ring and a fixed place. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"

layout(local_size_x = 128) in;

layout(constant_id = 0) const uint TO_RING = 0u; /* 1: a result, 0: a step input */

layout(push_constant, std430) uniform Parameters {
    uvec2 control, ring, place; /* ring: the address of slot 0 */
    uint stride, n_words;       /* bytes from slot to slot */
} p;

void main() {
    LEAVE_IF_STOPPED();
    uint slot = uint(Words(p.control).at[TO_RING != 0u ? CONTROL_RESULT_SLOT : CONTROL_STEP_SLOT]);
    Words ring = Words(address_of(p.ring, slot, p.stride)), place = Words(p.place);
    for (uint i = gl_GlobalInvocationID.x; i < p.n_words; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
        if (TO_RING != 0u)
            ring.at[i] = place.at[i];
        else
            place.at[i] = ring.at[i];
    }
}
