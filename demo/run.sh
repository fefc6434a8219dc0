#!/bin/sh
# What `make demo` shows, inside of a sandbox: runs the flow, and checks by the scores' own record
# that every task ran once, in order, and never more than half of the frontends at a time.
#
#   run.sh DIRECTORY      where the scores write
set -eu
directory=$1
here=$(dirname "$0")

mkdir -p "$directory"
root=$(mktemp -d "$directory/run.XXXXXX")
record=$root/record

say() {
    printf '\n%s\n' "$1"
}

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

bad=0
check() { # WHAT FOUND WANTED
    if [ "$2" = "$3" ]; then
        echo "  ok   $1: $2"
    else
        echo "  BAD  $1: $2, not $3"
        bad=1
    fi
}

# Lines of the record: start|end SCORE HOST FLOW TASK ATTEMPT NANOSECONDS PID.
moments() { # SCORE: its starts and ends in the order of time
    grep "^[a-z]* $1 " "$record" | sort -n -k 7,7
}
count() { # start|end SCORE
    grep -c "^$1 $2 " "$record" || true
}
distinct() { # SCORE: hosts on which it was started
    grep "^start $1 " "$record" | cut -d ' ' -f 3 | sort -u | wc -l | tr -d ' '
}
most_at_once() { # SCORE
    running=0 most=0
    for what in $(moments "$1" | cut -d ' ' -f 1); do
        case $what in
            start) running=$((running + 1)) ;;
            end) running=$((running - 1)) ;;
        esac
        [ "$running" -le "$most" ] || most=$running
    done
    echo "$most"
}

say 'Slot 1: pkg1 on db[1-10], pkg2 on api[1-6]. Slot 2: restart-apache on fe[1-100], 50 % at once.'
show submitjob --flow "$here/roadrunner.yaml" --set "root=$root" --wait || bad=1

say "What the scores themselves have recorded, in $record:"
check 'packages installed' "$(count start install-package)" 16
check '… each on another host' "$(distinct install-package)" 16
check '… and finished' "$(count end install-package)" 16
check 'servers restarted' "$(count start restart-apache)" 100
check '… each on another host' "$(distinct restart-apache)" 100
check '… and finished' "$(count end restart-apache)" 100
check '… most at once' "$(most_at_once restart-apache)" 50
last_package=$(moments install-package | tail -n 1 | cut -d ' ' -f 7)
first_restart=$(moments restart-apache | head -n 1 | cut -d ' ' -f 7)
check '… none before the last package' "$([ "$last_package" -lt "$first_restart" ] && echo yes)" yes

show getstatus last || bad=1

# A service: lines of its record are run|stop HOST VERSION PLACEMENT RUN PID.
clock=$root/clock
runs() { # HOST: how many
    grep -c "^run $1 " "$clock" || true
}
newest() { # HOST: the process of its newest run
    grep "^run $1 " "$clock" | tail -n 1 | cut -d ' ' -f 6
}
within_seconds() { # N CONDITION…
    left=$(($1 * 10))
    shift
    until "$@"; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.1
    done
}
service() { # FURTHER PARAMETERS: writes its file
    { cat "$here/clock.yaml" && echo "params: {root: \"$root\"$1}"; } > "$root/clock.yaml"
}

say 'A service on fe[1-4]: applied, killed on fe2, brought to another version, to one that fails, stopped.'
service ''
show orc service apply "$root/clock.yaml" --wait || bad=1
kill -9 "$(newest fe2)"
again() { [ "$(runs fe2)" = 2 ]; }
within_seconds 10 again || bad=1
check 'runs on fe2 after a kill' "$(runs fe2)" 2
service ', trouble: none'
show orc service apply "$root/clock.yaml" --wait || bad=1
service ', trouble: crash'
show orc service apply "$root/clock.yaml" --wait && bad=1
show orc service wait clock --version 2 --timeout 60s || bad=1
show orc service show clock || bad=1
check 'hosts of version 3, which failed' \
    "$(grep '^run [^ ]* 3 ' "$clock" | cut -d ' ' -f 2 | sort -u | wc -l | tr -d ' ')" 1
show orc service stop clock --yes || bad=1
stopped() { ! kill -0 "$(newest fe1)" 2> /dev/null && ! kill -0 "$(newest fe4)" 2> /dev/null; }
within_seconds 10 stopped || bad=1
check 'runs that came twice' "$(grep '^run ' "$clock" | cut -d ' ' -f 2,4,5 | sort | uniq -d | wc -l | tr -d ' ')" 0

# A site: its releases lie on every host, and a link on each says which one is shown.
site=$root/site
publish() { # SERIAL
    mkdir -p "$site"
    echo "release $1" > "$site/index.html"
    show orc bundle publish "$site" --name site --serial "$1" --register --source api1 \
        --depot "$ORCHESTRA_SANDBOX/depot" --sign "$ORCHESTRA_SANDBOX/publisher/release.key" || bad=1
}
shown() { # SERIAL: on how many hosts
    cat "$ORCHESTRA_SANDBOX"/players/fe*/site/current/index.html 2> /dev/null | grep -c "^release $1\$" || true
}
change() { # deliver|activate SERIAL FLAGS…
    what=$1 serial=$2
    shift 2
    show submitjob "@$what" "bundle=site@$serial" -w 'fe[1-100]' --wait "$@" || bad=1
}

say 'A release of a small site: it passes from host to host of fe[1-100], which are switched to it a quarter
at a time, and back.'
publish 1
change deliver 1
show orc bundle where site@1 || bad=1
check 'hosts that show release 1 before it is activated' "$(shown 1)" 0
change activate 1 --parallel 25%
check 'hosts that show release 1' "$(shown 1)" 100
publish 2
change deliver 2
check 'hosts that still show release 1' "$(shown 1)" 100
change activate 2 --canary 1 --bake 100ms --parallel 25%
check 'hosts that show release 2' "$(shown 2)" 100
change activate 1 --parallel 25%
check 'hosts that show release 1 again' "$(shown 1)" 100
show orc places site -w fe1 || bad=1
exit "$bad"
