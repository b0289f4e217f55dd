#version 450
/* The first dispatch of a step: reads the next entry of the queue. The host writes the entry before it submits the step. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"

layout(local_size_x = 1) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, queue;
    uint n_entries;
} p;

/* The queue's words: the number before which all steps are cancelled, then the step slot and the result slot of each entry. */
#define QUEUE_CANCELLED 0
#define QUEUE_ENTRIES 4u

void main() {
    Words control = Words(p.control), queue = Words(p.queue);
    uint number = uint(control.at[CONTROL_COUNTER]);
    uint entry = QUEUE_ENTRIES + 2u * (number % p.n_entries);
    control.at[CONTROL_STEP_SLOT] = queue.at[entry];
    control.at[CONTROL_RESULT_SLOT] = queue.at[entry + 1u];
    control.at[CONTROL_STOPPED] = queue.at[QUEUE_CANCELLED] - int(number) > 0 ? 1 : 0;
    control.at[CONTROL_COUNTER] = int(number + 1u);
}
