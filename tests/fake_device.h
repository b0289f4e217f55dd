#ifndef WEFT_TESTS_FAKE_DEVICE_H
#define WEFT_TESTS_FAKE_DEVICE_H

#include <stdio.h>
#include <string.h>

#include "core/runtime.h"

/* A device that supports every op but those in `refused`, and fused ops in one precision only if `exact_only`. */
typedef struct fake_device {
    weft_device device;
    uint64_t refused;
    bool exact_only;
    int n_asked;
} fake_device;

static inline void fake_supports(weft_backend_device *handle, const weft_phase *query, weft_support *support) {
    fake_device *fake = (fake_device *)(void *)handle;
    fake->n_asked++;
    support->supported = !(fake->refused >> query->op & 1) && !(fake->exact_only && query->precision != WEFT_EXACT);
    support->name = "a \"fake\" kernel";
    if (!support->supported) snprintf(support->reason, sizeof support->reason, "not today");
}

static const weft_backend fake_backend = {
    .abi = WEFT_BACKEND_ABI, .size = sizeof(weft_backend), .name = "fake", .supports = fake_supports};

static inline fake_device *make_device(weft_runtime *runtime, fake_device *fake) {
    memset(fake, 0, sizeof *fake);
    fake->device.runtime = runtime;
    fake->device.backend = &fake_backend;
    fake->device.handle = (weft_backend_device *)(void *)fake;
    assert_true(weft_os_mutex_init(&fake->device.mutex));
    return fake;
}

#endif
