#!/usr/bin/env bash
# One stage of ./test: stages.sh NAME. Called by ./test from the root of the repository.
set -eu -o pipefail
VENV=$CARGO_TARGET_DIR/test-venv
export CARGO_TERM_COLOR=never
# Checks and tests build everything once, with what is off by default; the release build is as users have it.
FEATURES=(--features throughline/negotiate)

missing() {
    printf 'missing: %s\n' "$@" >&2
    exit 1
}

# Fails unless the version that a program prints is at least the one wanted.
at_least() {
    local wanted=$1 program=$2 found
    shift 2
    command -v "$program" >/dev/null || missing "$program $wanted or newer"
    found=$("$program" "$@" 2>&1 | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) || true
    printf '%s\n%s\n' "$wanted" "$found" | sort -V -C || missing "$program $wanted or newer (found $found)"
    printf '%s %s\n' "$program" "$found"
}

apt_get() {
    # Without a run level no package starts a service of its own.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -qq "$@"
}

# Installs the packages of tests/debian-packages.txt that are not there.
debian_packages() {
    local wanted=() absent=() name
    mapfile -t wanted < <(sed 's/#.*//; /^[[:space:]]*$/d' tests/debian-packages.txt)
    for name in "${wanted[@]}"; do
        dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | grep -q 'ok installed' || absent+=("$name")
    done
    ((${#absent[@]} == 0)) && return
    [ "$(id -u)" = 0 ] || missing "Debian packages, as root: apt-get install ${absent[*]}"
    printf 'installing %s\n' "${absent[*]}"
    local try
    for try in 1 2; do
        if apt_get update && apt_get install -y --no-install-recommends "${absent[@]}"; then
            return
        fi
        printf 'try %s failed\n' "$try"
    done
    missing "Debian packages that apt could not install: ${absent[*]}"
}

# Fills the virtual environment when it does not hold what tests/requirements.txt asks for.
python_packages() {
    if ! cmp -s tests/requirements.txt "$VENV/requirements.txt"; then
        rm -rf "$VENV"
        python3 -m venv "$VENV" || missing "the venv module of Python (Debian package python3-venv)"
        "$VENV/bin/pip" --quiet --disable-pip-version-check install -r tests/requirements.txt
        cp tests/requirements.txt "$VENV/requirements.txt"
    fi
}

# Fills node_modules when it does not match the lock file: npm_packages FOLDER [OPTIONS OF npm ci].
npm_packages() {
    if ! cmp -s "$1/package-lock.json" "$1/node_modules/.installed"; then
        npm --prefix "$1" ci --no-audit --no-fund --loglevel=error "${@:2}"
        cp "$1/package-lock.json" "$1/node_modules/.installed"
    fi
}

stage_needs() {
    at_least 1.95 cargo --version
    cargo fmt --version || missing "rustfmt (rustup component add rustfmt)"
    cargo clippy --version || missing "clippy (rustup component add clippy)"
    command -v cc || missing "a C compiler to link with (Debian package gcc)"
    at_least 20.0 node --version
    at_least 9.0 npm --version
    at_least 3.11 python3 --version
}

# What the stages below need, so that those that run side by side install nothing.
stage_packages() {
    debian_packages
    python_packages
    npm_packages tests
    npm_packages tests/legacy --ignore-scripts
    npm_packages client-js
}

stage_fmt() {
    cargo fmt --all --check
}

stage_clippy() {
    cargo clippy --workspace --all-targets "${FEATURES[@]}" --locked -- -D warnings
    cargo clippy --workspace --locked -- -D warnings
}

stage_unit() {
    cargo test --workspace "${FEATURES[@]}" --lib --bins --locked --no-fail-fast --quiet
}

stage_rust() {
    cargo test --workspace --exclude throughline-xtask "${FEATURES[@]}" --locked --no-fail-fast --quiet
}

stage_tidy() {
    RUST_BACKTRACE=0 cargo test -p throughline-xtask --locked --no-fail-fast --quiet
}

stage_doc() {
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet
}

# Checks, tests and builds the TypeScript client; what is committed must be what the build makes, byte for byte.
stage_js() {
    npm_packages client-js
    npm --prefix client-js run check
    npm --prefix client-js test
    built=$(mktemp -d)
    trap 'rm -rf "$built"' EXIT
    ASSETS=$built npm --prefix client-js run build
    diff -rq "$built" crates/server/assets || missing "a commit of what npm run build makes of client-js"
}

stage_release() {
    cargo build --release -p throughline --locked
}

# Runs whole-system tests, given by name, against the release build.
system_tests() {
    debian_packages
    python_packages
    npm_packages tests
    export THROUGHLINE=$CARGO_TARGET_DIR/release/throughline
    [ -x "$THROUGHLINE" ] || stage_release
    # A browser's driver that leaves a handle open after the last test must not hold the stage.
    node --test --test-force-exit --test-concurrency=1 --test-reporter=spec "${@/%/.test.mjs}"
}

stage_system() {
    system_tests tests/session tests/websocket tests/transports tests/http2 tests/probes tests/foreign tests/middlebox
}

# The versions of WebSocket before RFC 6455, their clients, and proxies in front.
stage_legacy() {
    npm_packages tests/legacy --ignore-scripts
    system_tests tests/legacy tests/legacy-clients tests/legacy-proxies
}

# Real proxies, as Debian has them.
stage_proxies() {
    # For those that ask by NTLM or Negotiate: the binary that the tests of Rust have built.
    cargo test --workspace --exclude throughline-xtask "${FEATURES[@]}" --locked --no-run --quiet
    export NEGOTIATING=$CARGO_TARGET_DIR/debug/throughline
    system_tests tests/proxy-config tests/proxy-forwarded tests/proxies
}

stage_tls() {
    system_tests tests/tls tests/testssl
}

# The doctor on broken paths, compared with golden files; `UPDATE=1` writes them.
stage_doctor() {
    system_tests tests/doctor tests/doctor-page
}

# What the realm believes of whom, and what it refuses before anything is asked of it.
stage_front() {
    system_tests tests/proxy-protocol tests/front-forwarded tests/front-smuggling tests/front-slow tests/front-refusals
}

stage_browsers() {
    system_tests tests/page tests/main-job tests/http2-browser
}

stage_transports() {
    system_tests tests/transports-browser tests/hold
}

# The fault matrix, shortened and without a watch; `node tests/matrix.mjs --out docs/fault-matrix.md` is the whole of it.
stage_faults() {
    system_tests tests/faults
}

stage_autobahn() {
    cargo build --release -p throughline-client --example autobahn_client --locked
    system_tests tests/autobahn
}

# A few cycles of each kind; tests/crash.mjs --cycles 200 is the whole of it.
stage_crash() {
    system_tests tests/crash
}

# Some seconds for every fuzz target: enough to see that it runs and finds nothing near its seeds.
stage_fuzz() {
    local target
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    for target in fuzz/targets/*.rs; do
        fuzz/run "$(basename "$target" .rs)" "${FUZZ_SECONDS:-5}"
    done
}

"stage_$1"
