/* copy: y = x as F32. x: any float type [n, T] (a weight or an activation); y: F32 [n, T]. No parameters. */
#ifndef WEFT_OPS_COPY_H
#define WEFT_OPS_COPY_H
#endif
