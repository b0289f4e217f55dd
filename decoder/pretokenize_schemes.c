/* Pre-tokenizers as data: the patterns that were published with the models (tokenizer.json), and the names in tokenizer.ggml.pre.
 */
#include "decoder/pretokenize_schemes.h"

#include <string.h>

/* Contents of character classes, which patterns name in braces. The reference tokenizers know Unicode 16: each property stands with
 * the characters that Unicode 15 and 16 added to it, for a PCRE2 that is older. */
static const struct {
    const char *name, *content;
} classes[] = {
    /* Unicode's White_Space. PCRE2's \s would add U+180E, which lost the property in Unicode 6.3. */
    {"{space}", "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"},
    {"{L}", "\\p{L}\\x{1C89}-\\x{1C8A}\\x{A7CB}-\\x{A7CD}\\x{A7DA}-\\x{A7DC}\\x{105C0}-\\x{105F3}\\x{10D4A}-\\x{10D65}"
            "\\x{10D6F}-\\x{10D85}\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}"
            "\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}\\x{113D3}\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}"
            "\\x{11F12}-\\x{11F33}\\x{1342F}\\x{13441}-\\x{13446}\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}"
            "\\x{16D40}-\\x{16D6C}\\x{18CFF}\\x{1B132}\\x{1B155}\\x{1DF25}-\\x{1DF2A}\\x{1E030}-\\x{1E06D}"
            "\\x{1E4D0}-\\x{1E4EB}\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"},
    {"{N}", "\\p{N}\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}\\x{11F50}-\\x{11F59}\\x{16130}-\\x{16139}"
            "\\x{16D70}-\\x{16D79}\\x{1CCF0}-\\x{1CCF9}\\x{1D2C0}-\\x{1D2D3}\\x{1E4F0}-\\x{1E4F9}\\x{1E5F1}-\\x{1E5FA}"},
    {"{P}", "\\p{P}\\x{1B4E}-\\x{1B4F}\\x{1B7F}\\x{10D6E}\\x{113D4}-\\x{113D5}\\x{113D7}-\\x{113D8}\\x{11B00}-\\x{11B09}"
            "\\x{11BE1}\\x{11F43}-\\x{11F4F}\\x{16D6D}-\\x{16D6F}\\x{1E5FF}"},
    {"{S}", "\\p{S}\\x{2427}-\\x{2429}\\x{2FFC}-\\x{2FFF}\\x{31E4}-\\x{31E5}\\x{31EF}\\x{10D8E}-\\x{10D8F}"
            "\\x{1CC00}-\\x{1CCEF}\\x{1CD00}-\\x{1CEB3}\\x{1F6DC}\\x{1F774}-\\x{1F776}\\x{1F77B}-\\x{1F77F}\\x{1F7D9}"
            "\\x{1F8B2}-\\x{1F8BB}\\x{1F8C0}-\\x{1F8C1}\\x{1FA75}-\\x{1FA77}\\x{1FA87}-\\x{1FA89}\\x{1FA8F}"
            "\\x{1FAAD}-\\x{1FAAF}\\x{1FABB}-\\x{1FABF}\\x{1FAC6}\\x{1FACE}-\\x{1FACF}\\x{1FADA}-\\x{1FADC}\\x{1FADF}"
            "\\x{1FAE8}-\\x{1FAE9}\\x{1FAF7}-\\x{1FAF8}\\x{1FBCB}-\\x{1FBEF}"},
    {"{M}", "\\p{M}\\x{897}\\x{CF3}\\x{ECE}\\x{10D69}-\\x{10D6D}\\x{10EFC}-\\x{10EFF}\\x{11241}\\x{113B8}-\\x{113C0}"
            "\\x{113C2}\\x{113C5}\\x{113C7}-\\x{113CA}\\x{113CC}-\\x{113D0}\\x{113D2}\\x{113E1}-\\x{113E2}"
            "\\x{11F00}-\\x{11F01}\\x{11F03}\\x{11F34}-\\x{11F3A}\\x{11F3E}-\\x{11F42}\\x{11F5A}\\x{13440}"
            "\\x{13447}-\\x{13455}\\x{1611E}-\\x{1612F}\\x{1E08F}\\x{1E4EC}-\\x{1E4EF}\\x{1E5EE}-\\x{1E5EF}"},
    /* Letters and marks that are not lower case; those that are not upper or title case. */
    {"{unlower}", "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\x{1C89}\\x{A7CB}-\\x{A7CC}\\x{A7DA}\\x{A7DC}\\x{105C0}-\\x{105F3}"
                  "\\x{10D4A}-\\x{10D65}\\x{10D6F}\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}\\x{11380}-\\x{11389}\\x{1138B}"
                  "\\x{1138E}\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}\\x{113D3}\\x{11BC0}-\\x{11BE0}\\x{11F02}"
                  "\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}\\x{1342F}\\x{13441}-\\x{13446}\\x{13460}-\\x{143FA}"
                  "\\x{16100}-\\x{1611D}\\x{16D40}-\\x{16D6C}\\x{18CFF}\\x{1B132}\\x{1B155}\\x{1E030}-\\x{1E06D}"
                  "\\x{1E4D0}-\\x{1E4EB}\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}\\p{M}"
                  "\\x{897}\\x{CF3}\\x{ECE}\\x{10D69}-\\x{10D6D}\\x{10EFC}-\\x{10EFF}\\x{11241}\\x{113B8}-\\x{113C0}\\x{113C2}"
                  "\\x{113C5}\\x{113C7}-\\x{113CA}\\x{113CC}-\\x{113D0}\\x{113D2}\\x{113E1}-\\x{113E2}\\x{11F00}-\\x{11F01}"
                  "\\x{11F03}\\x{11F34}-\\x{11F3A}\\x{11F3E}-\\x{11F42}\\x{11F5A}\\x{13440}\\x{13447}-\\x{13455}"
                  "\\x{1611E}-\\x{1612F}\\x{1E08F}\\x{1E4EC}-\\x{1E4EF}\\x{1E5EE}-\\x{1E5EF}"},
    {"{unupper}", "\\p{Ll}\\p{Lm}\\p{Lo}\\x{1C8A}\\x{A7CD}\\x{A7DB}\\x{105C0}-\\x{105F3}\\x{10D4A}-\\x{10D4F}\\x{10D6F}-\\x{10D85}"
                  "\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}\\x{11390}-\\x{113B5}"
                  "\\x{113B7}\\x{113D1}\\x{113D3}\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}"
                  "\\x{1342F}\\x{13441}-\\x{13446}\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}\\x{16D40}-\\x{16D6C}\\x{18CFF}"
                  "\\x{1B132}\\x{1B155}\\x{1DF25}-\\x{1DF2A}\\x{1E030}-\\x{1E06D}\\x{1E4D0}-\\x{1E4EB}\\x{1E5D0}-\\x{1E5ED}"
                  "\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}\\p{M}\\x{897}\\x{CF3}\\x{ECE}"
                  "\\x{10D69}-\\x{10D6D}\\x{10EFC}-\\x{10EFF}\\x{11241}\\x{113B8}-\\x{113C0}\\x{113C2}\\x{113C5}"
                  "\\x{113C7}-\\x{113CA}\\x{113CC}-\\x{113D0}\\x{113D2}\\x{113E1}-\\x{113E2}\\x{11F00}-\\x{11F01}\\x{11F03}"
                  "\\x{11F34}-\\x{11F3A}\\x{11F3E}-\\x{11F42}\\x{11F5A}\\x{13440}\\x{13447}-\\x{13455}\\x{1611E}-\\x{1612F}"
                  "\\x{1E08F}\\x{1E4EC}-\\x{1E4EF}\\x{1E5EE}-\\x{1E5EF}"},
    /* Numbers of Unicode 17: the reference finds single digits without a pattern. */
    {"{digit}", "\\p{N}\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}\\x{11F50}-\\x{11F59}\\x{16130}-\\x{16139}"
                "\\x{16D70}-\\x{16D79}\\x{1CCF0}-\\x{1CCF9}\\x{1D2C0}-\\x{1D2D3}\\x{1E4F0}-\\x{1E4F9}\\x{1E5F1}-\\x{1E5FA}"
                "\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}"},
    /* Characters of the script Han alone. PCRE2's \p{Han} has those that Han shares with other scripts since PCRE2 10.40. */
    {"{han}", "\\x{2E80}-\\x{2E99}\\x{2E9B}-\\x{2EF3}\\x{2F00}-\\x{2FD5}\\x{3005}\\x{3007}\\x{3021}-\\x{3029}\\x{3038}-\\x{303B}"
              "\\x{3400}-\\x{4DBF}\\x{4E00}-\\x{9FFF}\\x{F900}-\\x{FA6D}\\x{FA70}-\\x{FAD9}\\x{16FE2}\\x{16FE3}\\x{16FF0}\\x{16FF1}"
              "\\x{20000}-\\x{2A6DF}\\x{2A700}-\\x{2B739}\\x{2B740}-\\x{2B81D}\\x{2B820}-\\x{2CEA1}\\x{2CEB0}-\\x{2EBE0}"
              "\\x{2EBF0}-\\x{2EE5D}\\x{2F800}-\\x{2FA1D}\\x{30000}-\\x{3134A}\\x{31350}-\\x{323AF}"},
    {"{kana}", "\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{30FF}"},
    {"{asian}", "\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}"},
    /* Letters of alphabets with two cases, as DeepSeek LLM lists them. */
    {"{cased}", "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}"
                "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}"
                "\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}"
                "\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}"
                "\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}"
                "\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}"
                "\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}"
                "\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}"
                "\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}"
                "\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}"
                "\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}"
                "\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"
                "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}"
                "\\x{1E900}-\\x{1E943}"},
};

