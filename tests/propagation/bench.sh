#!/bin/sh
# How long a bundle takes to all hosts, over links of a given rate: hosts are network namespaces of this
# script's own, with a token bucket both ways, joined by a bridge. Nothing leaves the namespace that they
# are in. Needs root, ip and tc; says so where it has not got them. What rsync and aria2 take over the same
# links is told beside it, where they are installed.
#
#   bench.sh [PROGRAMS]        the directory of conductor, player, relay, orc, submitjob, orchestra-certs
#
# A line a measurement: what, hosts, seconds until the last host has it on disk (the best that any method
# can do, in seconds). HOSTS, MIB, MBIT and CASES choose others: `HOSTS=8 MIB=256
# MBIT=200 CASES="row files"`, where FILES says how many.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
programs=${1:-$here/../../target/release}
programs=$(cd "$programs" && pwd)

not_run() {
    echo "NOT RUN: $1" >&2
    exit 0
}
[ "$(id -u)" = 0 ] || not_run 'it takes root to make network namespaces'
for tool in ip tc unshare; do
    command -v "$tool" > /dev/null || not_run "$tool is not installed"
done
if [ "${WITHIN:-}" != yes ]; then
    # Network and mounts of its own: all of it goes with the last process.
    exec env WITHIN=yes unshare --net --mount --pid --fork --kill-child "$0" "$programs"
fi
PATH=$programs:$PATH
hosts=${HOSTS:-8} mib=${MIB:-64} mbit=${MBIT:-200}
cases=${CASES:-row flat killed next rsync-tree rsync-flat aria2}
mount -t proc none /proc
root=$(mktemp -d)
trap 'cd /; umount -l "$root" 2> /dev/null || true; rmdir "$root"' EXIT
mount -t tmpfs -o size=90% none "$root"
mount -t tmpfs none /run
ip link set lo up 2> /dev/null || not_run 'no network namespace can be made here'

# MTU 65000: with 1500 the processors are measured and not the links.
mtu=65000
ip link add bridge mtu $mtu type bridge 2> /dev/null || not_run 'no bridge can be made here'
ip addr add 10.99.0.1/16 dev bridge
ip link set bridge up
shape() { # NAMESPACE DEVICE
    ip netns exec "$1" tc qdisc add dev "$2" root tbf rate "${mbit}mbit" burst 256kb latency 100ms \
        2> /dev/null || not_run 'tc has no token bucket here'
}
echo '127.0.0.1 localhost' > "$root/hosts"
join() { # NAME NUMBER: a host
    ip netns add "$1"
    ip link add "to$2" mtu $mtu type veth peer name eth0 netns "$1" mtu $mtu
    ip link set "to$2" master bridge up
    ip netns exec "$1" ip link set lo up
    ip netns exec "$1" ip addr add "10.99.1.$2/16" dev eth0
    ip netns exec "$1" ip link set eth0 up
    shape "$1" eth0
    tc qdisc add dev "to$2" root tbf rate "${mbit}mbit" burst 256kb latency 100ms
    echo "10.99.1.$2 $1" >> "$root/hosts"
}
names='source'
n=1
while [ "$n" -le "$hosts" ]; do
    names="$names h$n"
    n=$((n + 1))
done
n=0
for name in $names; do
    join "$name" "$((n + 1))"
    n=$((n + 1))
done
mount --bind "$root/hosts" /etc/hosts

# A fleet, as the manual has it.
domain=bench.test conductor=conductor.bench.test
cd "$root"
orchestra-certs init --dir ca --domain "$domain" > /dev/null 2>&1
orchestra-certs issue --dir ca conductor "$conductor" > /dev/null 2>&1
orchestra-certs issue --dir ca audience bench > /dev/null 2>&1
orchestra-certs publisher --dir publishing release > publishing.key 2> /dev/null
mkdir -p conductor scores tree
cat > conductor/conductor.toml << END
listen = "10.99.0.1:2258"
name = "$conductor"
domain = "$domain"
state_dir = "$root/state"
policy = "open"
[tls]
ca = "$root/ca/ca.pem"
cert = "$root/ca/conductor/$conductor.pem"
key = "$root/ca/conductor/$conductor.key"
END
for name in $names; do echo "$name relay=yes"; done > conductor/players
for score in rsync-pull; do
    cp "$here/../../scores/$score" "$here/../../scores/$score.conf" scores/
