#version 450
/* Each invocation writes one place of one head of the keys or the values, for all rows in order. If two rows name the same place of
 * the cache, the last one wins.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, k, v, kv, rows, sequences;
    uint head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences, n_rows;
} p;

#include "shaders/common/cache.glsl"

void main() {
    LEAVE_IF_STOPPED();
    uint n = p.head_dim * p.n_kv_heads;
    for (uint i = gl_GlobalInvocationID.x; i < 2u * n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
        bool values = i >= n;
        uint element = values ? i - n : i, head = element / p.head_dim, place = element % p.head_dim;
        for (uint t = 0u; t < p.n_rows; t++) {
            Words row = Words(address_of(p.rows, t, WEFT_ROW_WORDS * 4u));
            int index = row.at[WEFT_ROW_CACHE_INDEX];
            int page = index < 0 ? -1 : page_of(sequence_of(row), uint(index));
            if (page < 0) continue;
            uvec2 to = cache_address(cache_row(page, values, head, uint(index) % p.page_size));
            float value = Floats(address_of(values ? p.v : p.k, t, n * 4u)).at[element];
            if (KV_TYPE == TYPE_F16)
                Halves(to).at[place] = uint16_t(float_to_half(value));
            else
                Floats(to).at[place] = value;
        }
    }
}
