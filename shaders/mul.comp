#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/common.glsl"
#include "common/arithmetic.glsl"

float map(float a, float b) {
    precise float product = a * b;
    return product;
}

#include "common/elementwise.glsl"
