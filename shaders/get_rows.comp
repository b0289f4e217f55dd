#version 450
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/weights.glsl"
#include "shaders/common/row_of.glsl"
#include "shaders/common/rows.glsl"
