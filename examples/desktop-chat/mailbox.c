#include "mailbox.h"

/* Events wait for so long, so that a fast answer is drawn at most once a frame. */
enum { WAIT_MS = 16 };

struct mailbox {
    void (*take)(void *user, event *e);
    void (*taken)(void *user);
    void *user;
    GMutex mutex;
    GQueue events; /* with the mutex, as the next */
    guint timer;   /* 0: none */
};

mailbox *mailbox_create(void (*take)(void *user, event *e), void (*taken)(void *user), void *user) {
    mailbox *box = g_new0(mailbox, 1);
    box->take = take;
    box->taken = taken;
    box->user = user;
    g_mutex_init(&box->mutex);
    g_queue_init(&box->events);
    return box;
}

static void free_event(void *given) {
    event *e = given;
    if (e->about) conversation_unref(e->about);
    if (e->messages) g_ptr_array_unref(e->messages);
    g_free(e->text);
    g_free(e);
}

void mailbox_destroy(mailbox *box) {
    if (box->timer) g_source_remove(box->timer);
    g_queue_clear_full(&box->events, free_event);
    g_mutex_clear(&box->mutex);
    g_free(box);
}

static gboolean deliver(void *user) {
    mailbox *box = user;
    g_mutex_lock(&box->mutex);
    GQueue events = box->events;
    g_queue_init(&box->events);
    box->timer = 0;
    g_mutex_unlock(&box->mutex);
    for (GList *at = events.head; at; at = at->next) box->take(box->user, at->data);
    g_queue_clear_full(&events, free_event);
    box->taken(box->user);
    return G_SOURCE_REMOVE;
}

void mailbox_post(mailbox *box, event e) {
    event *copy = g_new(event, 1);
    *copy = e;
    if (e.about) conversation_ref(e.about);
    g_mutex_lock(&box->mutex);
    g_queue_push_tail(&box->events, copy);
    if (!box->timer) box->timer = g_timeout_add(WAIT_MS, deliver, box);
    g_mutex_unlock(&box->mutex);
}
