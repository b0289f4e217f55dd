/* y[:, column] = row row_of(column) of the table as floats, or zeros where the table has no such row. The includer defines row_of.
 */
layout(local_size_x = 64) in;

void main() {
    LEAVE_IF_STOPPED();
    for (uint column = gl_WorkGroupID.y; column < p.n_columns; column += gl_NumWorkGroups.y) {
        int row = row_of(column);
        Floats y = Floats(address_of(p.y, column, p.n * 4u));
        bool inside = row >= 0 && uint(row) < p.n_rows;
        uvec2 values = address_of(p.table, inside ? uint(row) : 0u, p.row_bytes);
        if (WEIGHT_TYPE == TYPE_F32) { /* rows of activations */
            for (uint i = gl_GlobalInvocationID.x; i < p.n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x)
                y.at[i] = inside ? Floats(values).at[i] : 0.0;
            continue;
        }
        for (uint piece = gl_GlobalInvocationID.x; piece * PIECE < p.n; piece += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
            vec4 w[8];
            unpack(values, piece, p.n, w);
            uint count = min(PIECE, p.n - piece * PIECE);
            for (uint i = 0u; i < count; i++) y.at[piece * PIECE + i] = inside ? w[i / 4u][i & 3u] : 0.0;
        }
    }
}
