#!/usr/bin/env bash
# The part of test-in-nspawn.sh that runs inside the container, as a unit of its systemd.
set -uo pipefail
export LANG=C.UTF-8

python=/opt/fawkesd/bin/python
home=/home/alice
outbox=$home/Pictures/outbox
sync=$home/Pictures/sync
config=$home/.config/fawkesd/fawkesd.yaml
page=/run/fawkesd-page.sock
port=127.0.0.1:48377  # the container shares the network of the machine: not one that may be in use
told=48378
metrics=$home/metrics/fawkesd.prom
held=0

fail() { echo "FAILED: $1"; systemctl status --no-pager fawkesd; exit 1; }
ok() { held=$((held + 1)); echo "ok: $1"; }
fawkesd() { "$python" -P -m daemon "$@"; }
main_pid() { systemctl show -P MainPID fawkesd; }
property() { systemctl show -P "$1" fawkesd; }
# child_named WORDS: the child of the service whose command line has these words
child_named() {
    local pid main
    main=$(main_pid)
    for pid in $(cat "/proc/$main/task/"*/children); do
        if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -c "$1" >/dev/null; then echo "$pid"; fi
    done
}
engine_pid() { child_named spawn_main; }
# within SECONDS CONDITION...: wait until it holds
within() {
    local until=$((SECONDS + $1)); shift
    until "$@"; do [ $SECONDS -lt $until ] || return 1; sleep 0.2; done
}
drop() { cp "/work/$1" "$outbox/.$1.tmp" && chown alice: "$outbox/.$1.tmp" && mv "$outbox/.$1.tmp" "$outbox/$1"; }
# refused WORDS CONFIG: install says no, with these words
refused() {
    local said
    said=$(fawkesd service install --system --config "$2" 2>&1) && return 1
    grep -q "$1" <<<"$said" || { echo "$said"; return 1; }
}
# page_says WORDS ADDRESS ACCOUNT: whether an account that asks where to sign in gets this answer, or error
page_says() { [[ $(runuser -u "$3" -- "$python" /work/ask.py "$2" 2>&1) == *"$1"* ]]; }
cat >/work/ask.py <<'ASK'
import socket, sys
where = sys.argv[1]
if where.startswith("/"):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(where)
else:
    host, _, port = where.partition(":")
    connection = socket.create_connection((host, int(port)), 10)
connection.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
print(connection.makefile().readline())
ASK
restarted() { [ "$(main_pid)" != "$1" ] && [ "$(property ActiveState)" = active ]; }

useradd --create-home alice
useradd bob
runuser -u alice -- mkdir -p "$outbox" "$sync" "$home/.config/fawkesd" "$home/metrics"
echo "json://127.0.0.1:$told/" >"$home/notify-urls" && chown alice: "$home/notify-urls" && chmod 600 "$home/notify-urls"
runuser -u alice -- tee "$config" >/dev/null <<CONFIG
users: [{name: alice, outboxes: [~/Pictures/outbox], sync: ~/Pictures/sync}]
watch: {settle_s: 0.5}
engine: {threads: 1}
web: {listen: "unix:$page"}
notify: {urls_file: ~/notify-urls}
metrics: {prometheus_file: ~/metrics/fawkesd.prom}
hooks: {on_published: [sh, -c, 'echo "\$FAWKESD_OUTPUT" >> $home/Pictures/hook-told']}
CONFIG

# Refusals, with the reason, before anything is written.
chmod 700 "$outbox" && chown root: "$outbox"
refused "alice cannot read $outbox" "$config" || fail "refusal: no access"
ok "install refuses an outbox that the service's user may not read"
chown alice: "$outbox"
mkdir /mnt/other && mount -t tmpfs none /mnt/other && chown alice: /mnt/other
sed "s|sync}]|sync, staging: /mnt/other/staging}]|" "$config" >"$home/other.yaml" && chown alice: "$home/other.yaml"
refused "are on different mounts" "$home/other.yaml" || fail "refusal: two mounts"
ok "install refuses staging and sync folder on two mounts"
[ ! -e /etc/systemd/system/fawkesd.service ] || fail "a refusal wrote a unit"

