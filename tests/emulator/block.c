/* Runs a launch: one block after the other. The threads of a block are fibers, which only switch at barriers. */
#include "tests/emulator/emulator.h"

#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum {
    MAX_THREADS = 1024,
    LANES = 32,
    MAX_WARPS = MAX_THREADS / LANES,
    STACK_BYTES = 64 * 1024 + 5 * 64 /* no power of two, so that the tops of the stacks do not share the same lines of the caches */
};

typedef enum fiber_state { READY, PAUSED, AT_WARP, AT_BLOCK, ENDED, N_STATES } fiber_state;

typedef struct fiber {
    void *jump[5]; /* where the fiber stopped */
    weft_emulated_index index;
    fiber_state state;
} fiber;

typedef struct warp {
    fiber *fibers;
    size_t lanes, n_at_warp;
    uint64_t given[LANES], taken[LANES];
} warp;

static struct {
    const weft_emulated_launch *launch;
    weft_emulated_place place;
    ucontext_t starts[MAX_THREADS];
    char *stacks;
    void *jump[5]; /* of the scheduler */
    fiber fibers[MAX_THREADS];
    size_t counts[N_STATES]; /* of fibers in a state */
    warp warps[MAX_WARPS];
    fiber *running;
    size_t n_started;
    uint64_t random;
    bool given, any; /* to the barrier of the block: what its threads gave so far, and what the last barrier found */
    struct {
        warp *warp;
        size_t place, step, left; /* of its lanes */
    } turn;
} block;

/* ---- The order of the lanes ---- */

static void set_state(fiber *f, fiber_state state) {
    block.counts[f->state]--;
    block.counts[state]++;
    f->state = state;
}

/* All lanes, from a random one on, up or down. */
static void begin_turn(warp *w) {
    block.turn.warp = w;
    block.turn.place = weft_emulated_random(&block.random) % w->lanes;
    block.turn.step = weft_emulated_random(&block.random) % 2 == 0 ? 1 : w->lanes - 1;
    block.turn.left = w->lanes;
}

/* If all lanes wait for each other, each gets what the others gave. */
static bool release_warp(warp *w) {
    if (w->n_at_warp < LANES) return false;
    memcpy(w->taken, w->given, sizeof w->taken);
    for (size_t i = 0; i < LANES; i++) w->fibers[i].state = READY;
    block.counts[AT_WARP] -= LANES;
    block.counts[READY] += LANES;
    w->n_at_warp = 0;
    return true;
}

/* The next lane of the warp that can run, or NULL. */
static fiber *next_lane(void) {
    warp *w = block.turn.warp;
    for (;;) {
        if (block.turn.left == 0) {
            if (w == NULL || !release_warp(w)) return NULL;
            begin_turn(w);
        }
        fiber *f = &w->fibers[block.turn.place];
        block.turn.place += block.turn.step;
        if (block.turn.place >= w->lanes) block.turn.place -= w->lanes;
        block.turn.left--;
        if (f->state == READY) return f;
    }
}

/* ---- Fibers ---- */

/* GCC's own jumps: unlike longjmp they are not looked at by sanitizers, and unlike swapcontext they need no system call. A jump
 * must not be made by the function that it comes back to. */
static __attribute__((noipa, noreturn)) void jump(void **place) {
    __builtin_longjmp(place, 1);
}

/* Goes to the next lane, or to the scheduler if there is none. */
static __attribute__((noipa)) void leave(void) {
    fiber *f = block.running, *next = next_lane();
    if (next == f) return;
    if (__builtin_setjmp(f->jump) != 0) return;
    if (next == NULL) jump(block.jump);
    block.running = next;
    block.place.thread = next->index;
    jump(next->jump);
}

/* From the scheduler, which goes on when no lane of the warp can run. */
static __attribute__((noipa)) void run_warp(warp *w) {
    begin_turn(w);
    fiber *f = next_lane();
    if (f == NULL) return;
    block.running = f;
    block.place.thread = f->index;
    if (__builtin_setjmp(block.jump) == 0) jump(f->jump);
}

static void live(void) {
    for (;;) {
        leave();
        block.launch->kernel->run(block.launch->argument);
        set_state(block.running, ENDED);
    }
}

/* A fiber runs until its first `leave`, which comes back here, since no warp has its turn. */
static __attribute__((noipa)) void start(size_t i) {
    block.running = &block.fibers[i];
    block.turn.warp = NULL;
    if (__builtin_setjmp(block.jump) == 0) setcontext(&block.starts[i]);
}

