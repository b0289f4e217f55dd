/* Random tensors: numbers in a pattern, and quantised blocks with random bytes and chosen scales. */
#include "check/case.h"

#include <math.h>
#include <string.h>

const weft_type weft_check_types[] = {WEFT_F32,  WEFT_F16,  WEFT_BF16, WEFT_Q4_0, WEFT_Q4_1, WEFT_Q5_0,   WEFT_Q5_1,   WEFT_Q8_0,
                                      WEFT_Q2_K, WEFT_Q3_K, WEFT_Q4_K, WEFT_Q5_K, WEFT_Q6_K, WEFT_IQ4_NL, WEFT_IQ4_XS, WEFT_MXFP4};
const size_t weft_check_type_count = sizeof weft_check_types / sizeof weft_check_types[0];

bool weft_check_divides(weft_type type) {
    return type == WEFT_F32 || type == WEFT_F16 || type == WEFT_Q8_0 || type == WEFT_Q4_K;
}

const int64_t weft_check_t[] = {1, 2, 3, 5, 8, 33};
const size_t weft_check_t_count = sizeof weft_check_t / sizeof weft_check_t[0];

const int64_t weft_check_large_t[WEFT_CHECK_N_LARGE_T] = {1, 8, 64, 512};

bool weft_check_large_product(const weft_check_product *products, size_t n_products, size_t index, weft_type *type,
                              weft_check_matrix *matrix) {
    static const weft_type types[] = {WEFT_Q4_K, WEFT_Q6_K, WEFT_Q8_0, WEFT_BF16};
    const size_t n_types = sizeof types / sizeof types[0];
    size_t t = index % WEFT_CHECK_N_LARGE_T, rest = index / WEFT_CHECK_N_LARGE_T;
    if (rest / n_types >= n_products) return false;
    const weft_check_product *product = &products[rest / n_types];
    *type = types[rest % n_types];
    *matrix = (weft_check_matrix){
        .k = product->k, .blocks = product->k / weft_type_get(*type)->block_elements, .n = product->n, .t = weft_check_large_t[t]};
    return true;
}

int64_t weft_check_k(const weft_check_matrix *matrix, weft_type type) {
    uint32_t block = weft_type_get(type)->block_elements;
    return block == 1 ? matrix->k : matrix->blocks * block;
}

/* Rounds to `significand` bits, nearest even, no finer than 2^lowest. */
static double round_to(double value, int significand, int lowest) {
    if (value == 0.0 || !isfinite(value)) return value;
    int exponent = ilogb(value) - (significand - 1);
    if (exponent < lowest) exponent = lowest;
    return ldexp(nearbyint(ldexp(value, -exponent)), exponent);
}

/* IEEE 754 binary16: 11 significant bits, the finest step 2^-24, the largest number 65504. */
double weft_check_round_f16(double value) {
    double rounded = round_to(value, 11, -24);
    return fabs(rounded) > 65504.0 ? copysign(INFINITY, value) : rounded;
}

uint16_t weft_check_to_f16(double value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double rounded = fabs(weft_check_round_f16(value));
    if (isnan(value)) return 0x7e00;
    if (isinf(rounded)) return (uint16_t)(sign | 0x7c00);
    if (rounded < 0x1p-14) return (uint16_t)(sign | (uint16_t)ldexp(rounded, 24));
    int exponent = ilogb(rounded);
    return (uint16_t)(sign | ((exponent + 15) << 10) | ((int)ldexp(rounded, 10 - exponent) & 0x3ff));
}

static uint16_t to_bf16(double value) {
    float rounded = (float)round_to((double)(float)value, 8, -133);
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    return (uint16_t)(bits >> 16);
}

void weft_check_set(weft_check_input *input, int64_t index, double value) {
    uint16_t half = input->tensor.type == WEFT_BF16 ? to_bf16(value) : weft_check_to_f16(value);
    float real = (float)value;
    size_t size = input->tensor.type == WEFT_F32 ? sizeof real : sizeof half;
    char *place = (char *)input->data + (size_t)index * size;
    memcpy(place, size == sizeof real ? (const void *)&real : (const void *)&half, size);
}

static double draw(weft_check_random *random, weft_check_pattern pattern, double rms) {
    static const double extremes[] = {0.0, 0.0, 1.0, 1.0, -1.0, 1e-30, -1e-40, 50.0, -50.0, 0.5};
    double normal = weft_check_normal(random) * rms;
    int64_t choice = weft_check_below(random, 2 * (int64_t)(sizeof extremes / sizeof extremes[0]));
    switch (pattern) {
    case WEFT_CHECK_ZEROS:
        return 0.0;
    case WEFT_CHECK_TIES:
        return rms;
    case WEFT_CHECK_TINY:
        return normal / rms * 1e-38;
    case WEFT_CHECK_EXTREME:
        return choice % 2 == 0 ? extremes[choice / 2] * rms : normal;
    default:
        return normal;
    }
}

/* The offsets of a block's F16 scale and minimum (MXFP4: of its exponent), the scale that gives weights of root mean square 1, and
 * the minimum (as a multiple of the scale) that centres the quants about zero. Formats: ggml's block structures, as the GGUF
 * specification lists them. */
