#include "decoder/engine.h"

weft_device *outlive_device(const weft_engine *engine);

weft_device *outlive_device(const weft_engine *engine) {
    return engine->stages[0].device;
}
