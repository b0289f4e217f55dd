/* A plan: a graph that the device has recorded, and the places of its step inputs and results. */
#ifndef WEFT_CORE_PLAN_H
#define WEFT_CORE_PLAN_H

#include "core/arrange.h"

/* Where a value lies. */
typedef struct weft_value_place {
    size_t buffer; /* of the store */
    uint64_t offset;
    uint32_t layout;
    weft_storage storage;
} weft_value_place;

struct weft_plan {
    weft_store *store;
    weft_graph *graph; /* as it runs */
    weft_backend_plan *handle;
    weft_plan_info info;
    weft_value_place *places; /* of each value */
    uint64_t *input_offsets;  /* of each step input in its slot */
    size_t n_inputs;
    uint64_t step_bytes;
    uint64_t result_offsets[WEFT_MAX_GRAPH_OUTPUTS];
};

/* A schedule and the arrays that it points to. */
typedef struct weft_built_schedule {
    weft_schedule schedule;
    weft_phase *phases;
    weft_ring_copy *copies; /* the step's, then the results' */
    weft_lists after;
} weft_built_schedule;

/* Fills the plan's places, offsets and description from the arrangement, and makes the schedule a backend records. */
weft_status weft_schedule_build(weft_plan *plan, const weft_arrangement *arrangement, weft_built_schedule *built,
                                weft_error *error);
void weft_schedule_release(weft_runtime *runtime, weft_built_schedule *built);

#endif
