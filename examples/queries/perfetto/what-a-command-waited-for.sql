-- What is behind the ten slowest commands: the jobs and reads of flash that arrows lead to.
WITH slowest AS (
    SELECT slice.id, slice.name, slice.ts, slice.dur
    FROM slice JOIN thread_track ON slice.track_id = thread_track.id JOIN thread USING (utid) JOIN process USING (upid)
    WHERE process.name GLOB '*NVMe commands'
    ORDER BY slice.dur DESC LIMIT 10
)
SELECT slowest.name AS command, slowest.dur / 1e3 AS latency_us, thread.name AS "where", part.name AS what,
       (part.ts - slowest.ts) / 1e3 AS began_after_us, part.dur / 1e3 AS took_us
FROM slowest
JOIN flow ON flow.slice_out = slowest.id
JOIN slice AS part ON part.id = flow.slice_in
JOIN thread_track ON part.track_id = thread_track.id JOIN thread USING (utid)
ORDER BY slowest.dur DESC, part.ts;
