#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/common.glsl"
#include "common/arithmetic.glsl"

float map(float a, float b) {
    return weft_silu(a);
}

#include "common/elementwise.glsl"
