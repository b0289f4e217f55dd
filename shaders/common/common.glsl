/* What every shader includes: access to memory by address, and an early return when the step was cancelled.
 *
 * A phase's arguments are push constants, recorded once: addresses (uvec2, low word first), then counts. There are no descriptors,
 * so that a tensor may be as large as memory allows. The first address of every block is `control`. Address 0 stands for a tensor
 * that is left out.
 */
#ifndef WEFT_COMMON_GLSL
#define WEFT_COMMON_GLSL

#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_shader_16bit_storage : require

layout(buffer_reference, std430, buffer_reference_align = 1) buffer Bytes { uint8_t at[]; };
layout(buffer_reference, std430, buffer_reference_align = 2) buffer Halves { uint16_t at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { int at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Floats { float at[]; };

/* Words of `control`: the state of the running step, which shaders/parts/begin.comp reads from the queue. */
#define CONTROL_COUNTER 0
#define CONTROL_STEP_SLOT 1
#define CONTROL_RESULT_SLOT 2
#define CONTROL_STOPPED 3

/* All invocations of a step decide alike. */
#define LEAVE_IF_STOPPED()                                   \
    if (Words(p.control).at[CONTROL_STOPPED] != 0) return

bool is_present(uvec2 address) {
    return (address.x | address.y) != 0u;
}

/* address + index * stride, in 64 bits. */
uvec2 address_of(uvec2 address, uint index, uint stride) {
    uint high, low, carry;
    umulExtended(index, stride, high, low);
    low = uaddCarry(address.x, low, carry);
    return uvec2(low, address.y + high + carry);
}

uint ceil_div(uint a, uint b) {
    return (a + b - 1u) / b;
}

#endif
