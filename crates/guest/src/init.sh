#!/bin/sh
# Begins a guest of csdrive (/usr/lib/csdrive/init in its image). The second disk is a tar archive that says
# what this guest is to do; the second serial port takes the status it ends with.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root TERM=linux
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs tmp /tmp
mkdir -p /dev/pts /dev/shm /run/csdrive
mount -t devpts -o gid=5,mode=620,ptmxmode=666 pts /dev/pts
mount -t tmpfs shm /dev/shm
for name in fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
    ln -sf "/proc/self/${name#*:}" "/dev/${name%:*}"
done
echo 1 > /proc/sys/kernel/printk
hostname csdrive

tar -xf /dev/vdb -C /run/csdrive
. /run/csdrive/settings
mkdir -p /usr/local/bin
ln -sf /run/csdrive/bin/csdrive /usr/local/bin/csdrive
cp -a /run/csdrive/files/. /root/

if [ "$NETWORK" = yes ]; then
    # QEMU's user network: these addresses are always the same.
    modprobe virtio_net
    ip link set lo up
    for device in /sys/class/net/e*; do
        ip link set "${device##*/}" up
        ip address add 10.0.2.15/24 dev "${device##*/}"
    done
    ip route add default via 10.0.2.2
    echo 'nameserver 10.0.2.3' > /etc/resolv.conf
fi
if [ "$SSH" = yes ]; then
    mkdir -p -m 700 /root/.ssh
    mkdir -p -m 755 /run/sshd
    cp /run/csdrive/keys /root/.ssh/authorized_keys
    chmod 600 /root/.ssh/authorized_keys
    ssh-keygen -q -A
    /usr/sbin/sshd
fi
if [ "$SHARE" = yes ]; then
    mkdir -p /share
    mount -t virtiofs share /share
fi
# The drives are there when their last namespace is.
n=0
while [ $n -lt 300 ]; do
    [ "$(ls /dev/ng*n3 2> /dev/null | wc -l)" -ge "$DRIVES" ] && break
    n=$((n + 1))
    sleep 0.1
done

cd /root
# What nobody looks at needs no colours and no progress bars.
[ "$INPUT" = /dev/null ] && export TERM=dumb
stty -F /dev/ttyS0 $TERMINAL 2> /dev/null
# The first terminal that the leader of a session opens is its own.
setsid -w sh -c 'exec sh /run/csdrive/command < "$0" > /dev/ttyS0 2>&1' "$INPUT"
echo "status $?" > /dev/ttyS1
exec poweroff
