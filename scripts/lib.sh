# Shared by the scripts beside this file. Sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
tools=$root/.tools

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $1"
  [ $# -lt 2 ] || say "remedy: $2"
  exit 1
}

digest() { sha256sum -- "$@" 2>/dev/null | sha256sum | cut -c1-32; }

debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# The kernel's start time of a process: tells a process from a later one with the same number.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Prints the number of the dockerd that scripts/engine started, if it still runs.
our_engine() {
  local pid start
  [ -r "$tools/engine.pid" ] || return 1
  read -r pid start <"$tools/engine.pid" || return 1
  [ -n "$start" ] && [ "$(started_at "$pid")" = "$start" ] && printf '%s\n' "$pid"
}

# Set up, and stop at exit what this set up started. Whatever ran before goes on running.
setup_for_this_run() {
  our_engine >/dev/null || trap '"$root/scripts/engine" stop' EXIT
  "$root/scripts/setup"
}
