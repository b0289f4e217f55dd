/* Plug-ins that must be refused: plugin_broken_*.c say what is wrong with each. */
#include <stddef.h>

#include "weft/backend.h"

WEFT_API const weft_backend *weft_backend_entry(const weft_host *host);
