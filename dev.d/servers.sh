# shellcheck shell=bash
# Starts and stops private servers. An instance is a folder under $DATA: pg<major>/ (data folder), redis/, a
# password and the ports of last time. `up` keeps one; every test or bench run has its own and drops it.

# start_postgres INSTANCE KIND (up, test or bench). Sets PG_PORT and PG_PASSWORD (of the superuser "postgres").
# A server that runs already is used as it is.
start_postgres() {
  local instance=$1 kind=$2 folder
  folder=$instance/pg${PG_VERSION%%[!0-9]*}
  PG_PASSWORD=$(instance_password "$instance") || return
  if postgres_pid "$folder" >/dev/null; then
    PG_PORT=$(<"$instance/pg.port")
    say "Postgres $PG_VERSION: runs on port $PG_PORT"
    return
  fi
  # Another major version has a folder of its own; both at once would be one too many.
  stop_instance_postgres "$instance"
  if [[ ! -f $folder/PG_VERSION ]]; then
    step "Postgres $PG_VERSION: making a data folder" init_postgres || return
  fi
  own "$folder"
  # A lock file that came with a copied folder, or survived a crash, may name a pid that is something else by now.
  rm -f "$folder/postmaster.pid"
  for _ in {1..5}; do
    PG_PORT=$(remembered_port "$instance/pg.port") || return
    step "Postgres $PG_VERSION: starting on port $PG_PORT" launch_postgres && return
    grep -qs 'could not bind' "$folder/server.log" || break # somebody was faster: another port
    rm -f "$instance/pg.port"
  done
  fail "Postgres does not start; its log is $folder/server.log"
}

init_postgres() {
  local locale
  rm -rf "$folder"
  mkdir "$folder" || return
  (umask 077 && printf '%s\n' "$PG_PASSWORD" >"$folder.pw") || return
  own "$folder" "$folder.pw"
  for locale in C.UTF-8 C; do # a few C libraries have no C.UTF-8
    as_server "$PG_BIN/initdb" -D "$folder" --username=postgres --pwfile="$folder.pw" --auth=scram-sha-256 \
      --encoding=UTF8 --locale="$locale" --data-checksums --no-sync && break
    as_server find "$folder" -mindepth 1 -delete
  done
  rm -f "$folder.pw"
  [[ -f $folder/PG_VERSION ]] && printf "include 'pulsecal.conf'\n" >>"$folder/postgresql.conf"
}

launch_postgres() {
  postgres_settings >"$folder/pulsecal.conf" || return
  own "$folder/pulsecal.conf"
  rm -f "$folder/server.log"
  (cd "$folder" && as_server "$PG_BIN/pg_ctl" start -D "$folder" -l "$folder/server.log" -w -t 60 9>&-) && return
  tail -n 20 "$folder/server.log"
  return 1
}

# No unix socket: its path may not pass 107 bytes, which a checkout's path easily does.
postgres_settings() {
  cat <<CONF
listen_addresses = '127.0.0.1'
port = $PG_PORT
unix_socket_directories = ''
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
CONF
  case $kind in
    up) printf '%s\n' "max_connections = 200" "shared_buffers = 128MB" ;;
    bench) printf '%s\n' "max_connections = 300" "shared_buffers = 256MB" "max_wal_size = 4GB" ;;
    # A crash of the machine may eat a test's database; synchronous_commit stays as it is in production.
    test) printf '%s\n' "max_connections = 300" "shared_buffers = 256MB" "fsync = off" "full_page_writes = off" "max_wal_size = 2GB" ;;
  esac
}

# start_redis INSTANCE. Sets REDIS_PORT and REDIS_PASSWORD.
start_redis() {
  local instance=$1 folder=$1/redis name=Redis
  [[ $REDIS_BIN == *redis-server ]] || name=Valkey
  REDIS_PASSWORD=$(instance_password "$instance") || return
  if redis_pid "$folder" >/dev/null; then
    REDIS_PORT=$(<"$instance/redis.port")
    say "$name $REDIS_VERSION: runs on port $REDIS_PORT"
    return
  fi
  mkdir -p "$folder" && chmod 700 "$folder"
  for _ in {1..5}; do
    REDIS_PORT=$(remembered_port "$instance/redis.port") || return
    step "$name $REDIS_VERSION: starting on port $REDIS_PORT" launch_redis && return
    grep -qs 'Address already in use' "$folder/server.log" || break
    rm -f "$instance/redis.port"
  done
  fail "$name does not start; its log is $folder/server.log"
}

