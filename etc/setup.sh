#!/bin/sh
# Install the Debian packages that are missing, and only those.
#   etc/setup.sh [build] [test] [lint] [fuzz] [golden] [bench]     default: build
# Needs no network and no root when nothing is missing.
set -eu

build="gcc libc6-dev pkg-config protobuf-c-compiler libzmq3-dev libsqlite3-dev libopenblas-pthread-dev libyaml-dev
libprotobuf-c-dev libjansson-dev libmicrohttpd-dev libsmartcols-dev libxxhash-dev libsodium-dev libunistring-dev uthash-dev
libjudy-dev scdoc"
test="libcriterion-dev python3 python3-zmq chromium" # chromium: the page of recsysctl why is opened as people do
lint="clang-format clang-tidy cppcheck shellcheck scdoc"
fuzz="clang libfuzzer-14-dev libclang-rt-14-dev"
bench="python3 python3-zmq python3-numpy"
golden="python3 python3-zmq python3-numpy python3-torch python3-yaml" # large: PyTorch is the reference, not needed otherwise

wanted=
for group in "${@:-build}"; do
    case $group in
        build) wanted="$wanted $build" ;;
        test) wanted="$wanted $test" ;;
        lint) wanted="$wanted $lint" ;;
        fuzz) wanted="$wanted $fuzz" ;;
        golden) wanted="$wanted $golden" ;;
        bench) wanted="$wanted $bench" ;;
        *) echo "setup: unknown group '$group' (build, test, lint, fuzz, golden, bench)" >&2; exit 64 ;;
    esac
done

if ! command -v dpkg-query > /dev/null; then
    echo "setup: this is not Debian. Install the development packages of: libzmq, SQLite 3.37 or newer, OpenBLAS, libyaml," >&2
    echo "setup: protobuf-c (and its compiler), jansson, libmicrohttpd, libsmartcols (util-linux), xxHash, libsodium," >&2
    echo "setup: libunistring, uthash, Judy, scdoc; for the tests Criterion 2.4, Python 3 with pyzmq, and Chromium. Then run make." >&2
    command -v protoc-c > /dev/null && command -v pkg-config > /dev/null && exit 0
    exit 69
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "setup: every package is there"
    exit 0
fi

root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || { echo "setup: as root, run: apt-get install$missing" >&2; exit 77; }
    root=sudo
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$root apt-get -qq update || echo "setup: could not refresh the package lists, going on with what is there" >&2
# shellcheck disable=SC2086 # a list of package names
$root apt-get -qq -y --no-install-recommends install $missing > /dev/null
echo "setup: done"
