/* What every family reads: sizes, norm and rope, all checked, and the shapes of tensors. */
#ifndef WEFT_DECODER_HYPERPARAMETERS_H
#define WEFT_DECODER_HYPERPARAMETERS_H

#include "decoder/model.h"

/* Fills in model->hyper (and freq_factors) from the keys ARCHITECTURE.*, "token_embd.weight" and "rope_freqs.weight". model->family
 * and model->tokenizer are set. WEFT_BAD_FILE if a value is missing, invalid or contradicts another. WEFT_UNSUPPORTED if weft does
 * not support a value. */
weft_status weft_hyperparameters_read(weft_model *model, weft_error *error);

/* The tensor of that name, which must be [k, n]: a matrix of any type for weights, or with n = 1 an F32 vector. `tensor` may be
 * NULL, and receives NULL where an optional one is not there. Every tensor that is used is asked for while the model is opened: a
 * file that holds any other is refused, since its results would be silently wrong. */
weft_status weft_model_expect(weft_model *model, const char *name, int64_t k, int64_t n, bool optional,
                              const weft_model_tensor **tensor, weft_error *error);

/* Expects every part of the family, with its shape. */
weft_status weft_model_expect_parts(weft_model *model, weft_error *error);

/* Fails with the name of the first tensor that nobody expected. */
weft_status weft_model_check_expected(const weft_model *model, weft_error *error);

#endif
