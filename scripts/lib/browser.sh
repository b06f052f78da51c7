# Sourced after common.sh by what drives Chromium.

# shellcheck disable=SC2154 # From common.sh.
browser="$cache/browser"

# browser_packages: Chromium and the packages of tests/browser, beside copies of the files that import
# them, where Node looks for them.
browser_packages() {
    need chromium chromium
    need node nodejs
    need npm npm
    mkdir -p "$browser"
    if ! cmp -s tests/browser/package.json "$browser/package.json" || [ ! -d "$browser/node_modules" ]; then
        cp tests/browser/package.json "$browser/package.json"
        npm install --prefix "$browser" --no-audit --no-fund --loglevel=error
    fi
    rm -f "$browser"/*.js "$browser"/*.toml "$browser"/*.svg
    cp tests/browser/*.{js,toml,svg} "$browser/"
    CHROMIUM="$(command -v chromium)"
    # shellcheck disable=SC2154 # From common.sh.
    BUILT="$(realpath -m "$target/debug")"
    export CHROMIUM BUILT
}
