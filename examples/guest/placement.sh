# Flexible Data Placement with stock tools: what the drive offers, fio on three placement identifiers, and going on in another reclaim unit.
# Usage: sh placement.sh (in a guest whose drive has drive.fdp = true and flash.streams = 4)
set -e
left() {
    nvme fdp status /dev/ng0n1 --namespace-id=1 | sed -n 's/.*(RUAMW): //p' | tr '\n' ' '
}
nvme fdp configs /dev/nvme0 --endgrp-id=1 | grep -q 'Handles: 4'
nvme fdp usage /dev/nvme0 --endgrp-id=1 | grep -c 'Controller Specified' | sed 's/^/handles in use: /'
nvme fdp set-events /dev/ng0n1 --namespace-id=1 --placement-handle=1 --enable --event-types=0,3
before=$(left)
fio --name=placed --filename=/dev/ng0n1 --size=6M --rw=randwrite --bs=4k --ioengine=io_uring_cmd --cmd_type=nvme --iodepth=8 \
    --fdp=1 --fdp_pli=1,2,3 --verify=crc32c --minimal > /dev/null
echo "fio found no error"
set -- $before $(left)
echo "written to each: $(($1 - $5)) $(($2 - $6)) $(($3 - $7)) $(($4 - $8))"
nvme fdp update /dev/ng0n1 --namespace-id=1 --pids=1
set -- $before $(left)
echo "after the update: $(($2 - $6))"
nvme fdp events /dev/nvme0 --endgrp-id=1 --host-events | grep -q 'Not Fully Written'
nvme fdp stats /dev/nvme0 --endgrp-id=1 | sed -n 's/^Host Bytes.*: /host bytes: /p'