static bool start_fibers(size_t n) {
    if (block.stacks == NULL) block.stacks = malloc((size_t)MAX_THREADS * STACK_BYTES);
    if (block.stacks == NULL) return false;
    for (; block.n_started < n; block.n_started++) {
        ucontext_t *context = &block.starts[block.n_started];
        if (getcontext(context) != 0) return false;
        context->uc_stack.ss_sp = block.stacks + block.n_started * STACK_BYTES;
        context->uc_stack.ss_size = STACK_BYTES;
        context->uc_link = NULL;
        makecontext(context, live, 0);
        start(block.n_started);
    }
    return true;
}

/* ---- What kernels call ---- */

static bool synchronise(bool value) {
    block.given = block.given || value;
    set_state(block.running, AT_BLOCK);
    leave();
    return block.any;
}

static const uint64_t *exchange(uint64_t value) {
    size_t index = (size_t)(block.running - block.fibers);
    warp *own = &block.warps[index / LANES];
    own->given[index % LANES] = value;
    own->n_at_warp++;
    set_state(block.running, AT_WARP);
    leave();
    return own->taken;
}

static void pause_fiber(void) {
    set_state(block.running, PAUSED);
    leave();
}

const weft_emulated_services weft_emulated_block_services = {
    .place = &block.place, .synchronise = synchronise, .exchange = exchange, .pause = pause_fiber};

/* ---- Blocks ---- */

static void make_ready(size_t n, fiber_state from) {
    for (size_t i = 0; i < n && block.counts[from] > 0; i++)
        if (block.fibers[i].state == from) set_state(&block.fibers[i], READY);
}

static bool release_block(size_t n) {
    if (block.counts[AT_BLOCK] == 0 || block.counts[AT_BLOCK] + block.counts[ENDED] < n) return false;
    make_ready(n, AT_BLOCK);
    block.any = block.given;
    block.given = false;
    return true;
}

static void begin_block(size_t n) {
    memset(block.launch->shared, 0xff, block.launch->shared_bytes); /* NaN */
    memset(block.counts, 0, sizeof block.counts);
    block.counts[READY] = n;
    block.given = false;
    for (size_t i = 0; i < n; i++) block.fibers[i].state = READY;
    for (size_t i = 0; i * LANES < n; i++) {
        size_t left = n - i * LANES;
        block.warps[i].fibers = &block.fibers[i * LANES];
        block.warps[i].lanes = left < LANES ? left : LANES;
        block.warps[i].n_at_warp = 0;
    }
}

static const char *run_block(size_t n) {
    size_t n_warps = (n + LANES - 1) / LANES;
    begin_block(n);
    while (block.counts[ENDED] < n) {
        make_ready(n, PAUSED);
        if (block.counts[READY] == 0 && !release_block(n)) return "threads wait for others that never come";
        size_t first = weft_emulated_random(&block.random) % n_warps;
        for (size_t i = 0; i < n_warps; i++) run_warp(&block.warps[(first + i) % n_warps]);
    }
    return NULL;
}

const char *weft_emulated_run(const weft_emulated_launch *launch, uint64_t seed) {
    size_t n = (size_t)launch->block.x * launch->block.y * launch->block.z;
    if (n == 0 || n > MAX_THREADS || launch->block.y * launch->block.z != 1) return "a block of a size that is not emulated";
    if (launch->grid.x == 0 || launch->grid.y == 0 || launch->grid.z != 1) return "a grid of a size that is not emulated";
    if (launch->shared_bytes > WEFT_EMULATED_SHARED_BYTES) return "too much shared memory";
    block.launch = launch;
    block.random = seed;
    if (!start_fibers(n)) return "no memory for threads";
    for (size_t i = 0; i < n; i++) block.fibers[i].index = (weft_emulated_index){(unsigned)i, 0, 0};
    block.place.block_size = launch->block;
    block.place.grid_size = launch->grid;
    uint64_t n_blocks = (uint64_t)launch->grid.x * launch->grid.y, first = weft_emulated_random(&block.random) % n_blocks;
    for (uint64_t i = 0; i < n_blocks; i++) {
        uint64_t index = (first + i) % n_blocks;
        block.place.block = (weft_emulated_index){(unsigned)(index % launch->grid.x), (unsigned)(index / launch->grid.x), 0};
        const char *problem = run_block(n);
        if (problem != NULL) return problem;
    }
    return NULL;
}
