/* A backend's table of kernels: rows as data, and the choice among them. Part of every backend that has one; like os/, it is
 * compiled into a plug-in and calls nothing of weft.
 *
 * A backend's own row begins with a `weft_kernel`; the backend's members to run it follow. A row says as data all that can be data.
 * The table's `refuses` decides what depends on shapes or on the device. Each op's file gives its rows, so that an op is added
 * without an edit here; what runs a row may live in any file and serve rows of several ops.
 */
#ifndef WEFT_BACKENDS_TABLE_H
#define WEFT_BACKENDS_TABLE_H

#include "weft/backend.h"

#define WEFT_RUNS_EXACT 1u
#define WEFT_RUNS_FAST 2u

#define WEFT_PORT_BIT(port) (UINT32_C(1) << (port))
#define WEFT_LAYOUT_BIT(id) (UINT64_C(1) << (id))

/* The types and layouts of some weights that a kernel accepts. */
typedef struct weft_kernel_weights {
    uint32_t inputs;  /* WEFT_PORT_BIT of each; 0 ends a list */
    uint64_t types;   /* WEFT_TYPE_BIT of each; 0: all */
    uint64_t layouts; /* WEFT_LAYOUT_BIT of each; 0: the file's */
} weft_kernel_weights;

/* How a kernel can read or write some of its values in place of F32. */
typedef struct weft_kernel_values {
    uint32_t ports; /* WEFT_PORT_BIT of each input or output; 0 ends a list */
    weft_storage_set set;
} weft_kernel_values;

#define WEFT_KERNEL_LISTS 4

typedef struct weft_kernel {
    weft_op op;
    const char *name;                               /* "mul_mat exact": static */
    unsigned precisions;                            /* WEFT_RUNS_... */
    int32_t rank;                                   /* the fitting row of the highest rank runs; on a tie the first */
    int64_t min_columns, max_columns;               /* T: columns of the node's first output; 0: any */
    weft_kernel_weights weights[WEFT_KERNEL_LISTS]; /* weights that are not named here: of any type, in the file's layout */
    weft_kernel_values reads[WEFT_KERNEL_LISTS], writes[WEFT_KERNEL_LISTS];
    bool in_place;      /* as in weft_support */
    const char *caveat; /* if this row runs in `fast`: why no better one does; or NULL */
} weft_kernel;

/* The rows of one op. A kernel's number counts the rows of all ops, in the ops' order. */
typedef struct weft_kernel_rows {
    const void *rows;
    uint32_t n;
} weft_kernel_rows;
#define WEFT_KERNEL_ROWS(array)                                                                                                    \
    { .rows = (array), .n = sizeof(array) / sizeof *(array) }

/* A layout that weights can get. */
typedef struct weft_kernel_layout {
    weft_layout layout; /* id, rows_at_once, name; `bytes` is filled in by `measure` */
    uint64_t types;
    size_t n_weights; /* that share it */
    /* Bytes of the packed weights, or 0: their shapes do not allow it. */
    uint64_t (*measure)(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights);
} weft_kernel_layout;

typedef struct weft_kernel_table {
    const char *backend;                /* for messages */
    const weft_kernel_rows *const *ops; /* the rows of each op, by the op's number; NULL if an op has no rows */
    size_t n_ops, row_bytes;
    const weft_kernel_layout *layouts; /* the preferred first; the file's is not among them */
    size_t n_layouts;
    /* Why the row cannot run on the device or with the shapes, or NULL. It may write its message to `text`. A NULL pointer: no such
     * limits. */
    const char *(*refuses)(weft_backend_device *device, const weft_kernel *kernel, const weft_phase *phase, char *text,
                           size_t size);
    /* Adds what only the backend knows: scratch_bytes. May be NULL. */
    void (*complete)(weft_backend_device *device, const weft_kernel *kernel, const weft_phase *phase, weft_support *support);
} weft_kernel_table;

/* NULL past the last row. */
const weft_kernel *weft_kernel_get(const weft_kernel_table *table, uint32_t number);

/* The slots `supports`, `kernel_at` and `weight_layout` of a backend that has a table. */
void weft_kernel_supports(const weft_kernel_table *table, weft_backend_device *device, const weft_phase *phase,
                          weft_support *support);
bool weft_kernel_describe(const weft_kernel_table *table, uint32_t number, weft_kernel_info *info);
/* Chooses the layout with the highest sum of kernel ranks, of those that have a kernel for every use. On a tie the first of the
 * table wins; the file's layout comes last. */
void weft_kernel_weight_layout(const weft_kernel_table *table, weft_backend_device *device, const weft_tensor *const *weights,
                               size_t n_weights, const weft_use *uses, size_t n_uses, weft_layout *layout);

#endif