# What is tested is not how much the service leaves to others: it would wait for them where the machine is busy.
mkdir -p /etc/systemd/system/fawkesd.service.d
printf '[Service]\nNice=0\nCPUWeight=1000\n' | tee /etc/systemd/system/fawkesd.service.d/eager.conf >/dev/null

started=$SECONDS
fawkesd service install --system --enable --config "$config" || fail "install"
[ "$(property ActiveState)" = active ] || fail "not active after install"
[ -n "$(engine_pid)" ] || fail "READY=1 came before the engine"
ok "install --enable returns when the engine is ready ($((SECONDS - started)) s)"
within 30 sh -c "systemctl show -P StatusText fawkesd | grep -q 'published today'" || fail "no status text"
first=$(HOME=$home fawkesd status --config "$config" | sed -n 1p)
[ "$(property StatusText)" = "$first" ] || fail "status: $(property StatusText) / $first"
ok "systemctl status shows the first line of fawkesd status: $(property StatusText)"

drop a.jpg
within 300 test -s "$sync/a.jpg" || fail "a.jpg was not published"
cmp -s "$outbox/a.jpg" "$sync/a.jpg" && fail "the original was published"
ok "a dropped photo is published"
explained() { journalctl --catalog --no-pager MESSAGE_ID=a16ed9a0f0e04e3da36419ef1b404d5d; }
[[ $(explained) == *"A photo of alice from the outbox $outbox is in the sync folder"* ]] || fail "catalogue: $(explained)"
ok "journalctl explains the event from the installed catalogue"
within 20 grep -qx "$sync/a.jpg" "$home/Pictures/hook-told" || fail "the hook was not run"
ok "the hook was run, inside the sandbox"

# What the process can reach, asked in its own namespaces.
in_service() { nsenter --target "$(main_pid)" --mount -- "$@"; }
in_service touch "$outbox/x" 2>/dev/null && fail "the outbox is writable"
in_service sh -c "echo >> $outbox/a.jpg" 2>/dev/null && fail "an original is writable"
ok "outboxes are read-only to the process"
in_service test -e "$home/.config/fawkesd" || fail "the configuration is not visible"
in_service test -e "$home/.bashrc" && fail "the rest of the home is visible"
ok "nothing else of the home is visible to the process"
nsenter --target "$(main_pid)" --net -- sh -c 'cat /proc/net/dev' | grep -qE 'host0|eth|en' && fail "there is a network"
property RestrictAddressFamilies | grep -cx AF_UNIX >/dev/null || fail "address families: $(property RestrictAddressFamilies)"
mkdir -p /run/systemd/system/fawkesd.service.d
sed -n '/^ExecStart=/!p' /etc/systemd/system/fawkesd.service >/run/systemd/system/probe.service
sed -i -e 's/^Type=notify/Type=oneshot/' -e '/^ExecReload=/d' -e '/^Restart/d' -e '/^WatchdogSec/d' -e '/^Sockets=/d' \
    -e "/^\[Service\]/a ExecStart=$python -P /work/probe.py" /run/systemd/system/probe.service
cat >/work/probe.py <<'PROBE'
import errno, socket
socket.socket(socket.AF_UNIX).close()
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK):
    try:
        socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else socket.SOCK_STREAM if family != socket.AF_NETLINK else socket.SOCK_RAW)
    except OSError as exc:
        assert exc.errno == errno.EAFNOSUPPORT, (family, exc)
    else:
        raise SystemExit(f"{family} can be opened")
PROBE
systemctl daemon-reload && systemctl start probe.service || { journalctl -u probe -o cat --no-pager; fail "address families in the same sandbox"; }
ok "no address family but AF_UNIX can be opened in the sandbox"
grep -q "^Max core file size *0 *0" "/proc/$(main_pid)/limits" || fail "core files"
ok "no core file can be written"

