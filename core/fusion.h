/* The pattern a fused op replaces, as data in core/ops/STEM.c.
 *
 * A pattern's values are symbolic. A symbol among a node's inputs that is named like an input of the fused op is that input, and
 * one among its outputs that is named like an output of the fused op is that output; all others are intermediates, which must have
 * no use outside the pattern. The first node is where matching starts; each of the others shares a symbol with one before it.
 */
#ifndef WEFT_CORE_FUSION_H
#define WEFT_CORE_FUSION_H

#include "core/op.h"

#define WEFT_MAX_PATTERN 16

typedef struct weft_pattern_node {
    weft_op op;          /* WEFT_OP_NONE after the last node */
    weft_op or_op;       /* another op that may stand in its place, or WEFT_OP_NONE */
    const char *inputs;  /* a symbol for each input of the op */
    const char *outputs; /* a symbol for each output */
    bool optional;       /* if it is missing, its first input serves as its first output */
} weft_pattern_node;

typedef struct weft_fusion {
    weft_pattern_node nodes[WEFT_MAX_PATTERN];
    const char *weights; /* symbols that must be weights, or NULL */
    /* Makes the fused op's parameters from the nodes found (NULL: a missing optional one); false where they do not go together.
     * `params` is all zeros before. NULL: no parameters. */
    bool (*merge)(const weft_core_node *const *found, void *params);
} weft_fusion;

#endif
