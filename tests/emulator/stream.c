#include "tests/emulator/stream.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAUNCH_FAILED = 719 };

struct weft_cuda_stream_handle {
    pthread_t thread;
    weft_emulated_work *first, **last;
    bool busy, ends;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t processor = PTHREAD_MUTEX_INITIALIZER; /* one kernel at a time */
static int broken;

/* ---- Failures ---- */

int weft_emulated_broken(void) {
    pthread_mutex_lock(&mutex);
    int result = broken;
    pthread_mutex_unlock(&mutex);
    return result;
}

static void fail_all(void) {
    pthread_mutex_lock(&mutex);
    broken = LAUNCH_FAILED;
    pthread_mutex_unlock(&mutex);
}

/* ---- Kernels ---- */

static void run_node(const struct weft_cuda_node_handle *node, uint64_t *random) {
    if (weft_emulated_broken() != 0) return;
    pthread_mutex_lock(&processor);
    weft_emulated_launch launch = {.kernel = node->function->kernel,
                                   .argument = node->argument,
                                   .grid = node->grid,
                                   .block = node->block,
                                   .shared_bytes = node->shared_bytes,
                                   .shared = node->function->shared()};
    const char *problem = weft_emulated_run(&launch, weft_emulated_random(random));
    pthread_mutex_unlock(&processor);
    if (problem == NULL) return;
    fprintf(stderr, "emulated device: %s\n", problem);
    fail_all();
}

static bool is_ready(const struct weft_cuda_node_handle *node, const bool *done) {
    for (size_t i = 0; i < node->n_after; i++)
        if (!done[node->after[i]]) return false;
    return true;
}

/* Runs the kernels in a random order among those that the edges allow. */
static void run_graph(weft_cuda_recording recording, uint64_t *random) {
    bool *done = calloc(recording->n_nodes + 1, sizeof *done);
    if (done == NULL) {
        fail_all();
        return;
    }
    for (size_t n = 0; n < recording->n_nodes; n++) {
        size_t at = (size_t)(weft_emulated_random(random) % recording->n_nodes);
        while (done[at] || !is_ready(recording->nodes[at], done)) at = (at + 1) % recording->n_nodes;
        run_node(recording->nodes[at], random);
        done[at] = true;
    }
    free(done);
}

/* ---- Streams ---- */

static void run_work(weft_emulated_work *work, uint64_t *random) {
    if (weft_emulated_broken() != 0 && work->kind != WORK_EVENT) return;
    switch (work->kind) {
    case WORK_COPY:
        memcpy(work->to, work->from, work->bytes);
        break;
    case WORK_FILL:
        memset(work->to, work->value, work->bytes);
        break;
    case WORK_GRAPH:
        run_graph(work->recording, random);
        break;
    case WORK_KERNEL:
        run_node(work->node, random);
        break;
    case WORK_EVENT:
        break;
    }
}

static void end_work(weft_emulated_work *work) {
    if (work->kind == WORK_EVENT) {
        work->event->reached++;
        work->event->when = weft_os_now();
    }
    if (work->kind == WORK_GRAPH) work->recording->n_queued--;
    if (work->node != NULL) weft_emulated_node_free(work->node);
    free(work);
}

static void *run_stream(void *given) {
    weft_cuda_stream stream = given;
    uint64_t random = 1;
    pthread_mutex_lock(&mutex);
    for (;;) {
        weft_emulated_work *work = stream->first;
        if (work == NULL && stream->ends) break;
        if (work == NULL) {
            pthread_cond_wait(&changed, &mutex);
            continue;
        }
        stream->busy = true;
        pthread_mutex_unlock(&mutex);
        run_work(work, &random);
        pthread_mutex_lock(&mutex);
        stream->first = work->next;
        if (stream->first == NULL) stream->last = &stream->first;
        stream->busy = false;
        end_work(work);
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

weft_cuda_stream weft_emulated_stream_create(void) {
    weft_cuda_stream stream = calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    stream->last = &stream->first;
    if (pthread_create(&stream->thread, NULL, run_stream, stream) == 0) return stream;
    free(stream);
    return NULL;
}

void weft_emulated_stream_destroy(weft_cuda_stream stream) {
    pthread_mutex_lock(&mutex);
    stream->ends = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    pthread_join(stream->thread, NULL);
    free(stream);
}

bool weft_emulated_stream_is_idle(weft_cuda_stream stream) {
    pthread_mutex_lock(&mutex);
    bool idle = stream->first == NULL && !stream->busy;
    pthread_mutex_unlock(&mutex);
    return idle;
}

bool weft_emulated_stream_add(weft_cuda_stream stream, const weft_emulated_work *work) {
    weft_emulated_work *copy = malloc(sizeof *copy);
    if (copy == NULL) return false;
    *copy = *work;
    copy->next = NULL;
    pthread_mutex_lock(&mutex);
    if (copy->kind == WORK_EVENT) copy->event->recorded++;
    if (copy->kind == WORK_GRAPH) copy->recording->n_queued++;
    *stream->last = copy;
    stream->last = &copy->next;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    return true;
}

void weft_emulated_stream_drain(weft_cuda_stream stream) {
    pthread_mutex_lock(&mutex);
    while (stream->first != NULL || stream->busy) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

void weft_emulated_event_wait(weft_cuda_event event) {
    pthread_mutex_lock(&mutex);
    uint64_t recorded = event->recorded;
    while (event->reached < recorded) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

void weft_emulated_recording_drain(weft_cuda_recording recording) {
    pthread_mutex_lock(&mutex);
    while (recording->n_queued > 0) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}
