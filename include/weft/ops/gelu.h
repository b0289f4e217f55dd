/* gelu (Hendrycks and Gimpel 2016, the tanh form): y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
 * x, y: F32 [n, T]. No parameters.
 */
#ifndef WEFT_OPS_GELU_H
#define WEFT_OPS_GELU_H
#endif
