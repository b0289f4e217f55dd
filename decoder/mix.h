/* Mixes of types, by the names that people know: which tensor of a model gets which type. */
#ifndef WEFT_DECODER_MIX_H
#define WEFT_DECODER_MIX_H

#include "weft/decoder.h"

typedef enum weft_mix_role {
    WEFT_MIX_MATRIX, /* none of the others */
    WEFT_MIX_EMBEDDING,
    WEFT_MIX_HEAD,  /* the output matrix, also where it is the embedding */
    WEFT_MIX_VALUE, /* V, alone or with Q and K in one tensor */
    WEFT_MIX_KEY,
    WEFT_MIX_ATTENTION_OUTPUT,
    WEFT_MIX_DOWN,
    WEFT_MIX_KEPT /* norms, biases, routers: keep the type that they have */
} weft_mix_role;

typedef struct weft_mix weft_mix;

/* NULL if there is none of that name. */
const weft_mix *weft_mix_find(const char *name);
/* "there is no mix ...; there are ...", in `error`. Returns WEFT_INVALID_ARGUMENT. */
weft_status weft_mix_unknown(const char *name, weft_error *error);
const char *weft_mix_name_of(const weft_mix *mix);
uint32_t weft_mix_file_type(const weft_mix *mix); /* general.file_type */

/* What the rules ask of a model and of one of its tensors. */
typedef struct weft_mix_place {
    weft_mix_role role;
    int64_t k;                /* columns */
    bool of_experts;          /* the matrices of several experts in one tensor */
    int32_t layer, n_layers;  /* `layer` is 0 outside of layers */
    int32_t n_gqa, n_experts; /* query heads for each KV head; 0 or 1: no experts */
} weft_mix_place;

/* The role of a tensor of two or more dimensions by its name. `tied`: the model has no output matrix of its own. */
weft_mix_role weft_mix_role_of(const char *name, bool tied);
/* Not for WEFT_MIX_KEPT. */
weft_type weft_mix_type(const weft_mix *mix, const weft_mix_place *place);

#endif
