/* Where an engine's weights come from. */
#ifndef WEFT_DECODER_SOURCE_H
#define WEFT_DECODER_SOURCE_H

#include "decoder/model.h"

/* Tensors of the model's file, and "rope_table", which is computed. The model must outlive it. */
weft_weight_source weft_model_source(weft_model *model);

#endif
