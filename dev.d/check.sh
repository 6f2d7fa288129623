# shellcheck shell=bash
# test, bench, lint and sqlx: everything that runs against throw-away servers.

INSTANCE='' # the folder of this run's servers

# throwaway KIND: a Postgres and a Redis of this run only (or the given ones), gone when ./dev ends however it ends.
# Exports TEST_DATABASE_URL and TEST_REDIS_URL, and what tests need that start servers of their own.
throwaway() {
  local kind=$1 database=${TEST_DATABASE_URL:-${DATABASE_URL:-}} redis=${TEST_REDIS_URL:-${REDIS_URL:-}}
  find_services postgres redis
  drop_stale_instances
  INSTANCE=$DATA/$kind.$$
  new_instance "$INSTANCE"
  printf '%s %s\n' $$ "$(started_at $$)" >"$INSTANCE/owner"
  trap drop_instance EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  trap 'exec >/dev/null; exit 141' PIPE
  if [[ -n $database ]]; then
    say "Postgres: the given server is used"
  else
    start_postgres "$INSTANCE" "$kind"
    database=$(superuser_url postgres)
  fi
  if [[ -n $redis ]]; then
    say "Redis: the given server is used"
  else
    start_redis "$INSTANCE"
    redis=$(redis_url)
  fi
  export TEST_DATABASE_URL=$database TEST_REDIS_URL=$redis
  export PULSECAL_PG_BIN=$PG_BIN PULSECAL_REDIS_SERVER=$REDIS_BIN PULSECAL_RUN_AS=$RUN_AS
  unset DATABASE_URL REDIS_URL
}

# Also when nobody reads what is printed any more.
drop_instance() {
  trap '' INT TERM HUP PIPE
  set +e
  stop_instance "$INSTANCE"
  rm -rf "$INSTANCE"
}

# Of runs that were killed too hard to clean up.
drop_stale_instances() {
  local folder pid started
  for folder in "$DATA"/{test,bench}.[0-9]*; do
    read -r pid started 2>/dev/null <"$folder/owner" || continue
    [[ $(started_at "$pid") == "$started" ]] || { stop_instance "$folder" && rm -rf "$folder"; }
  done
}

# in_group COMMAND…: in a session of its own, so that Ctrl-C or TERM here ends all of it at once.
in_group() {
  local pid rc=0
  "${OWN_SESSION[@]}" "$@" 9>&- <&0 &
  pid=$!
  trap 'kill -TERM -- "-$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; exit 130' INT TERM HUP
  wait "$pid" || rc=$?
  trap 'exit 130' INT TERM HUP
  return "$rc"
}

# An S3 server that checks signatures. Where it cannot be had, the test of buckets says that it is skipped.
s3_server() {
  S3S_FS=$(command -v s3s-fs || printf '%s/tools/bin/s3s-fs' "$(target_folder)")
  export S3S_FS
  [[ -x $S3S_FS ]] || step "s3s-fs, an S3 server for tests: building, once" \
    env CARGO_PROFILE_DEV_DEBUG=0 cargo install --debug --locked --root "$(target_folder)/tools" --version 0.14.1 --features binary s3s-fs ||
    say "s3s-fs cannot be built: the test of buckets is skipped"
}

