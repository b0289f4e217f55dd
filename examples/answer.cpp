// Asks a model a question from C++: handles end by themselves, and failures are exceptions. Usage: answer_cpp MODEL QUESTION [DEVICE]
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string_view>

#include <weft/decoder.h>

namespace {

template <auto end> struct Ends {
    template <typename T> void operator()(T *handle) const { end(handle); }
};
using Runtime = std::unique_ptr<weft_runtime, Ends<weft_runtime_destroy>>;
using Model = std::unique_ptr<weft_model, Ends<weft_model_close>>;
using Engine = std::unique_ptr<weft_engine, Ends<weft_engine_destroy>>;
using Session = std::unique_ptr<weft_session, Ends<weft_session_destroy>>;

weft_error error;

void check(weft_status status) {
    if (status != WEFT_OK) throw std::runtime_error(error.message);
}

// Calls make(..., &handle, &error) and owns the handle.
template <typename Owner, typename Make, typename... Arguments> Owner own(Make make, Arguments... arguments) {
    typename Owner::pointer handle = nullptr;
    check(make(arguments..., &handle, &error));
    return Owner(handle);
}

void answer(const char *path, const char *question, const char *device) {
    weft_engine_options engine_options = {};
    engine_options.device = device;
    weft_session_options session_options = {};
    session_options.sampling.max_tokens = 200;

    // The last is destroyed first: a handle ends after everything that was made from it.
    auto runtime = own<Runtime>(weft_runtime_create, nullptr);
    auto model = own<Model>(weft_model_open, runtime.get(), path);
    auto engine = own<Engine>(weft_engine_create, model.get(), &engine_options);
    auto session = own<Session>(weft_session_create, engine.get(), &session_options);

    check(weft_session_say(session.get(), WEFT_USER, question, &error));
    for (weft_piece piece = {}; !piece.last;) {
        check(weft_session_next(session.get(), &piece, &error));
        std::cout << std::string_view(piece.text, piece.size) << std::flush;
    }
    std::cout << '\n';
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) {
        std::cerr << "usage: answer_cpp MODEL QUESTION [DEVICE]\n";
        return 2;
    }
    try {
        answer(argv[1], argv[2], argc > 3 ? argv[3] : "auto");
    } catch (const std::exception &failure) {
        std::cerr << "answer_cpp: " << failure.what() << '\n';
        return 1;
    }
}