#define TAIL "[{space}]+(?![^{space}])|[{space}]+"
#define LINES "[{space}]*[\\r\\n]+|"
#define OTHER " ?[^{space}{L}{N}]+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BEFORE_WORD "[^\\r\\n{L}{N}]?"
#define GPT_2 "'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+|" OTHER "|" TAIL
#define WORDS_WITH(numbers) BEFORE_WORD "[{L}]+|" numbers "|" OTHER "[\\r\\n]*|" LINES
#define LLAMA_3_WITH(numbers) CONTRACTION "|" WORDS_WITH(numbers) TAIL
/* Words end where the case changes from lower to upper. */
#define CASED_WITH(contraction, numbers)                                                                                           \
    BEFORE_WORD "[{unlower}]*[{unupper}]+" contraction "|" BEFORE_WORD "[{unlower}]+[{unupper}]*" contraction "|" numbers          \
                "|" OTHER "[\\r\\n/]*|" LINES TAIL
#define BLOOM " ?[^({space}|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

static const weft_scheme gpt_2 = {"gpt-2", false, false, false, {GPT_2}};
static const weft_scheme digits = {"smollm", false, false, false, {"[{digit}]", GPT_2}};
static const weft_scheme llama_3 = {"llama-bpe", true, true, false, {LLAMA_3_WITH("[{N}]{1,3}")}};
static const weft_scheme glm4 = {"glm4", true, false, false, {LLAMA_3_WITH("[{N}]{1,3}")}};
static const weft_scheme dbrx = {"dbrx", false, false, false, {LLAMA_3_WITH("[{N}]{1,3}")}};
static const weft_scheme minicpm5 = {"minicpm5", true, false, false, {"[{N}]{1,3}", LLAMA_3_WITH("[{N}]+")}};
static const weft_scheme qwen2 = {"qwen2", false, false, false, {LLAMA_3_WITH("[{N}]")}};
static const weft_scheme qwen35 = {
    "qwen35", false, false, false, {CONTRACTION "|" BEFORE_WORD "[{L}{M}]+|[{N}]| ?[^{space}{L}{M}{N}]+[\\r\\n]*|" LINES TAIL}};
