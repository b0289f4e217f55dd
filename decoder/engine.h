/* The internals of engines and sessions. The engine's mutex protects everything here, with two exceptions: the atomic `cancelled`
 * and `adding_cancelled`; and, while `adding` is set, `tokens` from n_tokens on, which only the adding thread writes. */
#ifndef WEFT_DECODER_ENGINE_H
#define WEFT_DECODER_ENGINE_H

#include <stdatomic.h>

#include "decoder/conversation.h"
#include "decoder/family.h"
#include "decoder/model.h"
#include "decoder/pages.h"
#include "decoder/sampler.h"
#include "os/os.h"

/* Steps that can be queued at once. */
#define WEFT_MAX_DEPTH 4
/* How many tokens a sequence may generate ahead of its reader, while no other sequence waits for its pages. */
#define WEFT_MAX_UNREAD 8
/* How far a sequence can go back, at the most, without needing pages that it has passed: more than an answer is ahead of its
 * reader. */
#define WEFT_KEPT_POSITIONS 64
#define WEFT_MAX_ROWS 512
/* Powers of two up to WEFT_MAX_ROWS. */
#define WEFT_ROW_SIZES 10

/* What a plan returns for each row at the head. Each value includes the previous one's results, as far as the engine has them. */
typedef enum weft_gives {
    WEFT_GIVES_TOKEN,
    WEFT_GIVES_TOP,
    WEFT_GIVES_LOGITS,
    WEFT_GIVES_EMBEDDING, /* what the head multiplies */
    WEFT_GIVES_COUNT
} weft_gives;

/* Layers with windows, in a model that has other layers too, have pages of their own, and a sequence gives back those that are out
 * of the window: windowed.c. */
typedef struct weft_windowed_config {
    int32_t window;  /* the largest; 0: there are no such layers, or they use the pages of the others */
    int32_t n_pages; /* in all; 0 as above */
    int32_t n_own;   /* of those, for each sequence; enough for its next row */
    int32_t n_spare; /* of those, for the rows of prompts: whoever has such rows takes them */
} weft_windowed_config;

/* weft_engine_options after filling in all defaults and checking all rules. */
typedef struct weft_engine_config {
    weft_precision precision;
    weft_type kv_type;
    int32_t n_ctx, n_sequences, page_size, n_pages;
    int32_t max_pages; /* of one sequence */
    int32_t max_kept;  /* pages that no sequence has; negative: sequences do not share by content */
    int32_t window;    /* the largest, if all layers have one: pages out of it are given back; 0: they are not */
    weft_windowed_config windowed;
    int32_t max_rows, max_top;
    int32_t max_heads[WEFT_GIVES_COUNT]; /* rows at the head, by what the plan returns; this limits the memory for logits */
    bool logits, embeddings, refuse_when_full, unfused;
} weft_engine_config;

weft_status weft_engine_configure(const weft_model *model, const weft_engine_options *options, weft_engine_config *config,
                                  weft_error *error);

/* Consecutive layers of a model. */
typedef struct weft_layers {
    int32_t first, count;
} weft_layers;

/* The graph of these layers for T rows of which R reach the head. */
weft_status weft_engine_graph(const weft_model *model, const weft_engine_config *config, weft_layers layers, int32_t n_rows,
                              int32_t n_heads, weft_gives gives, weft_graph **graph, weft_error *error);
/* Columns of its updates input. */
int32_t weft_engine_updates(int32_t n_rows);

/* Rows of one sequence in a step. */
typedef struct weft_part {
    weft_session *session; /* NULL: destroyed meanwhile */
    uint32_t epoch;        /* the session's when the step was made; results of another epoch are dropped */
    int32_t first, count;  /* positions */
    int32_t first_page, n_page_updates;
    int32_t first_windowed, n_windowed_updates; /* the same for the windowed layers' pages */
    int32_t n_heads;
    bool chooses; /* its last head chooses the next token; the other heads score existing tokens */
} weft_part;

/* Consecutive layers on one device: their weights, their KV cache, and the plans that were needed so far. The first stage has the
 * embedding, the last one the head. */
typedef struct weft_engine_stage {
    weft_layers layers;
    weft_device *device;
    weft_device_info device_info;
    weft_store *store;
    uint64_t weight_bytes; /* as they are read */
    bool any_rows;         /* the device ends a running step at once, so a step may have any number of rows */
    weft_plan *plans[WEFT_GIVES_COUNT][WEFT_ROW_SIZES][WEFT_ROW_SIZES + 1]; /* by log2 T; 0 and 1 + log2 R */
} weft_engine_stage;

