# A round of a test of what kill -9 leaves: fio checks what it wrote before, as far as it was told that it is durable, and writes on until the
# drive is killed. A second fio writes beside it what nobody waits for.
# Usage: sh killed.sh SEED SECONDS SYNC (in a guest whose drive has a file; /share is a folder of the machine's, which kills when it finds "kill")
set -e
cd /share
job="--name=kept --filename=/dev/nvme0n1 --size=256M --direct=1 --rw=randwrite --bs=4k --ioengine=libaio --iodepth=8 --verify=crc32c"
if [ -f seed ]; then
    if fio $job --randseed="$(cat seed)" --verify_only=1 --verify_state_load=1 --verify_fatal=1 --output=verified --minimal; then
        echo "verified: $(cut -d';' -f6 verified) KiB"
    else
        echo "something is lost"
    fi
fi
rm -f seed local-kept-0-verify.state
if [ "$2" = 0 ]; then
    exit 0
fi
echo "$1" > seed
fio --name=beside --filename=/dev/nvme0n1 --offset=256M --size=64M --direct=1 --rw=randwrite --bs=16k --ioengine=libaio --iodepth=16 \
    --time_based --runtime=60 --minimal > /dev/null &
# fio notes what it was told is written, and then has the drive killed.
fio $job --sync="$3" --randseed="$1" --do_verify=0 --verify_state_save=1 --trigger-timeout="$2" \
    --trigger="sync; touch /share/kill; sleep 60" --minimal > /dev/null
echo "the drive was not killed"
exit 1
