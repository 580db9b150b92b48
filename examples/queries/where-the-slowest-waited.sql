-- Where did the slowest hundredth of each command wait? The mean of each stage, beside that of all.
WITH timed AS (
    SELECT *, completed_ns - fetched_ns AS latency_ns FROM 'commands.parquet' WHERE sqid > 0
), bounds AS (
    SELECT csi, opcode, quantile_disc(latency_ns, 0.99) AS p99_ns FROM timed GROUP BY csi, opcode
)
SELECT csi, opcode, latency_ns >= p99_ns AS slowest, count(*) AS commands, avg(latency_ns) AS latency_ns,
       avg(flash_read_ns) AS flash_read_ns, avg(copy_ns) AS copy_ns, avg(queue_ns) AS queue_ns, avg(compute_ns) AS compute_ns,
       avg(flash_write_ns) AS flash_write_ns, avg(transfer_ns) AS transfer_ns, avg(command_ns) AS command_ns
FROM timed JOIN bounds USING (csi, opcode)
GROUP BY csi, opcode, slowest
ORDER BY csi, opcode, slowest;
