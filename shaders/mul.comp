#version 450
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"

float map(float a, float b) {
    precise float product = a * b;
    return product;
}

#include "shaders/common/elementwise.glsl"
