/* A plug-in that was built for an older header: the null backend under another name, without the slots that were
 * appended since.
 */
#include <stddef.h>

#define weft_null_backend idle_backend_template
#include "backends/null/null.c"
#undef weft_null_backend

WEFT_EXPORT const weft_backend *weft_backend_entry(const weft_host *host);

WEFT_EXPORT const weft_backend *weft_backend_entry(const weft_host *host) {
    static weft_backend backend;
    if (host->abi != WEFT_BACKEND_ABI) return NULL;
    backend = idle_backend_template;
    backend.name = "idle";
    backend.size = offsetof(weft_backend, read_bandwidth);
    return &backend;
}
