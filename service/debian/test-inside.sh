#!/usr/bin/env bash
# The part of test.sh that runs inside the container, as a unit of its systemd.
set -uo pipefail
export LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive

home=/var/lib/fawkesd
outbox=/srv/fawkesd/outbox/alice
sync=/srv/fawkesd/sync/alice
config=/etc/fawkesd/fawkesd.yaml
targets=$home/.local/state/fawkesd/targets
held=0

fail() { echo "FAILED: $1"; tail -n 40 /work/apt; systemctl status --no-pager fawkesd; exit 1; }
ok() { held=$((held + 1)); echo "ok: $1"; }
apt() { apt-get -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >/work/apt 2>&1; }
as_service() { (cd / && runuser -u fawkesd -- env HOME=$home fawkesd "$@"); }  # as `sudo -u fawkesd` does
active() { [ "$(systemctl is-active fawkesd)" = active ]; }
# within SECONDS CONDITION...: wait until it holds
within() {
    local until=$((SECONDS + $1)); shift
    until "$@"; do [ $SECONDS -lt $until ] || return 1; sleep 0.2; done
}
drop() { install -o alice -g fawkesd -m 640 "/work/$1" "$outbox/.$1.tmp" && mv "$outbox/.$1.tmp" "$outbox/$1"; }
fingerprint() { find "$targets" -type f -exec sha256sum {} + | sort; }

useradd alice
apt update || { tail -n 3 /work/apt; echo "SKIPPED the Debian package: apt-get has no packages here"; echo "all 0 assertions hold"; exit; }
started=$SECONDS
apt install /work/old.deb || fail "install"
ok "apt-get installs the package ($((SECONDS - started)) s, $(du -sh /opt/fawkesd | cut -f 1))"
fawkesd --version || fail "the command"
[ "$(systemctl is-enabled fawkesd)" = enabled ] && [ "$(systemctl is-active fawkesd)" = inactive ] || fail "before init"
ok "the service is enabled and waits for a configuration"
[ "$(stat -c '%a %U' $home /etc/fawkesd | xargs)" = "700 fawkesd 750 fawkesd" ] || fail "folders"
ok "the account and its folders are there"

install -d -o alice -g fawkesd -m 2750 $outbox
install -d -o fawkesd -g fawkesd -m 2750 $sync
as_service init --user alice --outbox $outbox --sync $sync || fail "init"
[ -e $config ] || fail "init wrote elsewhere"
sed -i 's/^  mode: standard/  mode: quick/; s/^  threads: 0/  threads: 1/' $config
printf '[Service]\nNice=0\nCPUWeight=1000\n' >/work/eager.conf  # what is tested is not how much it leaves to others
install -D /work/eager.conf /etc/systemd/system/fawkesd.service.d/eager.conf
systemctl daemon-reload
systemctl start fawkesd && active || fail "start"
ok "init and start, as the documentation says"
drop a.jpg
within 300 test -s $sync/a.jpg || fail "a.jpg was not published"
cmp -s $outbox/a.jpg $sync/a.jpg && fail "the original was published"
[ "$(stat -c '%a %U %G' $sync/a.jpg)" = "640 fawkesd fawkesd" ] || fail "rights: $(stat -c '%a %U %G' $sync/a.jpg)"
ok "a dropped photo is published, for the group to read"
journalctl --catalog --no-pager MESSAGE_ID=a16ed9a0f0e04e3da36419ef1b404d5d | grep -c "of alice from the outbox" >/dev/null || fail "journal"
ok "the journal has its fields and explains the event"
nsenter --target "$(systemctl show -P MainPID fawkesd)" --mount -- touch $outbox/x 2>/dev/null && fail "the outbox is writable"
level=$(systemd-analyze security --no-pager fawkesd | sed -n 's/.*Overall exposure level[^0-9]*\([0-9.]*\).*/\1/p')
[[ $level =~ ^0\.[0-6]$ ]] || fail "exposure: $level"
ok "the outbox is read-only to the service, and its exposure is $level"

before=$(fingerprint)
[ -n "$before" ] || fail "no target in $targets"
touch /work/stamp
started=$SECONDS
apt install /work/new.deb || fail "upgrade"
[ "$(fingerprint)" = "$before" ] || fail "the upgrade changed the targets"
[ -n "$(find /opt/fawkesd/lib/python*/site-packages/daemon/text.py -newer /work/stamp)" ] || fail "the old program is still there"
within 120 active || fail "the service does not run after the upgrade"
ok "an upgrade replaces the program, keeps the targets and starts the service again ($((SECONDS - started)) s)"
drop b.jpg
within 300 test -s $sync/b.jpg || fail "b.jpg was not published"
[ "$(find $sync -type f ! -name '.*' | wc -l)" = 2 ] || fail "not each photo once"
ok "after the upgrade the next photo is published, and no other again"

mv /opt/fawkesd/lib/python*/site-packages/daemon /work/gone  # as after a new version of Python
dpkg-trigger --no-await --by-package=fawkesd /usr/bin/python3 && dpkg --triggers-only -a >/work/apt 2>&1 || fail "trigger"
fawkesd --version >/dev/null && within 120 active || fail "the environment was not mended"
ok "where Python changed, the environment is made again"

before=$(fingerprint)  # the face of alice is known better with each photo
fawkesd service install --system --config $config >/dev/null || fail "service install"
apt remove fawkesd || fail "remove"
[ ! -e /opt/fawkesd ] && [ ! -e /etc/systemd/system/fawkesd.service ] || fail "the program or a unit is still there"
active && fail "the service still runs"
[ -e $config ] && [ -s $sync/a.jpg ] && [ "$(fingerprint)" = "$before" ] || fail "removing took more than the program"
ok "removing takes the environment and the units, and keeps configuration, state and photos"

apt purge fawkesd || fail "purge"
[ ! -e /etc/fawkesd ] && [ ! -e $home/.config ] || fail "the configuration is still there"
[ -s $sync/a.jpg ] && [ -s $outbox/a.jpg ] && [ "$(fingerprint)" = "$before" ] && id fawkesd >/dev/null || fail "purging lost something"
grep -q "To remove them all" /work/apt || fail "purge does not say what it kept"
ok "purging takes the configuration too, keeps targets and photos with their account, and says so"
eval "$(sed -n 's/^fawkesd:  *\(rm -r .*\)/\1/p' /work/apt)" || fail "the command that purge names"
id fawkesd 2>/dev/null && fail "the account is still there"
ok "the command that it names removes those"

dpkg --unpack /work/new.deb >/work/apt 2>&1 && systemd-sysusers fawkesd.conf && systemd-tmpfiles --create fawkesd.conf || fail "unpack"
apt purge fawkesd || fail "purge of an unused package"
[ ! -e $home ] && [ ! -e /srv/fawkesd ] && ! id fawkesd 2>/dev/null || fail "purging an unused package left something"
ok "purging a package that was never used removes its account and folders"

echo "all $held assertions hold"
