/* The table of model families. */
#include <string.h>

#include "decoder/family.h"

extern const weft_family weft_family_llama, weft_family_qwen2;

static const weft_family *const families[] = {&weft_family_llama, &weft_family_qwen2};

const weft_family *weft_family_find(weft_text name) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strlen(families[i]->name) == name.size && memcmp(families[i]->name, name.bytes, name.size) == 0) return families[i];
    return NULL;
}
