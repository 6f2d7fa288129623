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

# Starts what is not given, and exports DATABASE_URL and REDIS_URL.
up_servers() {
  local need=() instance=$DATA/up
  [[ -n ${DATABASE_URL:-} ]] || need+=(postgres)
  [[ -n ${REDIS_URL:-} ]] || need+=(redis)
  find_services "${need[@]}"
  [[ -n $PG_BIN ]] || way_installed || true # psql and pg_dump for a given server, if there are any
  new_instance "$instance"
  if [[ -n ${DATABASE_URL:-} ]]; then
    say "Postgres: the given DATABASE_URL is used"
  else
    start_postgres "$instance" up
    step "Database pulsecal: making sure it is there" make_database
    DATABASE_URL=postgres://pulsecal:$PG_PASSWORD@127.0.0.1:$PG_PORT/pulsecal
  fi
  if [[ -n ${REDIS_URL:-} ]]; then
    say "Redis: the given REDIS_URL is used"
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
  export BIND=${BIND:-127.0.0.1:$(remembered_port "$STATE/http.port" 8080)}
  export PUBLIC_URL=${PUBLIC_URL:-http://$BIND}
  export BLOB_URL=${BLOB_URL:-file://$(url_path "$STATE/blobs")}
  mkdir -p "$STATE/blobs"
  export PULSECAL_SIGN_INS=$STATE/sign-ins.json
  if [[ -n $PG_BIN ]]; then export PULSECAL_PG_BIN=$PG_BIN PATH=$PG_BIN:$PATH; fi # pg_dump of the server's version
  (umask 077 && for name in DATABASE_URL REDIS_URL PG_BIN; do printf '%s=%q\n' "$name" "${!name}"; done >"$STATE/run.env")
}

# Once per database. The marker holds a hash, not the address.
seed() {
  local mark
  mark=$(printf '%s' "${DATABASE_URL%%\?*}" | sha256sum)
  [[ ${DEV_SEED:-1} != 0 && $(cat "$STATE/seeded" 2>/dev/null) != "$mark" ]] || return 0
  (umask 077 && step "Demo clinic: loading" "$BIN/pulsecal" seed demo) # it writes the sign-ins
  printf '%s\n' "$mark" >"$STATE/seeded"
}

supervisor_pid() {
  local pid
  pid=$(cat "$STATE/supervisor.pid" 2>/dev/null) && is_ours "$pid" && ! is_gone "$pid" && printf '%s' "$pid"
}

# Programs that outlived a supervisor that was killed.
end_orphans() {
  local pid
  [[ -f $STATE/pids ]] || return 0
  while read -r _ pid; do
    is_ours "$pid" && end_process "$pid" 10
  done <"$STATE/pids"
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
  local detach='' pid
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
  step "Database: migrating" "$BIN/pulsecal" migrate
  seed
  local supervise=("$BIN/pulsecal" dev-supervise --state-dir "$STATE" --bin-dir "$BIN")
  if [[ -n $detach ]]; then
    "${OWN_SESSION[@]}" "${supervise[@]}" </dev/null >/dev/null 2>"$STATE/log/supervisor.err" 9>&- &
    pid=$!
    step "api, worker, scheduler: starting" wait_ready "$pid"
    trap - EXIT INT TERM HUP PIPE
    disown "$pid" || true
    cat "$STATE/welcome.txt"
    say "Runs on its own. ./dev logs follows it, ./dev down stops it."
  else
    # Ctrl-C comes here, not to the programs: they end in order.
    "${OWN_SESSION[@]}" "${supervise[@]}" </dev/null 9>&- &
    pid=$!
    unlock
    trap 'kill -TERM "$pid" 2>/dev/null || true' INT TERM HUP
    local rc=0
    while :; do
      rc=0
      wait "$pid" || rc=$?
      is_gone "$pid" && break # a trapped signal ends `wait`, not the supervisor
    done
    exit "$rc"
  fi
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
  lock
  stop_all
  rm -rf "$DATA/up" "$STATE/blobs" "$STATE/seeded" "$STATE/sign-ins.json"
  unlock
  cmd_up "$@"
}

cmd_status() {
  if supervisor_pid >/dev/null && [[ -f $STATE/status.json ]]; then
    if [[ ${1:-} == --json ]]; then cat "$STATE/status.json"; else cat "$STATE/welcome.txt" 2>/dev/null || say "starting"; fi
    return
  fi
  if [[ ${1:-} == --json ]]; then say '{"running": false}'; else say "Nothing runs. ./dev up starts it."; fi
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
