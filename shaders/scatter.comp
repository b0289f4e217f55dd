#version 450
/* state[index] = value for each update. Of updates with the same index only the last is written. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "weft/ops/step.h"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, state, updates;
    uint n_words, n_updates, update_words;
} p;

int index_of(uint update) {
    return Words(p.updates).at[update * p.update_words + WEFT_UPDATE_INDEX];
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint i = gl_GlobalInvocationID.x; i < p.n_updates; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
        int index = index_of(i);
        bool is_last = index >= 0 && uint(index) < p.n_words;
        for (uint j = i + 1u; j < p.n_updates && is_last; j++) is_last = index_of(j) != index;
        if (is_last) Words(p.state).at[index] = Words(p.updates).at[i * p.update_words + WEFT_UPDATE_VALUE];
    }
}
