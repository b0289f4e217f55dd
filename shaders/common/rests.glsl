/* What rounding to int8 left, at most a half, as int8: in parts of this. */
#define RESTS 254
