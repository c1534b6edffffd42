#!/bin/sh
# Runs the tests in a network of their own: a namespace in which `lo` carries multicast, and from which no packet leaves.
#
#   tests/in-namespace.sh               builds and runs all tests, with each feature set
#   tests/in-namespace.sh COMMAND ..    runs one command in such a network: cargo test --offline --test netns_something
#
# It takes root, or a system where a user may make namespaces. Where neither is so, the tests in files named netns_* are left
# out and the others run on the host's own `lo`; the last lines say what was left out, and with CI=true that is a failure.
# The tests find out where they run from MULTICAST_TEST_NETWORK: `private` or `lo`.
set -eu
cd "$(dirname "$0")/.."

# In the new namespace: make the network, and run the rest of the line in it.
if [ "${1-}" = --inside ]; then
    shift
    ip link set lo up
    # With a source, as the route of a real link has one: else packets come from 0.0.0.0.
    ip route add 224.0.0.0/4 dev lo src 127.0.0.1
    # `local`, not `multicast`: over lo the kernel turns every other kind into one that discards, and does not say so. Metric 1:
    # links that tests make bring a route of metric 256.
    if [ -e /proc/net/if_inet6 ]; then
        ip -6 route add local ff00::/8 dev lo table local metric 1
    fi
    MULTICAST_TEST_NETWORK=private
    export MULTICAST_TEST_NETWORK
    exec "$@"
fi

for need in ip:iproute2 unshare:util-linux; do
    command -v "${need%:*}" >/dev/null || {
        echo "The tests need \`${need%:*}\`, of the package ${need#*:} (Debian: apt-get install ${need#*:})." >&2
        exit 1
    }
done

# -r makes a user root in the namespace. The first way that works is taken; why the last one did not is kept for the end.
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

# Where there is no network there are no crates: all that is to be had is fetched and built out here.
# Prints the names of the files in tests/ that this feature set has.
build() {
    artifacts=$(cargo test --no-run --message-format=json-render-diagnostics "$@") || return
    echo "$artifacts" | sed -n 's/.*"kind":\["test"\].*"name":"\([^"]*\)","src_path".*/\1/p'
}

# Runs the tests of one feature set, and adds to left_out what could not be run.
run() {
    echo "== cargo test $*"
    names=$(build "$@")
    if [ -n "$unshare" ]; then
        $unshare cargo test --offline "$@"
        return
    fi
    selection=
    for name in $names; do
        case $name in
        netns_*) case " $left_out " in *" $name "*) ;; *) left_out="$left_out $name" ;; esac ;;
        *) selection="$selection --test $name" ;;
        esac
    done
    # Word by word: the names of tests have no blanks.
    # shellcheck disable=SC2086
    MULTICAST_TEST_NETWORK=lo cargo test --offline "$@" --lib $selection
    # The examples in the documentation cannot be selected beside others.
    MULTICAST_TEST_NETWORK=lo cargo test --offline "$@" --doc
}

left_out=
run
run --no-default-features
run --no-default-features --features std

echo
if [ -n "$unshare" ]; then
    echo "Nothing was left out: all tests ran in a private network, with the features default, none and std."
elif [ -z "$left_out" ]; then
    echo "Nothing was left out: all tests ran on the host's lo, with the features default, none and std."
else
    echo "LEFT OUT, because they need a private network and none could be made here ($refusal):"
    for name in $left_out; do echo "  tests/$name.rs"; done
    echo "All other tests passed. To run these: make test as root (in a container: with CAP_SYS_ADMIN), or allow users to make"
    echo "namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu, kernel.unprivileged_userns_clone=1 on older"
    echo "Debian) and make test again."
    [ "${CI-}" != true ] || exit 1
fi