/* A step that was queued and whose results have not been read. It runs in one stage after the other. */
typedef struct weft_flight {
    uint64_t number;
    uint64_t started_ns, submitted_ns; /* submitted: to the stage that runs */
    uint64_t longest_ns;               /* of the stages that have ended and whose devices end no running step */
    int32_t *rows, *updates, *heads;   /* step inputs of all stages; as many as the largest plan has */
    int32_t *windowed_updates;         /* NULL: there is no such input */
    int32_t stage;                     /* that runs, or that ended last */
    bool was_left;                     /* by a call that waited for it: nobody knows when it ended */
    weft_plan *plan;                   /* of that stage */
    weft_ticket ticket;
    weft_gives gives;
    int32_t n_rows, n_heads; /* those that are used */
    int32_t n_updates, n_windowed_updates;
    int32_t T, R;     /* those that the plan has */
    weft_part *parts; /* n_sequences */
    int32_t n_parts;
    int32_t *head_positions; /* of each head, part by part */
} weft_flight;

/* The time of a step of one number of rows, without that in which it was queued; and when it was noted: 0, or 1 + how many were
 * noted before. */
typedef struct weft_step_time {
    uint64_t ns, noted;
} weft_step_time;

/* The progress of loading all stages. */
typedef struct weft_loading {
    bool (*progress)(void *user, uint64_t done, uint64_t total); /* NULL: nobody asks, or the engine is there */
    void *user;
    uint64_t before, total; /* bytes of the stages that are loaded, and of all */
} weft_loading;

struct weft_engine {
    weft_runtime *runtime;
    weft_model *model;
    weft_engine_config config;
    weft_engine_stage *stages;
    int32_t n_stages;
    weft_loading loading;
    char device_reason[sizeof((weft_device_choice *)0)->reason]; /* why it was chosen */
    weft_os_mutex mutex;
    weft_os_condition changed; /* a step has ended */
    bool has_mutex, has_condition;
    bool stepping; /* a thread is inside a step, and may have released the mutex to make its plans or to wait for it */
    const struct weft_call *making_for; /* while that thread makes plans: its call, or NULL */
    weft_pages pages;
    weft_pages windowed_pages; /* n_pages 0: none */
    int32_t depth;
    bool host_processor;                       /* a step runs on the host's processor, in part at least */
    bool ends_steps;                           /* the devices end a running step that is cancelled */
    bool any_rows;                             /* and a step may have any number of rows for that */
    int32_t first_rows;                        /* of a step before any was measured; see step_time.c */
    weft_step_time step_times[WEFT_ROW_SIZES]; /* by log2 T */
    uint64_t n_noted, max_step_ns;
    weft_flight flights[WEFT_MAX_DEPTH]; /* a ring */
    int32_t first_flight, n_flights;
    bool flights_cancelled; /* all of them: no step is queued before they have ended */
    bool flights_left;      /* nobody waits for the oldest, because the call that did so is over */
    uint64_t n_submitted, n_steps;
    uint64_t n_rows; /* of all steps that ended well, padding not counted */
    uint64_t last_end_ns;
    weft_session **sessions; /* n_sessions of n_sequences, in the order in which they came to wait for pages */
    int32_t n_sessions;
    bool is_short; /* a sequence waits for pages that another has tenure of: see tenure.c */
    bool *slots;   /* n_sequences: whether each slot is in use */
    int32_t turn;  /* the first decoding sequence of the next step, if not all fit in a step */
    uint64_t load_ns, open_ns;
    uint64_t host_ns, working_since_ns; /* see weft_engine_work */
};

/* A call of weft_session_next or weft_session_prefill that may wait, in its thread's own memory: see calls.c. */
typedef enum weft_call_kind { WEFT_CALL_NEXT, WEFT_CALL_PREFILL } weft_call_kind;
typedef struct weft_call {
    weft_call_kind kind;
    struct weft_session *session;
    int n_idle;         /* successive passes that found nothing to do */
    atomic_bool ended;  /* its event has happened or cannot happen any more; it is in no list now */
    weft_finish finish; /* how, once it has ended; a prefill: WEFT_FINISH_CANCELLED, or its prompt was in the cache */
    struct weft_call *next;
} weft_call;

/* What is made of the rows at the head, of a session whose text is embedded. */
typedef struct weft_pool {
    double *sums;    /* n_embd */
    int32_t next;    /* the position that comes next; rows of earlier ones have run again */
    int32_t n_rows;  /* that were added */
    bool last_alone; /* only the last token's row counts */
} weft_pool;