static const weft_scheme seed_coder = {
    "seed-coder", false, false, false, {CONTRACTION "|" BEFORE_WORD "[{L}]+|[{N}]| ?[^{space}{L}{N}\\r\\n]+|" LINES TAIL}};
static const weft_scheme bailing = {
    "bailingmoe",
    false,
    false,
    false,
    {"'(?i:[sdmt]|ll|ve|re)|" BEFORE_WORD "+[{L}]+|[{N}]|" OTHER "+[\\r\\n]*|[{space}]*[\\r\\n]|" TAIL}};
static const weft_scheme jais_2 = {"jais-2",
                                   false,
                                   false,
                                   false,
                                   {CONTRACTION
                                    "|" WORDS_WITH("[{N}]{1,3}") "[{space}]{512}(?![^{space}])|[{space}]{256}(?![^{space}])|"
                                                                 "[{space}]{128}(?![^{space}])|[{space}]{64}(?![^{space}])|"
                                                                 "[{space}]{32}(?![^{space}])|[{space}]{16}(?![^{space}])|"
                                                                 "[{space}]{8}(?![^{space}])|[{space}]{4}(?![^{space}])|"
                                                                 "[{space}]{1,2}(?![^{space}])|[{space}]"}};
static const weft_scheme ufakzeka = {"ufakzeka", false, false, false, {WORDS_WITH("[{N}]") TAIL}};
static const weft_scheme laguna = {"laguna", false, false, false, {"[^\\n]+", LLAMA_3_WITH("[{N}]")}};
static const weft_scheme exaone_moe = {
    "exaone-moe",
    false,
    false,
    false,
    {CONTRACTION "|" BEFORE_WORD "[{L}](?:[{L}{M}]++| [{L}])*+|[{N}]|" OTHER "[\\r\\n/]?|[{space}]*[\\r\\n]|" TAIL}};
