#version 450
/* The same with the end of norm_qkv's products: shaders/common/products_units.glsl, unit_rotation.glsl. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#define ROTATED
#include "shaders/common/products_units.glsl"
