#!/bin/sh
# Makes docs/figures/report.png and top.png. Needs csdrive on the path, chromium, tmux and aha. Usage: sh docs/figures/screenshots.sh
set -e
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
work=$(mktemp -d)
trap 'kill $served 2>/dev/null || true; tmux kill-session -t csdrive-top 2>/dev/null || true; rm -rf "$work"' EXIT

# PICTURE SIZE PAGE
picture() {
    chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$work/browser" --window-size="$2" \
        --screenshot="$1" "file://$3" >/dev/null 2>&1
}

for time in 40us 80us; do
    csdrive workload experiments/neighbour.toml --set flash.read_time=$time --record "$work/$time" >/dev/null
done
csdrive report "$work/40us" "$work/80us" -o "$work/report.html" --title "A victim and its neighbour: flash of 40 us and of 80 us"
picture "$here/report.png" 1240,2500 "$work/report.html"

csdrive serve --socket "$work/drive" --records --set drive.serial=CSDRIVE0001 >/dev/null &
served=$!
cat > "$work/load.toml" <<EOF
runtime = "25s"
[[job]]
name = "reader"
rw = "randread"
iodepth = 8
rate_iops = 10000
size = "256MiB"
fill = true
[[job]]
name = "histogram"
program = "$PWD/examples/programs/histogram.bpf.o"
bs = "256KiB"
iodepth = 3
offset = "256MiB"
size = "64MiB"
fill = true
EOF
sleep 1
csdrive workload "$work/load.toml" --device "$work/drive" >/dev/null &
sleep 8
tmux new-session -d -s csdrive-top -x 120 -y 36 csdrive top
sleep 10
tmux capture-pane -e -p -t csdrive-top | aha --black --title top > "$work/top.html"
sed -i 's/<body[^>]*>/<body style="background:#111;color:#ddd;margin:8px">/; s/<pre>/<pre style="font:14px\/1.2 DejaVu Sans Mono,monospace">/' "$work/top.html"
picture "$here/top.png" 1030,640 "$work/top.html"
