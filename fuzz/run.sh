#!/bin/bash
# How does one target run? For FUZZ_S seconds, from what earlier runs kept in FUZZ_DIR and from the
# seeds; or once, with the bytes of a file.
#
#   fuzz/run.sh TARGET [FILE]
set -euo pipefail

target=$1 input=${2:-}
cd "$(dirname "$0")/.."
corpus=$FUZZ_DIR/corpus/$target crashes=$FUZZ_DIR/crashes
log=$FUZZ_DIR/$target.log
mkdir -p "$corpus" "$crashes"
export FUZZ_TARGET=$target
# Objects of Rust are found twice by the check of the one-definition rule.
export ASAN_OPTIONS=detect_odr_violation=0
export RUST_BACKTRACE=1
if [ -n "$input" ]; then
	exec "$FUZZER" "$input"
fi
# Not longer than a device may send and a little: an engine that copies megabytes tries little.
if "$FUZZER" -max_total_time="$FUZZ_S" -timeout=60 -rss_limit_mb=4096 -max_len=4096 \
	-print_final_stats=1 -artifact_prefix="$crashes/$target-" \
	"$corpus" "fuzz/seeds/$target" >"$log" 2>&1; then
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	printf '%-20s %9s runs, %s inputs kept\n' "$target" "$runs" "$(find "$corpus" -type f | wc -l)"
else
	tail -n 60 "$log"
	found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	printf '\n%s failed. Again: make fuzz TARGET=%s INPUT=%s\n' "$target" "$target" "$found"
	exit 255 # xargs begins nothing more
fi
