/* What the subcommands of `weft` share: options, messages, progress, cancelling, JSON. */
#ifndef WEFT_TOOLS_COMMAND_H
#define WEFT_TOOLS_COMMAND_H

#include "weft/decoder.h"

struct cJSON;

/* 130: the exit code of shells for SIGINT */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNSUPPORTED = EXIT_USAGE, EXIT_INTERRUPTED = 130 };

typedef struct weft_command {
    const char *name;
    const char *arguments; /* "MODEL [options]" */
    const char *summary;
    int (*run)(const struct weft_command *command, int argc, char **argv);
} weft_command;

extern const weft_command command_bench, command_chat, command_check, command_completion, command_detokenize, command_devices,
    command_graph, command_inspect, command_manual, command_perplexity, command_quantize, command_run, command_synth,
    command_template, command_tokenize;
/* All, in the order of `weft help`; NULL ends them. */
extern const weft_command *const weft_commands[];

/* ---- Options ---- */

typedef enum option_kind {
    OPTION_FLAG,    /* bool: set to true */
    OPTION_COUNT,   /* int32_t: `min` .. `max` */
    OPTION_POWER,   /* int32_t: a power of two, `min` .. `max` */
    OPTION_COUNT64, /* uint64_t */
    OPTION_REAL,    /* float: `min` .. `max` */
    OPTION_SEED,    /* uint64_t: a number, or "random" for WEFT_SEED_RANDOM */
    OPTION_TEXT,    /* const char * */
    OPTION_TEXTS,   /* text_list: the option may be given several times */
    OPTION_PLACE,   /* stage_list: "DEVICE=N,DEVICE" */
    OPTION_FOLDER,  /* const char *: a folder that can be written to, created if it is missing; or "" */
    OPTION_CHOICE   /* int: index into `choices` */
} option_kind;

typedef struct option_spec {
    const char *name;
    char letter; /* 0: none */
    option_kind kind;
    void *value; /* receives the value; holds the default before */
    double min, max;
    const char *choices; /* "fast|exact"; also shown as the argument */
    const char *help;
} option_spec;

#define MAX_OPTIONS 64

/* The texts of an option that may be given several times. */
#define MAX_TEXTS 64
typedef struct text_list {
    const char *items[MAX_TEXTS];
    size_t n;
} text_list;

/* The layers of a model divided among devices. */
#define MAX_STAGES 16
typedef struct stage_list {
    const char *given; /* "cuda:0=20,cpu" */
    char text[MAX_STAGES * WEFT_NAME_SIZE];
    weft_stage items[MAX_STAGES]; /* whose names lie in `text` */
    size_t n;                     /* 0: all layers are on one device */
} stage_list;

/* Parses by the table. `positional` receives n_positional arguments (all are required). Returns -1 to go on, or an exit code after
 * --help or a usage error. */
int options_parse(const weft_command *command, const option_spec *options, size_t n_options, const char **positional,
                  size_t n_positional, int argc, char **argv);
/* The same, but only the first n_needed arguments are required; the others are NULL if they are not given. */
int options_parse_some(const weft_command *command, const option_spec *options, size_t n_options, const char **positional,
                       size_t n_needed, size_t n_positional, int argc, char **argv);
/* How an option's argument is called; NULL: it has none. */
const char *option_argument(const option_spec *option);
/* Calls `show` with the options of each command. */
typedef void option_list(const weft_command *command, const option_spec *options, size_t n_options);
void options_list(option_list *show);
/* The word that is most like one that was typed: begin, try words, then `word` is the nearest, or NULL if none is near. */
typedef struct nearest_word {
    const char *wanted, *word;
    size_t distance;
} nearest_word;
void nearest_begin(nearest_word *nearest, const char *wanted);
void nearest_try(nearest_word *nearest, const char *word);
/* "weft run: message" and a hint on stderr; EXIT_USAGE. */
WEFT_PRINTF(2, 3)
int usage_error(const weft_command *command, const char *format, ...);

/* EXIT_USAGE with a message where name_of, which ends with NULL, does not give this name of a `what`; else -1. */
int check_name(const weft_command *command, const char *what, const char *given, const char *(*name_of)(size_t index));

/* The same of an op and an element type, where they are not NULL. */
int check_case_names(const weft_command *command, const char *op, const char *type);

