#!/usr/bin/env bash
# Builds libmetaquery_kernels.so, the fused kernels: plain C++ without torch, once per instruction set, one library.
#   build.sh            into <repository>/.farm/native/kernels-<key>, and points .farm/native/kernels at it; does nothing when done before
#   build.sh OUTDIR     into OUTDIR
# CXX names the compiler. Safe to run at the same time from several builds.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
cxx=${CXX:-g++}
command -v "$cxx" >/dev/null || { echo "build.sh: no C++ compiler '$cxx' (Debian: apt install g++)" >&2; exit 1; }

key=$( { cat "$here"/*.cpp "$here"/*.h "$here/build.sh"; "$cxx" -dumpfullversion; } | sha256sum | cut -c1-16)
out=${1:-$root/.farm/native/kernels-$key}
mkdir -p "$(dirname "$out")"
exec 9>"$out.lock"
flock 9
if [ "$(cat "$out/key" 2>/dev/null)" != "$key" ]; then
  work=$(mktemp -d "$out.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # No -ffast-math: the order of sums is part of what a kernel promises.
  flags="-std=c++17 -O3 -g0 -fPIC -fvisibility=hidden -fopenmp -fno-math-errno -ffp-contract=fast -Wall -Wextra -Wno-psabi"
  pids=
  compile() { "$cxx" $flags "$@" & pids="$pids $!"; }
  for source in kernels matmul autoencoder attention cross_attention; do
    compile -DMQ_ISA=avx512 -march=skylake-avx512 -mprefer-vector-width=512 -c "$here/$source.cpp" -o "$work/$source-avx512.o"
    compile -DMQ_ISA=avx2 -march=haswell -c "$here/$source.cpp" -o "$work/$source-avx2.o"
    compile -DMQ_ISA=baseline -c "$here/$source.cpp" -o "$work/$source-baseline.o"
  done
  compile -c "$here/dispatch.cpp" -o "$work/dispatch.o"
  for pid in $pids; do wait "$pid"; done
  "$cxx" -shared -fopenmp -o "$work/libmetaquery_kernels.so" "$work"/*.o
  rm "$work"/*.o
  echo "$key" > "$work/key"
  chmod 755 "$work"
  rm -rf "$out"
  mv -T "$work" "$out"
  trap - EXIT
fi
[ $# -gt 0 ] || { ln -sfn "$(basename "$out")" "$root/.farm/native/.kernels.$$" && mv -T "$root/.farm/native/.kernels.$$" "$root/.farm/native/kernels"; }
