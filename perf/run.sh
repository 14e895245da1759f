#!/usr/bin/env bash
# Measures lockstep and the baseline in turns and prints medians and ratios.
# Usage: perf/run.sh [scenario…]        (default: all but the long ones, see `load list`)
# Environment: ROUNDS=3 DURATION=8 SERVER_CPU=0 LOAD_CPU=1 LOCKSTEP=target/release/lockstep
#   SYNC=100ms (of lockstep-journal)
#   SERVERS="lockstep baseline baseline-batch", lockstep-journal besides  RESULTS=perf/results/<time>  LOAD_FLAGS=""
# Each run has a fresh server process; a server's output is kept beside the results.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-3} duration=${DURATION:-8} server_cpu=${SERVER_CPU:-0} load_cpu=${LOAD_CPU:-1}
target=${CARGO_TARGET_DIR:-target}
lockstep=${LOCKSTEP:-$target/release/lockstep} load=$target/release/examples/load
read -ra servers <<<"${SERVERS:-lockstep baseline baseline-batch}"
read -ra load_flags <<<"${LOAD_FLAGS:-}"
results=${RESULTS:-perf/results/$(date -u +%Y%m%dT%H%M%SZ)}
scenarios=("$@")
[ ${#scenarios[@]} -gt 0 ] || scenarios=(rss idle storm fanout fanout-saturated rooms rooms-saturated)

[ -x "$load" ] || cargo build --release --example load
[[ " ${servers[*]} " != *" lockstep"* || -x $lockstep ]] || cargo build --release --bin lockstep
mkdir -p "$results"
ulimit -Sn "$(ulimit -Hn)" # the servers inherit it

command_of() { # the command line of a server, in the array `command`
  case $1 in
    # One sender of a saturated scenario says more than a client is allowed by default.
    lockstep) command=("$lockstep" --shards 1 --in-memory --port 0
      --croquet-messages-per-second-max 1000000) protocol=croquet ;;
    # The same with a journal on the disk that holds the results, in a directory of its own.
    lockstep-journal)
      rm -rf "$results/data"
      command=("$lockstep" --shards 1 --data-dir "$results/data" --port 0
        --croquet-messages-per-second-max 1000000 --sync "${SYNC:-100ms}") protocol=croquet ;;
    baseline) command=("$load" baseline --port 0) protocol=raw ;;
    baseline-batch) command=("$load" baseline --port 0 --batch) protocol=raw ;;
    *) echo "run.sh: no server $1" >&2; exit 1 ;;
  esac
}

server=
trap '[ -z "$server" ] || kill "$server"' EXIT
run_one() { # scenario, server, round
  local name=$1-$2-$3
  command_of "$2"
  taskset -c "$server_cpu" "${command[@]}" >"$results/$name.log" 2>&1 &
  server=$!
  # The shell becomes taskset and that the server, under one process id.
  until [ "$(cat "/proc/$server/comm")" != taskset ] && [ "$(cat "/proc/$server/comm")" != bash ]; do
    sleep 0.02
  done
  echo "$1, $2, round $3" >&2
  "$load" run "$1" --protocol "$protocol" --label "$2" --pid "$server" --cpu "$load_cpu" \
    --duration-s "$duration" --json "$results/$name.json" "${load_flags[@]}" >/dev/null ||
    echo "run.sh: $name failed" >&2
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
"$load" summary "$results" --json "$results/summary.out" | tee "$results/summary.md"
