#!/bin/sh
# Boots real kernels on emulated machines, with the static self-test as their only program: `make devices` runs this.
#
#   tests/devices/run.sh                   arm64, armhf, s390x, mipsel, and user
#   tests/devices/run.sh arm64 ..          some of them
#   tests/devices/run.sh user              the crate's tests for each processor of `make static`, under qemu-user on this kernel
#   tests/devices/run.sh native            on this machine's kernel, in a network namespace: the self-test for x86-64 and i686, and
#                                          the tests for i686
#
# The kernels are Debian's packages, downloaded to target/devices/ and not installed. Prints `DEVICE <machine> <kernel> <seconds>
# <result>` for each, and exits with 1 if one failed. A machine has no network except the one that the self-test creates inside.
#
# qemu-user passes system calls to this kernel, but does not know IP_MULTICAST_ALL, which every listener needs. So it runs the
# tests without listeners (filters, patterns, all formats of bytes, system calls, pollers), which are most of the unit tests.
set -eu
cd "$(dirname "$0")/../.."
folder=$PWD/target/devices
# A boot takes seconds, and so does a test program; one that hangs is killed.
patience=180
failed=

for need in cpio:cpio dpkg-deb:dpkg apt-get:apt file:file; do
    command -v "${need%:*}" >/dev/null || { echo "devices: ${need%:*} is missing (apt-get install ${need#*:})" >&2; exit 1; }
done

# Downloads and unpacks the kernel of a Debian architecture: $folder/$1/boot/vmlinuz-*, and its modules.
fetch_kernel() {
    [ ! -e "$folder/$1/boot" ] || return 0
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/apt/etc" "$folder/packages"
    : >"$folder/apt/status"
    cat >"$folder/apt/apt.conf" <<END
APT::Architectures { "$(dpkg --print-architecture)"; "arm64"; "armhf"; "s390x"; "mipsel"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State::Lists "$folder/apt/lists";
Dir::State::status "$folder/apt/status";
Dir::Cache::Archives "$folder/apt/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "$folder/apt/etc/sources.list";
Dir::Etc::sourceparts "-";
END
    echo "deb [arch=arm64,armhf,s390x,mipsel signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "http://deb.debian.org/debian bookworm main" >"$folder/apt/etc/sources.list"
    export APT_CONFIG="$folder/apt/apt.conf"
    [ -e "$folder/apt/lists/updated" ] || { apt-get -qq update && touch "$folder/apt/lists/updated"; }
    # This package only depends on the newest one.
    package=$(apt-cache depends "$2:$1" | awk '$1 == "Depends:" && $2 ~ /^linux-image/ { print $2; exit }')
    (cd "$folder/packages" && apt-get -qq download "$package")
    unset APT_CONFIG
    mkdir "$folder/$1.part"
    dpkg-deb -x "$folder/packages/${package%:*}"_*.deb "$folder/$1.part"
    mv "$folder/$1.part" "$folder/$1"
}

# Runs one machine: Debian's architecture, the package of its kernel, the target of the self-test, and the command of the
# emulator.
boot() {
    architecture=$1 package=$2 target=$3
    shift 3
    command -v "$1" >/dev/null || { echo "devices: $1 is missing (apt-get install qemu-system-arm qemu-system-mips qemu-system-misc)" >&2; exit 1; }
    .ci/static --selftest "$target"
    fetch_kernel "$architecture" "$package"
    root=$folder/root-$architecture
    rm -rf "$root" && mkdir -p "$root/proc" "$root/dev"
    cp "target/static/$target/selftest" "$root/init"
    cp "$(find "$folder/$architecture/lib/modules" -name veth.ko)" "$root/veth.ko"
    # The kernel opens this node as the output of the first process.
    mknod "$root/dev/console" c 5 1 2>/dev/null || true
    (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$folder/initramfs-$architecture"
    log=$folder/log-$architecture
    start=$(date +%s)
    timeout "$patience" "$@" -nographic -nic none -no-reboot -kernel "$folder/$architecture"/boot/vmlinu[xz]-* \
        -initrd "$folder/initramfs-$architecture" </dev/null >"$log" 2>&1 || true
    took=$(($(date +%s) - start))
    grep -a SELFTEST "$log" | tr -d '\r' | sed "s/^/$architecture: /" || true
    result=$(tr -d '\r' <"$log" | grep -aoE '[0-9]+ passed, [0-9]+ failed' | tail -n 1)
    kernel=$(tr -d '\r' <"$log" | sed -n 's/.*SELFTEST on //p' | head -n 1)
    echo "DEVICE $architecture ${kernel:-did not boot} ${took}s ${result:-no result}"
    case $result in *", 0 failed") ;; *)
        failed="$failed $architecture"
        tail -n 20 "$log" >&2
        ;;
    esac
}