/* The kind of a session's last tokens. */
typedef enum weft_chat_state {
    WEFT_CHAT_PLAIN,  /* no message was said: tokens as they were given, and answers to them */
    WEFT_CHAT_SAID,   /* a message, and what the chat template writes before an answer */
    WEFT_CHAT_ANSWER, /* an answer that was begun after a message */
} weft_chat_state;

/* A session's pages for the windowed layers, as its others. */
typedef struct weft_windowed {
    int32_t *page_table; /* NULL: none */
    int32_t n_pages, n_passed, n_sent;
} weft_windowed;

struct weft_session {
    weft_engine *engine;
    weft_session_options options; /* n_ctx filled in; `sampling` as in the sampler of later answers */
    weft_sampler *sampler;        /* of the last answer that began */
    weft_sampler *next_sampler;   /* of the answers after this one; NULL: the same */
    int32_t slot;
    weft_token *tokens; /* n_ctx */
    int32_t n_tokens;
    int32_t n_prompt;   /* tokens that were given, not generated, end here at the latest */
    bool wants_prompt;  /* the new prompt is to be in the cache, even if nothing is to be generated and nobody waits for it yet */
    weft_call *calls;   /* that are under way */
    int32_t n_prefills; /* of those */
    int32_t n_read;     /* tokens the caller has seen */
    int32_t *page_table;
    int32_t n_pages;
    int32_t n_passed; /* the first of those, which no layer sees any more: given back */
    weft_windowed windowed;
    uint64_t *page_names; /* of the first n_named pages: see pages.h */
    int32_t n_named;
    bool is_carried;    /* has pages that were not computed here: they get no names */
    bool ready;         /* has rows to run and the pages for them; set by the scheduler */
    bool has_tenure;    /* got all pages it needed, and has given up none since: see tenure.c */
    bool in_line;       /* waits for tenure, at its place in the engine's order */
    int32_t tenure_end; /* n_tokens from which on others may take its pages */
    int32_t n_sent;     /* page table entries queued to the device */
    int32_t n_cached;   /* positions whose keys and values are in the cache */
    int32_t n_queued;   /* the same once all queued steps have ended */
    int32_t n_coming;   /* tokens that queued steps will choose */
    uint32_t epoch;
    int32_t next_prompt_score, next_logits;  /* the index that each callback gets next */
    atomic_bool cancelled, adding_cancelled; /* the second cancels only a text that is being added */
    bool adding;    /* a thread adds tokens, without the mutex; no other one adds or begins an answer meanwhile */
    bool answering; /* between the first call of next and the last piece */
    bool ended;     /* the last answer ended with an end token, and nothing was added since */
    weft_finish finish;
    int32_t n_generated;
    weft_status failed; /* why it stopped; reported by next or prefill, and cleared by the call after that */
    bool failure_told;
    int32_t pages_needed;     /* in all, when there were not enough */
    weft_logprob *prompt_top; /* n_prompt_top, for the callback */
    weft_chat_state chat_state;
    weft_conversation conversation; /* only the thread that adds to the session uses it */
    char *text;                     /* the text of the last piece, then the bytes that are held back */
    size_t text_size, text_capacity, text_given;
    weft_session_timing timing;
    weft_pool *pool; /* NULL: it is not embedded */
};

/* As weft_engine_create, with a queue of `depth` steps; 0: the depth that suits the device. */
weft_status weft_engine_create_queued(weft_model *model, const weft_engine_options *options, int32_t depth, weft_engine **engine,
                                      weft_error *error);
/* Configures the engine and opens its stages, whose stores are not loaded. */
weft_status weft_engine_open(weft_engine *engine, const weft_engine_options *options, weft_error *error);

/* The stages: divides the layers, opens the devices and makes the stores. Close them on failure too. */
weft_status weft_stages_open(weft_engine *engine, const weft_engine_options *options, weft_error *error);
weft_status weft_stages_load(weft_engine *engine, weft_error *error);
void weft_stages_close(weft_engine *engine);
/* Cancels all steps in flight. */
void weft_stages_cancel(weft_engine *engine);
/* The memory of all stages, or of those on the device with this stable id. */
weft_store_bytes weft_stages_measure(const weft_engine *engine, const char *device);
/* The store that has the layer. */
weft_store *weft_stages_store(const weft_engine *engine, int32_t layer);

