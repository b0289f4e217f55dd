#include "decoder/stops.h"

#include <string.h>

static size_t advance(const weft_stop *stop, size_t n_matched, char byte) {
    while (n_matched > 0 && stop->text[n_matched] != byte) n_matched = stop->borders[n_matched - 1];
    return stop->text[n_matched] == byte ? n_matched + 1 : 0;
}

bool weft_stops_begin(weft_stops *stops, weft_runtime *runtime, const char *const *texts, size_t n) {
    *stops = (weft_stops){.items = n > 0 ? weft_allocate(runtime, n * sizeof *stops->items) : NULL};
    if (n > 0 && !stops->items) return false;
    stops->n = n;
    for (size_t i = 0; i < n; i++) {
        weft_stop *stop = &stops->items[i];
        stop->size = strlen(texts[i]);
        stop->text = weft_allocate(runtime, stop->size + 1);
        stop->borders = weft_allocate(runtime, stop->size * sizeof *stop->borders);
        if (!stop->text || !stop->borders) return false;
        memcpy(stop->text, texts[i], stop->size);
        for (size_t k = 1; k < stop->size; k++) stop->borders[k] = advance(stop, stop->borders[k - 1], stop->text[k]);
    }
    return true;
}

void weft_stops_end(weft_stops *stops, weft_runtime *runtime) {
    for (size_t i = 0; i < stops->n; i++) {
        weft_release(runtime, stops->items[i].text);
        weft_release(runtime, stops->items[i].borders);
    }
    weft_release(runtime, stops->items);
}

void weft_stops_reset(const weft_stops *stops) {
    for (size_t i = 0; i < stops->n; i++) stops->items[i].n_matched = 0;
}

size_t weft_stops_take(const weft_stops *stops, const char *bytes, size_t size, size_t *found) {
    *found = 0;
    for (size_t at = 0; at < size; at++) {
        for (size_t i = 0; i < stops->n; i++) {
            weft_stop *stop = &stops->items[i];
            stop->n_matched = advance(stop, stop->n_matched, bytes[at]);
            if (stop->n_matched == stop->size && stop->size > *found) *found = stop->size;
        }
        if (*found > 0) return at + 1;
    }
    return size;
}

size_t weft_stops_held(const weft_stops *stops) {
    size_t held = 0;
    for (size_t i = 0; i < stops->n; i++)
        if (stops->items[i].n_matched > held) held = stops->items[i].n_matched;
    return held;
}
