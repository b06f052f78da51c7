# Sourced by the scripts: goes to the top of the repository, and offers what several of them need.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Everything that scripts install or write goes here; git ignores it.
cache="$PWD/.cache"
target="${CARGO_TARGET_DIR:-target}"

say() {
    printf '\n== %s\n' "$*"
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# need COMMAND PACKAGE: installs the Debian package when the command is not there.
need() {
    if command -v "$1" >/dev/null; then
        return
    fi
    install_package "$2"
    command -v "$1" >/dev/null || fail "$1 is still not there after installing $2"
}

install_package() {
    command -v apt-get >/dev/null || fail "needs the Debian package $1, or what it is called here"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        as_root=(sudo)
    fi
    if [ -z "${package_lists_are_fresh:-}" ]; then
        "${as_root[@]}" apt-get update -qq
        package_lists_are_fresh=yes
    fi
    say "installing $1"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

# python_venv NAME REQUIREMENTS: makes .cache/NAME with what the file lists, unless it is there.
python_venv() {
    local venv="$cache/$1" requirements="$2"
    if cmp -s "$requirements" "$venv/requirements.txt"; then
        return
    fi
    need python3 python3
    python3 -c 'import ensurepip' 2>/dev/null || install_package python3-venv
    say "installing $requirements into .cache/$1"
    mkdir -p "$cache"
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$venv/requirements.txt"
}
