#version 450
/* The end of norm_gated_mlp: activation(gate) * up. rms_norm and mul_mat come before it. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/norm_gated_mlp.h"

layout(constant_id = 0) const int ACTIVATION = WEFT_ACTIVATION_SILU;

float map(float a, float b) {
    precise float product = ACTIVATION == WEFT_ACTIVATION_GELU ? weft_gelu(a) * b : weft_silu(a) * b;
    return product;
}

#include "shaders/common/elementwise.glsl"