/* The options of commands that open a device, or an engine on one. */
typedef struct engine_settings {
    const char *backend;
    int precision;
    stage_list place; /* of place_option_add */
    int32_t n_threads, n_ctx, max_rows, spin_us;
    bool unfused;
    const char *simd, *plugin;
    const char *cache_folder; /* NULL: the user's; "": none */
} engine_settings;
/* Append rows to `options` and return the new count: --threads, --simd, --cache-folder, --plugin ...; and those with --backend,
 * --precision, --ctx, --max-rows ... */
size_t device_options_add(engine_settings *settings, option_spec *options, size_t n_options);
size_t engine_options_add(engine_settings *settings, option_spec *options, size_t n_options);
/* The library's device options for these settings. */
weft_device_options device_options(const engine_settings *settings);
/* The library's engine options for these settings, with the progress bar. */
weft_engine_options engine_options(const engine_settings *settings);

/* ---- Layers on several devices ---- */

/* Appends --place, which is for commands that make an engine. */
size_t place_option_add(engine_settings *settings, option_spec *options, size_t n_options);
/* -1, or the exit code of a usage error. */
int place_check(const weft_command *command, const engine_settings *settings);
/* Of such a text; returns NULL or what is wrong with it. */
const char *place_parse(const char *text, stage_list *list);
/* "cpu", or "cuda:0=20,cpu=8" of several stages; cut to `size`. */
void place_name(const weft_engine *engine, char *name, size_t size);
/* Adds "place", if there are several stages. */
bool json_add_place(struct cJSON *json, const weft_engine *engine);

/* ---- Conversations: weft run and weft chat ---- */

typedef struct sampling_settings {
    int32_t repeat_last_n, dry_penalty_last_n; /* -1: all tokens; 0: off */
    text_list breakers, biases, stops;
    weft_logit_bias logit_bias[MAX_TEXTS];
    const char *grammar, *grammar_file, *schema, *schema_file;
} sampling_settings;
/* Appends the rows, whose values are in both structs. */
size_t sampling_options_add(sampling_settings *settings, weft_sampling_options *sampling, option_spec *options, size_t n_options);
/* Once the options are parsed: completes `sampling`, which then points into `settings`. -1, or the exit code of a usage error. */
int sampling_options_end(const weft_command *command, sampling_settings *settings, weft_sampling_options *sampling);
/* Whether an engine for these options must be created with `logits`. */
bool sampling_needs_logits(const sampling_settings *settings, const weft_sampling_options *sampling);
/* The grammar that the options name; NULL: none. */
weft_status sampling_grammar(const sampling_settings *settings, weft_model *model, struct weft_grammar **grammar,
                             weft_error *error);

typedef struct talk_settings {
    engine_settings engine;
    weft_session_options session; /* holds the defaults before the options are parsed */
    sampling_settings sampling;
    const char *model; /* --model, or the first argument: talk_parse sets it */
    const char *system, *chat_template, *tools, *variables;
    bool json, stream;
    int32_t n_sequences; /* of the engine, which share the positions of one; 0: 1 */
} talk_settings;

/* Appends the rows of both commands, with those of engine_options_add. */
size_t talk_options_add(talk_settings *settings, option_spec *options, size_t n_options);
/* options_parse for both: the model, then, where `text` is not NULL, a text that may be missing. */
int talk_parse(talk_settings *settings, const weft_command *command, const option_spec *options, size_t n_options,
               const char **text, int argc, char **argv);

/* A growing array of bytes or tokens from malloc; zero is empty. */
typedef struct byte_array {
    char *data;
    size_t size, capacity;
} byte_array;

typedef struct talk {
    weft_runtime *runtime;
    weft_model *model;
    weft_model_info info;
    weft_engine *engine; /* of talk_load */
    byte_array tools, variables;
    weft_render_options chat;
    struct weft_grammar *grammar; /* NULL: none */
} talk;

/* Opens the model with its chat template; no weights yet. Close it on failure too. */
weft_status talk_open(talk_settings *settings, talk *opened, weft_error *error);
weft_status talk_load(const talk_settings *settings, talk *opened, int32_t max_top, weft_error *error);
/* Another engine, which the caller destroys. */
weft_status talk_engine(const talk_settings *settings, talk *opened, int32_t max_top, weft_engine **engine, weft_error *error);
void talk_close(talk *opened);
/* A session, with the system message. */
weft_status talk_session(const talk_settings *settings, talk *opened, const weft_session_options *options, weft_session **session,
                         weft_error *error);
/* Makes a template the model's: a name that the model knows, or else a file. */
weft_status use_template(weft_model *model, const char *file_or_name, weft_error *error);

