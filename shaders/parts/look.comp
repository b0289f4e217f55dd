#version 450
/* In the middle of a step: stops the rest of it, if it was cancelled meanwhile. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"

layout(local_size_x = 1) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, queue;
} p;

/* As in begin.comp, whose counter is already that of the next step. */
#define QUEUE_CANCELLED 0

void main() {
    Words control = Words(p.control), queue = Words(p.queue);
    if (queue.at[QUEUE_CANCELLED] - control.at[CONTROL_COUNTER] >= 0) control.at[CONTROL_STOPPED] = 1;
}
