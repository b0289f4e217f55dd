/* A row of the CPU backend's table of kernels, and the arguments of its `run`. */
#ifndef WEFT_CPU_KERNEL_H
#define WEFT_CPU_KERNEL_H

#include "backends/cpu/device.h"
#include "backends/table.h"

typedef struct weft_cpu_kernel weft_cpu_kernel;

/* A phase and the row that runs it; made from a question too, then without places in memory. */
typedef struct weft_cpu_call {
    weft_backend_device *device;
    const weft_cpu_kernel *kernel;
    const weft_phase *phase;
} weft_cpu_call;

struct weft_cpu_kernel {
    weft_kernel kernel;
    const char *set;   /* the kernel set that the row uses; NULL: the row is `exact` */
    uint32_t matrices; /* WEFT_PORT_BIT of the inputs that are multiplied; a row of a set must multiply one of them with it */
    void (*run)(const weft_cpu_call *call);
    uint64_t (*scratch_bytes)(const weft_cpu_call *call); /* NULL: none */
    const char *(*refuses)(const weft_phase *phase);      /* why the row cannot run the node, or NULL; NULL: it can run all */
};

static inline bool weft_cpu_is_fast(const weft_cpu_call *call) {
    return call->kernel->set != NULL;
}

#define WEFT_CPU_PACKED (WEFT_LAYOUT_BIT(WEFT_CPU_ROWS_8) | WEFT_LAYOUT_BIT(WEFT_CPU_ROWS_16))

/* The rank of a product with a packed weight is larger than the ranks of any number of look-ups in it, which are faster in the
 * file's layout. */
#define WEFT_CPU_RANK_FAST 1000
#define WEFT_CPU_RANK_PACKED_LOOKUP (-1)

/* Members of a row follow: .matrices, .run, .scratch_bytes, .refuses. `stem` is a string. */
#define WEFT_CPU_EXACT(op_, stem, ...)                                                                                             \
    { .kernel = {.op = (op_), .name = stem " exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST}, __VA_ARGS__ }

/* Every output value needs only the inputs' values at the same place, so the output may use an input's memory. */
#define WEFT_CPU_ELEMENTWISE(op_, stem, ...)                                                                                       \
    {                                                                                                                              \
        .kernel = {.op = (op_), .name = stem " exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST, .in_place = true},          \
        __VA_ARGS__                                                                                                                \
    }

/* Reads rows of a weight that is packed because something else multiplies with it. The values are the same. */
#define WEFT_CPU_PACKED_LOOKUP(op_, stem, weights_, ...)                                                                           \
    {                                                                                                                              \
        .kernel = {.op = (op_),                                                                                                    \
                   .name = stem " packed",                                                                                         \
                   .precisions = WEFT_RUNS_FAST,                                                                                   \
                   .rank = WEFT_CPU_RANK_PACKED_LOOKUP,                                                                            \
                   .weights = {{.inputs = (weights_), .layouts = WEFT_CPU_PACKED}}},                                               \
        __VA_ARGS__                                                                                                                \
    }

#define WEFT_CPU_FAST_SET(op_, stem, set_, layouts_, matrices_, ...)                                                               \
    {                                                                                                                              \
        .kernel = {.op = (op_),                                                                                                    \
                   .name = stem " fast " set_,                                                                                     \
                   .precisions = WEFT_RUNS_FAST,                                                                                   \
                   .rank = WEFT_CPU_RANK_FAST,                                                                                     \
                   .weights = {{.inputs = (matrices_), .layouts = WEFT_LAYOUT_BIT(WEFT_LAYOUT_FILE) | (layouts_)}}},               \
        .set = set_, .matrices = (matrices_), __VA_ARGS__                                                                          \
    }

/* A row for each kernel set. */
#define WEFT_CPU_FAST(op, stem, matrices, ...)                                                                                     \
    WEFT_CPU_FAST_SET(op, stem, "none", 0, matrices, __VA_ARGS__)                                                                  \
    , WEFT_CPU_FAST_SET(op, stem, "avx2", WEFT_LAYOUT_BIT(WEFT_CPU_ROWS_8), matrices, __VA_ARGS__),                                \
        WEFT_CPU_FAST_SET(op, stem, "avxvnni", WEFT_LAYOUT_BIT(WEFT_CPU_ROWS_8), matrices, __VA_ARGS__),                           \
        WEFT_CPU_FAST_SET(op, stem, "avx512vnni", WEFT_LAYOUT_BIT(WEFT_CPU_ROWS_16), matrices, __VA_ARGS__),                       \
        WEFT_CPU_FAST_SET(op, stem, "neon", WEFT_LAYOUT_BIT(WEFT_CPU_ROWS_8), matrices, __VA_ARGS__)

#endif
