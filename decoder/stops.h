/* Stop texts: finds the first of some texts in a text that comes in parts. */
#ifndef WEFT_DECODER_STOPS_H
#define WEFT_DECODER_STOPS_H

#include "weft/weft.h"

typedef struct weft_stop {
    char *text; /* with a final zero */
    size_t size;
    size_t n_matched; /* the text so far ends in this many first bytes of the stop text */
    size_t *borders;  /* of each beginning: its longest proper end that is a beginning too (Knuth, Morris and Pratt 1977) */
} weft_stop;

typedef struct weft_stops {
    weft_stop *items;
    size_t n;
} weft_stops;

/* Copies the texts, of which none is empty. False: no memory; end it then too. */
bool weft_stops_begin(weft_stops *stops, weft_runtime *runtime, const char *const *texts, size_t n);
void weft_stops_end(weft_stops *stops, weft_runtime *runtime);
/* Begins a new text. */
void weft_stops_reset(const weft_stops *stops);
/* Takes the text's next bytes, up to the first that completes a stop text. Returns how many it took. `found` receives the bytes of
 * the longest stop text that is complete there; 0: none. */
size_t weft_stops_take(const weft_stops *stops, const char *bytes, size_t size, size_t *found);
/* How many bytes at the end of the text may be the beginning of a stop text. */
size_t weft_stops_held(const weft_stops *stops);

#endif