# Nothing is saved: Redis is a belt that the ledger refills.
launch_redis() {
  (
    umask 077
    cat >"$folder/redis.conf" <<CONF
bind 127.0.0.1
port $REDIS_PORT
requirepass $REDIS_PASSWORD
dir ./
daemonize yes
pidfile ./redis.pid
logfile ./server.log
save ""
appendonly no
CONF
  ) || return
  rm -f "$folder/server.log" "$folder/redis.pid"
  own "$folder"
  (cd "$folder" && as_server "$REDIS_BIN" ./redis.conf 9>&-) || return
  for _ in {1..100}; do
    redis_answers && return
    ! grep -qs 'Address already in use' "$folder/server.log" || break
    sleep 0.1
  done
  tail -n 20 "$folder/server.log"
  return 1
}

# Asks with our password, so another Redis on that port is not taken for ours.
redis_answers() (
  exec 3<>"/dev/tcp/127.0.0.1/$REDIS_PORT" || exit
  printf 'AUTH %s\r\nPING\r\n' "$REDIS_PASSWORD" >&3
  read -r -t 2 auth <&3 && read -r -t 2 pong <&3
  [[ ${auth:-} == +OK* && ${pong:-} == +PONG* ]]
) 2>/dev/null

# The pid of the server of this folder, if it runs and is that server: a pid file alone proves nothing.
postgres_pid() {
  local pid=''
  read -r pid 2>/dev/null <"$1/postmaster.pid" || true
  has_argument "$pid" "$1" && printf '%s' "$pid"
}

redis_pid() {
  local pid=''
  read -r pid 2>/dev/null <"$1/redis.pid" || true
  [[ $pid =~ ^[0-9]+$ && $(readlink "/proc/$pid/cwd" 2>/dev/null) == "$1" ]] && printf '%s' "$pid"
}

# stop_instance INSTANCE: Redis, then every Postgres of the folder. Nothing happens where nothing runs.
stop_instance() {
  local pid
  if pid=$(redis_pid "$1/redis"); then
    step "Redis: stopping" end_process "$pid" 10
  fi
  stop_instance_postgres "$1"
}

stop_instance_postgres() {
  local pid folder
  for folder in "$1"/pg[0-9]*; do
    pid=$(postgres_pid "$folder") || continue
    step "Postgres: stopping" stop_postgres "$pid" || say "Postgres (pid $pid) does not stop"
  done
}

# INT is Postgres's fast shutdown: sessions are ended, data is written.
stop_postgres() {
  kill -INT "$1"
  for _ in {1..300}; do
    is_gone "$1" && return 0 # a bare return in an EXIT trap would give the status from before the trap
    sleep 0.1
  done
  kill -QUIT "$1"
  sleep 2
  is_gone "$1"
}

new_instance() {
  mkdir -p "$1"
  chmod 711 "$1"
}

instance_password() {
  [[ -s $1/password ]] || (umask 077 && random_hex 16 >"$1/password") || return
  cat "$1/password"
}

# Gives files to the servers' user.
own() { [[ -z $RUN_AS ]] || chown -R "$(id -u "$RUN_AS"):$(id -g "$RUN_AS")" -- "$@"; }

superuser_url() { printf 'postgres://postgres:%s@127.0.0.1:%s/%s' "$PG_PASSWORD" "$PG_PORT" "$1"; }
redis_url() { printf 'redis://:%s@127.0.0.1:%s/0' "$REDIS_PASSWORD" "$REDIS_PORT"; }

# psql_quiet URL ARGUMENTS…: stops at the first error, ignores ~/.psqlrc. The password goes by the environment,
# where `ps` does not show it.
psql_quiet() {
  local url=$1 password=''
  shift
  if [[ $url =~ ^([a-z]+://[^:@/]*):([^@]*)@(.*)$ ]]; then
    url=${BASH_REMATCH[1]}@${BASH_REMATCH[3]}
    password=$(printf '%b' "${BASH_REMATCH[2]//%/\\x}")
  fi
  PGPASSWORD=$password "$PG_BIN/psql" -X -v ON_ERROR_STOP=1 "$@" "$url"
}
