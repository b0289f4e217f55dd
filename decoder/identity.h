/* Which model a file holds, as a number. */
#ifndef WEFT_DECODER_IDENTITY_H
#define WEFT_DECODER_IDENTITY_H

#include "decoder/model.h"

/* A checksum of the metadata, of the tensors' names, types and shapes, and of some bytes of each tensor. It does not depend on how
 * many files the model is in. */
weft_status weft_model_identity(const weft_model *model, uint64_t *identity, weft_error *error);

#endif
