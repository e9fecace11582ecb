#!/usr/bin/env bash
# Builds the native side of MetaQuery.Torch: libmetaquery_boot.so (settings, no torch) and libmetaquery_torch.so (the shim).
#   build.sh            into <repository>/.farm/native/torch-<key>, and points .farm/native/torch at it; does nothing when done before
#   build.sh OUTDIR     into OUTDIR
# LIBTORCH=/path names a libtorch (its folder with include/ and lib/), 1.13 or newer, CPU or CUDA; without it the system's is used.
# CXX names the compiler. Safe to run at the same time from several builds.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
cxx=${CXX:-g++}
command -v "$cxx" >/dev/null || { echo "build.sh: no C++ compiler '$cxx' (Debian: apt install g++)" >&2; exit 1; }

if [ -n "${LIBTORCH:-}" ]; then
  include=$LIBTORCH/include lib=$LIBTORCH/lib includes="-isystem $LIBTORCH/include"
else
  include=/usr/include lib=/usr/lib/$("$cxx" -dumpmachine) includes= # the system's own folder must keep its place in the search
  [ -e "$lib/libc10.so" ] || lib=/usr/lib/x86_64-linux-gnu
fi
[ -e "$include/ATen/core/Tensor.h" ] && [ -e "$lib/libc10.so" ] || {
  echo "build.sh: no libtorch in ${LIBTORCH:-/usr} (Debian: apt install libtorch-dev; elsewhere set LIBTORCH=/path/to/libtorch)" >&2
  exit 1
}

key=$( { cat "$here"/*.c "$here"/*.cpp "$here"/*.h "$here/build.sh"; "$cxx" -dumpfullversion; stat -Lc '%n %s %Y' "$lib/libc10.so"; } |
  sha256sum | cut -c1-16)
out=${1:-$root/.farm/native/torch-$key}

point_at() { # atomically
  [ $# -eq 1 ] || return 0
  ln -sfn "$(basename "$1")" "$root/.farm/native/.torch.$$" && mv -T "$root/.farm/native/.torch.$$" "$root/.farm/native/torch"
}

mkdir -p "$(dirname "$out")"
exec 9>"$out.lock"
flock 9
if [ "$(cat "$out/key" 2>/dev/null)" != "$key" ]; then
  work=$(mktemp -d "$out.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # libtorch for Linux came with the old std::string until 2.6; the library itself says which one it has.
  abi=0
  grep -q 'N3c105ErrorC[12].*__cxx11' "$lib/libc10.so" && abi=1
  flags="-std=c++17 -O2 -g0 -fPIC -fvisibility=hidden -Wall -D_GLIBCXX_USE_CXX11_ABI=$abi $includes -isystem $include/torch/csrc/api/include"
  pids=
  for source in "$here"/*.cpp; do
    "$cxx" $flags -c "$source" -o "$work/$(basename "$source" .cpp).o" &
    pids="$pids $!"
  done
  "$cxx" -x c -std=gnu17 -O2 -fPIC -Wall -shared "$here/boot.c" -o "$work/libmetaquery_boot.so"
  for pid in $pids; do wait "$pid"; done
  libraries="-ltorch -ltorch_cpu -lc10"
  [ ! -e "$lib/libtorch_cuda.so" ] || libraries="$libraries -ltorch_cuda -lc10_cuda"
  "$cxx" -shared -o "$work/libmetaquery_torch.so" "$work"/*.o -L"$lib" -Wl,-rpath,"$lib" -Wl,--no-as-needed $libraries
  rm "$work"/*.o
  echo "$key" > "$work/key"
  chmod 755 "$work"
  rm -rf "$out"
  mv -T "$work" "$out"
  trap - EXIT
fi
[ $# -gt 0 ] || point_at "$out"
