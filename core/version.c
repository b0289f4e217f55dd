#include "weft/weft.h"

uint32_t weft_version(void) {
    return WEFT_VERSION_NUMBER;
}

const char *weft_version_text(void) {
    return WEFT_VERSION;
}
