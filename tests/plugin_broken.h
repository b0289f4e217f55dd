/* Plug-ins that must be refused. Each plugin_broken_*.c says what its fault is. */
#include <stddef.h>

#include "weft/backend.h"

WEFT_EXPORT const weft_backend *weft_backend_entry(const weft_host *host);
