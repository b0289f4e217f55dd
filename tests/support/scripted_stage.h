/* Staging memory of the scripted backend: three pieces in turn, whose copies are done as late as they may be, so that a piece that
 * is filled again too early shows. */
#ifndef WEFT_TESTS_SCRIPTED_STAGE_H
#define WEFT_TESTS_SCRIPTED_STAGE_H

#include "weft/backend.h"

/* As the slot `stage`. */
weft_status scripted_stage(const weft_host *host, uint64_t bytes, void **memory, weft_error *error);
/* Copies, inverting each byte by choice: at once, or later where `from` is the piece given last. */
void scripted_stage_copy(const void *from, unsigned char *to, uint64_t bytes, bool invert);
/* Does the copies that are not done yet. */
void scripted_stage_settle(void);

#endif
