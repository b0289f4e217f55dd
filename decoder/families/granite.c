/* granite: Granite 3 and the dense models of Granite 4. Like llama, with four scales. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

const weft_family weft_family_granite = {
    .name = "granite",
    .rope_order = WEFT_ROPE_ADJACENT,
    .keys = {WEFT_GRANITE_KEYS},
    .complete = weft_complete_granite,
};
