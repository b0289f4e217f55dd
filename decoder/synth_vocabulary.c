/* A byte-level BPE vocabulary: GPT-2's 256 byte tokens, words of lower-case letters built by merges, and the special tokens of a
 * chat format. */
#include "decoder/synth.h"

#include <string.h>

#define N_BYTES 256
#define N_LETTERS 26
#define TOKEN_NORMAL 1
#define TOKEN_CONTROL 3

typedef struct special_tokens {
    const char *family;
    const char *pre;
    const char *names[6];  /* NULL past the last */
    int bos, eos, padding; /* places in `names` */
    bool add_bos;
    const char *chat_template;
} special_tokens;

static const special_tokens specials[] = {
    {"qwen2",
     "qwen2",
     {"<|endoftext|>", "<|im_start|>", "<|im_end|>"},
     0,
     2,
     0,
     false,
     "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {"llama",
     "llama-bpe",
     {"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     0,
     4,
     1,
     true,
     "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message.role + "
     "'<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + "
     "content "
     "%}{% endif %}{{ content }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
};

/* The last where a family has none of its own. */
static const special_tokens *specials_of(const char *family) {
    size_t i = 0;
    while (i + 1 < sizeof specials / sizeof *specials && strcmp(specials[i].family, family) != 0) i++;
    return &specials[i];
}

static int32_t count_of(const special_tokens *special) {
    int32_t n = 0;
    while (special->names[n]) n++;
    return n;
}

/* GPT-2's alphabet: printable bytes of Latin-1 stand for themselves, the others for the code points from 256 on. */
static size_t byte_token(int byte, char text[static 2]) {
    static const struct { int first, last; } printable[] = {{'!', '~'}, {0xA1, 0xAC}, {0xAE, 0xFF}};
    int below = 0; /* bytes before this one that stand for themselves */
    int code = -1;
    for (size_t i = 0; i < sizeof printable / sizeof *printable && code < 0; i++) {
        if (byte < printable[i].first) break;
        if (byte <= printable[i].last) code = byte;
        below += printable[i].last - printable[i].first + 1;
    }
    if (code < 0) code = 256 + byte - below;
    if (code < 0x80) {
        text[0] = (char)code;
        return 1;
    }
    text[0] = (char)(0xC0 | code >> 6);
    text[1] = (char)(0x80 | (code & 0x3F));
    return 2;
}

/* Word `index`: all of two symbols first, then of three, and so on. The first symbol is a letter or the space's, the others are
 * letters, so that each word is the shorter word before its last letter and that letter. */
static size_t word(uint32_t index, char text[static 16]) {
    uint32_t n_words = (N_LETTERS + 1) * N_LETTERS;
    size_t n_letters = 1, size = 0;
    for (; index >= n_words; n_letters++) {
        index -= n_words;
        n_words *= N_LETTERS;
    }
    uint32_t unit = n_words / (N_LETTERS + 1), first = index / unit;
    if (first == N_LETTERS) {
        size = byte_token(' ', text);
    } else {
        text[size++] = (char)('a' + first);
    }
    for (; n_letters > 0; n_letters--) {
        index %= unit;
        unit /= N_LETTERS;
        text[size++] = (char)('a' + index / unit);
    }
    return size;
}

static void write_tokens(weft_gguf_writer *writer, const special_tokens *special, uint32_t n_words, uint64_t n_vocab) {
    char text[16];
    weft_gguf_write_array(writer, "tokenizer.ggml.tokens", WEFT_GGUF_STRING, n_vocab);
    for (int byte = 0; byte < N_BYTES; byte++) weft_gguf_write_element_text(writer, text, byte_token(byte, text));
    for (uint32_t i = 0; i < n_words; i++) weft_gguf_write_element_text(writer, text, word(i, text));
    for (int i = 0; special->names[i]; i++) weft_gguf_write_element_text(writer, special->names[i], strlen(special->names[i]));
    weft_gguf_write_array(writer, "tokenizer.ggml.token_type", WEFT_GGUF_I32, n_vocab);
    for (uint64_t i = 0; i < n_vocab; i++)
        weft_gguf_write_element_i32(writer, i < N_BYTES + n_words ? TOKEN_NORMAL : TOKEN_CONTROL);
}

static void write_merges(weft_gguf_writer *writer, uint32_t n_words) {
    char text[17];
    weft_gguf_write_array(writer, "tokenizer.ggml.merges", WEFT_GGUF_STRING, n_words);
    for (uint32_t i = 0; i < n_words; i++) {
        size_t size = word(i, text);
        text[size] = text[size - 1];
        text[size - 1] = ' ';
        weft_gguf_write_element_text(writer, text, size + 1);
    }
}

void weft_synth_vocabulary(weft_gguf_writer *writer, const weft_synth_model *model) {
    const special_tokens *special = specials_of(model->family);
    uint32_t first = (uint32_t)(model->n_vocab - count_of(special));
    weft_gguf_write_text(writer, "tokenizer.ggml.model", "gpt2");
    weft_gguf_write_text(writer, "tokenizer.ggml.pre", special->pre);
    write_tokens(writer, special, first - N_BYTES, (uint64_t)model->n_vocab);
    write_merges(writer, first - N_BYTES);
    weft_gguf_write_u32(writer, "tokenizer.ggml.bos_token_id", first + (uint32_t)special->bos);
    weft_gguf_write_u32(writer, "tokenizer.ggml.eos_token_id", first + (uint32_t)special->eos);
    weft_gguf_write_u32(writer, "tokenizer.ggml.padding_token_id", first + (uint32_t)special->padding);
    weft_gguf_write_flag(writer, "tokenizer.ggml.add_bos_token", special->add_bos);
    weft_gguf_write_text(writer, "tokenizer.chat_template", special->chat_template);
}
