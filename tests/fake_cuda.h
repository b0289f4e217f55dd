/* A CUDA driver of the tests' own, which the backend finds as libcuda.so.1: device memory is the host's, everything is done at
 * once, and of the kernels only those that begin and end a step and that pack weights do anything. Any call can be made to fail.
 */
#ifndef WEFT_TESTS_FAKE_CUDA_H
#define WEFT_TESTS_FAKE_CUDA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fake_cuda {
    size_t n_calls, fail_at; /* this call fails, counted from 1; 0: none */
    int fail_with;           /* CUresult */
    bool sticky;             /* and all that follow, until a context is destroyed */
    bool forever;            /* and no context can be made after that */
    bool slow;               /* steps run when somebody waits for long enough */
    bool failing;
    const char *failed;  /* the call that failed, by its name in driver.def */
    size_t n_live;       /* what was made and not given back, contexts too */
    size_t device_bytes; /* of device memory taken, in pages of 2 MiB */
    const char *broken;  /* a rule of the driver that was broken, or NULL */
} fake_cuda;

#define FAKE_CUDA_SYMBOL "weft_fake_cuda" /* the one of these that the library exports */

#endif
