# Runs avahi-daemon, with files of its own, as it runs without D-Bus and without a user `avahi`.
set -eu
mount -t tmpfs lab /run
cd /run
cat >avahi.conf <<END
[server]
host-name=avahi
allow-interfaces=eth0
enable-dbus=no
[publish]
publish-workstation=no
publish-hinfo=no
END
# It wants its folder to belong to this user and group. In a namespace of an unprivileged user, 0 is the only one.
echo 'avahi:x:0:0::/:/bin/false' >passwd
echo 'avahi:x:0:' >group
mkdir services
mount --bind passwd /etc/passwd
mount --bind group /etc/group
mount --bind services /etc/avahi/services
exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --file /run/avahi.conf
