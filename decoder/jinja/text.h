/* Operations on strings, as Python's str has them: by characters. A byte that is not of a well-formed one counts as a character. */
#ifndef WEFT_DECODER_JINJA_TEXT_H
#define WEFT_DECODER_JINJA_TEXT_H

#include "decoder/jinja/value.h"

/* Bytes of the white space character at `text`; 0 where there is none. */
size_t weft_jinja_space(const char *text, size_t size);
/* What is left of `size` without white space at the end. */
size_t weft_jinja_strip_end(const char *text, size_t size);
/* Writes up to 4 bytes and returns how many. */
size_t weft_jinja_utf8(uint32_t code, char *bytes);
/* The character at `text` and its bytes; a bad byte is given as it is, with `size` 0. */
uint32_t weft_jinja_character(const char *text, size_t size, size_t *n);
size_t weft_jinja_convert_case(uint32_t code, bool upper, uint32_t become[3]);

size_t weft_jinja_length(jinja_run *run, const jinja_string *string);
/* The byte where character `index` begins. */
size_t weft_jinja_offset(jinja_run *run, const jinja_string *string, size_t index);
/* The first place from `from` on, or SIZE_MAX. */
size_t weft_jinja_find(jinja_run *run, const jinja_string *string, const jinja_string *part, size_t from);
/* The last place, or SIZE_MAX. */
size_t weft_jinja_find_last(jinja_run *run, const jinja_string *string, const jinja_string *part);
/* `characters`: which to strip; NULL: white space. */
jinja_value weft_jinja_strip(jinja_run *run, const jinja_string *string, const jinja_string *characters, bool left, bool right);
jinja_value weft_jinja_case(jinja_run *run, const jinja_string *string, bool upper);
jinja_value weft_jinja_capitalize(jinja_run *run, const jinja_string *string);
/* `count` below 0: all. */
jinja_value weft_jinja_replace(jinja_run *run, const jinja_string *string, const jinja_string *old, const jinja_string *with,
                               int64_t count);
jinja_value weft_jinja_concat(jinja_run *run, const jinja_string *a, const jinja_string *b);
/* With the five characters that HTML has a meaning for replaced. */
jinja_value weft_jinja_escape(jinja_run *run, const jinja_string *string);
/* The lines without their ends, as str.splitlines. */
jinja_value weft_jinja_lines(jinja_run *run, const jinja_string *string);

#endif
