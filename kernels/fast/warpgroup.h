/* Warpgroups of compute capability 9.0: their matrix product wgmma, and barriers between warps that copy and warps that compute
 * (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions" and "mbarrier"). tests/emulator has another file of this name. */
#ifndef WEFT_KERNELS_FAST_WARPGROUP_H
#define WEFT_KERNELS_FAST_WARPGROUP_H

#include "kernels/fast/barrier.h"

/* Only code that is compiled for 9.0a may have these instructions. Kernels for other devices get an empty body. */
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define WEFT_HAS_WARPGROUPS 0
#else
#define WEFT_HAS_WARPGROUPS 1
#endif

#if WEFT_HAS_WARPGROUPS

/* ---- Registers: by all warps of a warpgroup ---- */

template <int N> static __device__ inline void weft_give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N> static __device__ inline void weft_take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

/* ---- Products: by all warps of a warpgroup ---- */

/* Before products whose registers have been written otherwise. */
static __device__ inline void weft_products_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/* Ends a group of products. */
static __device__ inline void weft_products_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Waits until at most the LEFT last groups are under way. */
template <int LEFT> static __device__ inline void weft_products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

/* By all threads that have written where copies will write next, before they give it back (PTX ISA, "Async proxy"). */
static __device__ inline void weft_copies_follow() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Where columns are in shared memory: of each 8 columns 1,024 bytes, [value / 8][column][8 values]. The lower half of a descriptor;
 * in units of 16 bytes, 128 bytes lead from 8 values to the next. The upper half is always the same: 1,024 bytes to the next
 * columns. */
typedef uint32_t weft_columns;

static __device__ inline weft_columns weft_columns_at(const void *columns) {
    return 8u << 16 | weft_shared_address(columns) >> 4;
}

static __device__ inline weft_columns weft_columns_after(weft_columns columns, int bytes) {
    return columns + (uint32_t)bytes / 16;
}

#define WEFT_EIGHT(i)                                                                                                              \
    "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), "+f"(c[i + 6]), "+f"(c[i + 7])
#define WEFT_TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define WEFT_WGMMA(n, sums, a0, a1, a2, a3, columns, add, ...)                                                                     \
    asm volatile("{\n.reg .pred add;\n.reg .b64 columns;\nsetp.ne.b32 add, %" #add ", 0;\nmov.b64 columns, {%" #columns ", 64};\n" \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.f16.f16 {" sums "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3         \
                 "}, columns, add, 1, 1, 0;\n}"                                                                                    \
                 : __VA_ARGS__                                                                                                     \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "r"((int)ADD))

/* c = a b, or c += a b. `a` has 64 rows and 16 values, 16 rows each warp as for weft_mma; `b` has N columns. c[4 i] to c[4 i + 3]
 * are what weft_mma gives for columns 8 i and on. */
template <int N, bool ADD>
static __device__ inline void weft_multiply_columns(float (&c)[N / 2], const uint32_t (&a)[4], weft_columns b) {
    if constexpr (N == 16)
        WEFT_WGMMA(16, "%0,%1,%2,%3,%4,%5,%6,%7", 8, 9, 10, 11, 12, 13, WEFT_EIGHT(0));
    else if constexpr (N == 32)
        WEFT_WGMMA(32, WEFT_TEN() "%10,%11,%12,%13,%14,%15", 16, 17, 18, 19, 20, 21, WEFT_EIGHT(0), WEFT_EIGHT(8));
    else if constexpr (N == 56)
        WEFT_WGMMA(56, WEFT_TEN() WEFT_TEN(1) "%20,%21,%22,%23,%24,%25,%26,%27", 28, 29, 30, 31, 32, 33, WEFT_EIGHT(0),
                   WEFT_EIGHT(8), WEFT_EIGHT(16), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]));
    else if constexpr (N == 64)
        WEFT_WGMMA(64, WEFT_TEN() WEFT_TEN(1) WEFT_TEN(2) "%30,%31", 32, 33, 34, 35, 36, 37, WEFT_EIGHT(0), WEFT_EIGHT(8),
                   WEFT_EIGHT(16), WEFT_EIGHT(24));
    else if constexpr (N == 176)
        WEFT_WGMMA(176,
                   WEFT_TEN() WEFT_TEN(1) WEFT_TEN(2) WEFT_TEN(3) WEFT_TEN(4) WEFT_TEN(5) WEFT_TEN(6)
                       WEFT_TEN(7) "%80,%81,%82,%83,%84,%85,%86,%87",
                   88, 89, 90, 91, 92, 93, WEFT_EIGHT(0), WEFT_EIGHT(8), WEFT_EIGHT(16), WEFT_EIGHT(24), WEFT_EIGHT(32),
                   WEFT_EIGHT(40), WEFT_EIGHT(48), WEFT_EIGHT(56), WEFT_EIGHT(64), WEFT_EIGHT(72), WEFT_EIGHT(80));
    else
        WEFT_WGMMA(128, WEFT_TEN() WEFT_TEN(1) WEFT_TEN(2) WEFT_TEN(3) WEFT_TEN(4) WEFT_TEN(5) "%60,%61,%62,%63", 64, 65, 66, 67,
                   68, 69, WEFT_EIGHT(0), WEFT_EIGHT(8), WEFT_EIGHT(16), WEFT_EIGHT(24), WEFT_EIGHT(32), WEFT_EIGHT(40),
                   WEFT_EIGHT(48), WEFT_EIGHT(56));
}

#endif
#endif