static const weft_scheme youtu = {
    "youtu",
    true,
    false,
    false,
    {"[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}\\x{FF1A}"
     "\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-\\x{312F}]+|[{kana}]+",
     CASED_WITH(CONTRACTION "?", "[{N}]")}};
static const weft_scheme kimi_k2 = {"kimi-k2",
                                    false,
                                    false,
                                    false,
                                    {"[{han}]+|" BEFORE_WORD "(?:(?![{han}])[{unlower}])*(?:(?![{han}])[{unupper}])+" CONTRACTION
                                     "?|" BEFORE_WORD "(?:(?![{han}])[{unlower}])+(?:(?![{han}])[{unupper}])*" CONTRACTION
                                     "?|[{N}]{1,3}|" OTHER "[\\r\\n]*|" LINES TAIL}};
static const weft_scheme tekken = {"tekken", true, true, false, {CASED_WITH("", "[{N}]")}};
static const weft_scheme gpt_4o = {"gpt-4o", false, false, false, {CASED_WITH(CONTRACTION "?", "[{N}]{1,3}")}};
static const weft_scheme deepseek_llm = {
    "deepseek-llm",
    false,
    false,
    false,
    {"[\\r\\n]", "[{space}]?[{cased}]+",
     "[{space}]?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+", "[{space}]+\\z",
     "[{asian}]+", "[{N}]+"}};
static const weft_scheme deepseek_coder = {
    "deepseek-coder", false, false, false, {"[\\r\\n]", "[{space}]?[{L}]+", "[{space}]?[{P}]+", "[{asian}]+", "[{N}]"}};
static const weft_scheme deepseek_3 = {
    "deepseek-v3",
    false,
    false,
    false,
    {"[{N}]{1,3}", "[{kana}]+", "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n{L}{P}{S}]?[{L}{M}]+| ?[{P}{S}]+[\\r\\n]*|" LINES TAIL}};
static const weft_scheme spark_2_5 = {
    "spark2_5",
    false,
    false,
    false,
    {"[{N}]{1,3}", "[{kana}]+", "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n{L}{P}{S}]?[{L}{M}]+| ?[{P}{S}]+|[\\r\\n]|" TAIL, "[{N}]"}};
