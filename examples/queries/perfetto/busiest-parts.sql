-- How busy each row is: units, dies, channels, links.
SELECT process.name AS part, thread.name AS row, count(*) AS slices, sum(slice.dur) / 1e3 AS busy_us,
       100.0 * sum(slice.dur) / (SELECT max(ts + dur) - min(ts) FROM slice) AS percent
FROM slice JOIN thread_track ON slice.track_id = thread_track.id JOIN thread USING (utid) JOIN process USING (upid)
WHERE NOT process.name GLOB '*NVMe commands'
GROUP BY process.name, thread.name
ORDER BY percent DESC;
