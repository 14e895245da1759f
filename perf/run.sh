#!/usr/bin/env bash
# Measures servers in turns and prints medians and ratios.
# Usage: perf/run.sh [scenario…]        (default: all but the long ones, see `load list`)
#   `documents` besides: whole documents and single keystrokes of Yjs
#   `comutiny` besides: CoMutiNy's own load test (socketio only)
# Environment: ROUNDS=3 DURATION=8 SERVER_CPU=0 LOAD_CPU=1 LOCKSTEP=target/release/lockstep
#   PROTOCOL=croquet, gallery, yjs, socketio or rljson; servers without a protocol move as many bytes
#   SERVERS="lockstep baseline baseline-batch"; baseline-uring, baseline-uring-batch,
#   lockstep-2 (two shards, on all CPUs: the generator shares one), lockstep-2-on-1 (two shards that
#   share the server's CPU), lockstep-echo (for storm alone: who connects and says nothing),
#   lockstep-journal, bun, tungstenite, ws, gallery-json, y-websocket, socket.io, socketioxide besides
#   AGAINST=baseline  RESULTS=perf/results/<time>  LOAD_FLAGS=""  DOCUMENT_FLAGS=""
#   COMUTINY_FLAGS=""  SYNC=100ms (of lockstep-journal)
# Each run has a fresh server process; a server's output is kept beside the results.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-3} duration=${DURATION:-8} server_cpu=${SERVER_CPU:-0} load_cpu=${LOAD_CPU:-1}
target=${CARGO_TARGET_DIR:-target} protocol=${PROTOCOL:-croquet}
lockstep=${LOCKSTEP:-$target/release/lockstep} load=$target/release/examples/load
read -ra servers <<<"${SERVERS:-lockstep baseline baseline-batch}"
read -ra load_flags <<<"${LOAD_FLAGS:-}"
read -ra comutiny_flags <<<"${COMUTINY_FLAGS:-}"
read -ra document_flags <<<"${DOCUMENT_FLAGS:-}"
results=${RESULTS:-perf/results/$(date -u +%Y%m%dT%H%M%SZ)}
scenarios=("$@")
[ ${#scenarios[@]} -gt 0 ] || scenarios=(rss idle storm fanout fanout-saturated rooms rooms-saturated)

socketioxide=$target/peers/release/socketioxide-world tungstenite=$target/peers/release/tungstenite-relay
build_peer() { # server, program
  [[ " ${servers[*]} " != *" $1 "* || -x $2 ]] ||
    CARGO_TARGET_DIR=$target/peers cargo build --release --manifest-path "perf/peers/$1/Cargo.toml"
}
build_peer socketioxide "$socketioxide"
build_peer tungstenite "$tungstenite"
[ -x "$load" ] || cargo build --release --example load
[[ " ${servers[*]} " != *" lockstep"* || -x $lockstep ]] || cargo build --release --bin lockstep
if [[ " ${servers[*]} ${scenarios[*]} " =~ \ (bun|ws|gallery-json|y-websocket|socket.io|documents)\  ]] &&
  [ ! perf/peers/node_modules/.package-lock.json -nt perf/peers/package-lock.json ]; then
  npm ci --prefix perf/peers >&2
fi
mkdir -p "$results"
ulimit -Sn "$(ulimit -Hn)" # the servers inherit it

# One sender of a saturated scenario says more than a client is allowed by default. What is said on Socket.IO is said
# in CoMutiNy's world.
lockstep_command=("$lockstep" --port 0)
case $protocol in
  socketio) lockstep_command+=(--as comutiny --comutiny-messages-per-second-max 1000000) ;;
  rljson) lockstep_command+=(--rljson-messages-per-second-max 1000000 --rljson-refs-per-second-max 100000) ;;
  *) lockstep_command+=("--$protocol-messages-per-second-max" 1000000) ;;
esac

