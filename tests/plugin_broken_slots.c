#include "plugin_broken.h"

const weft_backend *weft_backend_entry(const weft_host *host) {
    static const weft_backend backend = {.abi = WEFT_BACKEND_ABI, .size = sizeof(weft_backend), .name = "hollow"};
    (void)host;
    return &backend;
}
