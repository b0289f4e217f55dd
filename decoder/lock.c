/* The engine's mutex, and the time that the host works under it. */
#include "decoder/engine.h"

void weft_engine_work(weft_engine *engine) {
    engine->working_since_ns = weft_os_now();
}

void weft_engine_rest(weft_engine *engine) {
    engine->host_ns += weft_os_now() - engine->working_since_ns;
}

void weft_engine_enter(weft_engine *engine) {
    weft_os_mutex_lock(&engine->mutex);
    weft_engine_work(engine);
}

bool weft_engine_try_enter(weft_engine *engine) {
    if (!weft_os_mutex_try_lock(&engine->mutex)) return false;
    weft_engine_work(engine);
    return true;
}

void weft_engine_leave(weft_engine *engine) {
    weft_engine_rest(engine);
    weft_os_mutex_unlock(&engine->mutex);
}
