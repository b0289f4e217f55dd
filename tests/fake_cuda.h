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
    bool sticky;             /* all later calls fail, too, until a context is destroyed */
    bool forever;            /* and then no context can be made any more */
    bool slow;               /* steps only run during a wait that is long enough */
    bool failing;
    const char *failed;  /* the call that failed, by its name in driver.def */
    size_t n_live;       /* objects that were made and not destroyed, contexts included */
    size_t device_bytes; /* of device memory in use, in pages of 2 MiB */
    const char *broken;  /* the rule of the driver that the backend broke, or NULL */
} fake_cuda;

#define FAKE_CUDA_SYMBOL "weft_fake_cuda" /* the symbol of the library's instance of this struct */

#endif
