/* The terminal of standard input (termios(3), signal-safety(7)). */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#include "os/terminal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

enum { N_SIGNALS = 7 };
static const int handled[N_SIGNALS] = {SIGTSTP, SIGCONT, SIGWINCH, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
static struct sigaction before[N_SIGNALS];
static struct termios original, stopped;
static volatile sig_atomic_t is_stopped, marks_pastes;

void weft_os_terminal_write(const char *text, size_t size) {
    while (size > 0) {
        ssize_t n = write(STDIN_FILENO, text, size);
        if (n < 0 && errno != EINTR) return;
        text += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

static void write_mark(bool on) {
    weft_os_terminal_write(on ? "\033[?2004h" : "\033[?2004l", 8);
}

/* SIGTSTP is not blocked in its own handler, which raises it again. */
static void handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler,
                               .sa_flags = number == SIGTSTP ? SA_NODEFER : 0}; /* no SA_RESTART: a signal ends a read */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void give_back(int number);

/* In the background, the process takes the terminal when it is continued in the foreground. */
static void go_on(int number) {
    (void)number;
    int saved = errno;
    if (is_stopped && tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        is_stopped = 0;
        handle(SIGTSTP, give_back);
        tcsetattr(STDIN_FILENO, TCSADRAIN, &stopped);
        if (marks_pastes) write_mark(true);
    }
    errno = saved;
}

/* Lets the signal do what it does by itself: stop the process, or end it. */
static void give_back(int number) {
    int saved = errno;
    tcgetattr(STDIN_FILENO, &stopped);
    if (marks_pastes) write_mark(false);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &original);
    is_stopped = 1;
    handle(number, SIG_DFL);
    raise(number);
    if (number == SIGTSTP) go_on(number); /* where there is no shell to continue it, the process was not stopped */
    errno = saved;
}

static void look_again(int number) {
    (void)number;
}

bool weft_os_terminal_begin(void) {
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &original) != 0) return false;
    struct termios mode = original;
    mode.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR);
    mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &mode) != 0) return false;
    for (size_t i = 0; i < N_SIGNALS; i++) {
        sigaction(handled[i], NULL, &before[i]);
        if (before[i].sa_handler == SIG_IGN) continue; /* such as nohup's */
        handle(handled[i], handled[i] == SIGCONT ? go_on : handled[i] == SIGWINCH ? look_again : give_back);
    }
    return true;
}

void weft_os_terminal_end(void) {
    weft_os_terminal_mark_pastes(false);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &original);
    for (size_t i = 0; i < N_SIGNALS; i++) sigaction(handled[i], &before[i], NULL);
}

void weft_os_terminal_mark_pastes(bool on) {
    if (on != (bool)marks_pastes) write_mark(on);
    marks_pastes = on;
}

/* This thread handles signals only inside of pselect, and others of weft handle none, so none can come between the question and the
 * wait. */
long weft_os_terminal_read(char *bytes, size_t size, bool (*interrupted)(void)) {
    sigset_t all, mask;
    fd_set input;
    long n = -1;
    FD_ZERO(&input);
    FD_SET(STDIN_FILENO, &input);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    errno = EINTR;
    if (!interrupted()) n = pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &mask);
    if (n > 0) n = (long)read(STDIN_FILENO, bytes, size);
    if (n < 0 && errno != EINTR) n = 0; /* the terminal is gone */
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return n;
}