/* An answer while it is read, with the data for --json. Zero is empty. */
typedef struct talk_answer {
    const talk_settings *settings;
    struct cJSON *logprobs, *prompt_logprobs; /* arrays */
    byte_array text;
    size_t n_tokens;
    size_t n_dropped; /* messages and answers that made room for this one; for --json */
    weft_finish finish;
    bool out_of_memory;
} talk_answer;
/* Makes an empty answer of one that was used or is zero. */
weft_status answer_begin(talk_answer *answer, const talk_settings *settings, weft_error *error);
void answer_free(talk_answer *answer);
/* The session's on_prompt, whose user is the answer. */
void answer_on_prompt(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top);
/* Reads the answer to its end. Prints it as it comes, or with --stream an object for each token. */
weft_status answer_read(talk_answer *answer, weft_session *session, weft_error *error);
/* What cut the answer: "-n" or "the full context"; NULL if nothing did. */
const char *answer_cut_by(const talk_answer *answer);
/* The object for --json. */
weft_status answer_print_json(talk_answer *answer, weft_engine *engine, const weft_session *session, weft_error *error);
double token_rate(uint64_t n, uint64_t ns);

/* ---- A run of a command ---- */

/* Creates a runtime that logs warnings to stderr, and loads `plugin` if it is not NULL. */
weft_status open_runtime(const char *plugin, weft_runtime **runtime, weft_error *error);
/* Prints "weft: MESSAGE" on stderr. */
void tell(const weft_error *error);
/* The same for what ends the command. Returns EXIT_FAILED, EXIT_UNSUPPORTED for what weft does not support, or EXIT_INTERRUPTED if
 * Ctrl-C caused the failure. */
int fail(const weft_error *error);

/* A bar on stderr if that is a terminal; for the `progress` members of options. `user` is what is counted, bytes where it is NULL.
 * False once Ctrl-C was pressed. */
bool progress_bar(void *user, uint64_t done, uint64_t total);
/* Wipes the bar. */
void progress_end(void);

/* "12.3 MB = weights 10.0 + KV cache 2.0 + ...", on stdout. */
void print_bytes(const weft_store_bytes *bytes);

/* Ctrl-C: sets a flag, and cancels `session` if there is one, at once where the flag is set already. */
void interrupt_install(void);
void interrupt_session(weft_session *session); /* NULL: no session any more */
bool interrupted(void);
void interrupt_clear(void);

bool bytes_append(byte_array *bytes, const void *data, size_t size);
void bytes_free(byte_array *bytes);
/* Reads a whole stream as bytes. */
weft_status read_all(void *stream, byte_array *into, weft_error *error);
/* All of a file, with a zero after it. */
weft_status read_file(const char *path, byte_array *into, weft_error *error);
/* The clock's local time, for chat templates. */
bool clock_now(void *user, weft_date *now);

/* Tokens of text; `*tokens` is from malloc. */
weft_status tokenize_text(const weft_model *model, const char *text, size_t size, bool special, weft_token **tokens,
                          size_t *n_tokens, weft_error *error);

/* Length of the well-formed UTF-8 character at `text`, whose size is at least 1; 0 where there is none. */
size_t utf8_length(const char *text, size_t size);
/* Prints text from a file to a FILE for people: control characters and what is not UTF-8 are written as escapes, so that none
 * reaches the terminal. */
void print_escaped(void *stream, const char *text);
/* Prints text as it is, but on a terminal control characters except line ends and tabs as escapes. */
void show_text(void *stream, const char *text, size_t size);
/* The same for a line of a table, at most 4095 bytes. */
WEFT_PRINTF(2, 3)
void show_line(void *stream, const char *format, ...);

/* ---- JSON ---- */

/* Prints the object on one line to stdout and frees it. False (with a message on stderr) if memory ran out while it was built or
 * printed. */
bool json_print(struct cJSON *json, bool complete);
/* {NAME: TEXT} */
bool json_print_text(const char *name, const char *text);
/* Adds text that may not be UTF-8: each bad byte becomes U+FFFD. */
bool json_add_text(struct cJSON *object, const char *name, const char *text, size_t size);
bool json_add_tokens(struct cJSON *object, const char *name, const weft_token *tokens, size_t n_tokens);
/* [{"id", "logprob"} ...] with the token's own entry first where it is not among the most likely. */
struct cJSON *json_logprobs(weft_logprob own, const weft_logprob *top, size_t n_top);

#endif
