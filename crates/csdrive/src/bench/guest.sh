# The drive and QEMU's own NVMe device, in turns: lines of model, depth and commands per second.
set -e
for controller in /sys/class/nvme/nvme?; do
    case $(cat "$controller/model") in
        csdrive*) csdrive=/dev/${controller##*/}n1 ;;
        *) qemu_nvme=/dev/${controller##*/}n1 ;;
    esac
done
for round in $(seq "$ROUNDS"); do
    for depth in 1 32; do
        for model in csdrive qemu_nvme; do
            eval "device=\$$model"
            iops=$(fio --name=r --filename="$device" --size=512M --rw=randread --bs=4k --ioengine=io_uring \
                --iodepth=$depth --direct=1 --time_based --ramp_time=1 --runtime="$SECONDS_EACH" --minimal |
                cut -d ';' -f 8)
            echo "result $model $depth $iops"
        done
    done
done
