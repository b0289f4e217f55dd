/* Runs a launch: one block after the other. The threads of a block are fibers, which only switch at barriers. */
#include "tests/emulator/emulator.h"

#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { MAX_THREADS = 1024, LANES = 32, MAX_WARPS = MAX_THREADS / LANES, STACK_BYTES = 64 * 1024 };

typedef enum fiber_state { READY, PAUSED, AT_WARP, AT_BLOCK, ENDED } fiber_state;

typedef struct fiber {
    void *jump[5]; /* where the fiber stopped */
    weft_emulated_index index;
    fiber_state state;
    bool value; /* given to the barrier of the block */
} fiber;

typedef struct warp {
    uint64_t given[LANES], taken[LANES];
} warp;

static struct {
    const weft_emulated_launch *launch;
    weft_emulated_place place;
    ucontext_t starts[MAX_THREADS], main;
    char *stacks;
    void *jump[5]; /* of the scheduler */
    fiber fibers[MAX_THREADS];
    warp warps[MAX_WARPS];
    fiber *running;
    size_t n_started;
    bool any; /* what the last barrier of the block found */
} block;

/* ---- Fibers ---- */

/* GCC's own jumps: unlike longjmp they are not looked at by sanitizers, and unlike swapcontext they need no system call. A jump
 * must not be made by the function that it comes back to. */
static __attribute__((noipa, noreturn)) void jump(void **place) {
    __builtin_longjmp(place, 1);
}

static __attribute__((noipa)) void leave(void) {
    if (__builtin_setjmp(block.running->jump) == 0) jump(block.jump);
}

static __attribute__((noipa)) void go_on(fiber *f) {
    block.running = f;
    block.place.thread = f->index;
    if (__builtin_setjmp(block.jump) == 0) jump(f->jump);
}

static void live(void) {
    for (;;) {
        leave();
        block.launch->kernel->run(block.launch->argument);
        block.running->state = ENDED;
    }
}

/* A fiber runs until its first `leave`, which comes back here as `go_on` would. */
static __attribute__((noipa)) void start(size_t i) {
    block.running = &block.fibers[i];
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
    block.running->value = value;
    block.running->state = AT_BLOCK;
    leave();
    return block.any;
}

static const uint64_t *exchange(uint64_t value) {
    warp *own = &block.warps[(block.running - block.fibers) / LANES];
    own->given[(block.running - block.fibers) % LANES] = value;
    block.running->state = AT_WARP;
    leave();
    return own->taken;
}

static void pause_fiber(void) {
    block.running->state = PAUSED;
    leave();
}

const weft_emulated_services weft_emulated_block_services = {
    .place = &block.place, .synchronise = synchronise, .exchange = exchange, .pause = pause_fiber};

/* ---- Barriers ---- */

static size_t count(const fiber *fibers, size_t n, fiber_state state) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found += fibers[i].state == state;
    return found;
}

static bool release_warp(size_t index, size_t lanes) {
    fiber *fibers = &block.fibers[index * LANES];
    if (lanes < LANES || count(fibers, LANES, AT_WARP) < LANES) return false;
    memcpy(block.warps[index].taken, block.warps[index].given, sizeof block.warps[index].taken);
    for (size_t i = 0; i < LANES; i++) fibers[i].state = READY;
    return true;
}

static bool release_block(size_t n) {
    if (count(block.fibers, n, AT_BLOCK) + count(block.fibers, n, ENDED) < n) return false;
    bool any = false, released = false;
    for (size_t i = 0; i < n; i++) {
        if (block.fibers[i].state != AT_BLOCK) continue;
        any = any || block.fibers[i].value;
        block.fibers[i].state = READY;
        released = true;
    }
    block.any = any;
    return released;
}

/* ---- Blocks ---- */

/* All ready lanes of a warp up to their next barrier, from a random one on. */
static bool run_warp(size_t index, size_t lanes, uint64_t *random) {
    bool ran = false;
    do {
        size_t first = weft_emulated_random(random) % lanes, step = weft_emulated_random(random) % 2 * 2 + lanes - 1;
        for (size_t i = 0; i < lanes; i++) {
            fiber *f = &block.fibers[index * LANES + (first + i * step) % lanes];
            if (f->state != READY) continue;
            go_on(f);
            ran = true;
        }
    } while (release_warp(index, lanes));
    return ran;
}

static const char *run_block(size_t n, uint64_t *random) {
    size_t n_warps = (n + LANES - 1) / LANES;
    memset(block.launch->shared, 0xff, block.launch->shared_bytes); /* NaN */
    for (size_t i = 0; i < n; i++) block.fibers[i].state = READY;
    for (;;) {
        bool ran = false;
        size_t first = weft_emulated_random(random) % n_warps;
        for (size_t i = 0; i < n; i++)
            if (block.fibers[i].state == PAUSED) block.fibers[i].state = READY;
        for (size_t i = 0; i < n_warps; i++) {
            size_t index = (first + i) % n_warps, lanes = n - index * LANES < LANES ? n - index * LANES : LANES;
            ran = run_warp(index, lanes, random) || ran;
        }
        if (count(block.fibers, n, ENDED) == n) return NULL;
        if (!release_block(n) && !ran) return "threads wait for others that never come";
    }
}

const char *weft_emulated_run(const weft_emulated_launch *launch, uint64_t seed) {
    size_t n = (size_t)launch->block.x * launch->block.y * launch->block.z;
    uint64_t random = seed;
    if (n == 0 || n > MAX_THREADS || launch->block.y * launch->block.z != 1) return "a block of a size that is not emulated";
    if (launch->grid.x == 0 || launch->grid.y == 0 || launch->grid.z != 1) return "a grid of a size that is not emulated";
    if (launch->shared_bytes > WEFT_EMULATED_SHARED_BYTES) return "too much shared memory";
    block.launch = launch;
    if (!start_fibers(n)) return "no memory for threads";
    for (size_t i = 0; i < n; i++) block.fibers[i].index = (weft_emulated_index){(unsigned)i, 0, 0};
    block.place.block_size = launch->block;
    block.place.grid_size = launch->grid;
    uint64_t n_blocks = (uint64_t)launch->grid.x * launch->grid.y, first = weft_emulated_random(&random) % n_blocks;
    for (uint64_t i = 0; i < n_blocks; i++) {
        uint64_t index = (first + i) % n_blocks;
        block.place.block = (weft_emulated_index){(unsigned)(index % launch->grid.x), (unsigned)(index / launch->grid.x), 0};
        const char *problem = run_block(n, &random);
        if (problem != NULL) return problem;
    }
    return NULL;
}
