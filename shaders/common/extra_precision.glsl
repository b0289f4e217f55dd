/* Extra precision: the error of rounding to int8, at most half a step, is rounded to int8 as well, in steps of 1 / ERROR_STEPS. */
#define ERROR_STEPS 254
