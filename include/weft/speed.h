/* How fast a device is at what decides between devices. The conventions are those of weft.h. */
#ifndef WEFT_SPEED_H
#define WEFT_SPEED_H

#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Measures how many bytes of weights of a type the device multiplies with one column in a second, as it does for each token of an
 * answer. This takes about a tenth of a second, longer where the driver compiles kernels, and up to 60 MB of the device's memory.
 * The runtime remembers the result for the device with its options, the type and the precision. WEFT_UNSUPPORTED: the device cannot
 * multiply this type. */
WEFT_API weft_status weft_device_weight_speed(weft_device *device, weft_type type, weft_precision precision, double *bytes_per_s,
                                              weft_error *error);

#ifdef __cplusplus
}
#endif
#endif
