/* Phases made by hand, for tests that call a backend's table of functions. */
#ifndef WEFT_TESTS_PHASES_H
#define WEFT_TESTS_PHASES_H

#include "weft/backend.h"

/* A tensor at `offset` of a buffer, in the layout of the file and stored as it is. */
static inline weft_place phase_place(const weft_backend *vtable, weft_backend_device *device, weft_backend_buffer *buffer,
                                     uint64_t offset, weft_tensor tensor) {
    return (weft_place){.present = true,
                        .tensor = tensor,
                        .storage = {.type = (uint32_t)tensor.type},
                        .buffer = buffer,
                        .offset = offset,
                        .address = vtable->buffer_address ? vtable->buffer_address(device, buffer) + offset : 0};
}

/* Sets the phase's kernel to the one that the backend chooses; false if there is none. */
static inline bool phase_kernel(const weft_backend *vtable, weft_backend_device *device, weft_phase *phase) {
    weft_support support = {0};
    phase->kernel = WEFT_KERNEL_ANY;
    vtable->supports(device, phase, &support);
    phase->kernel = support.kernel;
    phase->name = support.name;
    return support.supported;
}

#endif
