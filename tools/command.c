/* Messages, progress, Ctrl-C, bytes. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "os/os.h"
#include "os/program.h"

static void print_message(const char *message) {
    fputs("weft: ", stderr);
    print_escaped(stderr, message);
    putc('\n', stderr);
}

static void log_to_stderr(void *user, weft_log_level level, const char *message) {
    (void)user;
    if (level <= WEFT_LOG_WARNING) print_message(message);
}

weft_status open_runtime(const char *plugin, weft_runtime **runtime, weft_error *error) {
    weft_runtime_options options = {.log = log_to_stderr};
    weft_runtime *made = NULL;
    weft_status status = weft_runtime_create(&options, &made, error);
    if (status != WEFT_OK) return status;
    if (plugin) status = weft_runtime_load_backend(made, plugin, error);
    if (status != WEFT_OK) {
        weft_runtime_destroy(made);
        return status;
    }
    *runtime = made;
    return WEFT_OK;
}

void tell(const weft_error *error) {
    progress_end();
    print_message(error->message);
}

int fail(const weft_error *error) {
    tell(error);
    if (error->status == WEFT_OUT_OF_MEMORY && strstr(error->message, " free on "))
        fprintf(stderr,
                "weft: --ctx N makes it smaller, --backend NAME takes another device; `weft devices MODEL` compares them\n");
    if (error->status == WEFT_CANCELLED && interrupted()) return EXIT_INTERRUPTED;
    return error->status == WEFT_UNSUPPORTED ? EXIT_UNSUPPORTED : EXIT_FAILED;
}

static volatile sig_atomic_t interrupt_flag;
static _Atomic(weft_session *) interrupt_target;
static bool bar_shown;

bool progress_bar(void *user, uint64_t done, uint64_t total) {
    const char *unit = user;
    uint32_t columns = weft_os_terminal_columns();
    if (columns >= 40 && total > 0) {
        enum { WIDTH = 24 };
        double share = (double)done / (double)total;
        int filled = (int)(share * WIDTH);
        fprintf(stderr, "\r[%.*s%*s] %3.0f %% of ", filled, "########################", WIDTH - filled, "", 100 * share);
        fprintf(stderr, "%.*f %s ", unit ? 0 : 1, (double)total * (unit ? 1 : 1e-6), unit ? unit : "MB");
        fflush(stderr);
        bar_shown = true;
        if (done >= total) progress_end();
    }
    return !interrupt_flag;
}

void progress_end(void) {
    if (bar_shown) fprintf(stderr, "\r%*s\r", 50, "");
    bar_shown = false;
}

void print_bytes(const weft_store_bytes *bytes) {
    printf("%.1f MB = weights %.1f", (double)bytes->total * 1e-6, (double)bytes->weights * 1e-6);
    if (bytes->packed) printf(" (%.1f packed)", (double)bytes->packed * 1e-6);
    printf(" + KV cache %.1f + arena %.1f + rings %.2f", (double)bytes->states * 1e-6, (double)bytes->arena * 1e-6,
           (double)bytes->rings * 1e-6);
    if (bytes->bytes_used != bytes->total) printf(", which use %.1f MB of the device", (double)bytes->bytes_used * 1e-6);
}

static void on_interrupt(int number) {
    (void)number;
    interrupt_flag = 1;
    weft_session *session = atomic_load(&interrupt_target);
    if (session) weft_session_cancel(session);
    signal(SIGINT, on_interrupt);
}

void interrupt_install(void) {
    signal(SIGINT, on_interrupt);
}
void interrupt_session(weft_session *session) {
    atomic_store(&interrupt_target, session);
    if (session && interrupt_flag) weft_session_cancel(session);
}
bool interrupted(void) {
    return interrupt_flag != 0;
}
void interrupt_clear(void) {
    interrupt_flag = 0;
}

bool bytes_append(byte_array *bytes, const void *data, size_t size) {
    if (size > bytes->capacity - bytes->size) {
        size_t capacity = bytes->capacity ? bytes->capacity : 4096;
        while (capacity - bytes->size < size) {
            if (capacity > SIZE_MAX / 2) return false;
            capacity *= 2;
        }
        char *grown = realloc(bytes->data, capacity);
        if (!grown) return false;
        bytes->data = grown;
        bytes->capacity = capacity;
    }
    if (size) memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return true;
}

void bytes_free(byte_array *bytes) {
    free(bytes->data);
    *bytes = (byte_array){0};
}

/* A terminal that edits lines itself passes on this many bytes of one, and drops the others. */
enum { TERMINAL_LINE = 4095 };

static bool has_full_line(const byte_array *text) {
    size_t n = 0;
    for (size_t i = 0; i < text->size; i++) {
        n = text->data[i] == '\n' ? 0 : n + 1;
        if (n >= TERMINAL_LINE) return true;
    }
    return false;
}

weft_status read_all(void *stream, byte_array *into, weft_error *error) {
    char piece[65536];
    size_t n;
    do { /* no read after the end: on a terminal it would wait for more */
        n = fread(piece, 1, sizeof piece, stream);
        if (!bytes_append(into, piece, n))
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory after %zu bytes of input", into->size);
    } while (n == sizeof piece);
    const int reason = errno;
    if (weft_os_is_terminal(stream) && has_full_line(into))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a line has %d bytes, where a terminal cuts it; use a file or a pipe",
                         TERMINAL_LINE);
    if (ferror((FILE *)stream) && interrupted()) return weft_fail(error, WEFT_CANCELLED, "stopped while the input was read");
    if (ferror((FILE *)stream)) return weft_fail(error, WEFT_IO, "cannot read the input: %s", strerror(reason));
    return WEFT_OK;
}

weft_status read_file(const char *path, byte_array *into, weft_error *error) {
    FILE *file = weft_os_stream_open(path, "rb");
    if (!file) return weft_fail(error, WEFT_NOT_FOUND, "cannot open %s: %s", path, strerror(errno));
    weft_error reason = {0};
    weft_status status = read_all(file, into, &reason);
    fclose(file);
    if (status != WEFT_OK) return weft_fail(error, status, "%s: %s", path, reason.message);
    return bytes_append(into, "", 1) ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: out of memory", path);
}

bool clock_now(void *user, weft_date *now) {
    (void)user;
    time_t seconds = time(NULL);
    const struct tm *local = seconds == (time_t)-1 ? NULL : localtime(&seconds);
    if (!local) return false;
    *now = (weft_date){local->tm_year + 1900, local->tm_mon + 1, local->tm_mday, local->tm_hour, local->tm_min, local->tm_sec};
    return true;
}

weft_status tokenize_text(const weft_model *model, const char *text, size_t size, bool special, weft_token **tokens,
                          size_t *n_tokens, weft_error *error) {
    size_t capacity = size + 8;
    weft_token *made = capacity > SIZE_MAX / sizeof *made ? NULL : malloc(capacity * sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the tokens of %zu bytes of text", size);
    weft_status status = weft_tokenize(model, text, size, special, made, capacity, n_tokens, error);
    if (status != WEFT_OK) {
        free(made);
        return status;
    }
    *tokens = made;
    return WEFT_OK;
}
