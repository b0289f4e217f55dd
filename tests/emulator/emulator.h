/* An emulated CUDA device, so that the CUDA backend and its kernels run in tests where there is no GPU.
 *
 * kernels/KERNEL.cu is compiled as C++ for the processor (language.h gives it CUDA's words; image.cpp is linked to each) into a
 * shared library, which the weft library carries in the place of NVIDIA's image. driver.c is a libcuda.so.1 with the calls of
 * backends/cuda/driver.def: streams are threads, and a graph's kernels run one after another in an order that its edges allow, a
 * different one each time. block.c runs a kernel's blocks one after another, each thread of a block as a fiber; warps and lanes
 * take turns in an order of their own between barriers. So an edge or a barrier that is missing shows in the results.
 *
 * What it cannot show: speed, races between blocks of one kernel, alignment of vector loads beyond the processor's, and the
 * compiler and driver themselves. Those are for a GPU and compute-sanitizer.
 */
#ifndef WEFT_EMULATOR_H
#define WEFT_EMULATOR_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_emulated_index {
    unsigned x, y, z;
} weft_emulated_index;

/* The position of the running thread in the grid. */
typedef struct weft_emulated_place {
    weft_emulated_index thread, block, block_size, grid_size;
} weft_emulated_place;

/* The functions that an image calls. */
typedef struct weft_emulated_services {
    weft_emulated_place *place;
    /* Waits for all threads of the block that have not ended. Returns whether any of them passed true. */
    bool (*synchronise)(bool value);
    /* Waits for all lanes of the warp, and returns the value of each of the 32. */
    const uint64_t *(*exchange)(uint64_t value);
    /* Lets the other warps of the block run. */
    void (*pause)(void);
} weft_emulated_services;

/* An image exports one of these for each kernel, under the kernel's name. */
typedef struct weft_emulated_kernel {
    void (*run)(const void *argument);
    uint64_t argument_bytes;
} weft_emulated_kernel;

/* An image also exports these two. */
#define WEFT_EMULATED_SERVICES "weft_emulated"      /* const weft_emulated_services *, set before kernels run */
#define WEFT_EMULATED_SHARED "weft_emulated_shared" /* uint32_t *(void): dynamic shared memory */
#define WEFT_EMULATED_SHARED_BYTES (227 * 1024)

typedef struct weft_emulated_launch {
    const weft_emulated_kernel *kernel;
    const void *argument;
    weft_emulated_index grid, block;
    uint32_t shared_bytes;
    uint32_t *shared; /* of its image */
} weft_emulated_launch;

/* Runs all blocks of one launch; launches must not overlap. Returns NULL or an error text. `seed` chooses the order of the threads.
 */
const char *weft_emulated_run(const weft_emulated_launch *launch, uint64_t seed);
extern const weft_emulated_services weft_emulated_block_services;

/* A generator for orders (SplitMix64). */
static inline uint64_t weft_emulated_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#ifdef __cplusplus
}
#endif
#endif
