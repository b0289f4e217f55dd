/* FlashAttention's online softmax over one page: keys are transposed, so that lanes are positions, and shared by all queries. */
#if defined(__AVX512VNNI__)
#include "backends/cpu/simd/avx512vnni.h"

#define POSITIONS 32   /* keys that are processed together */
#define DIMENSIONS 128 /* of keys transposed together */
#define QUERIES 48     /* that share transposed keys */
#define SCORE_QUERIES 6
#define VALUE_QUERIES 4

typedef struct chunk {
    weft_type type;
    const char *keys, *values; /* of the chunk's first position */
    int64_t head_dim, n_positions;
} chunk;

INLINE __m512 load_kv(weft_type type, const char *rows, int64_t index, __mmask16 lanes) {
    if (type == WEFT_F32) return _mm512_maskz_loadu_ps(lanes, (const float *)(const void *)rows + index);
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, (const uint16_t *)(const void *)rows + index));
}

/* Transposes 16 vectors of 16 floats in three passes of pairs and one of quarters. */
INLINE void transpose_16(__m512 *rows) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; j++) {
            __m512d low = _mm512_castps_pd(a[i + j]), high = _mm512_castps_pd(a[i + j + 2]);
            b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    for (int j = 0; j < 4; j++) {
        a[j] = _mm512_shuffle_f32x4(b[j], b[j + 4], 0x88);
        a[j + 4] = _mm512_shuffle_f32x4(b[j], b[j + 4], 0xdd);
        a[j + 8] = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0x88);
        a[j + 12] = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0xdd);
    }
    for (int j = 0; j < 4; j++) {
        rows[j] = _mm512_shuffle_f32x4(a[j], a[j + 8], 0x88);
        rows[j + 4] = _mm512_shuffle_f32x4(a[j + 4], a[j + 12], 0x88);
        rows[j + 8] = _mm512_shuffle_f32x4(a[j], a[j + 8], 0xdd);
        rows[j + 12] = _mm512_shuffle_f32x4(a[j + 4], a[j + 12], 0xdd);
    }
}

/* transposed[d][position] for dimensions first .. first + count - 1; positions past the last are zeros. */
static void transpose_keys(const chunk *part, int64_t first, int64_t count, float transposed[DIMENSIONS][POSITIONS]) {
    for (int64_t d = 0; d < count; d += 16) {
        __mmask16 lanes = first_lanes(count - d);
        for (int64_t p = 0; p < POSITIONS; p += 16) {
            __m512 rows[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                __mmask16 present = p + i < part->n_positions ? lanes : (__mmask16)0;
                rows[i] = load_kv(part->type, part->keys, present ? (p + i) * part->head_dim + first + d : 0, present);
            }
            transpose_16(rows);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) _mm512_store_ps(transposed[d + i] + p, rows[i]);
        }
    }
}

INLINE void add_scores(const int n, const float *queries, int64_t stride, int64_t count, float transposed[DIMENSIONS][POSITIONS],
                       float (*scores)[POSITIONS], bool first) {
    __m512 sums[SCORE_QUERIES][2];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) {
        sums[i][0] = first ? _mm512_setzero_ps() : _mm512_load_ps(scores[i]);
        sums[i][1] = first ? _mm512_setzero_ps() : _mm512_load_ps(scores[i] + 16);
    }
    for (int64_t d = 0; d < count; d++) {
        __m512 low = _mm512_load_ps(transposed[d]), high = _mm512_load_ps(transposed[d] + 16);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            __m512 query = _mm512_set1_ps(queries[i * stride + d]);
            sums[i][0] = _mm512_fmadd_ps(query, low, sums[i][0]);
            sums[i][1] = _mm512_fmadd_ps(query, high, sums[i][1]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) {
        _mm512_store_ps(scores[i], sums[i][0]);
        _mm512_store_ps(scores[i] + 16, sums[i][1]);
    }
}

static void scores_of(const chunk *part, const float *queries, int64_t stride, int64_t n_queries, float (*scores)[POSITIONS]) {
    float transposed[DIMENSIONS][POSITIONS] __attribute__((aligned(64)));
    for (int64_t d = 0; d < part->head_dim; d += DIMENSIONS) {
        int64_t count = part->head_dim - d < DIMENSIONS ? part->head_dim - d : DIMENSIONS;
        transpose_keys(part, d, count, transposed);
        for (int64_t i = 0; i < n_queries; i += SCORE_QUERIES) {
            const float *from = queries + i * stride + d;
            switch (n_queries - i) {
            case 1:
                add_scores(1, from, stride, count, transposed, scores + i, d == 0);
                break;
            case 2:
                add_scores(2, from, stride, count, transposed, scores + i, d == 0);
                break;
            case 3:
                add_scores(3, from, stride, count, transposed, scores + i, d == 0);
                break;
            case 4:
                add_scores(4, from, stride, count, transposed, scores + i, d == 0);
                break;
            case 5:
                add_scores(5, from, stride, count, transposed, scores + i, d == 0);
                break;
            default:
                add_scores(SCORE_QUERIES, from, stride, count, transposed, scores + i, d == 0);
                break;
            }
        }
    }
}

/* Replaces scores by exponentials, with zeros past the first `visible` positions. Returns the correction factor of the earlier
 * sums. */
