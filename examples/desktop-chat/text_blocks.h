/* A text of any size in labels below each other. One label for all of it would be laid out anew for each piece that comes, and
 * takes minutes for a long word. */
#ifndef TEXT_BLOCKS_H
#define TEXT_BLOCKS_H

#include <gtk/gtk.h>

/* `max_chars` is the width of a line. */
GtkWidget *text_blocks_create(int max_chars);
/* Valid UTF-8. Labels whose text stays are not touched. */
void text_blocks_show(GtkWidget *blocks, const char *text);

#endif
