/* The backends a runtime knows: those the library was built with, and plug-ins. */
#ifndef WEFT_CORE_REGISTRY_H
#define WEFT_CORE_REGISTRY_H

#include "core/runtime.h"

void weft_registry_add_built_in(weft_runtime *runtime);

#endif
