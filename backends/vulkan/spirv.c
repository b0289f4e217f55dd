/* Asks for the float modes that a device offers: subnormals kept, signed zeros, infinities and NaN kept, rounding to nearest even.
 * A module may name only what the device has, so they are put into the compiled shader when it is loaded. Numbers are those of the
 * SPIR-V specification, version 1.5.
 */
#include "backends/vulkan/spirv.h"

#include <string.h>

enum { HEADER_WORDS = 5, OP_ENTRY_POINT = 15, OP_EXECUTION_MODE = 16, OP_CAPABILITY = 17, MAX_MODES = 3 };

typedef struct float_mode {
    uint32_t capability, mode;
} float_mode;

static size_t offered(const VkPhysicalDeviceFloatControlsProperties *floats, float_mode *modes) {
    const struct {
        VkBool32 offered;
        float_mode mode;
    } known[MAX_MODES] = {
        {floats->shaderDenormPreserveFloat32, {4464, 4459}},
        {floats->shaderSignedZeroInfNanPreserveFloat32, {4466, 4461}},
        {floats->shaderRoundingModeRTEFloat32, {4467, 4462}},
    };
    size_t n = 0;
    for (size_t i = 0; i < MAX_MODES; i++)
        if (known[i].offered) modes[n++] = known[i].mode;
    return n;
}

weft_status weft_vulkan_spirv(weft_backend_device *device, const uint32_t *code, size_t code_bytes, uint32_t **words, size_t *size,
                              weft_error *error) {
    float_mode modes[MAX_MODES];
    size_t n_modes = offered(&device->traits.floats, modes), n_code = code_bytes / sizeof *code;
    *size = code_bytes + n_modes * 6 * sizeof *code; /* each mode: a capability of 2 words and a mode of 4 */
    *words = weft_vulkan_allocate(device->host, *size);
    if (*words == NULL) return device->host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: no memory for a shader");
    memcpy(*words, code, HEADER_WORDS * sizeof *code);
    uint32_t entry = 0, *to = *words + HEADER_WORDS;
    bool has_capabilities = false, has_modes = false;
    for (size_t i = HEADER_WORDS; i < n_code;) {
        uint32_t op = code[i] & 0xffff, n = code[i] >> 16;
        if (!has_capabilities && op != OP_CAPABILITY) { /* they come first */
            for (size_t m = 0; m < n_modes; m++) {
                *to++ = UINT32_C(2) << 16 | OP_CAPABILITY;
                *to++ = modes[m].capability;
            }
            has_capabilities = true;
        }
        if (op == OP_ENTRY_POINT) entry = code[i + 2];
        if (!has_modes && op == OP_EXECUTION_MODE) { /* every compute shader has one: its workgroup's size */
            for (size_t m = 0; m < n_modes; m++) {
                const uint32_t mode[] = {UINT32_C(4) << 16 | OP_EXECUTION_MODE, entry, modes[m].mode, 32};
                memcpy(to, mode, sizeof mode);
                to += 4;
            }
            has_modes = true;
        }
        memcpy(to, code + i, n * sizeof *code);
        to += n;
        i += n;
    }
    return WEFT_OK;
}
