#include "plugin_broken.h"

const weft_backend *weft_backend_entry(const weft_host *host) {
    static const weft_backend backend = {.abi = WEFT_BACKEND_ABI + 1, .size = sizeof(weft_backend), .name = "future"};
    (void)host;
    return &backend;
}
