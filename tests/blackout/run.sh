#!/bin/sh
# Most of a fleet is cut off for a while, with a service on it: nothing may move, it has to be told why,
# and afterwards all is as it was. By the service's own record, and with real daemons:
#
#   orc sandbox run --players 'h[1-200]' -- tests/blackout/run.sh DIRECTORY [SECONDS]
#
# The conductor notices within some 45 s, host by host, that they are gone; so replace_after is longer.
# Sitters and agents of 60 % of the players are stopped (SIGSTOP) for SECONDS (600); what they run goes on,
# as it does on hosts whose network is gone.
set -eu
mkdir -p "$1"
root=$(mktemp -d "$1/run.XXXXXX")
seconds=${2:-600}
players=$(orc players --json | grep -o '"host":' | wc -l)
cut=$((players * 60 / 100))
first=$((players - cut + 1))
away="h[$first-$players]"
count=$((players * 3 / 4))

bad=0
check() { # WHAT FOUND WANTED
    if [ "$2" = "$3" ]; then
        echo "  ok   $1: $2"
    else
        echo "  BAD  $1: $2, not $3"
        bad=1
    fi
}
show() {
    printf '\n$ %s\n' "$*"
    "$@" || bad=1
}
runs() { grep -c '^run ' "$root/clock" || true; }
stops() { grep -c '^stop ' "$root/clock" || true; }
absent() { orc players --json | grep -o '"attached":false' | wc -l; }
processes() { # the sitters and agents of those that are cut off
    orc sandbox ps --json | tr '{' '\n' | sed -n 's/.*"name":"h\([0-9]*\)".*"pid":\([0-9]*\).*/\1 \2/p' |
        while read -r number pid; do
            [ "$number" -lt "$first" ] || echo "$pid"
        done
}
until_it_is() { # N COMMAND…
    wanted=$1 left=1200
    shift
    until [ "$("$@")" = "$wanted" ]; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.1
    done
}

cat > "$root/clock.yaml" << END
service: clock
score: serve-clock
place: {count: $count}
ready: {fd: 3, deadline: 30s}
absent: {replace_after: 1m}
update: {parallel: 100%, healthy_for: 1s}
params: {root: "$root"}
END
show orc service apply "$root/clock.yaml" --wait
check 'instances that run' "$(runs)" "$count"

pids=$(processes)
printf '\n%s players of %s are cut off for %s s: %s\n' "$cut" "$players" "$seconds" "$away"
# shellcheck disable=SC2086 # one word a process
kill -STOP $pids
trap 'kill -CONT $pids' EXIT
until_it_is "$cut" absent || bad=1
check 'players that are absent' "$(absent)" "$cut"
over=$(($(date +%s) + seconds))
moved=0
while [ "$(date +%s)" -lt "$over" ]; do
    if [ "$(runs) $(stops)" != "$count 0" ]; then moved=1; fi
    sleep 1
done
check 'instances that were started or stopped meanwhile' "$(($(runs) - count + $(stops)))" 0
check 'moments at which one was' "$moved" 0
show orc brake
show orc service list
orc service show clock | head -20
orc explain clock | head -20

printf '\nThey are back.\n'
# shellcheck disable=SC2086
kill -CONT $pids
trap - EXIT
until_it_is 0 absent || bad=1
show orc service wait clock --timeout 120s
check 'players that are absent' "$(absent)" 0
check 'instances that were started or stopped in all' "$(($(runs) - count + $(stops)))" 0
brakes() { orc brake --json | grep -o '"engaged":true' | wc -l; }
until_it_is 0 brakes || true
show orc brake
orc service stop clock --yes > /dev/null
exit "$bad"
