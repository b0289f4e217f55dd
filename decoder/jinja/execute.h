/* Between running statements and running expressions. */
#ifndef WEFT_DECODER_JINJA_EXECUTE_H
#define WEFT_DECODER_JINJA_EXECUTE_H

#include "decoder/jinja/value.h"

typedef enum jinja_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } jinja_flow;

/* Runs the items of a node; ends early at a break or continue. */
jinja_flow weft_jinja_execute(jinja_run *run, const jinja_node *node);
void weft_jinja_write(jinja_run *run, jinja_value value);
/* A call with one more argument, `caller`. */
jinja_value weft_jinja_call_with(jinja_run *run, const jinja_node *node, jinja_value caller);
/* A chain of filters, begun with `block`; JINJA_ABSENT: with the chain's own value. A NULL chain changes nothing. */
jinja_value weft_jinja_filter_node(jinja_run *run, const jinja_node *node, jinja_value block);

#endif
