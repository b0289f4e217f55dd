/* How an answer's tokens are chosen, and where the answer ends. session.h includes this header. */
#ifndef WEFT_SAMPLING_H
#define WEFT_SAMPLING_H

#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t weft_token;
#define WEFT_NO_TOKEN (-1)

typedef struct weft_sampling_options {
    int32_t max_tokens; /* of an answer; 0: as many as fit */
    float temperature;  /* 0: greedy */
    int32_t top_k;      /* 0: off */
    float top_p;        /* 0 to 1; 0: off */
    float min_p;        /* 0 to 1; 0: off */
    int32_t n_top;      /* most likely tokens in each piece; 0: none, and no log-probability of the chosen token either */
    uint64_t seed;      /* of the random draws, which do not depend on other sessions */
    bool ignore_end;    /* end tokens do not end an answer: for measuring */
    uint64_t reserved[32];
} weft_sampling_options;

#ifdef __cplusplus
}
#endif
#endif
