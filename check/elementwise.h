#ifndef WEFT_CHECK_ELEMENTWISE_H
#define WEFT_CHECK_ELEMENTWISE_H

#include "check/op.h"

/* The oracles of such ops. A second input of one column serves all columns. */
void weft_oracle_binary(weft_check_case *c, double (*function)(double a, double b));
void weft_oracle_unary(weft_check_case *c, double (*function)(double x));

/* And their cases. */
weft_status weft_check_binary(weft_check_run *run, weft_error *error);
weft_status weft_check_unary(weft_check_run *run, weft_error *error);

#endif
