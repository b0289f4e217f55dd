/* Shared by the two kinds of `weft bench`. */
#ifndef WEFT_TOOLS_BENCH_H
#define WEFT_TOOLS_BENCH_H

#include "command.h"
#include "weft/check.h"

/* Times the op table's cases and prints them. */
weft_status bench_table(const engine_settings *engine, const weft_bench_options *options, bool json, weft_error *error);

#endif
