/* Rotary position embedding: Su et al. 2021, "RoFormer", section 3.4.2; the scalings: Peng et al. 2023, "YaRN", section 3. */
#include <float.h>
#include <inttypes.h>
#include <math.h>

#include "weft/rope_table.h"

#define TWO_PI 6.283185307179586476925286766559

/* The options with their defaults filled in, in double. */
typedef struct rope_scaling {
    double base, factor, attention;
    double ramp_start, ramp_end; /* pairs before the first keep their frequency, from the second on it is divided by the factor */
} rope_scaling;

static weft_status refuse(weft_error *error, const char *name, double value, const char *wanted) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "rope: %s is %g, but must be %s", name, value, wanted);
}

static bool is_positive(double value) {
    return isfinite(value) && value > 0.0;
}

static double or_default(float value, double otherwise) {
    return value == 0.0f ? otherwise : (double)value;
}

/* The pair i (as a real number) that makes n = `n_rotations` rotations within the original context, of L positions. In YaRN,
 * n = L / (2 pi base^(2 i / n_dims)); this is the inverse. */
static double pair_of_rotations(const weft_rope_options *options, double n_rotations) {
    return options->n_dims * log(options->n_ctx_original / (n_rotations * TWO_PI)) / (2.0 * log((double)options->freq_base));
}

static weft_status prepare_yarn(const weft_rope_options *options, rope_scaling *scaling, weft_error *error) {
    double fast = or_default(options->yarn_beta_fast, 32.0), slow = or_default(options->yarn_beta_slow, 1.0);
    if (scaling->base <= 1.0) return refuse(error, "the frequency base", scaling->base, "more than 1 for YaRN");
    if (scaling->factor < 1.0) return refuse(error, "the scaling factor", scaling->factor, "1 or more for YaRN");
    if (options->n_ctx_original < 1)
        return refuse(error, "the original context", options->n_ctx_original, "1 position or more for YaRN");
    if (!is_positive(fast)) return refuse(error, "YaRN's beta fast", fast, "finite and more than 0");
    if (!is_positive(slow) || slow > fast) return refuse(error, "YaRN's beta slow", slow, "more than 0 and not above beta fast");
    scaling->attention *= 1.0 + 0.1 * log(scaling->factor);
    if (scaling->attention > (double)FLT_MAX) return refuse(error, "the attention factor", scaling->attention, "within F32");
    scaling->ramp_start = fmax(floor(pair_of_rotations(options, fast)), 0.0);
    scaling->ramp_end = fmin(ceil(pair_of_rotations(options, slow)), options->n_dims - 1.0);
    return WEFT_OK;
}

static weft_status prepare(const weft_rope_options *options, rope_scaling *scaling, weft_error *error) {
    if (options->n_dims < 2 || options->n_dims % 2 != 0)
        return refuse(error, "the number of rotated dimensions", options->n_dims, "even and at least 2");
    *scaling = (rope_scaling){.base = (double)options->freq_base,
                              .factor = or_default(options->scaling_factor, 1.0),
                              .attention = or_default(options->attn_factor, 1.0)};
    if (!is_positive(scaling->base)) return refuse(error, "the frequency base", scaling->base, "finite and more than 0");
    for (int32_t i = 0; options->freq_factors && i < options->n_dims / 2; i++)
        if (!is_positive((double)options->freq_factors[i]))
            return refuse(error, "a frequency factor", (double)options->freq_factors[i], "finite and more than 0");
    if (!is_positive(scaling->attention))
        return refuse(error, "the attention factor", scaling->attention, "finite and more than 0");
    if (!is_positive(scaling->factor)) return refuse(error, "the scaling factor", scaling->factor, "finite and more than 0");
    switch (options->scaling) {
    case WEFT_ROPE_NONE:
        scaling->factor = 1.0;
        return WEFT_OK;
    case WEFT_ROPE_LINEAR:
        return WEFT_OK;
    case WEFT_ROPE_YARN:
        return prepare_yarn(options, scaling, error);
    }
    return refuse(error, "the scaling", (double)options->scaling, "none, linear or YaRN");
}

/* The angle in radians by which pair `i` rotates from one position to the next. */
static double frequency(const weft_rope_options *options, const rope_scaling *scaling, int32_t i) {
    double plain = pow(scaling->base, -2.0 * i / options->n_dims);
    if (options->freq_factors) plain /= (double)options->freq_factors[i];
    if (options->scaling != WEFT_ROPE_YARN) return plain / scaling->factor;
    double width = fmax(scaling->ramp_end - scaling->ramp_start, 0.001);
    double ramp = fmin(fmax((i - scaling->ramp_start) / width, 0.0), 1.0);
    return plain / scaling->factor * ramp + plain * (1.0 - ramp);
}

weft_status weft_rope_table(const weft_rope_options *options, int64_t first, int64_t n_positions, float *table, weft_error *error) {
    if (!options || !table) return weft_fail(error, WEFT_INVALID_ARGUMENT, "rope: options and a table are needed");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    if (first < 0 || n_positions < 0 || first > INT32_MAX - n_positions)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rope: %" PRId64 " positions from %" PRId64 " on are not all from 0 to %d",
                         n_positions, first, INT32_MAX);
    rope_scaling scaling = {0};
    status = prepare(options, &scaling, error);
    if (status != WEFT_OK) return status;
    for (int32_t i = 0; i < options->n_dims / 2; i++) {
        double radians = frequency(options, &scaling, i);
        for (int64_t j = 0; j < n_positions; j++) {
            double angle = (double)(first + j) * radians;
            table[j * options->n_dims + 2 * i] = (float)(scaling.attention * cos(angle));
            table[j * options->n_dims + 2 * i + 1] = (float)(scaling.attention * sin(angle));
        }
    }
    return WEFT_OK;
}