static const struct block_format {
    weft_type type;
    int scale_at, minimum_at;
    double scale, minimum;
} block_formats[] = {{WEFT_Q4_0, 0, -1, 1 / 4.64, 0},    {WEFT_Q4_1, 0, 2, 1 / 4.64, -7.5},   {WEFT_Q5_0, 0, -1, 1 / 9.24, 0},
                     {WEFT_Q5_1, 0, 2, 1 / 9.24, -15.5}, {WEFT_Q8_0, 0, -1, 1 / 73.9, 0},     {WEFT_Q4_K, 0, 2, 1 / 258.0, 7.5},
                     {WEFT_Q5_K, 0, 2, 1 / 525.0, 15.5}, {WEFT_Q6_K, 208, -1, 1 / 1367.0, 0}, {WEFT_Q2_K, 80, 82, 1 / 13.9, 1.5},
                     {WEFT_Q3_K, 108, -1, 1 / 43.3, 0},  {WEFT_IQ4_NL, 0, -1, 1 / 67.4, 0},   {WEFT_IQ4_XS, 0, -1, 1 / 1246.0, 0},
                     {WEFT_MXFP4, 0, -1, 1 / 5.85, 0}};

static void put_f16(uint8_t *place, double value) {
    uint16_t bits = weft_check_to_f16(value);
    memcpy(place, &bits, sizeof bits);
}

/* The nearest exponent of MXFP4, whose scale is 2^(exponent - 128). Zero is a block of zeros. */
static void put_e8m0(uint8_t *block, size_t size, double value) {
    if (value == 0.0) memset(block, 0, size);
    block[0] = (uint8_t)(value == 0.0 ? 0 : 128 + (int)lround(log2(fabs(value))));
}

static void fill_block(weft_check_random *random, const struct block_format *format, uint8_t *block, size_t size,
                       weft_check_pattern pattern, double rms) {
    double scale = format->scale * rms * (0.5 + weft_check_uniform(random));
    double minimum = format->minimum * (0.9 + 0.2 * weft_check_uniform(random));
    int64_t kind = pattern == WEFT_CHECK_EXTREME ? weft_check_below(random, 8) : pattern == WEFT_CHECK_ZEROS ? 0 : 7;
    for (size_t i = 0; i < size; i++) block[i] = (uint8_t)weft_check_bits(random);
    if (kind == 0) scale = 0.0;
    if (kind == 1) scale = 0x1p-24;
    if (kind == 2) scale = -scale;
    if (kind == 3) scale *= 100.0;
    if (kind == 4) memset(block, 0xff, size);
    if (kind == 5) memset(block, 0, size);
    if (format->type == WEFT_MXFP4)
        put_e8m0(block, size, scale);
    else
        put_f16(block + format->scale_at, scale);
    if (format->minimum_at >= 0) put_f16(block + format->minimum_at, scale * minimum);
}

static void fill_first(weft_check_case *c, weft_check_input *input, int64_t n_elements, weft_check_pattern pattern, double rms) {
    weft_type type = input->tensor.type;
    const weft_type_info *info = weft_type_get(type);
    if (info->block_elements == 1) {
        for (int64_t i = 0; i < n_elements; i++) weft_check_set(input, i, draw(&c->random, pattern, rms));
        return;
    }
    const struct block_format *format = block_formats;
    while (format->type != type) format++;
    int64_t n_blocks = n_elements / info->block_elements;
    for (int64_t b = 0; b < n_blocks; b++) {
        uint8_t *block = (uint8_t *)input->data + (size_t)b * info->block_bytes;
        fill_block(&c->random, format, block, info->block_bytes, pattern, rms);
    }
}

#define TIMED_ELEMENTS 65536 /* whole blocks of any type */

void weft_check_fill(weft_check_case *c, weft_check_input *input, weft_check_pattern pattern, double rms) {
    int64_t n = c->timed && input->n_elements > TIMED_ELEMENTS ? TIMED_ELEMENTS : input->n_elements;
    fill_first(c, input, n, pattern, rms);
    uint64_t bytes = weft_tensor_bytes(&input->tensor), piece = weft_type_bytes(input->tensor.type, n);
    for (uint64_t done = piece; done < bytes; done += piece)
        memcpy((char *)input->data + done, input->data, (size_t)(bytes - done < piece ? bytes - done : piece));
}

void weft_check_weight(weft_check_case *c, size_t port, weft_type type, int64_t n, int64_t rows, weft_check_pattern pattern,
                       double rms) {
    weft_check_input *input = weft_check_declare(c, port, WEFT_LEAF_WEIGHT, &(weft_tensor){type, {n, rows, 1, 1}});
    if (weft_check_ready(c)) weft_check_fill(c, input, pattern, rms);
}

void weft_check_reals(weft_check_case *c, size_t port, int64_t n, int64_t rows, weft_check_pattern pattern, double rms) {
    weft_check_input *input = weft_check_declare(c, port, WEFT_LEAF_INPUT, &(weft_tensor){WEFT_F32, {n, rows, 1, 1}});
    if (weft_check_ready(c)) weft_check_fill(c, input, pattern, rms);
}

int32_t *weft_check_words(weft_check_case *c, size_t port, weft_leaf leaf, int64_t n, int64_t rows) {
    return weft_check_declare(c, port, leaf, &(weft_tensor){WEFT_I32, {n, rows, 1, 1}})->words;
}

void weft_check_real_state(weft_check_case *c, size_t port, const weft_tensor *tensor) {
    weft_check_input *input = weft_check_declare(c, port, WEFT_LEAF_STATE, tensor);
    for (int64_t i = 0; weft_check_ready(c) && !c->timed && i < input->n_elements; i++) weft_check_set(input, i, NAN);
}
