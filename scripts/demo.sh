#!/bin/sh
# SPDX-License-Identifier: MIT
# A week of earthquakes, replayed over a WebSocket in about ten seconds by one process; received,
# handled and stored in SQLite by another.  Usage: scripts/demo.sh [BUILD_DIR]
# BECK_DEMO_SPEED: how much faster than the week it was (60000x).
# BECK_DEMO_DATABASE: where the database is, and stays (else in a folder that is removed).
set -eu
build=$(cd "${1:-$(dirname "$0")/../build}" 2>/dev/null && pwd) || build=
[ -x "$build/beck" ] && [ -x "$build/examples/earthquakes" ] || {
    echo "demo: there is no beck in ${1:-build/}: run make first" >&2
    exit 1
}
events=$(cd "$(dirname "$0")/.." && pwd)/examples/data/earthquakes.ndjson
speed=${BECK_DEMO_SPEED:-60000x}
work=$(mktemp -d)
database=${BECK_DEMO_DATABASE:-$work/quakes.db}
sender=

finish() {
    [ -z "$sender" ] || kill "$sender" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# In a session of its own, so that Ctrl-C reaches the receiver alone.
mkfifo "$work/said"
setsid "$build/beck" pipe "file:$events?pace=time&speed=$speed" \
    --to "ws-listen:127.0.0.1:0?wait=1" --progress never 2>"$work/said" &
sender=$!

# It says where it listens, or what is wrong.
exec 3<"$work/said"
url=
while [ -z "$url" ] && read -r line <&3; do
    case $line in
    *" on ws://"*) url=${line##* on } ;;
    *) echo "$line" >&2 ;;
    esac
done
[ -n "$url" ] || { echo "demo: the sender did not start" >&2; exit 1; }

echo "One process replays $(wc -l <"$events") earthquakes, a week of 2018, on $url"
echo "Another receives them, a task for each, and stores them.  Ctrl-C drains it."
echo
status=0
trap : INT TERM # the receiver drains, and the script goes on
"$build/examples/earthquakes" "$url#reconnect=never" "$database" || status=$?

if ! command -v sqlite3 >/dev/null; then
    echo "demo: sqlite3 is not here to look into the database" >&2
elif [ -f "$database" ]; then
    echo
    sqlite3 "$database" "SELECT count(*) || ' rows in the database, by magnitude:' FROM quakes" &&
        sqlite3 -column -header "$database" "
            SELECT CASE WHEN mag < 1 THEN 'below 1' WHEN mag < 3 THEN '1 to 3'
                        WHEN mag < 5 THEN '3 to 5' ELSE '5 and more' END AS magnitude,
                   count(*) AS quakes, max(mag) AS strongest, place AS [where]
            FROM quakes WHERE mag IS NOT NULL GROUP BY 1 ORDER BY 3" ||
        status=1
fi
exit "$status"
