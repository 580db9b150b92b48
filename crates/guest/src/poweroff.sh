#!/bin/sh
# Ends the guest, or starts it anew if called by the name of reboot: there is no service manager to ask.
sync
echo u > /proc/sysrq-trigger
case $0 in
    *reboot) echo b > /proc/sysrq-trigger ;;
    *) echo o > /proc/sysrq-trigger ;;
esac
# The disk may be gone already: no other program can be started.
while :; do :; done
