#include "scripted_stage.h"

#include <string.h>

#include "scripted_backend.h"

#define N_PIECES 3

typedef struct piece {
    unsigned char *memory;
    uint64_t size;
    unsigned char *to; /* NULL: nothing is to be copied from it */
    uint64_t bytes;
    bool invert;
} piece;

static piece pieces[N_PIECES];
static size_t next;    /* the oldest of them */
static piece *current; /* the core's */

static void copy(const unsigned char *from, unsigned char *to, uint64_t bytes, bool invert) {
    for (uint64_t i = 0; i < bytes; i++) to[i] = invert ? (unsigned char)~from[i] : from[i];
}

static void settle(piece *p) {
    if (p->to) copy(p->memory, p->to, p->bytes, p->invert);
    p->to = NULL;
}

void scripted_stage_settle(void) {
    for (size_t i = 0; i < N_PIECES; i++) settle(&pieces[(next + i) % N_PIECES]);
}

static void release(const weft_host *host, piece *p) {
    if (!p->memory) return;
    host->release(host->user, p->memory, (size_t)p->size);
    script.live_pieces--;
    *p = (piece){0};
}

static weft_status end(const weft_host *host, weft_error *error) {
    scripted_stage_settle();
    for (size_t i = 0; i < N_PIECES; i++) release(host, &pieces[i]);
    next = 0;
    current = NULL;
    if (!script.fail_stage_end) return WEFT_OK;
    return host->fail(error, WEFT_FAILED, "a piece was lost on its way");
}

weft_status scripted_stage(const weft_host *host, uint64_t bytes, void **memory, weft_error *error) {
    if (bytes == 0) return end(host, error);
    piece *p = &pieces[next];
    current = NULL;
    settle(p);
    if (p->size < bytes) release(host, p);
    if (++script.n_stages == script.fail_stage) return host->fail(error, WEFT_FAILED, "no piece is free");
    if (!p->memory) {
        p->memory = host->allocate(host->user, (size_t)bytes, 64);
        if (!p->memory) return host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a piece");
        p->size = bytes;
        script.live_pieces++;
    }
    memset(p->memory, 0xfe, (size_t)p->size);
    next = (next + 1) % N_PIECES;
    current = p;
    *memory = p->memory;
    return WEFT_OK;
}

void scripted_stage_copy(const void *from, unsigned char *to, uint64_t bytes, bool invert) {
    if (!current || from != current->memory) {
        scripted_stage_settle();
        copy(from, to, bytes, invert);
        return;
    }
    if (current->to || bytes > current->size) {
        script.broken = true;
        script.complaint = "a piece is handed on twice, or more of it than there is";
        return;
    }
    current->to = to;
    current->bytes = bytes;
    current->invert = invert;
}
