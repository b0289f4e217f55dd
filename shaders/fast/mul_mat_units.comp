#version 450
/* Products of few columns: shaders/common/products_units.glsl. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/common/products_units.glsl"
