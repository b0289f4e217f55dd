/* A minimal program that asks a model a question. Usage: answer MODEL QUESTION [DEVICE] */
#include <stdio.h>

#include <weft/decoder.h>

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: answer MODEL QUESTION [DEVICE]\n");
        return 2;
    }
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    weft_session *chat = NULL;
    weft_piece piece = {0};

    weft_engine_options options = {.device = argc > 3 ? argv[3] : "auto"};
    weft_status status = weft_runtime_create(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, argv[1], &model, &error);
    if (status == WEFT_OK) status = weft_engine_create(model, &options, &engine, &error);
    if (status == WEFT_OK) status = weft_session_create(engine, &(weft_session_options){.sampling.max_tokens = 200}, &chat, &error);
    if (status == WEFT_OK) status = weft_session_say(chat, WEFT_USER, argv[2], &error);
    while (status == WEFT_OK && !piece.last) {
        status = weft_session_next(chat, &piece, &error);
        if (status == WEFT_OK) fwrite(piece.text, 1, piece.size, stdout);
    }
    putchar('\n');
    if (status != WEFT_OK) fprintf(stderr, "answer: %s\n", error.message);

    weft_session_destroy(chat);
    weft_engine_destroy(engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? 0 : 1;
}
