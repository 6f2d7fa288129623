#!/bin/sh
# Installs the named packages as root for ./dev, which runs servers of its own: no default cluster is made, no
# service is started now or at boot. The machine's settings are as before when this ends.
set -eu
cluster=/etc/postgresql-common/createcluster.d/pulsecal-dev.conf
policy=/usr/sbin/policy-rc.d
made_policy=
undo() {
  rm -f "$cluster"
  [ -z "$made_policy" ] || rm -f "$policy"
}
trap undo EXIT
trap 'exit 130' INT TERM

mkdir -p "${cluster%/*}"
echo 'create_main_cluster = false' >"$cluster"
if [ ! -e "$policy" ]; then
  made_policy=yes
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
fresh=
for package in "$@"; do
  dpkg -s "$package" >/dev/null 2>&1 || fresh="$fresh $package"
done
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "$@" </dev/null
# Only what was not there before: a service that somebody uses stays as it is.
if command -v systemctl >/dev/null 2>&1; then
  for package in $fresh; do
    systemctl disable --quiet "$package.service" 2>/dev/null || true
  done
fi