static const weft_scheme falcon = {"falcon", false, false, false, {"[{P}$+<=>^~|`]+", GPT_2, "[0-9][0-9][0-9]"}};
static const weft_scheme bloom = {"bloom", false, false, false, {BLOOM}};
static const weft_scheme viking = {"viking", false, false, false, {BLOOM, "[{N}]"}};
/* Whole lines: no token of these vocabularies has a line end beside other characters. */
static const weft_scheme gemma4 = {"gemma4", false, true, true, {"[^\\n]+"}};
static const weft_scheme sarvam = {"sarvam-moe", false, false, true, {"[^\\n]+"}};

static const struct {
    const char *name;
    const weft_scheme *scheme;
} names[] = {
    {"gpt-2", &gpt_2},
    {"phi-2", &gpt_2},
    {"mpt", &gpt_2},
    {"olmo", &gpt_2},
    {"jais", &gpt_2},
    {"gigachat", &gpt_2},
    {"a.x-4.0", &gpt_2},
    {"mellum", &gpt_2},
    {"exaone4", &gpt_2},
    {"trillion", &gpt_2},
    {"granite-docling", &gpt_2},
    {"smollm", &digits},
    {"starcoder", &digits},
    {"refact", &digits},
    {"command-r", &digits},
    {"codeshell", &digits},
    {"exaone", &digits},
    {"minerva-7b", &digits},
    {"mellum2", &digits},
    {"llama-bpe", &llama_3},
    {"llama3", &llama_3},
    {"llama-v3", &llama_3},
    {"falcon3", &llama_3},
    {"falcon-h1", &llama_3},
    {"pixtral", &llama_3},
    {"midm-2.0", &llama_3},
    {"lfm2", &llama_3},
    {"glm4", &glm4},
    {"glm5", &glm4},
    {"chatglm-bpe", &dbrx},
    {"dbrx", &dbrx},
    {"smaug-bpe", &dbrx},
    {"minicpm5", &minicpm5},
    {"qwen2", &qwen2},
    {"stablelm2", &qwen2},
    {"deepseek-r1-qwen", &qwen2},
    {"kormo", &qwen2},
    {"megrez", &qwen2},
    {"hunyuan", &qwen2},
    {"solar-open", &qwen2},
    {"grok-2", &qwen2},
    {"qwen35", &qwen35},
    {"seed-coder", &seed_coder},
    {"bailingmoe", &bailing},
    {"bailingmoe2", &bailing},
    {"llada-moe", &bailing},
    {"jais-2", &jais_2},
    {"ufakzeka", &ufakzeka},
    {"laguna", &laguna},
    {"exaone-moe", &exaone_moe},
    {"youtu", &youtu},
    {"kimi-k2", &kimi_k2},

    {"tekken", &tekken},
    {"gpt-4o", &gpt_4o},
    {"llama4", &gpt_4o},
    {"kanana2", &gpt_4o},
    {"minimax-m2", &gpt_4o},
    {"talkie", &gpt_4o},

    {"deepseek-llm", &deepseek_llm},
    {"deepseek-v3", &deepseek_3},
    {"deepseek-coder", &deepseek_coder},
    {"hunyuan-dense", &deepseek_3},
    {"joyai-llm", &deepseek_3},
    {"hy_v4", &deepseek_3},
    {"spark2_5", &spark_2_5},
    {"falcon", &falcon},
    {"bloom", &bloom},
    {"poro-chat", &bloom},
    {"gpt3-finnish", &bloom},
    {"viking", &viking},
    {"gemma4", &gemma4},
    {"sarvam-moe", &sarvam},
};

const weft_scheme *weft_scheme_find(weft_text name) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == name.size && memcmp(names[i].name, name.bytes, name.size) == 0) return names[i].scheme;
    return NULL;
}

size_t weft_pattern_expand(const char *pattern, char *text) {
    size_t n = 0;
    while (*pattern) {
        const char *content = NULL;
        size_t taken = 1;
        for (size_t i = 0; *pattern == '{' && i < sizeof classes / sizeof *classes; i++) {
            if (strncmp(pattern, classes[i].name, strlen(classes[i].name)) != 0) continue;
            content = classes[i].content;
            taken = strlen(classes[i].name);
        }
        size_t size = content ? strlen(content) : 1;
        if (text) memcpy(text + n, content ? content : pattern, size);
        n += size;
        pattern += taken;
    }
    return n;
}