/* Makes the plans of all stages for such a step, as far as they are missing; `made`: there was one. The mutex is released
 * meanwhile. WEFT_CANCELLED: the call (NULL: there is none) was over before. */
weft_status weft_engine_make_plans(weft_engine *engine, int32_t n_rows, int32_t n_heads, weft_gives gives, const weft_call *call,
                                   bool *made, weft_error *error);
/* The stage's plan for T rows, of which R reach the head if the stage has one. It is made when it is first asked for. */
weft_status weft_engine_plan(weft_engine *engine, int32_t stage, int32_t n_rows, int32_t n_heads, weft_gives gives,
                             weft_plan **plan, weft_error *error);
/* The last stage gives results, the others the residual. */
bool weft_stage_has_head(const weft_engine *engine, int32_t stage);

/* ---- Fitting a device, and choosing one ---- */

/* Whether the bytes are free; true if the device does not know its memory. */
bool weft_fits(const weft_device_info *device, const weft_store_bytes *bytes);
/* The largest n_ctx that was found to fit, with the same other options, but for n_cache, which is divided likewise. 0: none. The
 * engine was opened with the options and does not fit. */
int32_t weft_fit_context(const weft_engine *engine, const weft_engine_options *options);
/* What is needed and free, and what to try. */
void weft_fit_text(const weft_engine *engine, int32_t n_ctx_fits, char *text, size_t size);
/* WEFT_OUT_OF_MEMORY with that text if the engine does not fit. */
weft_status weft_fit_check(const weft_engine *engine, const weft_engine_options *options, weft_error *error);

/* The device that is chosen for "auto": its name for weft_device_open, and why. */
typedef struct weft_chosen_device {
    char name[WEFT_NAME_SIZE], reason[sizeof((weft_device_choice *)0)->reason];
} weft_chosen_device;
weft_status weft_choose_device(weft_model *model, const weft_engine_options *options, weft_chosen_device *chosen,
                               weft_error *error);

/* Take and release the mutex, and count the time between as host time. Within it, weft_engine_rest and weft_engine_work, called
 * with the mutex held, exclude waits from that time. */
void weft_engine_enter(weft_engine *engine);
void weft_engine_leave(weft_engine *engine);
/* False if another thread has the mutex. */
bool weft_engine_try_enter(weft_engine *engine);
void weft_engine_rest(weft_engine *engine);
void weft_engine_work(weft_engine *engine);

/* Whether a sequence has rows to run, or will have them once its tokens are read and it gets pages. */
bool weft_session_active(const weft_session *session);
/* The number of positions that it could run now, from n_queued on. */
int32_t weft_session_pending(const weft_session *session);
/* Whether the row at this position reaches the head, and what the plan must return for it. */
bool weft_session_head(const weft_session *session, int32_t position, weft_gives *gives);
/* Whether it is the row that chooses the next token. */
bool weft_session_chooses(const weft_session *session, int32_t position);
/* Forgets what is queued and cached from `position` on; results of queued steps will be dropped. */
void weft_session_unqueue(weft_session *session, int32_t position);
/* Gives names to pages that are complete now, so that other sequences can use them. */
void weft_session_name_pages(weft_session *session);
/* Uses pages that are there already for the next rows. */
void weft_session_reuse_pages(weft_session *session);
/* Releases all pages but the first `n_pages`; the content of the others is lost. */
void weft_session_set_back(weft_session *session, int32_t n_pages);
/* Gives back the pages that no row from n_cached on sees, but for some that a session that goes back a little needs. */
void weft_session_pass_pages(weft_session *session);
/* Whether the pages that the rows from this position on see are still there. */
bool weft_session_sees(const weft_session *session, int32_t position);
/* The first position that the row at `position` reads. */
int32_t weft_first_seen(int32_t window, int32_t position);

/* ---- The windowed layers' pages; all of these do nothing where there are none ---- */

