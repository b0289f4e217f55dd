/* Tokens that are known by their text. Many files give the markers of chats and of code completion the type of an ordinary or
 * user-defined token, and name as EOS a token that ends no answer. The texts are facts of the published vocabularies. */
#include "decoder/vocabulary.h"

#include <string.h>

static const struct known_marker {
    const char *text;
    bool ends;          /* an answer */
    bool also_ordinary; /* it is common in other text too: the file's type decides */
} known[] = {
    /* Ends of turns and texts. */
    {"<|im_end|>", true, false},
    {"<|eot_id|>", true, false},
    {"<|eom_id|>", true, false},
    {"<|end|>", true, false},
    {"<|return|>", true, false},
    {"<|call|>", true, false},
    {"<|calls|>", true, false},
    {"<|flush|>", true, false},
    {"<end_of_turn>", true, false},
    {"<|endoftext|>", true, false},
    {"<|end_of_text|>", true, false},
    {"<end_of_utterance>", true, false},
    {"<turn|>", true, false},
    {"<|tool_response>", true, false},
    {"<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
     true, false},
    {"<EOT>", true, false},
    {"_<EOT>", true, false},
    {"[EOT]", true, false},
    {"[EOS]", true, false},
    {"[e~[", true, false},
    {"<eos>", true, false},
    {"</s>", true, true}, /* HTML has it */
    /* Code completion: what comes after the completed code. */
    {"<|fim_pad|>", true, false},
    {"<fim-pad>", true, false},
    {"<fim_pad>", true, false},
    {"<PAD>", true, false},
    {"[PAD]", true, false},
    {"<|fim_repo|>", true, false},
    {"<|repo_name|>", true, false},
    {"<fim-repo>", true, false},
    {"<REPO>", true, false},
    {"<reponame>", true, false},
    {"<|file_sep|>", true, false},
    /* Code completion: what asks for it. */
    {"<|fim_prefix|>", false, false},
    {"<|fim_suffix|>", false, false},
    {"<|fim_middle|>", false, false},
    {"<fim-prefix>", false, false},
    {"<fim-suffix>", false, false},
    {"<fim-middle>", false, false},
    {"<fim_prefix>", false, false},
    {"<fim_suffix>", false, false},
    {"<fim_middle>", false, false},
};

static const struct known_marker *find(weft_text text) {
    if (text.size < 4 || !strchr("<[_", text.bytes[0])) return NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].text) == text.size && memcmp(known[i].text, text.bytes, text.size) == 0) return &known[i];
    return NULL;
}

bool weft_marker_controls(weft_text text) {
    const struct known_marker *marker = find(text);
    return marker && !marker->also_ordinary;
}

bool weft_marker_ends(weft_text text) {
    const struct known_marker *marker = find(text);
    return marker && marker->ends;
}
