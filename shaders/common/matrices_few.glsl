/* How shaders/fast/mul_mat_few.comp uses a subgroup of 32: sums by cooperative matrices of 16 x N x 16, whose operands lie in `tile`, an
 * array of vectors of eight half floats in shared memory, and sums and maximums over invocations.
 */
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#define MATRIX_SUMS coopmat<float, gl_ScopeSubgroup, 16, N, gl_MatrixUseAccumulator>

MATRIX_SUMS no_sums() {
    return MATRIX_SUMS(0.0);
}

/* All of the subgroup have written, or read, its part of the shared memory. */
void wait_for_warp() {
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

float warp_sum(float x) {
    return subgroupAdd(x);
}

float warp_largest(float x) {
    return subgroupMax(x);
}

/* Adds 16 values of 16 rows times those of N columns. Rows and columns follow each other after `row_line` and `column_line` vectors. */
void add_products(inout MATRIX_SUMS sums, uint rows, uint row_line, uint columns, uint column_line) {
    coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> a;
    coopmat<float16_t, gl_ScopeSubgroup, 16, N, gl_MatrixUseB> b;
    coopMatLoad(a, tile, rows, row_line, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b, tile, columns, column_line, gl_CooperativeMatrixLayoutColumnMajor);
    sums = coopMatMulAdd(a, b, sums);
}

/* Four vectors a column, of four rows each. */
void store_sums(MATRIX_SUMS sums, uint to) {
    coopMatStore(sums, tile, to, 4u, gl_CooperativeMatrixLayoutColumnMajor);
}
