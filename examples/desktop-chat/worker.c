#include "worker.h"

#include "talk.h"

/* How often the figures are told while an answer comes. */
enum { FIGURES_US = 250000 };

typedef struct job job;
struct job {
    void (*run)(worker *w, const job *j);
    conversation *about; /* a reference, or NULL */
    question question;   /* its texts are copies */
    weft_model *model;
    weft_engine *engine;
    char *path, *text; /* of a file */
    bool is_forced;
};

struct worker {
    GThread *thread;
    GAsyncQueue *jobs;
    talks talks;
    gint64 told_at; /* when the figures were told */
    bool is_over;
};

/* ---- Jobs ---- */

static void run_read(worker *w, const job *j) {
    talk_read(&w->talks, j->about);
}

static void run_ask(worker *w, const job *j) {
    talk_ask(&w->talks, j->about, &j->question);
}

static void run_delete(worker *w, const job *j) {
    talk_delete(&w->talks, j->about);
}

static void run_adopt(worker *w, const job *j) {
    talks_adopt(&w->talks, j->model, j->engine);
}

static void run_write(worker *w, const job *j) {
    GError *error = NULL;
    if (g_file_set_contents(j->path, j->text, -1, &error)) return;
    mailbox_post(w->talks.box, (event){.kind = EVENT_PROBLEM, .text = g_strdup(error->message)});
    g_error_free(error);
}

static void run_finish(worker *w, const job *j) {
    w->is_over = talks_end(&w->talks, j->is_forced);
    mailbox_post(w->talks.box, (event){.kind = w->is_over ? EVENT_FINISHED : EVENT_UNSAVED});
}

static void free_job(void *given) {
    job *j = given;
    if (j->about) conversation_unref(j->about);
    g_free((char *)(uintptr_t)j->question.text);
    g_free((char *)(uintptr_t)j->question.system);
    g_free(j->path);
    g_free(j->text);
    g_free(j);
}

static void push(worker *w, job j) {
    job *copy = g_new(job, 1);
    *copy = j;
    if (j.about) conversation_ref(j.about);
    copy->question.text = g_strdup(j.question.text);
    copy->question.system = g_strdup(j.question.system);
    g_async_queue_push(w->jobs, copy);
}

/* ---- The thread ---- */

/* One step of all answers. */
static void step(worker *w) {
    talks_step(&w->talks);
    gint64 now = g_get_monotonic_time();
    if (now - w->told_at < FIGURES_US) return;
    talks_tell_figures(&w->talks);
    w->told_at = now;
}

static void *run(void *user) {
    worker *w = user;
    while (!w->is_over) {
        bool answers = talks_answering(&w->talks);
        job *j = answers ? g_async_queue_try_pop(w->jobs) : g_async_queue_pop(w->jobs);
        if (j) {
            j->run(w, j);
            free_job(j);
        } else {
            step(w);
        }
    }
    return NULL;
}

worker *worker_create(mailbox *box) {
    worker *w = g_new0(worker, 1);
    w->jobs = g_async_queue_new_full(free_job);
    talks_begin(&w->talks, box);
    w->thread = g_thread_new("engine", run, w);
    return w;
}

void worker_destroy(worker *w) {
    g_thread_join(w->thread);
    g_async_queue_unref(w->jobs);
    g_free(w);
}

/* ---- What the window asks for ---- */

void worker_read(worker *w, conversation *c) {
    push(w, (job){.run = run_read, .about = c});
}

void worker_ask(worker *w, conversation *c, const question *q) {
    g_mutex_lock(&c->mutex);
    c->is_stopped = false;
    g_mutex_unlock(&c->mutex);
    push(w, (job){.run = run_ask, .about = c, .question = *q});
}

void worker_stop(conversation *c) {
    g_mutex_lock(&c->mutex);
    c->is_stopped = true;
    if (c->session && c->is_busy) weft_session_cancel(c->session);
    g_mutex_unlock(&c->mutex);
}

void worker_delete(worker *w, conversation *c) {
    worker_stop(c);
    push(w, (job){.run = run_delete, .about = c});
}

void worker_adopt(worker *w, weft_model *model, weft_engine *engine) {
    push(w, (job){.run = run_adopt, .model = model, .engine = engine});
}

void worker_write(worker *w, char *path, char *text) {
    push(w, (job){.run = run_write, .path = path, .text = text});
}

void worker_finish(worker *w, bool is_forced) {
    push(w, (job){.run = run_finish, .is_forced = is_forced});
}
