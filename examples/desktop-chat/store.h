/* What is kept on the disk besides the conversations' own files, which the library writes: their list, and the settings. */
#ifndef STORE_H
#define STORE_H

#include "conversation.h"

/* The folder of the conversations' files, which is created: under the user's data folder (XDG_DATA_HOME). */
char *store_folder(void);
/* All conversations, the newest first. Files that are not in the list come at its end. */
GPtrArray *store_read(const char *folder);
/* Writes the list of those that have a question. Returns what went wrong, or NULL. */
char *store_write(const char *folder, const GPtrArray *conversations);

typedef struct settings {
    char *model, *device; /* the last ones */
    char *system;         /* new conversations begin with it */
    double temperature, top_p, min_p;
    int max_tokens; /* 0: no limit */
    bool is_seeded; /* with `seed`; otherwise every answer is another */
    guint64 seed;
    int width, height; /* of the window */
} settings;

void settings_read(settings *s);
/* Returns what went wrong, or NULL. */
char *settings_write(const settings *s);
void settings_clear(settings *s);
weft_sampling_options settings_sampling(const settings *s);

#endif
