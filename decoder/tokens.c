/* The public functions over a model's tokenizer. */
#include "decoder/model.h"

weft_status weft_tokenize(const weft_model *model, const char *text, size_t size, bool special, weft_token *tokens, size_t capacity,
                          size_t *count, weft_error *error) {
    if (!model || !count || (!text && size) || (!tokens && capacity))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_tokenize: model, count, text or tokens is missing");
    return weft_tokenizer_encode(model->tokenizer, text, size, special, special, tokens, capacity, count, error);
}

weft_status weft_detokenize(const weft_model *model, const weft_token *tokens, size_t n_tokens, bool special, char *text,
                            size_t capacity, size_t *size, weft_error *error) {
    if (!model || !size || (!tokens && n_tokens) || (!text && capacity))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_detokenize: model, size, tokens or text is missing");
    return weft_tokenizer_decode(model->tokenizer, tokens, n_tokens, special, text, capacity, size, error);
}

bool weft_token_ends(const weft_model *model, weft_token token) {
    return model && weft_tokenizer_ends(model->tokenizer, token);
}
