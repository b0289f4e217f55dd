/* llama: Llama 1 to 3 and what shares their tensors and names, such as SmolLM 2. GGUF files of this family have the rows of Q and K
 * reordered so that rope rotates adjacent pairs. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

const weft_family weft_family_llama = {.name = "llama", .rope_order = WEFT_ROPE_ADJACENT};
