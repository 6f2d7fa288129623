# shellcheck shell=bash
# Small things the other parts of ./dev stand on: printing, ports, whose process it is, who runs the servers.

# Before a command that runs in the background: a session, and so a process group, of its own, away from the
# terminal's signals; and INT works in it again, which a shell makes its background commands ignore.
# shellcheck disable=SC2034,SC2054 # used in check.sh and up.sh; the comma belongs to env
readonly OWN_SESSION=(setsid env --default-signal=INT,QUIT,PIPE)

say() { printf '%s\n' "$*"; }

fail() {
  printf 'dev: %s\n' "$*" >&2
  exit 1
}

# step TEXT COMMAND...: one progress line. The command's own output is shown only if it fails.
# The command runs inside an `if`, where `set -e` is off: functions given here check their own steps.
step() {
  local text=$1 started out rc=0
  shift
  started=$(date +%s%3N)
  out=$(mktemp "$STATE/log/step.XXXXXX")
  printf '%s … ' "$text"
  "$@" >"$out" 2>&1 || rc=$?
  if ((rc == 0)); then
    printf 'ok %s\n' "$(seconds_since "$started")"
  else
    printf 'failed after %s\n' "$(seconds_since "$started")"
    tail -n 60 "$out" >&2
  fi
  rm -f "$out"
  return "$rc"
}

seconds_since() {
  local ms=$(($(date +%s%3N) - $1))
  printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# One ./dev of a checkout changes things at a time. Long-lived children are started with 9>&- so that
# they do not keep the lock.
lock() {
  exec 9>"$STATE/lock"
  flock -n 9 && return
  say "Another ./dev is at work in this folder; waiting for it."
  flock -w 900 9 || fail "the other ./dev did not end within 15 minutes"
}

unlock() { exec 9>&-; }

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below 32768, where the kernel starts to pick ports for outgoing connections.
random_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 12000))
    port_is_free "$port" && printf '%s' "$port" && return
  done
  return 1
}

# answers URL PORT: does anything listen where the URL points to (at PORT if it names none)? Yes, if that cannot be told.
answers() {
  local place=${1#*://} host port
  place=${place%%[/?]*}
  # A name, or an IPv6 address in brackets, then perhaps a port. Several hosts, or a socket's folder, are not looked into.
  [[ ${place##*@} =~ ^(\[([0-9a-fA-F:.]+)\]|[^],:[]+)(:([0-9]+))?$ ]] || return 0
  host=${BASH_REMATCH[2]:-${BASH_REMATCH[1]}} port=${BASH_REMATCH[4]:-$2}
  # shellcheck disable=SC2016 # the inner shell expands them
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$host" "$port" 2>/dev/null
}

# remembered_port FILE [PREFERRED]: the port of last time if it is free, else the preferred one, else a random one.
remembered_port() {
  local port
  for port in "$(cat "$1" 2>/dev/null)" "${2:-}" ''; do
    if [[ $port =~ ^[0-9]+$ ]] && port_is_free "$port"; then break; fi
  done
  [[ -n $port ]] || port=$(random_port) || return
  printf '%s\n' "$port" >"$1"
  printf '%s' "$port"
}

random_hex() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

# Percent-encodes a path for a file: URL, byte by byte.
url_path() {
  local LC_ALL=C text=$1 i c
  for ((i = 0; i < ${#text}; i++)); do
    c=${text:i:1}
    case $c in
      [a-zA-Z0-9/._~-]) printf '%s' "$c" ;;
      *) printf '%%%02X' "'$c" ;;
    esac
  done
}

# has_argument PID TEXT: is the process alive, with exactly this argument on its command line?
has_argument() {
  [[ $1 =~ ^[0-9]+$ ]] && grep -zqxF -e "$2" "/proc/$1/cmdline" 2>/dev/null
}

# is_ours PID: was the process started by this checkout's ./dev? Reused pids and other checkouts are not.
is_ours() {
  [[ $1 =~ ^[0-9]+$ ]] && grep -zqxF -e "PULSECAL_DEV_STATE=$STATE" "/proc/$1/environ" 2>/dev/null
}

# started_at PID: clock ticks from boot to the process's start; with the pid it names a process for good.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# end_process PID SECONDS: TERM, wait, then KILL.
end_process() {
  local i
  kill -TERM "$1" 2>/dev/null || return 0
  for ((i = 0; i < $2 * 10; i++)); do
    is_gone "$1" && return 0
    sleep 0.1
  done
  kill -KILL "$1" 2>/dev/null || true
}

# A zombie whose parent has not looked yet is gone, too.
is_gone() {
  [[ ! -e /proc/$1/stat ]] || grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null
}

# Postgres refuses to run as root, so root hands both servers to a user without rights. Sets RUN_AS, empty if not root.
choose_user() {
  local user
  RUN_AS=
  ((EUID == 0)) || return 0
  command -v setpriv >/dev/null || fail "running as root needs setpriv (package util-linux)"
  for user in postgres nobody pulsecal; do
    if id -u "$user" >/dev/null 2>&1; then
      RUN_AS=$user
      return 0
    fi
  done
  useradd --system --no-create-home --shell /usr/sbin/nologin pulsecal || fail "cannot add a system user for Postgres"
  RUN_AS=pulsecal
}

as_server() {
  if [[ -n $RUN_AS ]]; then
    setpriv --reuid="$(id -u "$RUN_AS")" --regid="$(id -g "$RUN_AS")" --init-groups -- "$@"
  else
    "$@"
  fi
}

# Sets DATA, the folder of servers' files: .dev/data, or, where the server's user may not pass through the folders
# above it, one under /var/tmp named by the checkout's path (and .dev/data is a link to it).
locate_data() {
  local inside=$STATE/data
  if [[ -z $RUN_AS ]] || as_server test -x "$STATE"; then
    [[ ! -L $inside ]] || rm "$inside"
    DATA=$inside
    mkdir -p "$DATA"
  else
    DATA=$(outside_data)
    # The name can be guessed: never use a folder that somebody else put there.
    mkdir "$DATA" 2>/dev/null || [[ ! -L $DATA && -d $DATA && $(stat -c %u "$DATA") == "$EUID" ]] ||
      fail "$DATA is not a folder of user $EUID; move it away"
    ln -sfn "$DATA" "$inside"
  fi
  chmod 711 "$DATA"
}

outside_data() { printf '/var/tmp/pulsecal-%s' "$(printf '%s' "$ROOT" | sha256sum | cut -c1-16)"; }
