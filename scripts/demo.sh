#!/bin/sh
# SPDX-License-Identifier: MIT
# A week of earthquakes, replayed over a WebSocket in about ten seconds by one process; received, handled and
# stored in SQLite by another.  Usage: scripts/demo.sh [BUILD_DIR]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
speed=${BECK_DEMO_SPEED:-60000x}
events=examples/data/earthquakes.ndjson
work=$(mktemp -d)
database=$work/quakes.db
sender=

finish() {
    [ -z "$sender" ] || kill "$sender" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# In a session of its own, so that Ctrl-C reaches the receiver alone.
setsid "$build/beck" pipe "file:$events?pace=time&speed=$speed" \
    --to "ws-listen:127.0.0.1:0?wait=1" --progress never 2>"$work/sender.log" &
sender=$!

url=
for _ in $(seq 100); do
    url=$(sed -n 's/.*\(ws:\/\/127\.0\.0\.1:[0-9]*\/\).*/\1/p' "$work/sender.log" | head -n 1)
    [ -z "$url" ] || break
    kill -0 "$sender" 2>/dev/null || { cat "$work/sender.log" >&2; exit 1; }
    sleep 0.05
done
[ -n "$url" ] || { echo "demo: the sender did not start" >&2; exit 1; }

echo "One process replays $(wc -l <"$events") earthquakes, a week of 2018, on $url;"
echo "this one receives them, a task for each, and stores them.  Ctrl-C drains and stops."
echo
status=0
trap : INT TERM
"$build/examples/earthquakes" "$url" "$database" || status=$?
trap - INT TERM

stored=$(sqlite3 "$database" 'SELECT count(*) FROM quakes')
echo "$stored rows in the database, by magnitude:"
sqlite3 -column -header "$database" "
    SELECT CASE WHEN mag < 1 THEN 'below 1' WHEN mag < 3 THEN '1 to 3'
                WHEN mag < 5 THEN '3 to 5' ELSE '5 and more' END AS magnitude,
           count(*) AS quakes,
           round(max(mag), 1) AS strongest
    FROM quakes WHERE mag IS NOT NULL GROUP BY 1 ORDER BY 3"
[ -z "${BECK_DEMO_KEEP:-}" ] || cp "$database" "$BECK_DEMO_KEEP"
exit "$status"
