/* A model family: how its hyperparameters are read and how its graph is built. One constant a family, one file each under
 * decoder/families/. */
#ifndef WEFT_DECODER_FAMILY_H
#define WEFT_DECODER_FAMILY_H

#include "decoder/model.h"

typedef struct weft_graph_request {
    int32_t n_rows;  /* T */
    int32_t n_heads; /* R: rows that reach the output head; 0: none */
    int32_t n_top;   /* log-probabilities given back with each token */
    bool logits;     /* also give back all logits of the R rows */
    weft_type kv_type;
    int64_t n_pages;
    int32_t page_size, n_sequences, max_pages; /* max_pages: of one sequence */
    int32_t n_updates;                         /* columns of the updates input */
    int64_t n_ctx;                             /* rows of the rope table */
} weft_graph_request;

/* Step inputs, in this order: rows I32 [4, T], updates I32 [2, n_updates], and with n_heads > 0 heads I32 [8, R]. Results: 0
 * chosen, 1 top where n_top > 0, then logits. States: "sequences" and "kv.LAYER". The weight "rope_table" is the engine's own. */
typedef struct weft_family {
    const char *name; /* general.architecture */
    /* Reads and checks hyperparameters, and checks that every tensor of the family is there with its shape. */
    weft_status (*read)(struct weft_model *model, weft_error *error);
    weft_status (*build)(const struct weft_model *model, const weft_graph_request *request, weft_graph **graph, weft_error *error);
} weft_family;

/* NULL where there is no such family. */
const weft_family *weft_family_find(weft_text name);

#endif