done
mkdir -p scores/.lib
cp "$here"/../../scores/.lib/*.sh scores/.lib/
export ORCHESTRA_CONDUCTOR=10.99.0.1:2258 ORCHESTRA_CONDUCTOR_NAME=$conductor ORCHESTRA_DOMAIN=$domain
export ORCHESTRA_CA=$root/ca/ca.pem
export ORCHESTRA_CERT=$root/ca/audience/bench.pem ORCHESTRA_KEY=$root/ca/audience/bench.key
conductor --config-dir conductor --new-store > conductor/out 2> conductor/log &
until [ -s conductor/out ]; do sleep 0.05; done

start() { # NAME player|relay
    ip netns exec "$1" "$2" --config "$root/$1/$2.toml" > /dev/null 2>> "$root/$1/$2.log" &
    echo $! > "$root/$1/$2.pid"
}
for name in $names; do
    orchestra-certs issue --dir ca player "$name" > /dev/null 2>&1
    orchestra-certs issue --dir ca relay "$name" > /dev/null 2>&1
    mkdir -p "$name/places.d" "$name/tree"
    tls="[tls]
ca = '$root/ca/ca.pem'"
    cat > "$name/player.toml" << END
conductors = ["10.99.0.1:2258"]
conductor_name = "$conductor"
domain = "$domain"
scores_dir = "$root/scores"
spool_dir = "$root/$name/spool"
depot_dir = "$root/$name/depot"
places_dir = "$root/$name/places.d"
agent_user = "self"
task_user = "self"
cgroup = "none"
$tls
cert = '$root/ca/player/$name.pem'
key = '$root/ca/player/$name.key'
END
    cat > "$name/relay.toml" << END
domain = "$domain"
depot = "$root/$name/depot"
$tls
cert = '$root/ca/relay/$name.pem'
key = '$root/ca/relay/$name.key'
END
    cat > "$name/places.d/site.toml" << END
publishers = ["$(cat publishing.key)"]
path = "$root/$name/site"
max_size = "64GiB"
END
    start "$name" relay
    start "$name" player
done
attached() { orc players --attached --json 2> /dev/null | grep -o '"host":' | wc -l; }
until [ "$(attached)" = "$((hosts + 1))" ]; do sleep 0.1; done

now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{ printf "%.2f", $1 - $2 }'; }
# S/B and what a hop adds: no method beats it.
floor=$(awk "BEGIN { printf \"%.2f\", $mib * 8 * 1.048576 / $mbit }")
tell() { # WHAT SECONDS REMARK
    printf '%-11s %4s hosts %4s MiB %5s Mbit/s  %7s s  (%s)%s\n' \
        "$1" "$hosts" "$mib" "$mbit" "$2" "$floor" "${3:+  $3}"
}
targets="h[1-$hosts]"
serial=0
publish() { # of bytes that are new, but for so many percent
    serial=$((serial + 1))
    mkdir -p site
    if [ -z "${1:-}" ]; then
        n=0
        while [ "$n" -lt "$mib" ]; do
            head -c 1048576 /dev/urandom > "site/part$n"
            n=$((n + 1))
        done
    else
        head -c 1048576 /dev/urandom > site/part0
    fi
    orc bundle publish site --name site --serial "$serial" --depot source/depot --register --source source \
        --sign publishing/publisher/release.key > /dev/null
}
deliver() { # WHAT
    began=$(now)
    if submitjob @deliver "bundle=site@$serial" -w "$targets" --wait > "$root/said" 2>&1; then
        tell "$1" "$(since "$began")" "${2:-}"
    else
        tell "$1" "$(since "$began")" "${2:-not ok everywhere}"
        cat "$root/said"
    fi
}
chosen() { case " $cases " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

if chosen row; then
    publish
    deliver row
fi
if chosen next; then
    publish 1
    deliver next 'one file of the release before it changed'
fi
if chosen files; then
    rm -rf site && mkdir site
    files=${FILES:-20000}
    head -c "${mib}M" /dev/urandom | split -b $((mib * 1048576 / files)) -a 5 - site/f
    publish 1
    deliver files "in $files files"
    rm -rf site
fi
if chosen killed; then
    publish
    middle=h$((hosts / 2))
    (
        sleep "$(awk "BEGIN { print 0.3 * $floor }")"
        kill -9 "$(cat $middle/relay.pid)" "$(cat $middle/player.pid)"
    ) &
    began=$(now)
    submitjob @deliver "bundle=site@$serial" -w "$targets!$middle" --wait > /dev/null &
    others=$!
    submitjob @deliver "bundle=site@$serial" -w "$middle" > /dev/null
    wait "$others" && tell killed "$(since "$began")" "$middle was killed at 30 %; the others"
    start "$middle" relay
    start "$middle" player
fi
if chosen flat; then
    { echo 'source relay=yes' && for name in $names; do [ "$name" = source ] || echo "$name"; done; } \
        > conductor/players
    orc conductor reload > /dev/null
    publish
    deliver flat 'the source alone serves'
    for name in $names; do echo "$name relay=yes"; done > conductor/players
    orc conductor reload > /dev/null
fi
if chosen rsync-tree || chosen rsync-flat; then
    if command -v rsync > /dev/null; then
        rm -rf tree && mkdir tree
        head -c "${mib}M" /dev/urandom > tree/data
        for name in $names; do
            printf '[tree]\npath = %s\nuse chroot = no\nuid = 0\ngid = 0\n' "$root/$name/tree" > "$name/rsyncd.conf"
            ip netns exec "$name" rsync --daemon --no-detach --config "$root/$name/rsyncd.conf" \
                > /dev/null 2>&1 &
        done
        cp tree/data source/tree/
        pull() { # WHAT BRANCHES
            for name in $names; do [ "$name" = source ] || rm -rf "$name/tree/data"; done
            began=$(now)
            submitjob rsync-pull via=daemon module=tree path=/tree "base=$root" -w "$targets" \
                --tree "$2" --tree-root source --wait > "$root/said" 2>&1 || cat "$root/said"
            tell "$1" "$(since "$began")" 'rsync -a, a file'
        }
        if chosen rsync-tree; then pull rsync-tree 2; fi
        if chosen rsync-flat; then pull rsync-flat 64; fi
    else
        echo 'NOT RUN: rsync is not installed' >&2
    fi
fi
kill $(jobs -p) 2> /dev/null || true