command_of() { # the command line of a server, in the array `command`, and what it speaks
  speaks=$protocol cpus=$server_cpu server_flags=()
  case $1 in
    lockstep) command=("${lockstep_command[@]}" --shards 1 --in-memory) ;;
    lockstep-2) command=("${lockstep_command[@]}" --shards 2 --in-memory) cpus=$server_cpu,$load_cpu ;;
    lockstep-2-on-1) command=("${lockstep_command[@]}" --shards 2 --in-memory) ;;
    lockstep-echo)
      command=("$lockstep" --port 0 --shards 1 --in-memory --as conformance)
      speaks=raw server_flags=(--prefix /echo/) ;;
    # The same with a journal on the disk that holds the results, in a directory of its own.
    lockstep-journal)
      rm -rf "$results/data"
      command=("${lockstep_command[@]}" --shards 1 --data-dir "$results/data" --sync "${SYNC:-100ms}") ;;
    baseline) command=("$load" baseline --port 0) speaks=raw ;;
    baseline-batch) command=("$load" baseline --port 0 --batch) speaks=raw ;;
    baseline-uring) command=("$load" baseline --port 0 --uring) speaks=raw ;;
    baseline-uring-batch) command=("$load" baseline --port 0 --uring --batch) speaks=raw ;;
    bun) command=(perf/peers/node_modules/@oven/bun-linux-x64/bin/bun perf/peers/bun-relay.mjs) speaks=raw ;;
    tungstenite) command=("$tungstenite") speaks=raw ;;
    ws) command=(node perf/peers/ws-relay.mjs) speaks=raw ;;
    socket.io) command=(node perf/peers/socketio-world.mjs) speaks=socketio ;;
    socketioxide) command=("$socketioxide") speaks=socketio ;;
    gallery-json) command=(node perf/peers/gallery-relay.mjs) speaks=gallery ;;
    y-websocket)
      command=(env HOST=127.0.0.1 PORT=0 node perf/peers/node_modules/@y/websocket-server/src/server.js)
      speaks=yjs ;;
    *) echo "run.sh: no server $1" >&2; exit 1 ;;
  esac
}

run_load() { # scenario, server, path of the results without its ending
  "$load" run "$1" --protocol "$speaks" --like "$protocol" --label "$2" --pid "$server" --cpu "$load_cpu" \
    --duration-s "$duration" --json "$3.json" "${server_flags[@]}" "${load_flags[@]}"
}

run_documents() { # server, path of the results without their endings
  [ "$speaks" = yjs ] || return 0
  local address
  address=$("$load" address --pid "$server")
  taskset -c "$load_cpu" node perf/peers/documents.mjs --url="ws://$address/yjs" --pid="$server" --label="$1" \
    --json="$2" "${document_flags[@]}"
}

run_comutiny() { # server, path of the results without their ending
  [ "$speaks" = socketio ] || return 0
  "$load" comutiny --target-url "http://$("$load" address --pid "$server")" --label "$1" --pid "$server" \
    --cpu "$load_cpu" --duration-ms "$((duration * 1000))" --json "$2.json" "${comutiny_flags[@]}"
}

server=
trap '[ -z "$server" ] || kill "$server"' EXIT
run_one() { # scenario, server, round
  local path=$results/$1-$2-$3
  command_of "$2"
  taskset -c "$cpus" "${command[@]}" >"$path.log" 2>&1 &
  server=$!
  # The shell becomes taskset and that the server, under one process id.
  while [[ $(cat "/proc/$server/comm") =~ ^(bash|run\.sh|taskset|env)$ ]]; do
    sleep 0.02
  done
  echo "$1, $2, round $3" >&2
  case $1 in
    documents) run_documents "$2" "$path" ;;
    comutiny) run_comutiny "$2" "$path" ;;
    *) run_load "$1" "$2" "$path" ;;
  esac >/dev/null || echo "run.sh: $1 of $2, round $3, failed" >&2
  kill "$server" && wait "$server" || true
  server=
  rm -rf "$results/data"
}

for scenario in "${scenarios[@]}"; do
  for ((round = 1; round <= rounds; round++)); do
    for name in "${servers[@]}"; do
      run_one "$scenario" "$name" "$round"
    done
  done
done

echo "Kernel $(uname -r | cut -d- -f1), $(nproc) CPUs, $rounds rounds of ${duration} s, load before: $(cut -d' ' -f1-3 /proc/loadavg)"
"$load" summary "$results" --against "${AGAINST:-baseline}" --json "$results/summary.out" | tee "$results/summary.md"
