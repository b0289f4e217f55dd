/* A backend for tests of the core: `add`, `mul`, `copy` and `scatter` in plain C over host memory, run by the waiting thread, with
 * faults on demand. It makes wrong assumptions visible: memory starts as NaNs, scratch is overwritten, and the phases run in a
 * random order that only keeps the `after` lists.
 */
#ifndef WEFT_TESTS_SCRIPTED_BACKEND_H
#define WEFT_TESTS_SCRIPTED_BACKEND_H

#include "os/os.h"
#include "weft/backend.h"

typedef struct scripted {
    /* Faults. Numbers count from 1; 0: never. */
    int fail_buffer; /* this call of buffer_create runs out of memory */
    int fail_plan;   /* this call of plan_create */
    int fail_submit; /* this call of plan_submit fails with WEFT_OUT_OF_MEMORY */
    int fail_step;   /* this step fails when it runs, with fail_status */
    weft_status fail_status;
    int fail_stage;      /* this call for a piece fails */
    bool fail_stage_end; /* the end of staging tells of a failure */
    int slow_step;       /* this step runs until it is cancelled or `go` */
    bool go;
    uint64_t memory_free; /* 0: unlimited */

    /* Behaviour. */
    bool stages;      /* the backend has staging memory: see fixture.h */
    int run_at_ask;   /* a wait of no time runs the next step when it is this one; 0: none does */
    uint64_t spin_ns; /* fixture_open opens the device with it */
    bool packs;       /* weights get layout 1 */
    bool unmapped;    /* device memory is not the host's to see */
    bool in_place;
    uint64_t scratch_bytes;
    uint64_t granularity; /* of device memory; 0: none */
    uint64_t seed;        /* of the order of phases */

    /* What happened. */
    int n_buffers, n_plans, n_submits, n_steps; /* calls so far */
    int live_buffers, live_plans, live_pieces;
    int n_writes, n_packs, n_stages;
    int n_asks, n_waits; /* waits of no time, and others */
    size_t n_uses;       /* those given with weights, all together */
    size_t n_replaced;   /* phases whose output lies on an input */
    bool broken;         /* a rule of the interface was broken by the core: `complaint` says which */
    const char *complaint;
    bool step_runs; /* the slow step is under way */

    weft_os_mutex mutex; /* around the fields that more than one thread touches: go, step_runs */
    weft_os_condition changed;
} scripted;

/* One backend, one script: a test begins with script_reset. */
extern scripted script;
extern const weft_backend scripted_backend;
extern const weft_backend scripted_staging_backend; /* the same, with the slot `stage` */

void script_reset(void);
void script_end(void);
/* For the test's own threads. */
void script_go(void);
void script_wait_for_slow_step(void);

#endif