# Runs on this kernel, also for 32-bit programs.
native() {
    for target in x86_64-unknown-linux-musl i686-unknown-linux-musl; do
        .ci/static --selftest "$target"
        start=$(date +%s)
        log=$folder/log-$target
        mkdir -p "$folder"
        timeout "$patience" unshare -n "target/static/$target/selftest" >"$log" 2>&1 || true
        grep SELFTEST "$log" | sed "s/^/$target: /" || true
        result=$(grep -oE '[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
        echo "DEVICE $target $(uname -r) $(($(date +%s) - start))s ${result:-no result}"
        case $result in *", 0 failed") ;; *) failed="$failed $target" ;; esac
    done
}

# Runs the crate's tests for one target on this kernel, under an emulator if its processor is another.
emulated_tests() {
    target=$1
    shift
    for need; do
        command -v "$need" >/dev/null || { echo "devices: $need is missing (apt-get install qemu-user)" >&2; exit 1; }
    done
    # These create listeners or multicasters.
    skipped="--skip a_packet_prints_its_sender_and_events_begin_empty --skip what_owns_a_socket_prints_its_descriptor"
    skipped="$skipped --skip control_characters_of_an_interface_do_not_reach_the_terminal"
    case $target in
    # qemu writes to a duplicated eventfd in the wrong byte order, so its count is at the maximum after 255 wakes.
    s390x* | powerpc64*) skipped="$skipped --skip many_wakes_from_many_threads_are_never_lost" ;;
    i686*) skipped= ;;
    esac
    .ci/static --tests "$target"
    mkdir -p "$folder"
    log=$folder/log-tests-$target
    : >"$log"
    start=$(date +%s)
    ended=0
    for program in target/static/"$target"/tests/*; do
        # Split into words: the names of tests have no spaces.
        # shellcheck disable=SC2086
        timeout "$patience" unshare -n sh -c 'ip link set lo up; exec "$@"' sh "$@" "$program" $skipped >"$log.part" 2>&1 || ended=1
        # A program that ran no test is a failure.
        grep -aq '^test result: ok. [1-9]' "$log.part" || ended=1
        cat "$log.part" >>"$log"
    done
    result=$(awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed", passed, failed }' "$log")
    how=${1:+$("$1" --version | sed -n 's/^qemu-[a-z0-9]* version \([0-9.]*\).*/qemu-user-\1/p')}
    echo "DEVICE $target ${how:-$(uname -r)} $(($(date +%s) - start))s $result, of the crate's tests"
    case $ended,$result in 0,*", 0 failed") ;; *)
        failed="$failed $target"
        grep -a "FAILED\|panicked\|uncaught" "$log" >&2 || tail -n 20 "$log" >&2
        ;;
    esac
}

[ $# -gt 0 ] || set -- arm64 armhf s390x mipsel user
for machine; do
    case $machine in
    arm64) boot arm64 linux-image-arm64 aarch64-unknown-linux-musl \
        qemu-system-aarch64 -M virt -cpu cortex-a53 -m 128 -append "console=ttyAMA0 panic=-1 quiet rdinit=/init" ;;
    armhf) boot armhf linux-image-armmp-lpae armv7-unknown-linux-musleabihf \
        qemu-system-arm -M virt,highmem=off -cpu cortex-a15 -m 64 -append "console=ttyAMA0 panic=-1 quiet rdinit=/init" ;;
    s390x) boot s390x linux-image-s390x s390x-unknown-linux-musl \
        qemu-system-s390x -M s390-ccw-virtio -m 128 -append "console=ttysclp0 panic=-1 quiet rdinit=/init" ;;
    mipsel) boot mipsel linux-image-4kc-malta mipsel-unknown-linux-musl \
        qemu-system-mipsel -M malta -cpu 24Kc -m 128 -append "console=ttyS0 panic=-1 quiet rdinit=/init" ;;
    user)
        emulated_tests i686-unknown-linux-musl
        emulated_tests aarch64-unknown-linux-musl qemu-aarch64
        emulated_tests armv7-unknown-linux-musleabihf qemu-arm
        emulated_tests riscv64gc-unknown-linux-musl qemu-riscv64
        emulated_tests s390x-unknown-linux-musl qemu-s390x
        emulated_tests powerpc64-unknown-linux-musl qemu-ppc64
        emulated_tests mipsel-unknown-linux-musl qemu-mipsel
        ;;
    native)
        native
        emulated_tests i686-unknown-linux-musl
        ;;
    *) echo "devices: no machine of this name: $machine" >&2; exit 1 ;;
    esac
done
[ -z "$failed" ] || { echo "devices: failed:$failed" >&2; exit 1; }
