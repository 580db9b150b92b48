#!/bin/sh
# Runs every experiment of this folder and draws its figure. Usage: sh experiments/figures.sh [FOLDER [RESULTS]]
set -e
here=$(dirname "$0")
figures=${1:-$here/../docs/figures}
results=${2:-$(mktemp -d)}
mkdir -p "$figures" "$results"

# NAME, then what is varied and shown.
experiment() {
    name=$1
    shift
    echo "== $name"
    csdrive sweep "$here/$name.toml" --results "$results/$name.jsonl" --plot "$figures/$name.svg" "$@"
}

experiment schedulers \
    --vary compute.policy=fifo,round-robin,weighted-fair,weighted-round-robin,priority,earliest-deadline \
    --show jobs.short.execute.lat_ns.mean,jobs.short.execute.lat_ns.p99,jobs.long.execute.lat_ns.mean
experiment neighbour --vary job.neighbour.iodepth=1,2,4,8,16,32 \
    --show jobs.victim.read.lat_ns.p50,jobs.victim.read.lat_ns.p99,jobs.neighbour.execute.bw_bytes
experiment collection --vary job.writer.rate_iops=500,1000,2000,3000,4000 --vary flash.overprovisioning=15%,28%,50% \
    --show jobs.reader.read.lat_ns.p99,drives.0.write_amplification
experiment aging --vary flash.worn_erases=0,500,1000,1500,2000,2500,3000 --vary flash.data_age_days=0,90,365 \
    --show jobs.reader.read.lat_ns.mean,jobs.reader.read.bw_bytes
experiment pushdown --vary job.scan.output_ratio=0.01,0.1,0.25,0.5,0.75,1.0 --vary job.scan.on=drive,host \
    --show jobs.scan.execute.bw_bytes,drives.0.bytes.to_host
experiment clock_and_link --vary job.scan.bandwidth=150MB/s,300MB/s,600MB/s,1.2GB/s,2.4GB/s \
    --vary job.scan.on=drive,host --vary link.bandwidth=800MB/s,3.2GB/s \
    --show jobs.scan.execute.bw_bytes
experiment compound --vary job.select.bs=4KiB,16KiB,64KiB,256KiB,1MiB --vary 'job.select.compound=false,true,{early=true}' \
    --show jobs.select.execute.lat_ns.mean,drives.0.commands
experiment scale --vary drive.count=1,2,4,8,16 --vary job.scan.on=drive,host \
    --show jobs.scan.execute.bw_bytes
experiment host_memory --vary host.memory=0MiB,32MiB,64MiB,128MiB,256MiB --vary job.scan.on=drive,host \
    --vary job.scan.random_distribution=random,zipf:1.2 \
    --show jobs.scan.execute.bw_bytes
experiment validation --vary job.host.iodepth=1,2,4,8,16,32,64,128,256 --vary profile=intel-p4500,samsung-pm9a3 \
    --vary drive.capacity=24GiB --vary ramp_time=10ms --vary runtime=50ms --show jobs.host.read.iops,jobs.host.read.lat_ns.mean
