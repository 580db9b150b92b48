-- Where did the slowest hundredth of each command wait? The mean of each stage, in microseconds.
WITH commands AS (
    SELECT slice.id, slice.name, slice.dur, slice.arg_set_id,
           percent_rank() OVER (PARTITION BY slice.name ORDER BY slice.dur) AS rank
    FROM slice JOIN thread_track ON slice.track_id = thread_track.id JOIN thread USING (utid) JOIN process USING (upid)
    WHERE process.name GLOB '*NVMe commands'
)
SELECT name, count(*) AS commands, avg(dur) / 1e3 AS latency_us,
       avg(extract_arg(arg_set_id, 'args.flash_read_ns')) / 1e3 AS flash_read_us,
       avg(extract_arg(arg_set_id, 'args.copy_ns')) / 1e3 AS copy_us,
       avg(extract_arg(arg_set_id, 'args.queue_ns')) / 1e3 AS queue_us,
       avg(extract_arg(arg_set_id, 'args.compute_ns')) / 1e3 AS compute_us,
       avg(extract_arg(arg_set_id, 'args.flash_write_ns')) / 1e3 AS flash_write_us,
       avg(extract_arg(arg_set_id, 'args.transfer_ns')) / 1e3 AS transfer_us,
       avg(extract_arg(arg_set_id, 'args.command_ns')) / 1e3 AS command_us
FROM commands
WHERE rank >= 0.99
GROUP BY name
ORDER BY name;