cmd_test() {
  throwaway test
  if (($# == 0)) || [[ " $* " =~ ' '(api|oidc)' ' ]]; then
    find_node || say "node >= 20 with npm cannot be had: the tests of OpenID Connect and of pages in a browser say that they are skipped"
  fi
  if (($# == 0)) || [[ " $* " =~ ' '(audit|backups|exports)' ' ]]; then
    s3_server
  fi
  say "Building the programs that tests start"
  in_group cargo build --workspace --bins
  PULSECAL_BIN_DIR=$(target_folder)/debug
  export PULSECAL_BIN_DIR
  # Most tests wait for processes more than they compute: half as many more at once than there are cores.
  export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((($(nproc) * 3 + 1) / 2))}
  local which=(--workspace)
  [[ " $* " != *' -p '* && " $* " != *' --package'* ]] || which=() # the caller chose
  say "cargo test ${which[*]} --no-fail-fast $*"
  in_group cargo test "${which[@]}" --no-fail-fast "$@"
}

# Benches run on a server with fsync on: numbers that a crash would take back are not numbers.
cmd_bench() {
  local which=(--benches)
  if (($#)); then
    which=(--bench "$1")
    shift
  fi
  throwaway bench
  in_group cargo build --release --workspace --bins
  PULSECAL_BIN_DIR=$(target_folder)/release
  export PULSECAL_BIN_DIR
  in_group cargo bench -p pulsecal-tests "${which[@]}" "$@"
}

cmd_lint() {
  local failed=()
  check() {
    local name=$1
    shift
    say "== $name"
    "$@" || failed+=("$name")
  }
  check "format" cargo fmt --all --check
  check "file length" check_lengths
  check "sqlx" check_sqlx
  check "clippy" in_group cargo clippy --workspace --all-targets -- -D warnings
  if cargo deny --version >/dev/null 2>&1; then
    check "cargo deny" cargo deny check bans licenses sources
  else
    say "== cargo deny: SKIPPED, cargo-deny is not installed (cargo install cargo-deny)"
  fi
  if command -v shellcheck >/dev/null; then
    check "shellcheck" shellcheck -x dev dev.d/*.sh .ci/run
  else
    say "== shellcheck: SKIPPED, shellcheck is not installed"
  fi
  ((${#failed[@]} == 0)) || fail "lint failed: ${failed[*]}"
  say "lint: all clean"
}

# About 400 lines a file; 450 is where it stops.
check_lengths() {
  local file lines rc=0
  while IFS= read -r -d '' file; do
    lines=$(wc -l <"$file")
    if ((lines > 450)); then
      say "$file: $lines lines; make it a folder (limit 450)"
      rc=1
    elif ((lines > 400)); then
      say "$file: $lines lines, close to the limit of 450"
    fi
  done < <(find . -name '*.rs' -not -path './target/*' -not -path './.dev/*' -print0)
  return "$rc"
}

check_sqlx() {
  local fresh
  fresh=$(mktemp -d "$STATE/sqlx.XXXXXX")
  local rc=0
  sqlx_into "$fresh" || rc=$?
  if ((rc == 0)); then
    mkdir -p .sqlx
    diff -rq .sqlx "$fresh" || {
      say "the committed .sqlx is not what the migrations and queries give; run ./dev sqlx and commit"
      rc=1
    }
    rmdir .sqlx 2>/dev/null || true
  fi
  rm -rf "$fresh"
  return "$rc"
}

# Regenerates .sqlx, the description of each checked query, by which builds need no database.
cmd_sqlx() {
  local fresh count
  fresh=$(mktemp -d "$STATE/sqlx.XXXXXX")
  sqlx_into "$fresh" || fail ".sqlx is unchanged"
  count=$(find "$fresh" -name 'query-*.json' | wc -l)
  rm -rf .sqlx
  mv "$fresh" .sqlx
  chmod 755 .sqlx
  say ".sqlx: $count queries"
}

# The committed copy of the API's contract; a test compares it with the code.
cmd_openapi() {
  local fresh
  fresh=$(mktemp "$STATE/openapi.XXXXXX")
  # With the whole workspace, so that what tests and lint have compiled serves here too.
  in_group cargo build --quiet --workspace --example openapi || fail "docs/openapi.json is unchanged"
  "$(target_folder)/debug/examples/openapi" >"$fresh" || fail "docs/openapi.json is unchanged"
  chmod 644 "$fresh"
  mv "$fresh" docs/openapi.json
  say "docs/openapi.json: $(wc -l <docs/openapi.json) lines"
}

# sqlx_into FOLDER: migrates a scratch database and compiles core against it; the macros write one file per query.
sqlx_into() {
  local rc=0
  [[ -n $INSTANCE ]] || throwaway test || return
  local base=${TEST_DATABASE_URL%%\?*} options='' name=pulsecal_sqlx_$$
  [[ $TEST_DATABASE_URL != *\?* ]] || options="?${TEST_DATABASE_URL#*\?}"
  local url=${base%/*}/$name$options
  psql_quiet "$TEST_DATABASE_URL" -q -c "CREATE DATABASE $name" || return
  { migrate_with_psql "$url" && compile_queries "$1" "$url"; } || rc=$?
  psql_quiet "$TEST_DATABASE_URL" -q -c "DROP DATABASE $name WITH (FORCE)"
  return "$rc"
}

# The way sqlx does it: each file in one transaction unless its first line says otherwise.
migrate_with_psql() {
  local file single
  for file in migrations/*.up.sql; do
    [[ -f $file ]] || continue
    single=(-1)
    [[ $(head -n 1 "$file") != '-- no-transaction'* ]] || single=()
    PGOPTIONS='-c client_min_messages=warning' psql_quiet "$1" -q "${single[@]}" -f "$file" || return
  done
}

# A --cfg that is new each time makes cargo compile core's macros again without touching a file, and nothing else.
compile_queries() {
  SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$1 DATABASE_URL=$2 in_group \
    cargo rustc --quiet -p pulsecal-core --lib --all-features --profile check -- --cfg "sqlx_run_$$_$(random_hex 4)"
}