static inline bool weft_windowed_apart(const weft_engine *engine) {
    return engine->config.windowed.n_pages > 0;
}
/* Takes pages for the next rows, as far as there are some. False: there is none for the next row. */
bool weft_windowed_take(weft_session *session);
/* Gives back those of index n on. */
void weft_windowed_give(weft_session *session, int32_t n);
/* Gives back the first ones, up to index n. */
void weft_windowed_pass(weft_session *session, int32_t n);
/* From n_queued on, pages are the session's own from now on; n_queued becomes less where one is not. */
void weft_windowed_leave_shared(weft_session *session);
/* Page `index` gets a name that belongs to that of the session's other page. */
void weft_windowed_name(weft_session *session, int32_t index);
/* Whether there is a page with the name that belongs to this one, of these tokens. */
bool weft_windowed_found(const weft_session *session, uint64_t name, const weft_token *tokens);
/* The session, whose first n_pages pages are named now, goes on after them: it gets those of the window by their names. */
void weft_windowed_reuse(weft_session *session, int32_t n_before);
/* The session's next page, which was written; -1: it has none there, nor before. */
void weft_windowed_carry(weft_session *session, int32_t page);
/* The copy gets the first n_pages in common with the session. */
void weft_windowed_share(const weft_session *session, weft_session *copy);

/* Ends an answer at the last token that the caller has read. */
void weft_session_abandon(weft_session *session, weft_finish finish);
/* Puts the session at the end of the order, to wait for pages. */
void weft_session_arrive(weft_session *session);
/* Finds message `index`: it is the last of the first n_turns turns, or, if it `answers`, the answer after them. */
bool weft_session_find_message(const weft_session *session, size_t index, weft_message *message, size_t *n_turns, bool *answers);
/* Forgets all tokens but the first n_tokens, and what is cached of them. */
void weft_session_forget(weft_session *session, int32_t n_tokens);
/* Adds `count` prompt tokens that already stand at tokens[n_tokens]. */
void weft_session_added(weft_session *session, int32_t count);
/* Appends a token that a step chose, and ends the answer if this was its last token. */
void weft_session_chose(weft_session *session, weft_token token, float logprob, const int32_t *top);
/* How many tokens the answer may still get. */
int32_t weft_session_tokens_left(const weft_session *session);
/* Ends the answer, in place of another token. */
void weft_session_end_answer(weft_session *session, weft_finish finish);

/* Takes the session out of its engine, which keeps nothing of it. */
void weft_session_leave(weft_session *session);
/* Releases the memory of a session that is in no engine. */
void weft_session_release(weft_session *session);

/* Adds the row of a position to what is embedded. */
void weft_pool_add(weft_pool *pool, int32_t position, const float *row, int32_t n_embd);

/* Whether the call has no reason to wait any more. Its own thread may ask without the mutex. */
static inline bool weft_call_is_over(const weft_call *call) {
    return atomic_load(&call->ended) || atomic_load(&call->session->cancelled);
}
/* The call stands in the session's list, until it ends or is ended. */
void weft_call_begin(weft_session *session, weft_call *call);
void weft_call_end(weft_session *session, weft_call *call);
/* Ends all calls of a kind but one (NULL: all). */
void weft_calls_end(weft_session *session, weft_call_kind kind, const weft_call *but, weft_finish finish);
/* One pass of a waiting call's loop: runs one step, or waits for a step that another thread runs. */
weft_status weft_call_wait(weft_session *session, weft_call *call, weft_error *error);
/* Where the session was cancelled, ends its answer and its calls. `own`, the caller's, may be NULL; a call of next says itself that
 * the answer is over. */
void weft_session_see_cancel(weft_session *session, const weft_call *own);
/* A cancel ends the calls that are waiting at that time. If there are none, it has no effect. */
void weft_session_drop_cancel(weft_session *session);
/* Ends the answer at the last token that was read, because tokens are added now, and clears a failure. */
void weft_session_stop_answer(weft_session *session);

void weft_step_time_begin(weft_engine *engine, const weft_engine_options *options);
/* A step of T = n_rows took so long. */
void weft_step_time_note(weft_engine *engine, int32_t n_rows, uint64_t ns);
/* The most rows of a step that has rows of prompts: a power of two. */
int32_t weft_step_time_rows(const weft_engine *engine);

/* Decides which sequences are ready. If pages are short, takes pages from other sequences. */
void weft_engine_assign_pages(weft_engine *engine);
/* Chooses the rows of the next step, once pages are assigned; leaves n_parts 0 where there is nothing to run. */
void weft_schedule(weft_engine *engine, weft_flight *flight);
/* Runs one shared step under the mutex, which is released while making plans and while waiting. Where the call (NULL: there is
 * none) is over before the step has ended, leaves the step to the next one who waits. `ran`: whether there was anything to do. */
weft_status weft_step(weft_engine *engine, const weft_call *call, bool *ran, int32_t *n_rows, weft_error *error);
/* Drops the results of the steps in flight, and waits for each, up to the first that does not end within this time. */
void weft_step_drain(weft_engine *engine, uint64_t timeout_ns);

#endif
