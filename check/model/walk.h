/* Going through the nodes of steps that were run. */
#ifndef WEFT_CHECK_WALK_H
#define WEFT_CHECK_WALK_H

#include "check/model/track.h"

typedef struct weft_check_walk {
    weft_check_script script;
    bool fused;
    weft_check_track *tracks;
    size_t n_tracks;
    weft_status (*report)(void *user, const weft_check_node *node);
    void *user;
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
    uint64_t done, total;
    weft_check_model_summary *summary;
    int32_t step;
    double drift; /* the sum of the limits of all nodes so far */
} weft_check_walk;

/* Whether to go on. */
bool weft_check_walk_goes_on(void *walk);
/* The layer in a node's name, or -1. */
int32_t weft_check_layer_of(const char *name);
/* Counts a node in the summary and reports it. */
weft_status weft_check_walk_count(weft_check_walk *walk, weft_check_node *node, weft_error *error);
/* Checks every node of the last step of all tracks. */
weft_status weft_check_walk_nodes(weft_check_walk *walk, weft_error *error);

#endif
