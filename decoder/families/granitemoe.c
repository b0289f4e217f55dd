/* granitemoe: Granite 3 with routed experts, and in some models shared ones. Otherwise like granite. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

const weft_family weft_family_granitemoe = {
    .name = "granitemoe",
    .rope_order = WEFT_ROPE_ADJACENT,
    .keys = {WEFT_GRANITE_KEYS},
    .complete = weft_complete_granite,
};
