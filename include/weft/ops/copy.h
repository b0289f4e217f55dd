/* copy: y = x as F32. x: any float type of any shape (a weight or an activation); y: F32 of that shape. No parameters. */
#ifndef WEFT_OPS_COPY_H
#define WEFT_OPS_COPY_H
#endif
