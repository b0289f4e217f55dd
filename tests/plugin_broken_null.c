#include "plugin_broken.h"

const weft_backend *weft_backend_entry(const weft_host *host) {
    (void)host; /* as if its ABI were not known */
    return NULL;
}
