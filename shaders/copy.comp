#version 450
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/weights.glsl"

layout(push_constant, std430) uniform Parameters {
    uvec2 control, table, y;
    uint n, n_columns, n_rows, row_bytes;
} p;

int row_of(uint column) {
    return int(column);
}

#include "shaders/common/rows.glsl"
