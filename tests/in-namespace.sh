#!/bin/sh
# Runs the tests in their own network namespace, in which `lo` carries multicast, and from which no packet leaves.
#
#   tests/in-namespace.sh               builds and runs all tests, with each feature set
#   tests/in-namespace.sh COMMAND ..    runs one command in such a namespace: cargo test --offline --test netns NAME
#
# Tests against a program of others that is not installed are left out; the last lines name them, and the command that installs the
# program. With CI=true that is a failure.
#
# It needs root, or a system where a user may create namespaces. Without either, the tests in tests/netns/ are left
# out, and the others run on the host's own `lo`; the last lines say so, and with CI=true that is a failure.
# MULTICAST_TEST_NETWORK tells the tests where they run: `private` or `lo`.
set -eu
cd "$(dirname "$0")/.."
# nft and tc are there, where a user's shell does not look.
PATH="$PATH:/usr/sbin:/sbin"
export PATH

# In the new namespace: set up the network, and run the rest of the command line.
if [ "${1-}" = --inside ]; then
    shift
    ip link set lo up
    # With a source, as on the route of a real link: without it, packets have the source 0.0.0.0.
    ip route add 224.0.0.0/4 dev lo src 127.0.0.1
    # `local`, not `multicast`: on lo, the kernel turns every other type into one that discards packets, without an error.
    # Metric 1: the links that tests create get a route of metric 256.
    if [ -e /proc/net/if_inet6 ]; then
        ip -6 route add local ff00::/8 dev lo table local metric 1
    fi
    MULTICAST_TEST_NETWORK=private
    export MULTICAST_TEST_NETWORK
    exec "$@"
fi

# The command that installs these programs. The package from crates.io has no .ci/install.
how() {
    if [ -x .ci/install ]; then .ci/install how "$@"; else echo "install the packages of $*"; fi
}

# Most tests need these. Other programs are each the peer of a few.
missing=
for program in ip unshare python3; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
    # Split into words: the names of programs have no spaces.
    # shellcheck disable=SC2086
    echo "The tests need$missing. As root: $(how $missing)" >&2
    exit 1
fi

# -r makes a user root in the namespace. Uses the first way that works; keeps the error of the last one for the end.
unshare=
for flags in -n -rn; do
    [ "$flags" = -rn ] || [ "$(id -u)" = 0 ] || continue
    if refusal=$(unshare "$flags" true 2>&1); then
        unshare="unshare $flags sh tests/in-namespace.sh --inside"
        break
    fi
done

if [ $# -gt 0 ]; then
    [ -n "$unshare" ] || { echo "No private network here: $refusal" >&2 && exit 1; }
    exec $unshare "$@"
fi

# The namespace has no network for downloads, so everything is downloaded and built outside.
# Prints the names of the files in tests/ that this feature set has.
build() {
    artifacts=$(cargo test --no-run --message-format=json-render-diagnostics "$@") || return
    echo "$artifacts" | sed -n 's/.*"kind":\["test"\].*"name":"\([^"]*\)","src_path".*/\1/p'
}

# Runs the tests of one feature set, and adds those that could not run to left_out.
run() {
    echo "== cargo test $*"
    names=$(build "$@")
    if [ -n "$unshare" ]; then
        $unshare cargo test --offline "$@"
        return
    fi
    for name in $names; do
        case $name in
        netns | netns_*) case " $left_out " in *" $name "*) ;; *) left_out="$left_out $name" ;; esac ;;
        esac
    done
    run_on_lo "$@"
}

# Runs the tests of one feature set that need no interfaces of their own. The others are those whose time is the kernel's: it creates
# and deletes links and namespaces one after the other.
run_on_lo() {
    selection=
    for name in $names; do
        case $name in
        netns | netns_*) ;;
        *) selection="$selection --test $name" ;;
        esac
    done
    # mcast has no library.
    library=--lib
    case "$*" in *"-p mcast"*) library=--bins ;; esac
    # Split into words: the names of tests have no spaces.
    # shellcheck disable=SC2086
    $unshare cargo test --offline "$@" $library $selection
    # Documentation examples cannot be selected together with other tests.
    [ $library = --bins ] || $unshare cargo test --offline "$@" --doc
}

[ -n "$unshare" ] || export MULTICAST_TEST_NETWORK=lo
left_out=
# Tests write a line here if the program that they need is not installed: see is_installed in tests/common/mod.rs.
MULTICAST_TEST_LEFT_OUT=$(mktemp)
export MULTICAST_TEST_LEFT_OUT
trap 'rm -f "$MULTICAST_TEST_LEFT_OUT"' EXIT
begin=$(date +%s)
run
# Not in the package from crates.io.
[ ! -e examples/mcast ] || run -p mcast
run --no-default-features
# Only patterns are missing here, and nothing in netns has to do with them.
echo "== cargo test --no-default-features --features std, without netns"
names=$(build --no-default-features --features std)
run_on_lo --no-default-features --features std

echo
echo "All tests that ran passed, in $(($(date +%s) - begin)) seconds with building, with the features default, none and std."
without=$(cut -d' ' -f1 "$MULTICAST_TEST_LEFT_OUT" | sort -u)
if [ -n "$without" ]; then
    echo "LEFT OUT, because what they need is missing:"
    sort -u "$MULTICAST_TEST_LEFT_OUT" | while read -r program name; do echo "  $name ($program)"; done
    programs=$(echo "$without" | grep -vx root || :)
    [ "$programs" = "$without" ] || echo "To run those that need root: make test as root."
    # shellcheck disable=SC2086
    [ -z "$programs" ] || echo "To run those that need a program, first as root: $(how $programs)"
fi
if [ -z "$left_out" ]; then
    [ -n "$without" ] || echo "No test was left out."
else
    echo "LEFT OUT, because they need a private network namespace, which cannot be created here ($refusal):"
    for name in $left_out; do echo "  $name"; done
    echo "To run these: make test as root (in a container: with CAP_SYS_ADMIN), or allow users to create"
    echo "namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu, kernel.unprivileged_userns_clone=1 on older"
    echo "Debian) and make test again."
fi
[ "${CI-}" != true ] || [ -z "$left_out$without" ]