level=$(systemd-analyze security --no-pager fawkesd | sed -n 's/.*Overall exposure level[^0-9]*\([0-9.]*\).*/\1/p')
[[ $level =~ ^0\.[0-6]$ ]] || fail "exposure: $level"
ok "the exposure of the unit is $level, with the page"

# What the timers start.
within 150 grep -qsx "fawkesd_up 1" "$metrics" || { systemctl status --no-pager fawkesd-metrics; fail "no metrics"; }
[ "$(stat -c '%a %U' "$metrics")" = "644 alice" ] || fail "rights of the metrics: $(stat -c '%a %U' "$metrics")"
ok "a timer writes the metrics, for everybody to read"
cat >/work/server.py <<'SERVER'
import http.server, sys
class Takes(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open("/work/told", "ab") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Takes).serve_forever()
SERVER
"$python" /work/server.py "$told" 2>/dev/null &
server=$!
within 60 bash -c "exec 3<>/dev/tcp/127.0.0.1/$told" 2>/dev/null || fail "the server that is told"
systemctl stop fawkesd-notify.timer && rm -f "$home/.local/state/fawkesd/notified.json"  # what it told has no part in this
systemctl start fawkesd-notify || fail "notify"  # what is held now is no news
drop faceless.jpg
within 120 sh -c "systemctl show -P StatusText fawkesd | grep -q ', 1 held'" || fail "faceless.jpg is not held"
systemctl start fawkesd-notify || { journalctl -u fawkesd-notify -o cat --no-pager; fail "notify of a held photo"; }
grep -q "1 more held" /work/told || fail "told: $(cat /work/told)"
ok "a held photo is told through the network, which the unit of fawkesd notify alone has"
kill "$server"
rm "$outbox/faceless.jpg"

# The web page, at the socket that systemd opens for it.
within 60 page_says "HTTP/1.1 200" "$page" alice || fail "the page does not answer at $page"
[ "$(stat -c '%a %U' "$page")" = "600 alice" ] || fail "socket of the page: $(stat -c '%a %U' "$page")"
page_says PermissionError "$page" bob || fail "another account reaches the page"
ok "the page answers at its socket, which its account alone can open"
child=$(child_named "daemon web") && [ -n "$child" ] || fail "the page is no child of the service"
[ "$(readlink "/proc/$child/ns/net")" != "$(readlink /proc/self/ns/net)" ] || fail "the page has a network"
ok "the page's own process has no network"

# Reload: a right configuration is used by the same process, a wrong one is refused and changes nothing.
pid=$(main_pid)
sed -i 's/settle_s: 0.5/settle_s: 0.4/' "$config"
systemctl reload fawkesd || fail "reload"
within 120 sh -c "journalctl -u fawkesd -o cat --no-pager | grep -c 'engine ready' | grep -qx 2" || fail "no engine after reload"
[ "$(main_pid)" = "$pid" ] || fail "reload restarted the process"
ok "reload uses the new configuration in the same process"
sed -i 's/settle_s/settle_seconds/' "$config"
systemctl reload fawkesd 2>/dev/null && fail "a wrong configuration was reloaded"
[ "$(main_pid)" = "$pid" ] && [ "$(property ActiveState)" = active ] || fail "a wrong reload stopped the service"
ok "reload refuses a wrong configuration and goes on"
sed -i 's/settle_seconds/settle_s/' "$config"

