#include "decoder/matcher.h"

#include <string.h>

#define MAX_STACKS ((uint32_t)1 << 20)
#define FIRST_SIZE 64

bool weft_stacks_create(matcher_stacks *stacks, weft_runtime *runtime) {
    *stacks = (matcher_stacks){.runtime = runtime, .capacity = FIRST_SIZE, .n_heads = FIRST_SIZE};
    stacks->nodes = weft_allocate(runtime, FIRST_SIZE * sizeof *stacks->nodes);
    stacks->map = weft_allocate(runtime, FIRST_SIZE * sizeof *stacks->map);
    stacks->heads = weft_allocate(runtime, FIRST_SIZE * sizeof *stacks->heads);
    stacks->n = STACK_UNKNOWN + 1;
    return stacks->nodes && stacks->map && stacks->heads;
}

void weft_stacks_clear(matcher_stacks *stacks) {
    weft_release(stacks->runtime, stacks->nodes);
    weft_release(stacks->runtime, stacks->map);
    weft_release(stacks->runtime, stacks->heads);
}

static uint32_t *head_of(const matcher_stacks *stacks, uint32_t parent, uint32_t back) {
    uint64_t hash = ((uint64_t)parent << 32 | back) * 0x9E3779B97F4A7C15u;
    return &stacks->heads[(hash >> 32) & (stacks->n_heads - 1)];
}

/* The newest node is first, so that weft_stacks_trim need not search. */
static void link_all(matcher_stacks *stacks) {
    memset(stacks->heads, 0, stacks->n_heads * sizeof *stacks->heads);
    for (uint32_t i = STACK_UNKNOWN + 1; i < stacks->n; i++) {
        uint32_t *head = head_of(stacks, stacks->nodes[i].parent, stacks->nodes[i].back);
        stacks->nodes[i].next = *head;
        *head = i;
    }
}

/* What could be made larger stays so, also where the rest fails. */
static bool grow(matcher_stacks *stacks) {
    uint32_t old = stacks->capacity, size = old * 2;
    stack_node *nodes = weft_allocate(stacks->runtime, size * sizeof *nodes);
    uint32_t *map = weft_allocate(stacks->runtime, size * sizeof *map);
    uint32_t *heads = weft_allocate(stacks->runtime, size * sizeof *heads);
    bool enough = nodes && map && heads;
    if (enough) {
        memcpy(nodes, stacks->nodes, old * sizeof *nodes);
        weft_stacks_clear(stacks);
        stacks->nodes = nodes;
        stacks->map = map;
        stacks->heads = heads;
        stacks->capacity = stacks->n_heads = size;
        link_all(stacks);
        return true;
    }
    weft_release(stacks->runtime, nodes);
    weft_release(stacks->runtime, map);
    weft_release(stacks->runtime, heads);
    return false;
}

weft_status weft_stacks_push(matcher_stacks *stacks, const grammar_state *states, uint32_t parent, uint32_t back, uint32_t *stack) {
    for (uint32_t at = *head_of(stacks, parent, back); at; at = stacks->nodes[at].next) {
        if (stacks->nodes[at].parent != parent || stacks->nodes[at].back != back) continue;
        *stack = at;
        return WEFT_OK;
    }
    if (stacks->n == MAX_STACKS) return WEFT_UNSUPPORTED;
    if (stacks->n == stacks->capacity && !grow(stacks)) return WEFT_OUT_OF_MEMORY;
    uint32_t *head = head_of(stacks, parent, back);
    const stack_node *below = &stacks->nodes[parent];
    uint32_t n_tokens = states[back].n_tokens + below->n_tokens;
    stacks->nodes[stacks->n] = (stack_node){.parent = parent,
                                            .back = back,
                                            .n_tokens = n_tokens < INT32_MAX ? n_tokens : INT32_MAX,
                                            .depth = below->depth + 1,
                                            .next = *head};
    *stack = *head = stacks->n++;
    return WEFT_OK;
}

void weft_stacks_trim(matcher_stacks *stacks, uint32_t n) {
    while (stacks->n > n) {
        const stack_node *last = &stacks->nodes[--stacks->n];
        *head_of(stacks, last->parent, last->back) = last->next;
    }
}

/* A node has a higher number than its parent, so one pass in order renumbers them all. */
void weft_stacks_keep(matcher_stacks *stacks, matcher_config *configs, size_t n) {
    uint32_t n_kept = STACK_UNKNOWN + 1;
    memset(stacks->map, 0, stacks->n * sizeof *stacks->map);
    for (size_t i = 0; i < n; i++)
        for (uint32_t at = configs[i].stack; at >= n_kept && !stacks->map[at]; at = stacks->nodes[at].parent) stacks->map[at] = 1;
    stacks->map[STACK_UNKNOWN] = STACK_UNKNOWN;
    for (uint32_t i = n_kept; i < stacks->n; i++) {
        if (!stacks->map[i]) continue;
        stack_node node = stacks->nodes[i];
        node.parent = stacks->map[node.parent];
        stacks->map[i] = n_kept;
        stacks->nodes[n_kept++] = node;
    }
    for (size_t i = 0; i < n; i++) configs[i].stack = stacks->map[configs[i].stack];
    stacks->n = n_kept;
    link_all(stacks);
}
