# shellcheck shell=bash
# up, down, reset, status, logs, psql: the running system of this checkout.

target_folder() {
  local folder=${CARGO_TARGET_DIR:-target}
  [[ $folder == /* ]] || folder=$ROOT/$folder
  printf '%s' "$folder"
}

# Sets BIN, the folder of the programs.
build() {
  local profile=release
  if [[ -n ${DEV_BIN:-} ]]; then
    BIN=$(cd -- "$DEV_BIN" && pwd -P)
    return
  fi
  command -v cargo >/dev/null || fail "cargo is not installed; get Rust from https://rustup.rs"
  [[ ${DEV_PROFILE:-release} == release ]] || profile=dev
  BIN=$(target_folder)/${profile/#dev/debug}
  [[ -x $BIN/pulsecal-worker ]] || say "Building ($profile). The first build takes some minutes."
  in_group cargo build --profile "$profile" --workspace --bins
}

# Starts what is not given, and exports DATABASE_URL and REDIS_URL. Sets SIGN_INS, the file of this database's sign-ins.
up_servers() {
  local need=() instance=$DATA/up
  [[ -n ${DATABASE_URL:-} ]] || need+=(postgres)
  [[ -n ${REDIS_URL:-} ]] || need+=(redis)
  find_services "${need[@]}"
  [[ -n $PG_BIN ]] || way_installed || true # psql and pg_dump for a given server, if there are any
  new_instance "$instance"
  if [[ -n ${DATABASE_URL:-} ]]; then
    say "Postgres: the given DATABASE_URL is used"
    answers "$DATABASE_URL" 5432 || fail "DATABASE_URL: nothing answers there"
    SIGN_INS=$STATE/seeds/$(printf '%s' "${DATABASE_URL%%\?*}" | sha256sum | cut -c1-16).json # a hash, not the address
  else
    start_postgres "$instance" up
    SIGN_INS=$instance/sign-ins.pg${PG_VERSION%%[!0-9]*}.json # not by address: the port may change
    step "Database pulsecal: making sure it is there" make_database
    DATABASE_URL=postgres://pulsecal:$PG_PASSWORD@127.0.0.1:$PG_PORT/pulsecal
  fi
  if [[ -n ${REDIS_URL:-} ]]; then
    say "Redis: the given REDIS_URL is used"
    answers "$REDIS_URL" 6379 || fail "REDIS_URL: nothing answers there"
  else
    start_redis "$instance"
    REDIS_URL=$(redis_url)
  fi
  export DATABASE_URL REDIS_URL
}

# As a hosted Postgres gives it: the owner of a database, who may make roles, but is no superuser.
make_database() {
  psql_quiet "$(superuser_url postgres)" -q <<SQL
SELECT 'CREATE ROLE pulsecal LOGIN CREATEROLE CREATEDB' WHERE to_regrole('pulsecal') IS NULL \gexec
ALTER ROLE pulsecal PASSWORD '$PG_PASSWORD';
SELECT 'CREATE DATABASE pulsecal OWNER pulsecal' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'pulsecal') \gexec
SQL
}

# What the programs read; the caller's values win.
export_environment() {
  local key=$STATE/keys/secret_key
  [[ -s $key ]] || (umask 077 && random_hex 32 >"$key")
  export SECRET_KEY=${SECRET_KEY:-$(<"$key")}
  export BLOB_URL=${BLOB_URL:-file://$(url_path "$STATE/blobs")}
  export LOG_FORMAT=${LOG_FORMAT:-text} # a person reads it
  if [[ -n $PG_BIN ]]; then export PG_BIN PULSECAL_PG_BIN=$PG_BIN PATH=$PG_BIN:$PATH; fi # pg_dump of the server's version
  (umask 077 && for name in DATABASE_URL REDIS_URL PG_BIN; do printf '%s=%q\n' "$name" "${!name}"; done >"$STATE/run.env")
}

# choose_address BIND PUBLIC_URL: as given, else on a port that is free now.
choose_address() {
  export BIND=${1:-127.0.0.1:$(remembered_port "$STATE/http.port" 8080)}
  export PUBLIC_URL=${2:-http://$BIND}
}

# Once per database: that it was done is told by the sign-ins, which are kept for each database.
seed() {
  mkdir -p "${SIGN_INS%/*}"
  if [[ ${DEV_SEED:-1} != 0 && ! -s $SIGN_INS ]]; then
    (umask 077 && PULSECAL_SIGN_INS=$SIGN_INS step "Demo clinic: loading" "$BIN/pulsecal" seed demo)
  fi
  ln -sfn "$SIGN_INS" "$STATE/sign-ins.json"
}

supervisor_pid() {
  local pid
  pid=$(cat "$STATE/supervisor.pid" 2>/dev/null) && is_ours "$pid" && ! is_gone "$pid" && printf '%s' "$pid"
}

# Programs that outlived a supervisor that was killed.
orphans() {
  local pid
  [[ -f $STATE/pids ]] || return 0
  while read -r _ pid; do
    ! is_ours "$pid" || is_gone "$pid" || printf '%s\n' "$pid"
  done <"$STATE/pids"
}

end_orphans() {
  local pid
  for pid in $(orphans); do end_process "$pid" 10; done
  rm -f "$STATE/pids"
}

forget_run() { rm -f "$STATE"/{pids,run.env,status.json,supervisor.pid,welcome.txt}; }

# At the end of a foreground or failed `up`, also when nobody reads any more what is printed.
clean_up() {
  trap '' INT TERM HUP PIPE
  set +e
  stop_all
}

stop_all() {
  local pid
  if pid=$(supervisor_pid); then step "Programs: stopping" end_process "$pid" 70; fi
  end_orphans
  stop_instance "$DATA/up"
  forget_run
}

cmd_up() {
  local detach='' pid rc bind=${BIND:-} url=${PUBLIC_URL:-}
  [[ ${1:-} != --detach ]] || detach=yes
  lock
  if pid=$(supervisor_pid); then
    cat "$STATE/welcome.txt" 2>/dev/null || true
    say "Runs already (pid $pid). ./dev logs follows it, ./dev down stops it."
    return
  fi
  end_orphans
  forget_run
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  trap 'exec >/dev/null; exit 141' PIPE
  up_servers
  build
  export_environment
  step "Database: migrating" "$BIN/pulsecal" migrate ||
    fail "the database cannot be migrated. If its data may go: ./dev reset"
  seed
  for _ in {1..3}; do
    choose_address "$bind" "$url"
    rc=0
    if [[ -n $detach ]]; then supervise_detached || rc=$?; else supervise_here || rc=$?; fi
    # Another checkout may have been faster at taking the port. One that was not asked for may as well be another.
    if ((rc == 0)) || [[ -n $bind ]] || ! grep -qs 'BIND: cannot listen' "$STATE/log/supervisor.log"; then break; fi
    say "Somebody took $BIND meanwhile: another port."
    random_port >"$STATE/http.port"
  done
  exit "$rc"
}

# To be run in the background: it replaces the shell that was forked for it, so that the pid is its own.
supervise() { exec "${OWN_SESSION[@]}" "$BIN/pulsecal" dev-supervise --state-dir "$STATE" --bin-dir "$BIN" </dev/null 9>&-; }

supervise_detached() {
  local pid
  supervise >/dev/null 2>"$STATE/log/supervisor.err" &
  pid=$!
  step "api, worker, scheduler: starting" wait_ready "$pid" || return
  trap - EXIT INT TERM HUP PIPE
  disown "$pid" || true
  cat "$STATE/welcome.txt"
  say "Runs on its own. ./dev logs follows it, ./dev down stops it."
}

# Ctrl-C comes here, not to the programs: they end in order.
supervise_here() {
  local pid rc=0
  supervise &
  pid=$!
  unlock
  trap 'kill -TERM "$pid" 2>/dev/null || true' INT TERM HUP
  while :; do
    rc=0
    wait "$pid" || rc=$?
    is_gone "$pid" && break # a trapped signal ends `wait`, not the supervisor
  done
  trap 'exit 130' INT TERM HUP
  return "$rc"
}

wait_ready() {
  until [[ -f $STATE/welcome.txt ]]; do
    if is_gone "$1"; then
      tail -n 40 "$STATE/log/supervisor.log"
      cat "$STATE/log/supervisor.err"
      return 1
    fi
    sleep 0.1
  done
}

cmd_down() {
  lock
  stop_all
  if [[ ${1:-} == --purge ]]; then
    for folder in "$DATA"/{test,bench}.[0-9]*; do stop_instance "$folder"; done
    rm -rf "$DATA" "$STATE"
    say "All files of ./dev are deleted."
  fi
  say "Nothing runs."
}

cmd_reset() {
  [[ -z ${DATABASE_URL:-} ]] || fail "reset forgets what ./dev made; the database of DATABASE_URL is yours to empty"
  lock
  stop_all
  rm -rf "$DATA/up" "$STATE/blobs"
  mkdir -m 700 "$STATE/blobs"
  unlock
  cmd_up "$@"
}

cmd_status() {
  if supervisor_pid >/dev/null && [[ -f $STATE/status.json ]]; then
    if [[ ${1:-} == --json ]]; then cat "$STATE/status.json"; else cat "$STATE/welcome.txt" 2>/dev/null || say "starting"; fi
    return
  fi
  if [[ ${1:-} == --json ]]; then
    say '{"running": false}'
  elif [[ -n $(orphans) ]]; then
    say "The supervisor was killed and its programs still run. ./dev up or ./dev down puts that right."
  else
    say "Nothing runs. ./dev up starts it."
  fi
  return 1
}

cmd_psql() {
  [[ -f $STATE/run.env ]] || fail "nothing runs; ./dev up starts it"
  # shellcheck source=/dev/null
  . "$STATE/run.env"
  [[ -n $PG_BIN ]] || fail "psql is not installed"
  psql_quiet "$DATABASE_URL" -v ON_ERROR_STOP=0 "$@"
}

cmd_logs() {
  (($#)) || set -- -n 200 -F
  exec tail "$@" "$STATE/log/supervisor.log"
}
