/* Chat templates that weft has itself, for files that have none or a wrong one: the formats as the models' makers describe them. */
#include "decoder/chat.h"

#include <string.h>

#define EACH "{% for message in messages %}"
#define END_EACH "{% endfor %}"
#define IF_ANSWER "{% if add_generation_prompt %}"
#define END_IF "{% endif %}"

/* The system message, where there is one, becomes `before` the first user's text. */
#define SPLIT_SYSTEM                                                                                                               \
    "{% if messages and messages[0].role == 'system' %}{% set system = messages[0].content | trim %}"                              \
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"

static const struct {
    const char *name, *source;
} named[] = {
    {"chatml", EACH "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}" END_EACH IF_ANSWER
                    "{{ '<|im_start|>assistant\n' }}" END_IF},
    {"llama2", SPLIT_SYSTEM EACH
     "{% if message.role == 'user' %}{{ bos_token + '[INST] ' }}"
     "{% if loop.first and system %}{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}{% endif %}"
     "{{ message.content | trim + ' [/INST]' }}{% else %}{{ ' ' + message.content | trim + ' ' + eos_token }}{% endif %}" END_EACH},
    {"llama3",
     "{{ bos_token }}" EACH "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + "
     "'<|eot_id|>' }}" END_EACH IF_ANSWER "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}" END_IF},
    {"gemma",
     "{{ bos_token }}" SPLIT_SYSTEM EACH
     "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}"
     "{% if loop.first and system %}{{ system + '\n\n' }}{% endif %}{{ message.content | trim + '<end_of_turn>\n' }}" END_EACH
         IF_ANSWER "{{ '<start_of_turn>model\n' }}" END_IF},
    {"mistral", "{{ bos_token }}" SPLIT_SYSTEM EACH
                "{% if message.role == 'user' %}{{ '[INST] ' }}{% if loop.first and system %}{{ system + '\n\n' }}{% endif %}"
                "{{ message.content + ' [/INST]' }}{% else %}{{ ' ' + message.content + eos_token }}{% endif %}" END_EACH},
    {"phi3",
     EACH "{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}" END_EACH IF_ANSWER "{{ '<|assistant|>\n' }}" END_IF},
    {"zephyr", EACH "{{ '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}" END_EACH IF_ANSWER
                    "{{ '<|assistant|>\n' }}" END_IF},
    {"vicuna", "{{ bos_token }}" SPLIT_SYSTEM "{% if system %}{{ system + '\n\n' }}{% endif %}" EACH
               "{% if message.role == 'user' %}{{ 'USER: ' + message.content + '\n' }}"
               "{% else %}{{ 'ASSISTANT: ' + message.content + eos_token + '\n' }}{% endif %}" END_EACH IF_ANSWER
               "{{ 'ASSISTANT:' }}" END_IF},
};

const char *weft_template_name(size_t index) {
    return index < sizeof named / sizeof *named ? named[index].name : NULL;
}

weft_text weft_chat_named(const char *name) {
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(named[i].name, name) == 0) return (weft_text){named[i].source, strlen(named[i].source)};
    return (weft_text){"", 0};
}
