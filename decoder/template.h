/* For sessions chat templates (Jinja) are recognised, not run: one is brought to a form without the freedoms of its language that
 * change nothing, and that is compared with the known ones. */
#ifndef WEFT_DECODER_TEMPLATE_H
#define WEFT_DECODER_TEMPLATE_H

#include "decoder/gguf.h"

#define WEFT_TEMPLATE_QUOTE '\x01'

/* Writes the plain form of a template and its size. No white space, comments or trim marks in tags; x['y'] is x.y; text outside
 * of tags is {{'text'}}; escapes in strings are undone and their quotes are WEFT_TEMPLATE_QUOTE. `plain` has room for
 * 6 * source.size + 8 bytes. False where the template is not well-formed. */
bool weft_template_plain(weft_text source, char *plain, size_t *size);

/* Compares a plain form with a pattern, in which ' is a string's quote, $ any text within a string, of which up to `n_holes` are
 * given back, * whole blocks that write nothing and set nothing else in a conversation without tools, and # what such a
 * conversation never runs. */
bool weft_template_match(weft_text plain, const char *pattern, weft_text *holes, size_t n_holes);

#endif
