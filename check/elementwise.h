#ifndef WEFT_CHECK_ELEMENTWISE_H
#define WEFT_CHECK_ELEMENTWISE_H

#include "check/case.h"

weft_status weft_check_binary(weft_check_run *run, double (*oracle)(double a, double b), weft_error *error);
weft_status weft_check_unary(weft_check_run *run, double (*oracle)(double x), weft_error *error);

#endif
