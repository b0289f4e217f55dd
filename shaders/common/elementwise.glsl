/* y[i] = map(a[i], b[i]). The includer defines map. b repeats after n_b values. */
layout(local_size_x = 128) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, a, b, y;
    uint n, n_b; /* values of a and y, and of b; n_b 0: there is no b */
} p;

void main() {
    LEAVE_IF_STOPPED();
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < p.n; i += stride) {
        float b = p.n_b == 0u ? 0.0 : Floats(p.b).at[p.n_b == p.n ? i : i % p.n_b];
        Floats(p.y).at[i] = map(Floats(p.a).at[i], b);
    }
}
