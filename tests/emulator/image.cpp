/* An image: one file of kernels, and what each image has besides. */
#include "tests/emulator/language.h"

#include WEFT_EMULATED_KERNELS

const weft_emulated_services *weft_emulated;

/* The name that kernels give it. */
alignas(64) thread_local float shared[WEFT_EMULATED_SHARED_BYTES / sizeof(float)];

extern "C" __attribute__((visibility("default"))) uint32_t *weft_emulated_shared() {
    return (uint32_t *)shared;
}