# The watchdog: shortened here, to less than the time after which the service itself ends an engine.
printf '[Service]\nWatchdogSec=15\n' >/run/systemd/system/fawkesd.service.d/watchdog.conf
systemctl daemon-reload && systemctl restart fawkesd || fail "restart"
pid=$(main_pid)
drop b.jpg
waiting() { case $(property StatusText) in *", $1 waiting"*) ;; *) false ;; esac; }
within 60 waiting 1 || fail "b.jpg is not waiting"
kill -STOP "$(engine_pid)"
[ ! -e "$sync/b.jpg" ] || fail "b.jpg was published before the engine was frozen: the test came too late"
within 90 restarted "$pid" || fail "the watchdog did not restart a service with a frozen engine"
journalctl -u fawkesd -o cat --no-pager | grep -c "Watchdog timeout" >/dev/null || fail "it was not the watchdog"
journalctl -u fawkesd -o cat --no-pager | grep -c "service/run.py.*in _run" >/dev/null || fail "no stack in the journal"
ok "a frozen engine starves the watchdog, systemd restarts the service, the stacks are in the journal"
within 300 test -s "$sync/b.jpg" || fail "b.jpg was not published after the restart"
ok "the photo of the frozen engine is published after the restart"
rm /run/systemd/system/fawkesd.service.d/watchdog.conf && systemctl daemon-reload

# An unclean stop, and a start after it.
pid=$(main_pid)
drop c.jpg
sleep 1.5
systemctl kill --signal=KILL fawkesd
within 120 restarted "$pid" || fail "no restart after SIGKILL"
within 300 test -s "$sync/c.jpg" || fail "c.jpg was not published after SIGKILL"
[ "$(find "$sync" -type f ! -name '.*' | wc -l)" = 3 ] || fail "not each photo once"
[ -z "$(find "$home/Pictures/.fawkesd-staging-sync" -type f ! -name lock)" ] || fail "staging was not swept"
ok "after SIGKILL of everything it starts again and publishes what waited, once"

started=$SECONDS
drop d.jpg
sleep 1
systemctl stop fawkesd || fail "stop"
[ $((SECONDS - started)) -lt 90 ] && [ "$(property Result)" = success ] || fail "stop: $(property Result)"
ok "stop in the middle of the work ends cleanly ($((SECONDS - started)) s)"

# A wrong configuration ends with 78 and is not tried again and again.
sed -i 's/settle_s/settle_seconds/' "$config"
systemctl start fawkesd 2>/dev/null && fail "a wrong configuration was started"
[ "$(property ExecMainStatus)" = 78 ] && [ "$(property ActiveState)" = failed ] || fail "wrong configuration: $(property ActiveState)"
ok "a wrong configuration fails with 78, without restarts"
sed -i 's/settle_seconds/settle_s/' "$config"

fawkesd service uninstall --system || fail "uninstall"
[ ! -e /etc/systemd/system/fawkesd.service ] || fail "the unit is still there"
[ ! -e /etc/systemd/system/fawkesd-web.socket ] || fail "the unit of the page's socket is still there"
ok "uninstall removes the units"

# A path unit and a timer instead of a daemon.
fawkesd service install --system --once --enable --config "$config" || fail "install --once"
drop e.jpg
within 300 test -s "$sync/e.jpg" || { systemctl status --no-pager fawkesd-once.service; fail "once: e.jpg was not published"; }
ok "with --once, an arriving photo starts fawkesd once, which publishes it"
within 60 test -s "$sync/d.jpg" || fail "d.jpg, stopped in the middle, was not published"
ok "the photo whose work was stopped is published later"
fawkesd service uninstall --system >/dev/null || fail "uninstall --once"

# The same for one's own session, with lingering.
loginctl enable-linger alice
within 60 test -S /run/user/"$(id -u alice)"/bus || fail "no session for alice"
as_alice() { runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/"$(id -u alice)" HOME=$home "$@"; }
sed -i "s|unix:$page|$port|" "$config"
as_alice "$python" -P -m daemon service install --enable || fail "install for a user"
[ "$(as_alice systemctl --user is-active fawkesd)" = active ] || fail "the user service is not active"
drop f.jpg
within 300 test -s "$sync/f.jpg" || fail "f.jpg was not published by the user service"
ok "a user service, installed without root, publishes too"
within 60 page_says "HTTP/1.1 200" "$port" bob || fail "the page of the user service does not answer at $port"
ok "the page of the user service answers at its port"
as_alice "$python" -P -m daemon service uninstall >/dev/null || fail "uninstall for a user"

echo "all $held assertions hold"
