#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/common.glsl"
#include "common/arithmetic.glsl"

float map(float a, float b) {
    precise float sum = a + b;
    return sum;
}

#include "common/elementwise.glsl"
