/* The filters of lists (filters_list.c), for the table of all filters. */
#ifndef WEFT_DECODER_JINJA_FILTERS_H
#define WEFT_DECODER_JINJA_FILTERS_H

#include "decoder/jinja/ast.h"

jinja_function weft_jinja_filter_length, weft_jinja_filter_join, weft_jinja_filter_first, weft_jinja_filter_last,
    weft_jinja_filter_list, weft_jinja_filter_reverse, weft_jinja_filter_items, weft_jinja_filter_dictsort, weft_jinja_filter_sort,
    weft_jinja_filter_unique, weft_jinja_filter_min, weft_jinja_filter_max, weft_jinja_filter_sum, weft_jinja_filter_map,
    weft_jinja_filter_select, weft_jinja_filter_reject, weft_jinja_filter_selectattr, weft_jinja_filter_rejectattr,
    weft_jinja_filter_attr, weft_jinja_filter_batch;

#endif
