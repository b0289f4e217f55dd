#!/usr/bin/env bash
# Builds examples/desktop-chat with the sanitizers against an installed build, and drives it on a display of its own. Leaves a picture of the
# window, BUILD_FOLDER/desktop-chat.png: tests/desktop_chat.sh BUILD_FOLDER
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$scratch"' EXIT
unset LD_LIBRARY_PATH
pkg-config --exists gtk4 || { echo "no GTK 4 (Debian: libgtk-4-dev)"; exit 77; }
command -v Xvfb >/dev/null || { echo "no display server (Debian: xvfb)"; exit 77; }

cmake --install "$build" --prefix "$scratch/usr" >/dev/null
library=$(dirname "$(find "$scratch/usr" -name 'libweft.so' | head -n 1)")
export PKG_CONFIG_PATH=$library/pkgconfig
configure() { cmake -S "$source/examples/desktop-chat" -B "$scratch/$1" -DCMAKE_BUILD_RPATH="$library" -DCMAKE_C_FLAGS=-Werror "${@:2}" >/dev/null; }
configure build -DWEFT_CHAT_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug
cmake --build "$scratch/build" --parallel 2 --target weft-desktop-chat chat-test >/dev/null
DESTDIR=$scratch/root cmake --install "$scratch/build" --prefix /usr >/dev/null
! command -v desktop-file-validate >/dev/null || desktop-file-validate "$scratch/root/usr/share/applications/weft.desktop"

mkfifo "$scratch/display"
Xvfb -displayfd 3 -screen 0 1200x900x24 -nolisten tcp 3>"$scratch/display" 2>"$scratch/server.log" &
server=$!
read -r -t 30 display <"$scratch/display" || { cat "$scratch/server.log"; exit 1; }

for shape in tiny tiny-qwen2; do "$scratch/usr/bin/weft" synth $shape "$scratch/$shape.gguf" >/dev/null 2>&1; done
# GTK and what it uses keep memory to the end.
env DISPLAY=":$display" GDK_BACKEND=x11 GSK_RENDERER=cairo GTK_A11Y=none G_DEBUG=fatal-criticals ASAN_OPTIONS=detect_leaks=0 \
    XDG_DATA_HOME="$scratch/data" XDG_CONFIG_HOME="$scratch/config" XDG_RUNTIME_DIR="$scratch" \
    "$scratch/build/chat-test" "$scratch/tiny.gguf" "$scratch/tiny-qwen2.gguf" "$build/desktop-chat.png"