static float soften(float *scores, int64_t visible, float scale, weft_cpu_softmax_state *state) {
    __mmask16 lanes[2] = {first_lanes(visible), first_lanes(visible - 16)};
    __m512 factor = _mm512_set1_ps(scale), lowest = _mm512_set1_ps(-__builtin_inff());
    __m512 low = _mm512_mask_mul_ps(lowest, lanes[0], _mm512_load_ps(scores), factor);
    __m512 high = _mm512_mask_mul_ps(lowest, lanes[1], _mm512_load_ps(scores + 16), factor);
    float largest = _mm512_reduce_max_ps(_mm512_max_ps(low, high)), correction = 1.0F;
    largest = largest > state->max ? largest : state->max;
    __m512 shift = _mm512_set1_ps(largest);
    low = _mm512_maskz_mov_ps(lanes[0], exp_16(_mm512_sub_ps(low, shift)));
    high = _mm512_maskz_mov_ps(lanes[1], exp_16(_mm512_sub_ps(high, shift)));
    _mm512_store_ps(scores, low);
    _mm512_store_ps(scores + 16, high);
    if (largest != state->max) correction = _mm512_cvtss_f32(exp_16(_mm512_set1_ps(state->max - largest)));
    state->sum = state->sum * correction + _mm512_reduce_add_ps(_mm512_add_ps(low, high));
    state->max = largest;
    return correction;
}

/* out = out * correction + exponentials . values, for n queries. */
INLINE void add_values(const int n, const chunk *part, float (*scores)[POSITIONS], const float *corrections, float *out) {
    for (int64_t d = 0; d < part->head_dim; d += 64) {
        __m512 sums[VALUE_QUERIES][4];
        __mmask16 lanes[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            lanes[v] = first_lanes(part->head_dim - d - 16 * v);
#pragma GCC unroll 4
            for (int i = 0; i < n; i++) {
                __m512 before = _mm512_maskz_loadu_ps(lanes[v], out + i * part->head_dim + d + 16 * v);
                sums[i][v] = _mm512_mul_ps(before, _mm512_set1_ps(corrections[i]));
            }
        }
        for (int64_t j = 0; j < part->n_positions; j++) {
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) {
                __m512 value = load_kv(part->type, part->values, j * part->head_dim + d + 16 * v, lanes[v]);
#pragma GCC unroll 4
                for (int i = 0; i < n; i++) sums[i][v] = _mm512_fmadd_ps(_mm512_set1_ps(scores[i][j]), value, sums[i][v]);
            }
        }
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
#pragma GCC unroll 4
            for (int i = 0; i < n; i++) {
                _mm512_mask_storeu_ps(out + i * part->head_dim + d + 16 * v, lanes[v], sums[i][v]);
            }
        }
    }
}

static void attend_chunk(const chunk *part, const float *queries, int64_t stride, int64_t n_queries, const int64_t *visible,
                         float scale, weft_cpu_softmax_state *states, float *out) {
    float scores[QUERIES][POSITIONS] __attribute__((aligned(64))), corrections[QUERIES];
    scores_of(part, queries, stride, n_queries, scores);
    for (int64_t i = 0; i < n_queries; i++) {
        if (visible[i] > 0) {
            corrections[i] = soften(scores[i], visible[i], scale, &states[i]);
        } else {
            memset(scores[i], 0, sizeof scores[i]);
            corrections[i] = 1.0F;
        }
    }
    for (int64_t i = 0; i < n_queries; i += VALUE_QUERIES) {
        float *to = out + i * part->head_dim;
        switch (n_queries - i) {
        case 1:
            add_values(1, part, scores + i, corrections + i, to);
            break;
        case 2:
            add_values(2, part, scores + i, corrections + i, to);
            break;
        case 3:
            add_values(3, part, scores + i, corrections + i, to);
            break;
        default:
            add_values(VALUE_QUERIES, part, scores + i, corrections + i, to);
            break;
        }
    }
}

static void attend_queries(const float *queries, int64_t stride, int64_t n_queries, int64_t head_dim, weft_type kv_type,
                           const void *keys, const void *values, int64_t n_positions, const int64_t *visible, float scale,
                           weft_cpu_softmax_state *states, float *out) {
    int64_t here[QUERIES], row_bytes = head_dim * (kv_type == WEFT_F32 ? 4 : 2);
    for (int64_t first = 0; first < n_positions; first += POSITIONS) {
        chunk part = {kv_type, (const char *)keys + first * row_bytes, (const char *)values + first * row_bytes, head_dim, 0};
        for (int64_t i = 0; i < n_queries; i++) {
            int64_t end = visible[i] < n_positions ? visible[i] : n_positions;
            here[i] = end - first < POSITIONS ? end - first : POSITIONS;
            part.n_positions = here[i] > part.n_positions ? here[i] : part.n_positions;
        }
        if (part.n_positions == 0) return;
        attend_chunk(&part, queries, stride, n_queries, here, scale, states, out);
    }
}

void weft_avx512_attend(const float *queries, int64_t query_stride, int64_t n_queries, int64_t head_dim, weft_type kv_type,
                        const void *keys, const void *values, int64_t n_positions, const int64_t *visible, float scale,
                        weft_cpu_softmax_state *states, float *out) {
    for (int64_t i = 0; i < n_queries; i += QUERIES) {
        int64_t n = n_queries - i < QUERIES ? n_queries - i : QUERIES;
        attend_queries(queries + i * query_stride, query_stride, n, head_dim, kv_type, keys, values, n_positions, visible + i,
                       scale, states + i, out + i * head_dim);
    }
}
#else
typedef int weft_no_avx512vnni_attend;
#endif
