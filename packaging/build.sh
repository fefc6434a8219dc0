#!/bin/sh
# Makes packages of programs that are built:
#
#   packaging/build.sh deb PROGRAMS OUT        orchestra-conductor, -player, -relay and -audience
#   packaging/build.sh tarball PROGRAMS OUT    all of them in one archive, to be unpacked at /
#
# PROGRAMS is the directory that cargo built them into, OUT where the packages go. The same programs
# make the same packages, byte for byte, if SOURCE_DATE_EPOCH is the same (seconds since 1970; else it
# is when the programs were built). DEBFULLNAME and DEBEMAIL name the maintainer of a deb, who is else
# root of this machine; DEB_COMPRESSION is what dpkg-deb -Z takes, GZIP_LEVEL an archive's 1 to 9.
set -eu
umask 022

fail() {
    echo "packaging: $1" >&2
    exit 1
}

[ $# -eq 3 ] || fail "called as: packaging/build.sh deb|tarball PROGRAMS OUT"
kind=$1
programs=$(cd "$2" && pwd) || fail "there is no directory $2: build the programs first"
mkdir -p "$3"
out=$(cd "$3" && pwd)
cd "$(dirname "$0")/.."
for program in conductor player relay submitjob getstatus orc orchestra-certs; do
    [ -x "$programs/$program" ] || fail "$programs has no program $program: build it first"
done
for tool in gzip strip objdump; do
    command -v "$tool" > /dev/null || fail "this machine has no $tool: install gzip and binutils"
done

version=$("$programs/orc" --version | cut -d' ' -f2)
machine=$(uname -m)
: "${SOURCE_DATE_EPOCH:=$(stat -c %Y "$programs/conductor")}"
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# put MODE SOURCE TARGET: a file below the root that is being made.
put() {
    install -D -m "$1" "$2" "$root$3"
}

program() {
    put 755 "$programs/$1" "/usr/bin/$1"
    strip --strip-unneeded "$root/usr/bin/$1"
}

# What a daemon's package has: its unit, its users, the directories that are to be there.
daemon() {
    program "$1"
    put 644 "packaging/systemd/orchestra-$1.service" "/usr/lib/systemd/system/orchestra-$1.service"
    put 644 "packaging/sysusers.d/orchestra-$1.conf" "/usr/lib/sysusers.d/orchestra-$1.conf"
    put 644 "packaging/tmpfiles.d/orchestra-$1.conf" "/usr/lib/tmpfiles.d/orchestra-$1.conf"
    "$programs/$1" --man | gzip -9n > "$work/page"
    put 644 "$work/page" "/usr/share/man/man8/$1.8.gz"
}

etc() {
    for file; do
        put 644 "packaging/etc/$file" "/etc/orchestra/$file"
    done
}

conductor() {
    daemon conductor
    etc conductor.toml players groups.toml policy.toml
    mkdir -p "$root/etc/orchestra/deployments.d" "$root/etc/orchestra/services.d"
}

player() {
    daemon player
    etc player.toml
    mkdir -p "$root/usr/lib/orchestra/scores"
    find scores -type f | while read -r file; do
        put "$(test -x "$file" && echo 755 || echo 644)" "$file" "$examples/$file"
    done
}

relay() {
    daemon relay
    etc relay.toml
}

completions() {
    "$programs/orc" completions "$1" "$program" > "$work/completions"
    put 644 "$work/completions" "$2"
}

audience() {
    for program in submitjob getstatus orc orchestra-certs; do
        program "$program"
    done
    etc audience.toml
    mkdir -p "$root/usr/share/man/man1"
    for program in orc orchestra-certs; do
        "$programs/$program" man "$root/usr/share/man/man1" 2> /dev/null
    done
    gzip -9n "$root"/usr/share/man/man1/*
    for program in submitjob getstatus orc; do
        completions bash "/usr/share/bash-completion/completions/$program"
        completions fish "/usr/share/fish/vendor_completions.d/$program.fish"
        completions zsh "/usr/share/zsh/vendor-completions/_$program"
    done
    # Links within the pages hold where the pages are installed; others lead into the repository, and
    # become words.
    for page in docs/*.md SECURITY.md; do
        sed -e 's|(\.\./SECURITY\.md|(SECURITY.md|g; s|(docs/|(|g' \
            -e 's|\[\([^]]*\)\](\.\./[^)]*)|\1|g' "$page" > "$work/page"
        put 644 "$work/page" "$pages/${page#docs/}"
    done
    put 644 docs/schema.json "$pages/schema.json"
}

# settle ROOT: what the archives say of time and owner is the same each time.
settle() {
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

tarball() {
    name=orchestra-$version-$machine
    root=$work/$name
    examples=/usr/share/orchestra/examples
    pages=/usr/share/doc/orchestra
    conductor
    player
    relay
    audience
    for licence in LICENSE-APACHE LICENSE-MIT; do
        put 644 "$licence" "/usr/share/doc/orchestra/$licence"
    done
    settle "$root"
    tar --sort=name --owner=0 --group=0 --numeric-owner -C "$root" -cf "$work/$name.tar" .
    gzip "-${GZIP_LEVEL:-9}n" "$work/$name.tar"
    mv "$work/$name.tar.gz" "$out/"
    echo "$out/$name.tar.gz"
}

# The copyright file, in which the text of the MIT licence stands as Debian wants it.
copyright() {
    sed 's/^$/./; s/^/ /' LICENSE-MIT > "$work/mit"
    sed -e "/@MIT@/{r $work/mit" -e 'd}' packaging/debian/copyright
}

# The newest glibc that a program of the package asks for.
libc() {
    for file in "$root"/usr/bin/*; do
        objdump -T "$file"
    done | grep -o 'GLIBC_[0-9.]*' | cut -d_ -f2 | sort -Vu | tail -n 1
}

# deb PART DESCRIPTION DEPENDS SUGGESTS, after the text of its long description on standard input.
deb() {
    part=$1
    name=orchestra-$part
    root=$work/$name
    pages=/usr/share/doc/$name
    examples=$pages/examples
    "$part"
    copyright > "$work/copyright"
    put 644 "$work/copyright" "/usr/share/doc/$name/copyright"
    changed=$(date -u -R -d "@$SOURCE_DATE_EPOCH")
    mkdir -p "$root/DEBIAN"
    sed -e "s/@PACKAGE@/$name/" -e "s/@VERSION@/$version/" -e "s/@MAINTAINER@/$maintainer/" \
        -e "s/@DATE@/$changed/" packaging/debian/changelog | gzip -9n > "$root/usr/share/doc/$name/changelog.gz"
    size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
    {
        echo "Package: $name"
        echo "Version: $version"
        echo "Architecture: $(dpkg --print-architecture)"
        echo "Maintainer: $maintainer"
        echo "Installed-Size: $size"
        echo "Depends: libc6 (>= $(libc)), libgcc-s1$3"
        [ -z "$4" ] || echo "Suggests: $4"
        echo 'Section: admin'
        echo 'Priority: optional'
        echo "Description: $2"
        sed 's/^/ /'
    } > "$root/DEBIAN/control"
    (cd "$root" && find etc -type f | sort | sed 's/^/\//') > "$root/DEBIAN/conffiles"
    (cd "$root" && find usr -type f | sort | xargs md5sum) > "$root/DEBIAN/md5sums"
    for script in packaging/debian/"$part".*; do
        [ ! -e "$script" ] || install -m 755 "$script" "$root/DEBIAN/${script##*.}"
    done
    settle "$root"
    file=$out/${name}_${version}_$(dpkg --print-architecture).deb
    dpkg-deb --root-owner-group "-Z${DEB_COMPRESSION:-xz}" --build "$root" "$file" > /dev/null
    echo "$file"
}

debs() {
    command -v dpkg-deb > /dev/null || fail "this machine has no dpkg-deb: a deb is made on Debian"
    maintainer="${DEBFULLNAME:-Orchestra developers} <${DEBEMAIL:-root@$(uname -n)}>"
    users=', systemd | systemd-standalone-sysusers | systemd-sysusers'
    places=', systemd | systemd-standalone-tmpfiles | systemd-tmpfiles'
    deb conductor 'runs vetted commands over a fleet: the daemon that decides' "$users$places" \
        'orchestra-audience' << 'TEXT'
Holds flows and the sessions of players, and decides when each host may act.
Installing it starts nothing: /usr/share/doc/orchestra-audience/install.md of
orchestra-audience has the way to the first flow.
TEXT
    deb player 'runs vetted commands over a fleet: the daemon on each host' "$users$places" \
        'orchestra-audience' << 'TEXT'
Runs the scores that are installed on its host, as a conductor asks, and keeps
services running. Restarting, upgrading or removing it ends no score that runs.
TEXT
    deb relay 'runs vetted commands over a fleet: serves bundles of its host' "$users$places" \
        'orchestra-player' << 'TEXT'
Serves the bundles in the depot of its host, chunk by chunk, to players that a
conductor sends there with a ticket. It reads the depot and nothing else.
TEXT
    deb audience 'runs vetted commands over a fleet: the tools of whoever asks' '' \
        'orchestra-conductor, orchestra-player' << 'TEXT'
submitjob, getstatus and orc, which ask a conductor; orchestra-certs, which
makes the certificates of a fleet; and the pages that explain all of it.
TEXT
}

case $kind in
    deb) debs ;;
    tarball) tarball ;;
    *) fail "$kind is neither deb nor tarball" ;;
esac
