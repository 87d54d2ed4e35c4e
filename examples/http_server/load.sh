#!/bin/sh
# load.sh [SECONDS [CONNECTIONS]] - how many requests per second the HTTP server answers, asked by wrk (Debian: wrk) on this
# machine: a page of 1 KB and a file of 100 KB. Beside it nginx and Go's net/http, if they are there, with the same files and the same number
# of threads. The machine should be quiet. PLAIT_BUILD: the build folder.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
server=$(realpath "${PLAIT_BUILD:-$here/../../build/release}")/examples/http_server/http_server
seconds=${1:-5}
connections=${2:-64}
threads=$(nproc)
command -v wrk >/dev/null || { echo "load.sh: wrk is not installed" >&2; exit 77; }
[ -x "$server" ] || { echo "load.sh: build it first: make" >&2; exit 1; }

place=$(mktemp -d)
pid=
stop() {
    [ -z "$pid" ] || { kill -INT "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :; }
    pid=
}
trap 'stop; rm -rf "$place"' EXIT
mkdir "$place/site"
chmod 755 "$place" "$place/site"
head -c 1000 /dev/zero | tr '\0' x >"$place/site/page.html"
head -c 100000 /dev/zero | tr '\0' x >"$place/site/file"

# ask NAME PORT: waits until the server answers, then measures
ask() {
    tries=0
    until wrk -t 1 -c 1 -d 1s "http://127.0.0.1:$2/page.html" >"$place/first" 2>&1 &&
        ! grep -q 'Requests/sec: *0\.00' "$place/first"; do
        tries=$((tries + 1))
        [ $tries -lt 5 ] || { echo "$1: does not answer"; return; }
        sleep 1
    done
    for what in page.html file; do
        wrk -t "$threads" -c "$connections" -d "${seconds}s" --latency "http://127.0.0.1:$2/$what" >"$place/wrk"
        awk -v name="$1" -v what="$what" '/Requests\/sec/ { n = $2 } $1 == "99%" { slow = $2 }
            /Non-2xx|Socket errors/ { bad = bad "  " $0 }
            END { printf "%-10s %-10s %10.0f requests/s   99%% within %s%s\n", name, what, n, slow, bad }' "$place/wrk"
    done
}

"$server" "$place/site" 0 "$threads" >"$place/port" &
pid=$!
sleep 1
ask plait "$(awk '{ print $2 }' "$place/port")"
stop

if command -v nginx >/dev/null; then
    cat >"$place/nginx.conf" <<CONF
daemon off; worker_processes $threads; pid $place/nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type text/html;
       client_body_temp_path $place/b; proxy_temp_path $place/p; fastcgi_temp_path $place/f; uwsgi_temp_path $place/u; scgi_temp_path $place/s;
       server { listen 127.0.0.1:18081 reuseport; root $place/site; } }
CONF
    nginx -c "$place/nginx.conf" 2>/dev/null &
    pid=$!
    ask nginx 18081
    stop
fi

if command -v go >/dev/null; then
    cat >"$place/main.go" <<'GO'
package main

import (
	"net/http"
	"os"
)

func main() { panic(http.ListenAndServe("127.0.0.1:18082", http.FileServer(http.Dir(os.Args[1])))) }
GO
    if GOCACHE="$place/cache" GO111MODULE=off go build -o "$place/goserver" "$place/main.go"; then
        "$place/goserver" "$place/site" &
        pid=$!
        ask Go 18082
        stop
    fi
fi
