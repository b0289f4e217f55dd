/* What is kept on the disk besides the conversations' own files, which the library writes: their list, and the settings. */
#ifndef STORE_H
#define STORE_H

#include "conversation.h"

/* The folder of the conversations' files, which is created: under the user's data folder (XDG_DATA_HOME). */
char *store_folder(void);
/* All conversations, the newest first. Files that are not in the list come at its end. */
GPtrArray *store_read(const char *folder);
/* The list as it is written, and the path of its file; the caller owns both. */
char *store_list(const GPtrArray *conversations);
char *store_list_path(const char *folder);

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
/* The settings as they are written, and the path of their file; the caller owns both. */
char *settings_text(const settings *s);
char *settings_path(void);
void settings_clear(settings *s);
weft_sampling_options settings_sampling(const settings *s);

#endif
